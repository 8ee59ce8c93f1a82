"""A drain in which AWS refuses a record, or does not answer: what waits behind it, and what is left without an hour."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sidecar.domain.metering.events import Dimension
from sidecar.domain.metering.records import UnbilledReason
from sidecar.marketplace import MeterUsageRequest
from sidecar.marketplace.errors import NoAnswer
from sidecar.marketplace.service_errors import ThrottlingException, TimestampOutOfBoundsException
from sidecar.services.submitter import MAX_CONCURRENT
from tests.support.books import HOUR, MINUTE, NOW, RULES, event
from tests.support.tools import PATIENCE

if TYPE_CHECKING:
    from tests.services.conftest import Metering


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.services.submitter.DRAIN_RETRY_SECONDS", 0.0)


async def drain_until_hour(
    metering: "Metering", hour: int, call: Callable[[MeterUsageRequest], Awaitable[object]], *, ending: bool
) -> None:
    """Drain until a record of `hour` is sent, then cut the drain off; `call` answers the others."""
    sent = asyncio.Event()

    async def answer(request: MeterUsageRequest) -> None:
        if request.timestamp.hour == hour:
            sent.set()
        else:
            await call(request)

    metering.marketplace.wait = answer
    await drain_until(metering, sent, ending=ending)


async def drain_until(metering: "Metering", reached: asyncio.Event, *, ending: bool) -> None:
    """Drain until `reached`, then cut the drain off."""
    drain = asyncio.create_task(metering.submitter.drain(ending=ending))
    async with asyncio.timeout(PATIENCE):
        await reached.wait()
        await metering.clock.settle()
    drain.cancel()
    await asyncio.wait([drain])


async def refuse_oldest(request: MeterUsageRequest) -> None:
    """Answer one record with nothing that proves anything, as a proxy does that takes no large body."""
    if request.timestamp.hour == 8:
        raise NoAnswer("413 without an error of the service")


@pytest.mark.parametrize(("ending", "hour"), [(False, 9), (True, 10)])
async def test_record_without_answer_blocks_no_hour(metering: "Metering", hour: int, *, ending: bool) -> None:
    """A record that never gets a usable answer keeps no later hour of its dimension from being sent."""
    metering.use(event("1", at=NOW - 2 * HOUR), event("5", at=NOW - HOUR), event("7"))
    await drain_until_hour(metering, hour, refuse_oldest, ending=ending)
    taken = {request.usage_quantity_as_decimal for request in metering.marketplace.taken.values()}
    assert ("1", {"5", "7"} if ending else {"5"}) == (metering.books.shown()["sealed"], taken)


async def test_open_hour_takes_refused_usage(metering: "Metering") -> None:
    """Late usage that AWS refuses for its own hour is sent with the open hour, which is sealed after the refusal."""
    metering.use(event("5"))
    await metering.submitter.drain(ending=False)
    metering.marketplace.says("requests", TimestampOutOfBoundsException())
    metering.use(event("7", at=NOW - HOUR))
    await metering.submitter.drain(ending=True)
    assert [("requests", 9, "7"), ("requests", 10, "12")] == metering.sent
    assert {"accepted": "12", "submitted": "12"} == metering.books.shown()


async def test_silence_delays_no_open_hour(metering: "Metering", monkeypatch: pytest.MonkeyPatch) -> None:
    """Late usage without an answer keeps the open hour waiting for a short while only."""
    monkeypatch.setattr("sidecar.services.submitter.LATE_USAGE_SECONDS", 0.02)

    async def hang(_: MeterUsageRequest) -> None:
        await asyncio.Event().wait()

    metering.use(event("7", at=NOW - HOUR), event("5"))
    await drain_until_hour(metering, 10, hang, ending=True)
    assert {"accepted": "12", "submitted": "5", "sealed": "7"} == metering.books.shown()


async def test_silence_delays_no_open_hour_of_many(metering: "Metering", monkeypatch: pytest.MonkeyPatch) -> None:
    """Late usage of more dimensions than there are calls at a time goes before no open hour either."""
    monkeypatch.setattr("sidecar.services.submitter.LATE_USAGE_SECONDS", 0.02)
    names = [f"d{number}" for number in range(3 * MAX_CONCURRENT)]
    metering.make(replace(RULES, dimensions={name: Dimension(name) for name in names}, report_zero=False))
    every = asyncio.Event()

    async def answer(request: MeterUsageRequest) -> None:
        if request.timestamp.hour == 9:
            await asyncio.Event().wait()
        if len({sent for sent, hour, _ in metering.sent if hour == 10}) == len(names):
            every.set()

    metering.marketplace.wait = answer
    metering.use(*(event("7", dimension=name, at=NOW - HOUR) for name in names))
    metering.use(*(event("5", dimension=name) for name in names))
    await drain_until(metering, every, ending=True)
    assert {"5"} == {metering.books.shown(name)["submitted"] for name in names}


async def test_late_call_begins_early_or_not(metering: "Metering", monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the open hour no call begins that would be cut off: a record whose call was sent is in doubt then."""
    monkeypatch.setattr("sidecar.services.submitter.LATE_STARTS_SECONDS", 0.0)
    metering.use(event("7", at=NOW - HOUR), event("5"))
    await metering.submitter.drain(ending=True)
    assert [10, 9] == [hour for _, hour, _ in metering.sent]


