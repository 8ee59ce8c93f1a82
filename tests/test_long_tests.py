"""The long tests are the first of a run, and coverage measures neither them nor the processes that they start."""

import os
import sys
import threading

import pytest

VARIABLE = "COVERAGE_PROCESS_CONFIG"


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variable by which coverage measures a child process."""
    monkeypatch.setenv(VARIABLE, "{}")


def test_child_is_measured(measured: None) -> None:
    """The processes of every other test keep the variable."""
    assert "{}" == os.environ[VARIABLE]


@pytest.mark.long
def test_long_test_is_not_measured(measured: None) -> None:
    """A long test has no tracer, and its processes do not get the variable."""
    assert VARIABLE not in os.environ
    assert sys.gettrace() is None
    assert threading.gettrace() is None


def test_long_tests_are_first(request: pytest.FixtureRequest) -> None:
    """No core waits at the end of a run for a test of minutes that began last."""
    others = [item.get_closest_marker("long") is None for item in request.session.items]
    assert sorted(others) == others
