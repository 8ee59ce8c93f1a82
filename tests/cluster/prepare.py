"""Gets ready what the cluster tests need, and says meanwhile what it does: pytest would keep that to itself.

The tests do the same when they start, which costs nothing after this. Refuses to decide what a missing part means: the
tests skip or fail.
"""

import sys
import time

from tests import programs
from tests.cluster import packages
from tests.image import image


def prepare() -> None:
    """Install the packages, build the programs and the image; stop with the reason where that cannot be done here."""
    problem = packages.install(_say)
    if problem is not None:
        _say(problem)
        return
    programs.provide(_say, *programs.NODE)
    _say("building the image if its sources have changed")
    began = time.monotonic()
    image.archive()
    _say(f"the image is there after {time.monotonic() - began:.0f} s")


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")


if __name__ == "__main__":
    prepare()
