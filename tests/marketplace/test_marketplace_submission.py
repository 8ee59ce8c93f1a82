"""Any number of usage records, in parts, until each has its outcome."""

import threading
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from sidecar.marketplace import (
    AccessDenied,
    BackOff,
    BatchMeterUsageRequest,
    BatchMeterUsageResult,
    ClientClosed,
    FailedPart,
    InvalidRequest,
    InvalidUsageDimensionException,
    MarketplaceError,
    MeterUsageRequest,
    MeterUsageResult,
    NoAnswer,
    NotSent,
    RegisterUsageRequest,
    RegisterUsageResult,
    ResolveCustomerRequest,
    ResolveCustomerResult,
    Tag,
    ThrottlingException,
    UnknownAnswer,
    UsageAllocation,
    UsageRecord,
    UsageRecordResult,
    UsageRecordResultStatus,
    submit_batch,
)
from tests.marketplace.waiting import HALF, SHORT, START, FakeClock, SetBackClock
from tests.marketplace.watching import Watched

RECORDS = tuple(
    UsageRecord(timestamp=START, dimension="requests", quantity=number, customer_identifier=f"buyer-{number}")
    for number in range(3)
)
REQUEST = BatchMeterUsageRequest(usage_records=(*RECORDS, RECORDS[0]), product_code="code")


class FakeService:
    """A metering service whose batches leave the named quantities unprocessed, or fail; without answers all settle."""

    def __init__(self, *answers: set[int] | MarketplaceError) -> None:
        self.batches: list[list[int | None]] = []
        self._answers = list(answers)

    async def batch_meter_usage(self, request: BatchMeterUsageRequest) -> BatchMeterUsageResult:
        """Give the next answer."""
        self.batches.append([record.quantity for record in request.usage_records])
        answer = self._answers.pop(0) if self._answers else set()
        if isinstance(answer, MarketplaceError):
            raise answer
        return BatchMeterUsageResult(
            results=tuple(settled(record) for record in request.usage_records if record.quantity not in answer),
            unprocessed_records=tuple(record for record in request.usage_records if record.quantity in answer),
        )

    async def register_usage(self, request: RegisterUsageRequest) -> RegisterUsageResult:
        """Refuse: no batch."""
        raise NotImplementedError

    async def meter_usage(self, request: MeterUsageRequest) -> MeterUsageResult:
        """Refuse: no batch."""
        raise NotImplementedError

    async def resolve_customer(self, request: ResolveCustomerRequest) -> ResolveCustomerResult:
        """Refuse: no batch."""
        raise NotImplementedError


def settled(record: UsageRecord) -> UsageRecordResult:
    """Return the success of one record."""
    return UsageRecordResult(
        usage_record=record, status=UsageRecordResultStatus.SUCCESS, metering_record_id=f"id-{record.quantity}"
    )


async def test_unprocessed_records_are_resent() -> None:
    """Only unprocessed records are sent again, as they are, in the order given; progress begins the waits anew."""
    service = FakeService({0, 2}, ThrottlingException(), {0}, set())
    clock = FakeClock()
    done = await submit_batch(service, REQUEST, deadline=START + timedelta(hours=1), clock=clock, back_off=HALF)
    assert [[0, 1, 2, 0], [0, 2, 0], [0, 2, 0], [0, 0]] == service.batches
    assert tuple(settled(record) for record in REQUEST.usage_records) == done.results
    assert ((), ()) == (done.unprocessed_records, done.failed)
    assert [0.5, 1.0, 0.5] == clock.waits


async def test_deadline_returns_the_rest() -> None:
    """At the deadline what was settled is returned next to what was not, which can be sent again later."""
    service = FakeService(*[{0}] * 10)
    done = await submit_batch(service, REQUEST, deadline=START + timedelta(seconds=1), clock=FakeClock(), back_off=HALF)
    assert (settled(RECORDS[1]), settled(RECORDS[2])) == done.results
    assert (RECORDS[0], RECORDS[0]) == done.unprocessed_records
    assert 2 == len(service.batches)


async def test_failure_keeps_what_was_settled() -> None:
    """An error on a later attempt is returned next to the earlier results and does not hide them."""
    refusal = InvalidUsageDimensionException("no such dimension")
    service = FakeService({2}, refusal)
    done = await submit_batch(service, REQUEST, deadline=START + timedelta(hours=1), clock=FakeClock(), back_off=HALF)
    assert [0, 1, 0] == [result.usage_record.quantity for result in done.results]
    assert (RECORDS[2],) == done.unprocessed_records
    assert (FailedPart(usage_records=(RECORDS[2],), error=refusal),) == done.failed


