"""Metering that fails: long outages, strangers who report for the pod, restarts, other terms, a closed gate."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sidecar.domain.entitlement.states import State
from sidecar.domain.metering.events import Dimension
from sidecar.domain.metering.failing import Cause, closes_gate
from sidecar.domain.policy import LatePolicy, OnFailing
from sidecar.marketplace.errors import MarketplaceError, NoAnswer
from sidecar.marketplace.service_errors import ERRORS, ThrottlingException
from sidecar.services.faults import FaultRegister
from tests.support.books import HOUR, MINUTE, RULES, event

if TYPE_CHECKING:
    from tests.services.conftest import Metering

ONE = replace(RULES, spread=timedelta(), dimensions={"requests": Dimension("requests")}, report_zero=False)
PATIENT = replace(ONE, failing_after=timedelta(hours=6), on_failing=OnFailing.GATE)
DUPLICATE = ERRORS["DuplicateRequestException"]("another quantity", "DuplicateRequestException")


@pytest.fixture(autouse=True)
def _logs() -> Iterator[None]:
    """Keep the submitter's lines off the terminal."""
    with capture_logs():
        yield


def causes(metering: "Metering") -> list[Cause]:
    """Return why metering fails now."""
    return [failure.cause for failure in metering.submitter.courses.failures(metering.clock.now())]


@pytest.mark.parametrize(
    ("error", "late"),
    [
        (ThrottlingException(), LatePolicy.CARRY),
        (ThrottlingException(), LatePolicy.UNBILLED),
        (NoAnswer(), LatePolicy.CARRY),
        (ERRORS["InvalidTagException"](), LatePolicy.CARRY),
    ],
    ids=["carried", "expired", "in doubt", "refused"],
)
async def test_long_outage_fails(metering: "Metering", late: LatePolicy, error: Exception) -> None:
    """In 36 hours without a success metering fails after `failing_after`, though each record is gone after 6 hours."""
    metering.gate.state = State.ENTITLED
    metering.marketplace.always["requests"] = error  # type: ignore[assignment]
    await metering.start(replace(PATIENT, late=late))
    failing = []
    for _ in range(36):
        metering.use(event("5"))
        await metering.clock.advance(HOUR)
        failing.append(bool(metering.submitter.courses.failures(metering.clock.now())))
    # Taken in the hour from 10 on and due at 11:02, for longer than 6 hours from 17:02 on; asked at 20 past each hour.
    assert [False] * 6 + [True] * 30 == failing
    metering.marketplace.always.clear()
    await metering.clock.advance(3 * HOUR)
    assert [] == causes(metering)


@pytest.mark.parametrize(("every", "failing_from"), [(1, 3), (2, 5)])
async def test_stranger_in_the_slots_fails(metering: "Metering", every: int, failing_from: int) -> None:
    """Who reports first for each hour, or for every second one, makes metering fail with the third duplicate."""
    await metering.start(replace(ONE, failing_after=48 * HOUR))
    failing = []
    for number in range(12):
        if number % every == 0:
            metering.marketplace.says("requests", DUPLICATE)
        metering.use(event("5"))
        await metering.clock.advance(HOUR)
        failing.append(bool(metering.submitter.courses.failures(metering.clock.now())))
    expected = [number + 1 >= failing_from and number % every == 0 for number in range(12)]
    assert expected == failing


async def test_stranger_is_told(metering: "Metering") -> None:
    """One duplicate is an error in the log and a fault for 24 hours, past successes, too; its quantity is unbilled."""
    await metering.start(ONE)
    metering.marketplace.says("requests", DUPLICATE)
    metering.use(event("5"))
    with capture_logs() as lines:
        await metering.until(12)
    assert ["error"] == [line["log_level"] for line in lines if line["event"] == "metering.duplicate_reporter"]
    metering.use(event("1"))
    await metering.until(13, 30)
    faults = FaultRegister()
    metering.submitter.courses.register_duplicates(faults, metering.clock.now())
    (finding,) = faults.findings
    assert ("duplicate-reporter", 11) == (finding.code, finding.since.hour)
    assert [("unbilled", "duplicate"), ("accepted", None)] == metering.statuses()
    assert {"accepted": "6", "submitted": "1", "unbilled": "5"} == metering.books.shown()
    await metering.clock.advance(24 * HOUR)
    metering.submitter.courses.register_duplicates(faults, metering.clock.now())
    assert [] == faults.findings


