"""The one layer that repeats calls."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from sidecar.marketplace import (
    AccessDenied,
    ClientClosed,
    CredentialsMissing,
    CustomerNotEntitledException,
    InternalServiceErrorException,
    InvalidRequest,
    InvalidUsageDimensionException,
    MarketplaceError,
    NoAnswer,
    NotSent,
    RequestFault,
    Taken,
    ThrottlingException,
    TimestampOutOfBoundsException,
    UnknownAnswer,
    call,
)
from tests.marketplace.waiting import HALF, SHORT, START, FakeClock, SetBackClock


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
        ClientClosed(),
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


async def test_closed_client_keeps_the_doubt() -> None:
    """Where the client is closed before a repeat, the error of the last attempt is raised, with what it leaves open."""
    with pytest.raises(NotSent) as caught:
        await call(failing(NoAnswer(), NotSent(), ClientClosed()), clock=FakeClock(), back_off=HALF)
    assert (NotSent, Taken.UNKNOWN) == (type(caught.value), caught.value.taken)


async def test_deadline_ends_repeating() -> None:
    """No attempt begins after the deadline and nobody waits for one that would: the last error is raised."""
    clock = FakeClock()
    errors = [ThrottlingException(f"try {number}") for number in range(1000)]
    with pytest.raises(ThrottlingException, match="try 8"):
        await call(failing(*errors), deadline=START + timedelta(minutes=2), clock=clock, back_off=HALF)
    assert [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] == clock.waits


async def test_late_wake_up_makes_no_attempt() -> None:
    """A machine that slept past the deadline makes no further attempt: the last error is raised, with its doubt."""
    clock = FakeClock(late=timedelta(hours=2))
    with pytest.raises(NoAnswer) as caught:
        await call(failing(NoAnswer()), deadline=START + timedelta(hours=1), clock=clock, back_off=HALF)
    assert (1, Taken.UNKNOWN) == (len(clock.waits), caught.value.taken)


async def test_clock_set_back_delays_nothing() -> None:
    """A wait lasts no longer than its window, though the clock is set back by an hour meanwhile."""
    errors = [ThrottlingException(), ThrottlingException()]
    assert "done" == await call(failing(*errors), clock=SetBackClock(), back_off=SHORT)


async def test_deadline_needs_an_offset() -> None:
    """A deadline without an offset is refused before the first attempt, whatever that would come to."""
    attempts = 0

    async def operation() -> None:
        nonlocal attempts
        attempts += 1

    naive = START.replace(tzinfo=None)
    with pytest.raises(InvalidRequest, match="deadline must be a datetime with an offset from UTC"):
        await call(operation, deadline=naive)
    assert 0 == attempts


async def test_past_deadline_still_tries_once() -> None:
    """With the deadline behind it, a call is still made once."""
    clock = FakeClock()
    assert "done" == await call(failing(), deadline=START - timedelta(hours=1), clock=clock, back_off=HALF)
    assert [] == clock.waits


async def test_defaults_repeat_for_half_an_hour() -> None:
    """Without a deadline a call is repeated for 30 minutes; without a back-off its waits are drawn at random."""
    clock = FakeClock()
    with pytest.raises(ThrottlingException):
        await call(failing(*[ThrottlingException()] * 1000), clock=clock)
    assert 29 <= sum(clock.waits) / 60 <= 30


async def test_defaults_use_the_system_clock() -> None:
    """An operation and nothing else is enough."""
    assert "done" == await call(failing())