@pytest.mark.parametrize("open_usage", ["0", "5"], ids=["empty hour", "hour edge"])
async def test_refused_later_takes_a_free_hour(metering: "Metering", open_usage: str) -> None:
    """Usage that AWS refuses in the second try is sent in the open hour, if that has none of its own or began since."""
    answers = [ThrottlingException(), TimestampOutOfBoundsException()]

    async def answer(request: MeterUsageRequest) -> None:
        if request.timestamp.hour == 9:
            fault = answers.pop(0)
            if open_usage != "0" and not answers:
                metering.clock.step(timedelta(seconds=2))
            raise fault

    metering.marketplace.wait = answer
    await metering.until(10, 59, 59)
    metering.use(event("7", at=metering.clock.now() - HOUR))
    if open_usage != "0":
        metering.use(event(open_usage))
    await metering.submitter.drain(ending=True)
    total = str(7 + int(open_usage))
    assert {"accepted": total, "submitted": total} == metering.books.shown()


async def test_tried_record_delays_no_open_hour(metering: "Metering") -> None:
    """A record that the drain has tried in vain does not keep the open hour waiting."""

    async def no_answer(_: MeterUsageRequest) -> None:
        raise NoAnswer("the connection was dropped")

    metering.use(event("7", at=NOW - HOUR), event("5"))
    await drain_until_hour(metering, 9, no_answer, ending=False)
    metering.marketplace.requests.clear()
    await drain_until_hour(metering, 10, no_answer, ending=True)
    assert ("requests", 10, "5") == metering.sent[0]


async def test_usage_after_the_end_is_kept(metering: "Metering") -> None:
    """What AWS refuses after the open hour was sealed is unbilled, with an error; the next pod carries it."""
    answers = [ThrottlingException(), TimestampOutOfBoundsException()]

    async def answer(request: MeterUsageRequest) -> None:
        if request.timestamp.hour == 9:
            raise answers.pop(0)

    metering.marketplace.wait = answer
    metering.use(event("7", at=NOW - HOUR), event("5"))
    with capture_logs() as lines:
        await metering.submitter.drain(ending=True)
    kept = metering.books.shown()
    (line,) = [line for line in lines if line["event"] == "metering.after_end"]
    metering.books.pass_time(10 * MINUTE)
    metering.books.restart("pod-2")
    assert {"accepted": "12", "submitted": "5", "unbilled": "7"} == kept
    assert ("error", "requests", "7") == (line["log_level"], line["dimension"], line["quantity"])
    assert {"accepted": "12", "submitted": "5", "open": "7"} == metering.books.shown()


async def test_end_cut_after_refusal(metering: "Metering") -> None:
    """The usage of a refused record is kept immediately, because the end may come before another dimension's answer."""

    async def answer(request: MeterUsageRequest) -> None:
        if request.usage_dimension == "peak":
            await asyncio.Event().wait()
        raise TimestampOutOfBoundsException

    metering.use(event("7"), event("5", dimension="peak"))
    metering.marketplace.wait = answer
    drain = asyncio.create_task(metering.submitter.drain(ending=True))
    await metering.clock.settle()
    drain.cancel()
    await asyncio.wait([drain])
    assert ("unbilled", UnbilledReason.AFTER_END) in metering.statuses()
    assert {} == metering.books.buckets()