async def test_restart_resets_nothing(metering: "Metering") -> None:
    """Silence and duplicates count on in the next process, also after the record that was due has gone."""
    metering.marketplace.always["requests"] = ThrottlingException()
    await metering.start(replace(ONE, failing_after=10 * HOUR))
    metering.use(event("5"))
    for _ in range(11):
        await metering.clock.advance(HOUR)
        await metering.start(replace(ONE, failing_after=10 * HOUR))
    assert [Cause.SILENCE] == causes(metering)
    metering.marketplace.always["requests"] = DUPLICATE
    await metering.clock.advance(HOUR)
    for _ in range(2):
        metering.use(event("1"))
        await metering.clock.advance(HOUR)
        await metering.start(replace(ONE, failing_after=10 * HOUR))
    assert [Cause.DUPLICATES, Cause.SILENCE] == causes(metering)


@pytest.mark.parametrize(
    ("error", "failed"),
    [(DUPLICATE, [Cause.DUPLICATES, Cause.SILENCE]), (ERRORS["CustomerNotEntitledException"](), [Cause.SILENCE])],
    ids=["duplicates", "not entitled"],
)
async def test_other_product_starts_anew(metering: "Metering", error: MarketplaceError, failed: list[Cause]) -> None:
    """A failure under another product code counts neither against the configured product nor, as an excuse, for it."""
    metering.marketplace.always["requests"] = error
    await metering.start(ONE)
    for _ in range(6):
        metering.use(event("1"))
        await metering.clock.advance(HOUR)
    assert failed == causes(metering)
    other = replace(PATIENT, product_code="0other", overage=True)
    await metering.start(other)
    metering.submitter.courses.register_duplicates(metering.faults, metering.clock.now())
    assert ([], []) == (causes(metering), metering.faults.findings)
    metering.marketplace.always["requests"] = ThrottlingException()
    metering.use(event("1"))
    await metering.clock.advance(10 * HOUR)
    assert closes_gate(metering.submitter.courses.failures(metering.clock.now()), OnFailing.GATE, overage=True)
    await metering.start(other)
    assert [Cause.SILENCE] == causes(metering)


@pytest.mark.parametrize(
    ("error", "after"),
    [
        (ERRORS["InvalidUsageDimensionException"](), []),
        (DUPLICATE, []),
        (NoAnswer(), [Cause.SILENCE]),
    ],
    ids=["refused", "duplicates", "waits"],
)
async def test_returned_dimension_starts_anew(
    metering: "Metering", error: MarketplaceError, after: list[Cause]
) -> None:
    """A dimension that failed, was removed and is added again fails only if records of it still wait."""
    both = replace(ONE, dimensions={**ONE.dimensions, "peak": Dimension("peak")})
    metering.marketplace.always["peak"] = error
    await metering.start(both)
    for _ in range(4):
        metering.use(event("1", dimension="peak"))
        await metering.clock.advance(HOUR)
    assert causes(metering)
    await metering.start(ONE)
    assert after == causes(metering)
    await metering.start(both)
    assert after == causes(metering)


async def test_success_is_remembered(metering: "Metering") -> None:
    """The last success outlives the process."""
    await metering.start(ONE)
    metering.use(event("5"))
    await metering.until(12)
    succeeded_at = metering.submitter.last_success_at
    await metering.start(ONE)
    assert succeeded_at == metering.submitter.last_success_at
    assert succeeded_at is not None


