"""Gets ready what `make test-cluster` needs, and reports each step: pytest would hide the output.

The tests do the same when they start, which costs nothing after this. Ends with 1 and the reason where something cannot
be had: a run that skipped its tests would look like a good one.
"""

import sys
import time

from tests.cluster import packages
from tests.support import image, programs


def prepare() -> None:
    """Install the packages, build the programs and the image; end with the reason where that cannot be done here."""
    problem = packages.install(programs.report)
    if problem is not None:
        sys.exit(problem)
    programs.provide(programs.report, *programs.NODE)
    programs.report("building the image if its sources have changed")
    began = time.monotonic()
    image.archive()
    programs.report(f"the image is there after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    prepare()
