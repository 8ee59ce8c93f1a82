"""Finished hours on their way to AWS: when, in which order, and exactly what is sent."""

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from sidecar.domain.entitlement.states import State
from sidecar.domain.metering.events import Dimension
from sidecar.domain.metering.hours import hour_of
from sidecar.domain.metering.records import FrozenRecord, Record
from sidecar.domain.metering.schedule import due_at
from sidecar.domain.policy import LatePolicy
from sidecar.marketplace import MeterUsageRequest, MeterUsageResult, Tag, UsageAllocation
from sidecar.marketplace.errors import NoAnswer
from sidecar.marketplace.service_errors import InternalServiceErrorException, ThrottlingException
from sidecar.services.meter_request import LARGE_RECORD, meter_request
from tests.support.books import BLUE, HOUR, MINUTE, NOW, RED, RULES, WHOLE, event

if TYPE_CHECKING:
    from tests.services.conftest import Metering

AT_ONCE = replace(RULES, spread=timedelta())


async def test_sent_once_settled(metering: "Metering") -> None:
    """An hour is submitted at this pod's own instant of the spread after it has ended and settled, and only once."""
    await metering.start()
    metering.use(event("5"))
    due = due_at(hour_of(NOW), pod="pod-1", dimension="requests", settle=RULES.settle, spread=RULES.spread)
    await metering.clock.advance(due - metering.clock.now() - timedelta(microseconds=1))
    assert [] == metering.sent
    await metering.until(18)
    assert [due] == metering.marketplace.called_at
    assert {"accepted": "5", "submitted": "5"} == metering.books.shown()


async def test_request_is_the_record(metering: "Metering") -> None:
    """The request carries the frozen record and nothing else."""
    await metering.start()
    metering.use(event("5.5", tags=(("Team", "red"), ("Unit", "7"))), event("2"))
    await metering.until(11, 30)
    token = metering.books.records()[0].client_token
    expected = MeterUsageRequest(
        product_code="0abc123example",
        timestamp=NOW,
        usage_dimension="requests",
        usage_quantity_as_decimal="7.5",
        usage_allocations=(
            UsageAllocation(allocated_usage_quantity_as_decimal="2"),
            UsageAllocation(allocated_usage_quantity_as_decimal="5.5", tags=(Tag("Team", "red"), Tag("Unit", "7"))),
        ),
        client_token=token,
    )
    assert [expected] == metering.marketplace.requests


@pytest.mark.parametrize("tag_sets", [1, LARGE_RECORD])
async def test_large_record_put_together_elsewhere(
    metering: "Metering", monkeypatch: pytest.MonkeyPatch, tag_sets: int
) -> None:
    """The request of a record with many allocations is put together on another thread than the loop's."""
    threads: list[threading.Thread] = []

    def make(record: Record, frozen: FrozenRecord) -> MeterUsageRequest:
        threads.append(threading.current_thread())
        return meter_request(record, frozen)

    monkeypatch.setattr("sidecar.services.meter_request.meter_request", make)
    await metering.start()
    metering.use(*(event("1", tags=(("Tenant", f"t{number}"),)) for number in range(tag_sets)))
    await metering.until(11, 30)
    while not metering.marketplace.requests:  # noqa: ASYNC110 - the thread sends no signal
        await asyncio.sleep(0)
    (request,) = metering.marketplace.requests
    assert (tag_sets, str(tag_sets)) == (len(request.usage_allocations or ()), request.usage_quantity_as_decimal)
    assert [tag_sets >= LARGE_RECORD] == [thread is not threading.main_thread() for thread in threads]


async def test_whole_numbers_sent_whole(metering: "Metering") -> None:
    """In whole numbers the quantity and every allocation are integers of the request, and no decimal goes along."""
    await metering.start(WHOLE)
    metering.use(event("5.7", tags=RED), event("2.4", tags=BLUE))
    await metering.until(11, 30)
    (request,) = metering.marketplace.requests
    assert (8, None) == (request.usage_quantity, request.usage_quantity_as_decimal)
    assert [1, 5, 2] == [share.allocated_usage_quantity for share in request.usage_allocations or ()]
    assert {None} == {share.allocated_usage_quantity_as_decimal for share in request.usage_allocations or ()}


async def test_oldest_hour_first(metering: "Metering") -> None:
    """Within a dimension the hours go in their order; a later one waits while the oldest is not taken."""
    metering.use(*(event(str(hours), at=NOW - hours * HOUR) for hours in (1, 3, 2)))
    metering.marketplace.says("requests", ThrottlingException(), ThrottlingException())
    await metering.start(AT_ONCE)
    await metering.until(10, 59)
    assert [7, 7, 7, 8, 9] == [hour for _, hour, _ in metering.sent]


