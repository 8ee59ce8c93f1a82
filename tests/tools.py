"""What tests need of the machine beside Python: programs, and root. In CI a missing one is a failure.

Refuses to install anything.
"""

import os
import shutil
from typing import NoReturn

import pytest


def need(program: str, how: str) -> str:
    """Return the path of a program; without it the test is skipped, or fails in CI, and says how to get it."""
    # Programs of the administrator are not in everybody's PATH.
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        go_without(f"{program} is not installed: {how}")
    return found


def need_root() -> None:
    """Skip the test, or fail it in CI, unless it runs as root."""
    if os.geteuid() != 0:
        go_without("root is needed")


def go_without(reason: str) -> NoReturn:
    """Skip the test, or fail it in CI, where everything must be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