async def test_lost_batch_is_in_doubt() -> None:
    """What a lost answer may have settled stays in doubt until an answer settles it; what never left does not."""
    service = FakeService({0, 2}, NoAnswer(), {0}, ThrottlingException())
    done = await submit_batch(
        service, REQUEST, deadline=START + timedelta(seconds=2.5), clock=FakeClock(), back_off=HALF
    )
    assert ((RECORDS[0], RECORDS[0]), (RECORDS[0], RECORDS[0])) == (done.unprocessed_records, done.in_doubt)
    service = FakeService({0, 2}, NotSent(), {0}, ThrottlingException())
    done = await submit_batch(
        service, REQUEST, deadline=START + timedelta(seconds=2.5), clock=FakeClock(), back_off=HALF
    )
    assert ((RECORDS[0], RECORDS[0]), ()) == (done.unprocessed_records, done.in_doubt)


MANY = BatchMeterUsageRequest(
    usage_records=tuple(
        UsageRecord(timestamp=START, dimension="requests", quantity=number, customer_identifier=f"buyer-{number}")
        for number in range(60)
    ),
    product_code="code",
)


async def test_many_records_go_in_parts() -> None:
    """AWS takes 25 records in one call: 60 are three calls, and the results keep the caller's order."""
    service = FakeService()
    done = await submit_batch(service, MANY, clock=FakeClock())
    assert [list(range(25)), list(range(25, 50)), list(range(50, 60))] == service.batches
    assert tuple(settled(record) for record in MANY.usage_records) == done.results
    assert ((), (), ()) == (done.unprocessed_records, done.in_doubt, done.failed)


async def test_refused_part_costs_no_other() -> None:
    """A part that AWS refuses is given up with its error; the parts before and after it are settled."""
    refusal = InvalidUsageDimensionException("no such dimension")
    service = FakeService(set(), refusal, {55})
    done = await submit_batch(service, MANY, clock=FakeClock(), back_off=HALF)
    assert [25, 25, 10, 1] == [len(batch) for batch in service.batches]
    assert [*range(25), *range(50, 60)] == [result.usage_record.quantity for result in done.results]
    assert MANY.usage_records[25:50] == done.unprocessed_records
    assert (FailedPart(usage_records=MANY.usage_records[25:50], error=refusal),) == done.failed


async def test_throttled_part_is_repeated_with_the_rest() -> None:
    """An error that may pass ends the round: after the wait the open records go, and the failed part last."""
    service = FakeService({3, 4}, ThrottlingException())
    clock = FakeClock()
    done = await submit_batch(service, MANY, clock=clock, back_off=HALF)
    assert [25, 25, 12, 25] == [len(batch) for batch in service.batches]
    assert [3, 4, *range(50, 60)] == service.batches[2]
    assert service.batches[1] == service.batches[3]
    assert tuple(settled(record) for record in MANY.usage_records) == done.results
    assert [0.1, 0.5, 0.1] == clock.waits


async def test_later_parts_cost_the_loop_nothing() -> None:
    """All records are validated on another thread; the loop's thread reads the records of a part when it is due."""
    zones = [Watched() for _ in MANY.usage_records]
    records = tuple(
        replace(record, timestamp=START.replace(tzinfo=zone))
        for record, zone in zip(MANY.usage_records, zones, strict=True)
    )
    read: list[int] = []

    class CountingService(FakeService):
        async def batch_meter_usage(self, request: BatchMeterUsageRequest) -> BatchMeterUsageResult:
            read.append(sum(threading.current_thread() in zone.threads for zone in zones))
            return await super().batch_meter_usage(request)

    await submit_batch(CountingService(), replace(MANY, usage_records=records), clock=FakeClock())
    # The first record of the next part has shown that a part is full.
    assert [26, 51, 60] == read
    assert all(2 == len(zone.threads) for zone in zones)


async def test_parts_begin_apart() -> None:
    """AWS takes 10 calls a second: parts begin a tenth of a second apart, also after a wait of no length."""
    begun: list[datetime] = []

    class WatchedService(FakeService):
        async def batch_meter_usage(self, request: BatchMeterUsageRequest) -> BatchMeterUsageResult:
            begun.append(clock.now())
            return await super().batch_meter_usage(request)

    clock = FakeClock()
    service = WatchedService(set(), ThrottlingException(), ThrottlingException())
    await submit_batch(service, MANY, clock=clock, back_off=BackOff(random=lambda: 0.0))
    assert [START + number * timedelta(seconds=0.1) for number in range(5)] == begun


async def test_last_turn_before_the_deadline_ends() -> None:
    """Parts whose turn comes after the deadline come back at once, also after a wait of no length."""
    service = FakeService(set())
    deadline = START + timedelta(milliseconds=50)
    done = await submit_batch(service, MANY, deadline=deadline, clock=FakeClock(), back_off=BackOff(random=lambda: 0.0))
    assert (25, MANY.usage_records[25:]) == (len(done.results), done.unprocessed_records)