async def test_dimensions_do_not_wait(metering: "Metering") -> None:
    """A dimension that AWS does not take holds up no other."""
    metering.marketplace.always["peak"] = ThrottlingException()
    await metering.start()
    metering.use(event("1"), event("2", dimension="peak"), event("3", dimension="level"))
    await metering.until(12)
    assert {"requests": "submitted", "peak": "sealed", "level": "submitted"} == {
        name: next(term for term in metering.books.shown(name) if term != "accepted")
        for name in ("requests", "peak", "level")
    }


@pytest.mark.parametrize("error", [ThrottlingException(), InternalServiceErrorException()])
async def test_back_off_grows(metering: "Metering", error: ThrottlingException) -> None:
    """Retries wait in windows that double up to five minutes, with full jitter; a success starts them anew."""
    metering.marketplace.says("requests", *[error] * 8)
    await metering.start(AT_ONCE)
    metering.use(event("5"))
    await metering.until(12)
    assert [2.5, 5, 10, 20, 40, 80, 150, 150] == metering.waits()
    metering.marketplace.says("requests", error)
    metering.use(event("1"))
    await metering.until(14)
    assert 2.5 == metering.waits()[-1]


async def test_retry_is_verbatim(metering: "Metering") -> None:
    """After time-outs and a restart the same request goes out, token and all, whatever has come in between."""
    metering.marketplace.says("requests", NoAnswer("timed out"), NoAnswer("timed out"))
    await metering.start(AT_ONCE)
    metering.use(event("5", tags=RED))
    await metering.until(11, 2, 4)
    metering.use(event("3", at=NOW), event("9", tags=BLUE, at=NOW))
    await metering.start(AT_ONCE)
    await metering.until(11, 30)
    requests = metering.marketplace.requests
    assert [requests[0]] * 3 == requests
    assert {"accepted": "17", "open": "12", "submitted": "5"} == metering.books.shown()


async def test_lost_answer_counts_once(metering: "Metering") -> None:
    """A record that AWS took while its answer was lost is sent again and counted once."""
    metering.marketplace.drops.add("requests")
    await metering.start(AT_ONCE)
    metering.use(event("5"))
    await metering.until(12)
    assert (2, 1) == (len(metering.marketplace.requests), len(metering.marketplace.taken))
    assert {"accepted": "5", "submitted": "5"} == metering.books.shown()


async def test_kill_between_send_and_answer(metering: "Metering") -> None:
    """A process that dies while AWS works on its call leaves an attempt that the next one repeats as it was."""
    hold = asyncio.Event()
    metering.marketplace.wait = lambda _: hold.wait()
    await metering.start(AT_ONCE)
    metering.use(event("5"))
    await metering.until(11, 10)
    await metering.kill()
    assert [(1, 1)] == [(record.attempts, record.unanswered) for record in metering.books.waiting()]
    hold.set()
    await metering.start(AT_ONCE)
    assert [metering.marketplace.requests[0]] * 2 == metering.marketplace.requests
    assert {"accepted": "5", "submitted": "5"} == metering.books.shown()


async def test_zero_every_hour(metering: "Metering") -> None:
    """While the gate is open every hour is reported for every dimension, with 0 when idle."""
    metering.gate.state = State.ENTITLED
    await metering.start()
    await metering.until(12, 30)
    assert sorted((name, hour, "0") for name in RULES.dimensions for hour in (10, 11)) == sorted(metering.sent)


@pytest.mark.parametrize(
    ("state", "report_zero", "reported"),
    [
        (State.ENTITLED, True, True),
        (State.ENTITLED, False, False),
        (State.PENDING, True, False),
        (State.DENIED, True, False),
        (State.UNAVAILABLE, True, False),
        (State.SUSPENDED, True, True),
        (State.SUSPENDED, False, True),
    ],
)
async def test_idle_hours_reported_when(
    metering: "Metering",
    state: State,
    report_zero: bool,  # noqa: FBT001 - a table's column
    reported: bool,  # noqa: FBT001 - a table's column
) -> None:
    """Zeros are for open gates; while suspended they ask AWS every hour whether the buyer is back."""
    metering.gate.state = state
    await metering.start(replace(RULES, report_zero=report_zero))
    await metering.until(11, 30)
    assert reported == bool(metering.sent)
    assert [True] * (4 if reported else 0) == metering.gate.told_so


async def test_pace_under_quota(metering: "Metering") -> None:
    """A pod with much to send starts with a burst of one hour's dimensions and then keeps its distance."""
    names = [f"d{number:02}" for number in range(40)]
    rules = replace(AT_ONCE, dimensions={name: Dimension(name) for name in names})
    metering.books.rules = rules
    metering.use(*(event("1", dimension=name) for name in names))
    await metering.start(rules)
    await metering.until(11, 30)
    assert 40 == len(metering.sent)
    assert [0.0] * 23 + [0.5] * 16 == metering.waits()


