"""The pod's end, broken disks and clocks that jump."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sidecar.domain.entitlement.states import State
from sidecar.domain.metering.events import Dimension
from sidecar.marketplace.errors import NoAnswer
from sidecar.marketplace.service_errors import ThrottlingException
from tests.support.books import HOUR, MINUTE, NOW, RED, RULES, WHOLE, event
from tests.support.tools import PATIENCE

if TYPE_CHECKING:
    from tests.services.conftest import Metering

AT_ONCE = replace(RULES, spread=timedelta())


async def test_drain_sends_ended_hours(metering: "Metering") -> None:
    """A drain sends what has ended without waiting for its turn, and leaves the open hour alone."""
    metering.use(event("5", at=NOW - HOUR), event("2"))
    await metering.submitter.drain(ending=False)
    assert [("requests", 9, "5")] == metering.sent
    assert {("requests", 10, ()): "2"} == metering.books.buckets()


async def test_ending_sends_open_hour(metering: "Metering") -> None:
    """At the pod's end the open hour is sealed and sent too, because no later process can do it."""
    metering.use(event("5", at=NOW - HOUR), event("2"), event("3", dimension="peak"))
    await metering.submitter.drain(ending=True)
    assert [("peak", 10, "3"), ("requests", 9, "5"), ("requests", 10, "2")] == sorted(metering.sent)
    assert {"accepted": "7", "submitted": "7"} == metering.books.shown()


async def test_ending_sends_what_is_ahead(metering: "Metering") -> None:
    """What is dated a few minutes ahead, into the next hour, goes with the open hour: AWS takes no future."""
    metering.clock.step(35 * MINUTE)
    metering.use(event("2"), event("3", at=NOW + 45 * MINUTE))
    await metering.submitter.drain(ending=True)
    assert [("requests", 10, "5")] == metering.sent


async def test_ending_burns_no_zero(metering: "Metering") -> None:
    """A zero is reported for hours that have ended, never for the open one."""
    metering.gate.state = State.ENTITLED
    await metering.start()
    await metering.until(11, 1)
    await metering.kill()
    metering.use(event("0", dimension="peak"))
    await metering.submitter.drain(ending=True)
    assert sorted((name, 10, "0") for name in RULES.dimensions) == sorted(metering.sent)
    metering.use(event("4", dimension="peak"))
    assert {("peak", 11, ()): "4"} == metering.books.buckets()


async def test_restart_burns_nothing(metering: "Metering") -> None:
    """A container restarted inside its pod leaves the open hour open, and the hour is sent whole."""
    await metering.start()
    metering.use(event("2"))
    await metering.clock.advance(5 * MINUTE)
    await metering.start()
    metering.use(event("3"))
    await metering.until(12)
    assert [("requests", 10, "5")] == metering.sent


async def test_life_after_ending(metering: "Metering") -> None:
    """When the pod lives on after its end was announced, usage goes into the next hour and nothing is sent twice."""
    metering.use(event("2"))
    await metering.submitter.drain(ending=True)
    await metering.start()
    metering.use(event("3"), event("4", at=NOW))
    await metering.until(13)
    assert [("requests", 10, "2"), ("requests", 11, "7")] == metering.sent


async def test_drain_repeats_verbatim(metering: "Metering") -> None:
    """A drain tries again what is not taken, with the same request, until nothing waits."""
    metering.marketplace.says("requests", ThrottlingException(), NoAnswer(), ThrottlingException())
    metering.use(event("5"))
    await metering.submitter.drain(ending=True)
    assert [metering.marketplace.requests[0]] * 4 == metering.marketplace.requests
    assert {"accepted": "5", "submitted": "5"} == metering.books.shown()


async def test_drain_cut_short(metering: "Metering") -> None:
    """A drain that is cut short leaves everything on the ledger for the next process."""
    metering.marketplace.always["requests"] = NoAnswer()
    metering.use(event("5"))
    called = asyncio.Event()

    async def hang(_: object) -> None:
        called.set()
        await asyncio.Event().wait()

    metering.marketplace.wait = hang
    drain = asyncio.create_task(metering.submitter.drain(ending=True))
    await called.wait()
    drain.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drain
    assert {"accepted": "5", "sealed": "5"} == metering.books.shown()
    metering.marketplace.wait = None
    metering.marketplace.always.clear()
    await metering.start(AT_ONCE)
    await metering.until(11, 30)
    assert {metering.marketplace.requests[0].client_token} == {r.client_token for r in metering.marketplace.requests}
    assert {"accepted": "5", "submitted": "5"} == metering.books.shown()