async def test_closed_gate_gets_its_success(metering: "Metering") -> None:
    """While failing holds the gate closed nothing is used: a zero for each ended hour is the success that opens it."""
    metering.gate.state = State.ENTITLED
    metering.marketplace.always["requests"] = ThrottlingException()
    await metering.start(replace(PATIENT, late=LatePolicy.UNBILLED))
    metering.use(event("5"))
    await metering.clock.advance(10 * HOUR)
    assert [Cause.SILENCE] == causes(metering)
    metering.marketplace.always.clear()
    await metering.clock.advance(2 * HOUR)
    assert [] == causes(metering)
    assert "0" == metering.sent[-1][2]
    metering.marketplace.requests.clear()
    await metering.clock.advance(5 * HOUR)
    # The hour that was open when the gate opened is reported, and then the idle product reports nothing again.
    assert 1 >= len(metering.sent)


@pytest.mark.parametrize("restarted", [True, False])
async def test_refused_overage_closes_no_gate(metering: "Metering", *, restarted: bool) -> None:
    """Beside a contract refused overage fails metering and closes nothing; another cause does, after a success."""
    contract = replace(PATIENT, overage=True)
    metering.gate.state = State.ENTITLED
    metering.marketplace.always["requests"] = ERRORS["CustomerNotEntitledException"]()
    await metering.start(contract)
    metering.use(event("5"))
    await metering.clock.advance(10 * HOUR)
    if restarted:
        # Nothing waits any more that AWS could refuse once more.
        metering.marketplace.always["requests"] = ThrottlingException()
        await metering.start(contract)
    failures = metering.submitter.courses.failures(metering.clock.now())
    assert [Cause.SILENCE] == [failure.cause for failure in failures]
    closed = [closes_gate(failures, OnFailing.GATE, overage=overage) for overage in (True, False)]
    assert [False, True] == closed
    metering.marketplace.always.clear()
    metering.use(event("5"))
    await metering.clock.advance(2 * HOUR)
    assert [] == causes(metering)
    metering.marketplace.always["requests"] = ThrottlingException()
    metering.use(event("5"))
    await metering.clock.advance(10 * HOUR)
    assert closes_gate(metering.submitter.courses.failures(metering.clock.now()), OnFailing.GATE, overage=True)


async def test_warning_sends_no_zero(metering: "Metering") -> None:
    """Where failing only warns, `report_zero: false` is kept to."""
    metering.gate.state = State.ENTITLED
    metering.marketplace.always["requests"] = ThrottlingException()
    await metering.start(replace(PATIENT, late=LatePolicy.UNBILLED, on_failing=OnFailing.WARN))
    metering.use(event("5"))
    await metering.clock.advance(12 * HOUR)
    assert {"5"} == {quantity for _, _, quantity in metering.sent}


async def test_idle_product_never_fails(metering: "Metering") -> None:
    """A product without usage and without zeros is not failing, and not for its first record after days either."""
    metering.gate.state = State.ENTITLED
    await metering.start(ONE)
    metering.use(event("5"))
    await metering.clock.advance(50 * HOUR)
    assert [] == causes(metering)
    metering.marketplace.says("requests", *[ThrottlingException()] * 3)
    metering.use(event("5"))
    judged = set()
    for _ in range(90):
        await metering.clock.advance(MINUTE)
        judged.add(bool(metering.submitter.courses.failures(metering.clock.now())))
    assert {False} == judged


async def test_full_ledger_fails(metering: "Metering") -> None:
    """Usage refused for lack of room for longer than `failing_after` makes metering fail until there is room."""
    await metering.start(ONE)
    metering.refusing_since = metering.clock.now()
    await metering.clock.advance(2 * HOUR)
    assert [] == causes(metering)
    await metering.clock.advance(MINUTE)
    assert [Cause.NO_ROOM] == causes(metering)
    metering.refusing_since = None
    assert [] == causes(metering)