async def test_outage_then_carry(metering: "Metering") -> None:
    """Through an outage longer than the window the quantity is carried on, and sent once AWS answers again."""
    metering.marketplace.always["requests"] = ThrottlingException()
    await metering.start()
    metering.use(event("5", tags=RED))
    await metering.until(19)
    metering.use(event("1"))
    del metering.marketplace.always["requests"]
    await metering.clock.advance(timedelta(hours=3))
    assert {"accepted": "6", "submitted": "6"} == metering.books.shown()
    assert [("carried", None), ("accepted", None)] == metering.statuses()
    assert 1 == len(metering.marketplace.taken)


async def test_outage_in_doubt(metering: "Metering") -> None:
    """What may have been taken before the window closed is kept in doubt, and never sent in another hour."""
    metering.marketplace.always["requests"] = NoAnswer("timed out")
    await metering.start()
    metering.use(event("5"))
    await metering.until(20)
    del metering.marketplace.always["requests"]
    await metering.clock.advance(timedelta(hours=6))
    assert [("unbilled", "in-doubt")] == metering.statuses()
    assert {10} == {hour for _, hour, _ in metering.sent}


async def test_no_attempt_after_window(metering: "Metering") -> None:
    """A record whose window closed while the process was down is not tried any more."""
    metering.use(event("5"))
    metering.clock.step(timedelta(hours=20))
    await metering.start()
    assert [] == metering.sent
    assert {"accepted": "5", "open": "5"} == metering.books.shown()


async def test_hours_in_turn(metering: "Metering") -> None:
    """Over a day each hour is sent once, after its end and within the hour that follows."""
    await metering.start()
    for hours in range(24):
        metering.use(event("1", id=str(hours)))
        await metering.clock.advance(HOUR)
    await metering.clock.advance(HOUR)
    starts = [request.timestamp.replace(minute=0) for request in metering.marketplace.requests]
    first = datetime(2026, 11, 23, 10, tzinfo=UTC)
    assert [first + hours * HOUR for hours in range(24)] == starts
    for start, called_at in zip(starts, metering.marketplace.called_at, strict=True):
        assert timedelta(minutes=62) <= called_at - start <= timedelta(minutes=82)


@pytest.mark.parametrize("window", [timedelta(hours=6), timedelta(hours=5, minutes=30)], ids=["whole", "half"])
@pytest.mark.parametrize("left", [9, 2])
async def test_last_usage_of_a_window_is_submitted(metering: "Metering", window: timedelta, left: int) -> None:
    """Usage of an hour that nothing has sealed is submitted if it comes some minutes before its window closes."""
    await metering.start(replace(RULES, late=LatePolicy.UNBILLED, report_zero=False, window=window))
    used_at = metering.clock.now() - HOUR
    closes_at = used_at.replace(minute=0) + window
    await metering.clock.advance(closes_at - metering.clock.now() - left * MINUTE)
    metering.use(event("5", at=used_at))
    await metering.clock.advance(HOUR)
    assert ([("accepted", None)], [True]) == (
        metering.statuses(),
        [called_at < closes_at for called_at in metering.marketplace.called_at],
    )


async def test_slow_answer_delays_no_last_call(metering: "Metering", monkeypatch: pytest.MonkeyPatch) -> None:
    """A call without an answer over the minute before a window closes keeps no other dimension's usage."""
    window = timedelta(hours=5, minutes=30)
    dimensions = {**RULES.dimensions, "peak": Dimension("peak")}
    rules = replace(RULES, dimensions=dimensions, late=LatePolicy.UNBILLED, report_zero=False, window=window)
    await metering.start(rules)
    used_at = metering.clock.now() - HOUR
    closes_at = used_at.replace(minute=0) + window
    await metering.clock.advance(closes_at - metering.clock.now() - timedelta(seconds=75))
    await metering.kill()
    answer = metering.marketplace.meter_usage

    async def answer_late(asked: MeterUsageRequest) -> MeterUsageResult:
        if asked.usage_dimension == "peak":
            await metering.clock.sleep_until(metering.clock.now() + timedelta(seconds=20))
        return await answer(asked)

    monkeypatch.setattr(metering.marketplace, "meter_usage", answer_late)
    metering.use(event("1", dimension="peak", at=metering.clock.now() - 2 * HOUR))
    await metering.start(rules)
    await metering.clock.advance(timedelta(seconds=5))
    metering.use(event("5", at=used_at))
    await metering.clock.advance(HOUR)
    assert [("accepted", None)] * 2 == metering.statuses()