async def test_failing_part_holds_up_no_other() -> None:
    """A part that fails at each attempt leaves the others settled, and keeps its error and its doubt."""
    garbled = UnknownAnswer("a garbled answer")

    class PoisonedService(FakeService):
        async def batch_meter_usage(self, request: BatchMeterUsageRequest) -> BatchMeterUsageResult:
            if MANY.usage_records[3] in request.usage_records:
                raise garbled
            return await super().batch_meter_usage(request)

    deadline = START + timedelta(minutes=1)
    done = await submit_batch(PoisonedService(), MANY, deadline=deadline, clock=FakeClock(), back_off=HALF)
    assert list(range(25, 60)) == [result.usage_record.quantity for result in done.results]
    assert (MANY.usage_records[:25],) * 2 == (done.unprocessed_records, done.in_doubt)
    assert (FailedPart(usage_records=MANY.usage_records[:25], error=garbled),) == done.failed


async def test_each_failed_part_is_named() -> None:
    """At the deadline each record whose last attempt failed has the error of that attempt, in the caller's order."""
    errors: list[set[int] | MarketplaceError] = [ThrottlingException(), NoAnswer(), NotSent(), {3}, NoAnswer()]
    deadline = START + timedelta(seconds=4)
    service = FakeService(*errors)
    done = await submit_batch(service, MANY, deadline=deadline, clock=FakeClock(), back_off=HALF)
    assert [0, 25, 50, 0, 25] == [batch[0] for batch in service.batches]
    assert [(MANY.usage_records[25:50], errors[4]), (MANY.usage_records[50:], errors[2])] == [
        (part.usage_records, part.error) for part in done.failed
    ]
    assert (MANY.usage_records[3], *MANY.usage_records[25:]) == done.unprocessed_records


@pytest.mark.parametrize("lost", [0, 1])
async def test_equal_local_times_are_two_hours(lost: int) -> None:
    """Of two hours with one local time either may be unprocessed: each record keeps its own outcome and its doubt."""
    summer = replace(RECORDS[0], timestamp=datetime(2026, 11, 1, 1, 30, tzinfo=ZoneInfo("America/New_York")))
    hours = (summer, replace(summer, timestamp=summer.timestamp.replace(fold=1)))
    request = replace(REQUEST, usage_records=(*hours, RECORDS[1]))

    class LosingService(FakeService):
        async def batch_meter_usage(self, request: BatchMeterUsageRequest) -> BatchMeterUsageResult:
            answer = await super().batch_meter_usage(request)
            left = request.usage_records[lost : lost + 1]
            settled = answer.results[:lost] + answer.results[lost + 1 :]
            return BatchMeterUsageResult(results=settled, unprocessed_records=left, in_doubt=left)

    done = await submit_batch(LosingService(), request, deadline=START, clock=FakeClock(), back_off=HALF)
    assert [id(hours[1 - lost]), id(RECORDS[1])] == [id(result.usage_record) for result in done.results]
    assert ["id-0", "id-1"] == [result.metering_record_id for result in done.results]
    assert [id(hours[lost])] == [id(record) for record in done.unprocessed_records]
    assert [id(hours[lost])] == [id(record) for record in done.in_doubt]


async def test_missing_permission_ends_the_submission() -> None:
    """An error that concerns the caller would meet every part: the rest is not sent, and is not in doubt."""
    denied = AccessDenied("no permission")
    service = FakeService(set(), denied)
    done = await submit_batch(service, MANY, clock=FakeClock(), back_off=HALF)
    assert 2 == len(service.batches)
    assert (MANY.usage_records[25:], ()) == (done.unprocessed_records, done.in_doubt)
    assert (FailedPart(usage_records=MANY.usage_records[25:50], error=denied),) == done.failed


async def test_closed_client_ends_the_submission() -> None:
    """After the close nothing is sent; what was settled is returned, and a failed part keeps its error and doubt."""
    closed = ClientClosed()
    service = FakeService(set(), closed)
    done = await submit_batch(service, MANY, clock=FakeClock(), back_off=HALF)
    assert 2 == len(service.batches)
    assert (25, MANY.usage_records[25:], ()) == (len(done.results), done.unprocessed_records, done.in_doubt)
    assert (FailedPart(usage_records=MANY.usage_records[25:50], error=closed),) == done.failed
    lost = NoAnswer()
    service = FakeService(lost, closed)
    done = await submit_batch(service, REQUEST, clock=FakeClock(), back_off=HALF)
    assert 2 == len(service.batches)
    assert (FailedPart(usage_records=REQUEST.usage_records, error=lost),) == done.failed
    assert REQUEST.usage_records == done.in_doubt


