"""What tests need of the machine next to Python: programs, root, and time.

Refuses to install anything. `make test` runs every test that needs Python alone or a Go program, which tests/prepare.py
builds. A test that needs root or a Debian package carries the mark `machine`, and `make test-cluster` runs it.
"""

import os
import shutil
from typing import NoReturn

import pytest

PATIENCE = 300.0
"""Seconds after which a wait counts as a hang. No test judges a duration by it: a busy machine is slow, not wrong."""
MARK = "machine"
"""The mark of a test that needs root or a Debian package."""


def need(program: str, package: str) -> str:
    """Return the path of a program of a Debian package; a test without it is skipped or fails (see `go_without`)."""
    _demand_mark(program)
    # Programs of the administrator are not in the PATH of other users.
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        go_without(f"{program} is not installed: run make test-cluster as root, or apt-get install {package}")
    return found


def need_root() -> None:
    """Skip the test, or fail it (see `go_without`), unless it runs as root."""
    _demand_mark("root")
    if os.geteuid() != 0:
        go_without("root is needed: run make test-cluster as root")


def go_without(reason: str) -> NoReturn:
    """Fail the test in CI and under make, where nothing may be missing; skip it where pytest was called directly."""
    if os.environ.get("CI") == "true" or os.environ.get("SKIP") == "never":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


class Marked:
    """Whether the running test carries the mark; the conftest keeps it current."""

    current: bool = True


def _demand_mark(what: str) -> None:
    if not Marked.current:
        pytest.fail(f"a test that needs {what} carries the mark `{MARK}`: make test has neither root nor packages")