@pytest.mark.parametrize(
    "step", ["mark_reportable", "rebook_future_hours", "sealable", "seal", "waiting", "begin", "settle", "prune"]
)
async def test_broken_disk_recovers(metering: "Metering", step: str) -> None:
    """Whichever step the disk refuses, the loop lives on, and the hour is sent once with one request."""
    metering.gate.state = State.ENTITLED
    await metering.start(replace(AT_ONCE, report_zero=False, dimensions={"requests": Dimension("requests")}))
    metering.use(event("5"))
    await metering.until(10, 59)
    if step == "mark_reportable":
        metering.gate.state = State.SUSPENDED
    metering.shelf.failing = [step, step]
    await metering.until(13)
    assert [] == metering.shelf.failing
    mine = [request for request in metering.marketplace.requests if request.usage_quantity_as_decimal == "5"]
    assert [mine[0]] * len(mine) == mine
    assert {"accepted": "5", "submitted": "5"} == metering.books.shown()


async def test_clock_back_frees_back_off(metering: "Metering") -> None:
    """A dimension that was to wait by a clock that was ahead does not wait for as long as the clock went back."""
    metering.clock.step(timedelta(days=2))
    metering.marketplace.says("requests", ThrottlingException())
    metering.use(event("1", at=metering.clock.now() - HOUR))
    await metering.start(AT_ONCE)
    await metering.kill()
    metering.clock.step(timedelta(days=-2, hours=-1))
    metering.use(event("7", at=metering.clock.now() - HOUR))
    metering.process = asyncio.create_task(metering.submitter.run())
    await metering.clock.advance(timedelta(seconds=1))
    assert [("requests", 8, "7")] == metering.sent[1:]


async def test_clock_back_frees_pace(metering: "Metering") -> None:
    """The pace that was kept by a clock that was ahead delays no call once it has gone back."""
    names = [f"d{number}" for number in range(24)]
    rules = replace(AT_ONCE, dimensions=dict(RULES.dimensions) | {name: Dimension(name) for name in names})
    metering.books.rules = rules
    metering.clock.step(timedelta(days=2))
    metering.use(*(event("1", dimension=name, at=metering.clock.now() - HOUR) for name in names))
    await metering.start(rules)
    await metering.kill()
    metering.clock.step(timedelta(days=-2, hours=-1))
    metering.use(event("7", at=metering.clock.now() - HOUR))
    metering.process = asyncio.create_task(metering.submitter.run())
    await metering.clock.advance(timedelta(seconds=1))
    assert [("requests", 8, "7")] == metering.sent[24:]


async def test_clock_back_ends_sleep(metering: "Metering") -> None:
    """A loop that sleeps while the clock goes back by a day looks again in real time, not a day later."""
    metering.make(AT_ONCE, longest_sleep=timedelta(milliseconds=10))
    metering.process = asyncio.create_task(metering.submitter.run())
    await metering.clock.sleeper()
    metering.clock.step(timedelta(days=-1))
    metering.use(event("7", at=metering.clock.now() - HOUR))
    called = asyncio.Event()

    async def note(_: object) -> None:
        called.set()

    metering.marketplace.wait = note
    async with asyncio.timeout(PATIENCE):
        await called.wait()
    assert [("requests", 9, "7")] == metering.sent


async def test_clock_ahead_then_back(metering: "Metering") -> None:
    """Usage of a time that was wrong by days is sent with the current hour, once the clock is right."""
    metering.clock.step(timedelta(days=2))
    metering.use(event("5"))
    metering.clock.step(timedelta(days=-2))
    await metering.start()
    metering.use(event("1"))
    await metering.until(12)
    assert [("requests", 10, "6")] == metering.sent


@pytest.mark.parametrize(("quantity", "sent", "left"), [("5.6", ["5"], "0.6"), ("0.6", [], "0.6"), ("5", ["5"], None)])
async def test_ending_reports_fractions(metering: "Metering", quantity: str, sent: list[str], left: str | None) -> None:
    """The fraction that whole numbers leave at the pod's end is reported in one line, by dimension."""
    metering.make(WHOLE)
    metering.use(event(quantity, tags=RED))
    with capture_logs() as lines:
        await metering.submitter.drain(ending=False)
        await metering.submitter.drain(ending=True)
        await metering.submitter.drain(ending=True)
    told = [line["quantities"] for line in lines if line["event"] == "metering.left_unsent"]
    assert ([] if left is None else [{"requests": left}]) == told
    assert sent == [str(request.usage_quantity) for request in metering.marketplace.requests]
    assert (left is None) == (not metering.submitter.left_unsent)