async def test_deadline_ends_between_parts() -> None:
    """No part begins after the deadline; the parts that were sent keep their results."""

    class SlowService(FakeService):
        async def batch_meter_usage(self, request: BatchMeterUsageRequest) -> BatchMeterUsageResult:
            await clock.sleep_until(clock.now() + timedelta(seconds=10))
            return await super().batch_meter_usage(request)

    clock = FakeClock()
    service = SlowService()
    done = await submit_batch(service, MANY, deadline=START + timedelta(seconds=15), clock=clock, back_off=HALF)
    assert 2 == len(service.batches)
    assert (50, MANY.usage_records[50:]) == (len(done.results), done.unprocessed_records)


async def test_clock_set_back_delays_nothing() -> None:
    """A wait lasts no longer than its window, though the clock is set back by an hour meanwhile."""
    service = FakeService({0}, ThrottlingException("slow down"))
    done = await submit_batch(service, REQUEST, clock=SetBackClock(), back_off=SHORT)
    assert (3, ()) == (len(service.batches), done.unprocessed_records)


async def test_late_wake_up_sends_nothing() -> None:
    """A machine that slept past the deadline sends no further part; what was settled is returned."""
    service = FakeService({0}, set())
    clock = FakeClock(late=timedelta(hours=2))
    done = await submit_batch(service, REQUEST, deadline=START + timedelta(hours=1), clock=clock, back_off=HALF)
    assert (1, 2) == (len(service.batches), len(done.results))


async def test_deadline_needs_an_offset() -> None:
    """A deadline without an offset is a fault of the request, and no part is sent."""
    service = FakeService()
    with pytest.raises(InvalidRequest, match="deadline must be a datetime with an offset from UTC"):
        await submit_batch(service, REQUEST, deadline=START.replace(tzinfo=None))
    assert [] == service.batches


async def test_large_records_go_apart() -> None:
    """A part stays under AWS's megabyte, two of these records fit."""
    allocations = tuple(
        UsageAllocation(allocated_usage_quantity=1, tags=(Tag("tenant", f"{number:0256}"),)) for number in range(1500)
    )
    record = UsageRecord(
        timestamp=START,
        dimension="requests",
        quantity=1500,
        customer_identifier="buyer",
        usage_allocations=allocations,
    )
    service = FakeService()
    done = await submit_batch(
        service, BatchMeterUsageRequest(usage_records=(record,) * 3, product_code="code"), clock=FakeClock()
    )
    assert [2, 1] == [len(batch) for batch in service.batches]
    assert 3 == len(done.results)


async def test_faulty_record_is_raised_before_anything_is_sent() -> None:
    """One faulty record among many is named by its place, and no part is sent."""
    service = FakeService()
    records = (*MANY.usage_records, UsageRecord(timestamp=START, dimension="", quantity=1, customer_identifier="buyer"))
    with pytest.raises(InvalidRequest, match=r"UsageRecords\[60\]\.Dimension") as caught:
        await submit_batch(service, BatchMeterUsageRequest(usage_records=records, product_code="code"))
    assert 1 == len(caught.value.faults)
    assert [] == service.batches


async def test_second_record_of_an_hour_is_faulty() -> None:
    """AWS counts one record of a customer's hour: a second one is refused, also if it would go with another part."""
    service = FakeService(ThrottlingException())
    records = (*MANY.usage_records, replace(MANY.usage_records[0], timestamp=START + timedelta(minutes=1)))
    with pytest.raises(InvalidRequest, match=r"UsageRecords\[60\] has the .* hour of UsageRecords\[0\].* the sum$"):
        await submit_batch(service, replace(MANY, usage_records=records))
    assert [] == service.batches


async def test_record_over_a_megabyte_is_faulty() -> None:
    """A record that fits into no call is refused."""
    tags = tuple(Tag(f"key-{number}", "v" * 256) for number in range(5))
    allocations = tuple(
        UsageAllocation(allocated_usage_quantity=1, tags=(*tags[:4], Tag("key-4", f"{number:0256}")))
        for number in range(2500)
    )
    record = UsageRecord(
        timestamp=START,
        dimension="requests",
        quantity=2500,
        customer_identifier="buyer",
        usage_allocations=allocations,
    )
    with pytest.raises(InvalidRequest, match=r"UsageRecords\[0\] must be less than 1000000 bytes"):
        await submit_batch(FakeService(), BatchMeterUsageRequest(usage_records=(record,), product_code="code"))


async def test_no_records_need_no_call() -> None:
    """An empty submission is over without a call."""
    service = FakeService()
    done = await submit_batch(service, BatchMeterUsageRequest(usage_records=()))
    assert ((), ()) == (done.results, done.unprocessed_records)
    assert [] == service.batches
