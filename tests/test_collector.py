"""The garbage collector while many objects are made."""

import gc

import pytest

from sidecar.collector import paused_collector


def test_collector_is_paused() -> None:
    """It is off within, also after an inner pause, and on afterwards."""
    with paused_collector():
        assert not gc.isenabled()
        with paused_collector():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_collector_after_a_fault() -> None:
    """A fault turns it on again."""
    with pytest.raises(ValueError, match="a page"), paused_collector():
        raise ValueError("a page")
    assert gc.isenabled()


def test_collector_that_is_off() -> None:
    """A collector that was off stays off."""
    gc.disable()
    try:
        with paused_collector():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
