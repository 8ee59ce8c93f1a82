"""A measured dimension of a real sidecar by the emulator's clock: kills, the end of the pod, and refused events."""

import random
import signal
import time
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.processes import parse

if TYPE_CHECKING:
    from tests.support.processes import Emulator, Sidecar, Site

pytestmark = pytest.mark.process

HOUR = "2026-11-23T10:00:00Z"
METERING = {"dimensions": [{"name": "pod_hours", "source": {"pod_time": {"while": "entitled"}}}]}
LIVES = 6
SPEED = 3600
"""Emulated seconds in a real one: a sample at each hour's edge is one in each second."""


def source(sidecar: "Sidecar") -> Any:
    """Return the source as the status shows it."""
    (found,) = sidecar.get("/v1/status")["sources"]
    return found


def await_sample(sidecar: "Sidecar", after: datetime | None = None) -> datetime:
    """Return when the newest sample was taken, as soon as there is one after an instant."""

    def look() -> datetime | None:
        found = source(sidecar)
        at = None if found["last_sample_at"] is None else parse(found["last_sample_at"])
        counts = found["state"] == "measuring" and at is not None and (after is None or at > after)
        return at if counts else None

    found: datetime = sidecar.await_for(f"a sample after {after}", look)
    return found


def hours(duration: timedelta) -> Decimal:
    """Return a duration in hours."""
    return Decimal(duration // timedelta(microseconds=1)) / 3_600_000_000


def test_kills_bill_no_more_than_the_truth(site: "Site", emulator: "Emulator") -> None:
    """A pod is billed for at most the time that its processes lived, and at least up to a stored sample of each."""
    dice = random.Random(16)
    emulator.post("clock", speed=SPEED)
    least = most = timedelta()
    for life in range(LIVES):
        began = parse(emulator.get("clock")["now"])
        sidecar = site.start(metering=METERING)
        # The sample after `first` is taken once what `first` proves is on disk, and so on.
        first = await_sample(sidecar)
        stored = await_sample(sidecar, first)
        await_sample(sidecar, stored)
        least += stored - first
        if life < LIVES - 1:
            time.sleep(dice.random())
            sidecar.kill()
        else:
            emulator.post("clock", speed=1)
            sidecar.signal(signal.SIGTERM)
            assert 0 == sidecar.await_end()
        most += parse(emulator.get("clock")["now"]) - began
    billed = sum(Decimal(quantity) for quantity in emulator.held().values())
    assert hours(least) - Decimal("0.0001") <= billed <= hours(most)


@pytest.mark.ending
def test_end_of_pod_is_billed(site: "Site", emulator: "Emulator") -> None:
    """The last sample is taken at SIGTERM, and goes into the record of the open hour."""
    sidecar = site.start_entitled(metering=METERING)
    await_sample(sidecar)
    site.advance(sidecar, "30m")
    sidecar.signal(signal.SIGTERM)
    assert 0 == sidecar.await_end()
    ((slot, quantity),) = emulator.held().items()
    assert (HOUR, "pod_hours") == slot
    assert Decimal("0.5") <= Decimal(quantity) < Decimal("0.6")


def test_events_of_measured_dimension_are_refused(site: "Site") -> None:
    """An event for a measured dimension is 422, because its usage would be counted twice."""
    sidecar = site.start_entitled(metering=METERING)
    reply = sidecar.post("/v1/usage", {"dimension": "pod_hours", "quantity": "1"})
    assert 422 == reply.status
    (error,) = reply.document["errors"]
    assert (0, "dimension") == (error["index"], error["field"])
    assert error["reason"].startswith("the sidecar measures this dimension")


def test_denied_pod_is_not_measured(site: "Site", emulator: "Emulator") -> None:
    """A pod without a subscription has no time; it begins with the subscription."""
    emulator.post("customers", action="unsubscribe")
    sidecar = site.start(metering=METERING)
    sidecar.await_entitlement(state="denied")
    site.advance(sidecar, "1h")
    found = sidecar.await_for("a sample", lambda: source(sidecar)["last_sample_at"] and source(sidecar))
    assert "waiting" == found["state"]
    assert {} == sidecar.terms("pod_hours")


def test_other_kinds_end_the_start(site: "Site") -> None:
    """An unknown kind of source ends the start: its usage would stay unbilled."""
    config = site.write(metering={"dimensions": [{"name": "requests", "source": {"statsd": {"metric": "a"}}}]})
    code, log = site.refuse(config)
    assert 2 == code
    assert "metering.dimensions[0].source.statsd" in log
    assert "is not a kind of source" in log
