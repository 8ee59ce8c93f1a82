"""The one layer that repeats calls."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sidecar.marketplace import (
    AccessDenied,
    BackOff,
    BatchMeterUsageRequest,
    BatchMeterUsageResult,
    CredentialsMissing,
    CustomerNotEntitledException,
    InternalServiceErrorException,
    InvalidRequest,
    InvalidUsageDimensionException,
    MarketplaceError,
    MeterUsageRequest,
    MeterUsageResult,
    NoAnswer,
    NotSent,
    RegisterUsageRequest,
    RegisterUsageResult,
    RequestFault,
    ResolveCustomerRequest,
    ResolveCustomerResult,
    Taken,
    ThrottlingException,
    TimestampOutOfBoundsException,
    UnknownAnswer,
    UsageRecord,
    UsageRecordResult,
    UsageRecordResultStatus,
    call,
    submit_batch,
)

START = datetime(2026, 11, 23, 10, tzinfo=UTC)
HALF = BackOff(draw=lambda: 0.5)


class FakeClock:
    """Time that passes only by waiting."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self._now = START

    def now(self) -> datetime:
        """Return the instant to which waiting has led."""
        return self._now

    async def sleep_until(self, instant: datetime) -> None:
        """Be at `instant`."""
        self.waits.append((instant - self._now).total_seconds())
        self._now = max(self._now, instant)


def failing(*errors: MarketplaceError) -> Callable[[], Awaitable[str]]:
    """Return an operation that fails so often and then succeeds."""
    left = list(errors)

    async def operation() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return operation


@pytest.mark.parametrize(
    "error",
    [
        ThrottlingException(),
        InternalServiceErrorException(),
        NoAnswer(),
        NotSent(),
        CredentialsMissing(),
        UnknownAnswer(),
    ],
)
async def test_transient_errors_repeat(error: MarketplaceError) -> None:
    """What may pass is tried again after a jittered wait from a doubling window."""
    clock = FakeClock()
    operation = failing(error, error, error)
    assert "done" == await call(operation, deadline=START + timedelta(minutes=30), clock=clock, back_off=HALF)
    assert [0.5, 1.0, 2.0] == clock.waits


@pytest.mark.parametrize(
    "error",
    [
        CustomerNotEntitledException(),
        AccessDenied(),
        TimestampOutOfBoundsException(),
        InvalidRequest([RequestFault("ProductCode", "must be text")]),
    ],
)
async def test_final_errors_end_at_once(error: MarketplaceError) -> None:
    """A refusal, a faulty record and a wrong set-up are raised without a second attempt."""
    clock = FakeClock()
    with pytest.raises(type(error)):
        await call(failing(error), deadline=START + timedelta(minutes=30), clock=clock, back_off=HALF)
    assert [] == clock.waits


@pytest.mark.parametrize(
    ("errors", "taken"),
    [
        ((ThrottlingException(), AccessDenied()), Taken.NO),
        ((NoAnswer(), AccessDenied()), Taken.UNKNOWN),
        ((InternalServiceErrorException(), NotSent(), InvalidUsageDimensionException()), Taken.UNKNOWN),
    ],
)
async def test_refusal_proves_nothing_about_before(errors: tuple[MarketplaceError, ...], taken: Taken) -> None:
    """The error that is raised in the end states what is known of all attempts, not of the last one alone."""
    with pytest.raises(type(errors[-1])) as caught:
        await call(failing(*errors), deadline=START + timedelta(minutes=30), clock=FakeClock(), back_off=HALF)
    assert taken is caught.value.taken


async def test_lost_batch_is_in_doubt() -> None:
    """What a lost answer may have settled stays in doubt until an answer settles it; what never left does not."""
    service = FakeService({0, 2}, NoAnswer(), {0}, ThrottlingException())
    done = await submit_batch(service, REQUEST, deadline=START + timedelta(seconds=5), clock=FakeClock(), back_off=HALF)
    assert ((RECORDS[0], RECORDS[0]), (RECORDS[0], RECORDS[0])) == (done.unprocessed_records, done.in_doubt)
    service = FakeService({0, 2}, NotSent(), {0}, ThrottlingException())
    done = await submit_batch(service, REQUEST, deadline=START + timedelta(seconds=5), clock=FakeClock(), back_off=HALF)
    assert ((RECORDS[0], RECORDS[0]), ()) == (done.unprocessed_records, done.in_doubt)


async def test_deadline_ends_repeating() -> None:
    """No attempt begins after the deadline and nobody waits for one that would: the last error is raised."""
    clock = FakeClock()
    errors = [ThrottlingException(f"try {number}") for number in range(1000)]
    with pytest.raises(ThrottlingException, match="try 8"):
        await call(failing(*errors), deadline=START + timedelta(minutes=2), clock=clock, back_off=HALF)
    assert [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] == clock.waits


async def test_past_deadline_still_tries_once() -> None:
    """With the deadline behind it, a call is still made once."""
    clock = FakeClock()
    assert "done" == await call(failing(), deadline=START - timedelta(hours=1), clock=clock, back_off=HALF)
    assert [] == clock.waits


RECORDS = tuple(
    UsageRecord(timestamp=START, dimension="requests", quantity=number, customer_identifier="buyer")
    for number in range(3)
)
REQUEST = BatchMeterUsageRequest(usage_records=(*RECORDS, RECORDS[0]), product_code="code")


class FakeService:
    """A metering service whose batches leave the named quantities unprocessed, or fail."""

    def __init__(self, *answers: set[int] | MarketplaceError) -> None:
        self.batches: list[list[int | None]] = []
        self._answers = list(answers)

    async def batch_meter_usage(self, request: BatchMeterUsageRequest) -> BatchMeterUsageResult:
        """Give the next answer."""
        self.batches.append([record.quantity for record in request.usage_records])
        answer = self._answers.pop(0)
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
    """Only what came back unprocessed is sent again, as it is, and the results keep the caller's order."""
    service = FakeService({0, 2}, ThrottlingException(), {0}, set())
    clock = FakeClock()
    done = await submit_batch(service, REQUEST, deadline=START + timedelta(hours=1), clock=clock, back_off=HALF)
    assert [[0, 1, 2, 0], [0, 2, 0], [0, 2, 0], [0, 0]] == service.batches
    assert tuple(settled(record) for record in REQUEST.usage_records) == done.results
    assert ((), None) == (done.unprocessed_records, done.error)
    assert [0.5, 1.0, 2.0] == clock.waits


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
    assert ((RECORDS[2],), refusal) == (done.unprocessed_records, done.error)


async def test_faulty_batch_is_raised() -> None:
    """A batch that breaks a rule was not sent; the caller hears of it as an error."""
    service = FakeService(InvalidRequest([RequestFault("UsageRecords", "must be at most 25 items")]))
    with pytest.raises(InvalidRequest):
        await submit_batch(
            service, replace(REQUEST), deadline=START + timedelta(hours=1), clock=FakeClock(), back_off=HALF
        )
