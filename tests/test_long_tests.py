"""The long tests are the first of a run; coverage measures no property test and none marked `long` or `unmeasured`."""

import os
import sys
import threading
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import processes
from tests.support.measuring import VARIABLE, unmeasured


def _tracer(_frame: FrameType, _event: str, _argument: object) -> None:
    """Trace nothing, in the place of coverage."""


@pytest.fixture
def at_setup() -> tuple[object, ...]:
    """What measures this process, its threads and its children while fixtures are made."""
    return sys.gettrace(), threading.gettrace(), os.environ.get(VARIABLE)


def test_measurement_is_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither this process, nor a thread, nor a child is measured for a time; then each is, as before."""
    monkeypatch.setenv(VARIABLE, "{}")
    before = sys.gettrace(), threading.gettrace()
    try:
        sys.settrace(_tracer)
        threading.settrace(_tracer)
        with unmeasured():
            during = sys.gettrace(), threading.gettrace(), os.environ.get(VARIABLE)
        after = sys.gettrace(), threading.gettrace(), os.environ.get(VARIABLE)
    finally:
        sys.settrace(before[0])
        threading.settrace(before[1])
    assert (None, None, None) == during
    assert (_tracer, _tracer, "{}") == after


MARKS = [pytest.mark.long, pytest.mark.unmeasured]


@pytest.mark.parametrize("mark", [pytest.param(mark.name, marks=mark) for mark in MARKS])
def test_marked_test_is_not_measured(at_setup: tuple[object, ...], mark: str) -> None:
    """Under coverage a marked test has no tracer, and its processes do not get the variable; nor do its fixtures."""
    assert (None, None, None) == at_setup
    assert (None, None, None) == (sys.gettrace(), threading.gettrace(), os.environ.get(VARIABLE))


@given(st.none())
@settings(max_examples=1)
def test_property_test_is_not_measured(nothing: None) -> None:
    """Under coverage a property test has no tracer, and its processes do not get the variable."""
    assert (nothing, None, None) == (sys.gettrace(), threading.gettrace(), os.environ.get(VARIABLE))


def test_other_tests_are_measured(pytestconfig: pytest.Config) -> None:
    """Under coverage the processes of every other test get the variable."""
    assert pytestconfig.pluginmanager.hasplugin("_cov") == (VARIABLE in os.environ)


@pytest.mark.parametrize("measured", [True, False])
def test_killed_sidecar_is_not_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, measured: bool) -> None:
    """The sidecars of a site are measured if the test ends them, and one that ends by itself always is."""
    monkeypatch.setenv(VARIABLE, "{}")
    started: list[bool] = []

    def start(*_: object) -> object:
        started.append(VARIABLE in os.environ)
        return SimpleNamespace(await_end=lambda: 2, log="")

    monkeypatch.setattr(processes, "Sidecar", start)
    emulator: Any = SimpleNamespace(public_key=lambda: b"", url="http://127.0.0.1:1")
    site = processes.Sites(tmp_path, measured=measured).make(emulator)
    site.launch(site.write())
    site.refuse()
    assert [measured, True] == started


def test_long_tests_are_first(request: pytest.FixtureRequest) -> None:
    """No core waits at the end of a run for a test of minutes that began last."""
    others = [item.get_closest_marker("long") is None for item in request.session.items]
    assert sorted(others) == others
