"""Every answer of AWS, from the call to the ledger, the gate and the operator."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.policy import LatePolicy
from sidecar.marketplace.errors import (
    CredentialsMissing,
    CredentialsRefused,
    InvalidRequest,
    MarketplaceError,
    NoAnswer,
    NotSent,
    UnknownAnswer,
    UnsupportedRegion,
)
from sidecar.marketplace.service_errors import ERRORS, ThrottlingException
from sidecar.services.failed_calls import label_of, outcome_of, record_cure
from tests.support.books import RULES, event
from tests.support.service_model import modelled

if TYPE_CHECKING:
    from tests.services.conftest import Metering

AT_ONCE = replace(RULES, spread=timedelta())

WAITS = "sealed", None
FATES: dict[Outcome, tuple[str, str | None]] = {
    Outcome.RETRY: WAITS,
    Outcome.UNKNOWN: WAITS,
    Outcome.SETUP: WAITS,
    Outcome.NOT_ENTITLED: WAITS,
    Outcome.DUPLICATE: ("unbilled", "duplicate"),
    Outcome.CONFLICT: ("unbilled", "in-doubt"),
    Outcome.EXPIRED: ("carried", None),
    Outcome.REJECTED: ("unbilled", "rejected"),
}
"""Where a record is found after an attempt with that outcome."""
ERRORS_MET: dict[str, MarketplaceError] = {
    **{code: ERRORS[code]("AWS's words") for code in sorted(modelled("MeterUsage"))},
    "CustomerNotSubscribedException": ERRORS["CustomerNotSubscribedException"](),
    "InvalidRequest": InvalidRequest(),
    "AccessDeniedException": ERRORS["AccessDeniedException"]("no"),
    "SignatureDoesNotMatch": CredentialsRefused("no", "SignatureDoesNotMatch"),
    "CredentialsMissing": CredentialsMissing(),
    "UnsupportedRegion": UnsupportedRegion(),
    "NotSent": NotSent(),
    "NoAnswer": NoAnswer(),
    "UnknownAnswer": UnknownAnswer("no MeteringRecordId"),
    "SomethingNewException": UnknownAnswer("?", "SomethingNewException"),
}
"""What the client may raise; tests/services/test_failed_calls.py has the outcome of each."""
SILENT = {"InternalServiceErrorException", "NoAnswer", "UnknownAnswer", "SomethingNewException"}
"""Those without a known answer."""


@pytest.fixture(autouse=True)
def _logs() -> Iterator[None]:
    """Keep the submitter's lines off the terminal."""
    with capture_logs():
        yield


@pytest.mark.parametrize("code", ERRORS_MET)
async def test_answer_end_to_end(metering: "Metering", code: str) -> None:
    """The answer settles its record, is counted, and becomes a finding with AWS's code; nothing is lost by it."""
    error = ERRORS_MET[code]
    metering.marketplace.always["requests"] = error
    await metering.start(AT_ONCE)
    metering.use(event("5"), event("7", dimension="peak"))
    await metering.until(11, 2)
    assert FATES[outcome_of(error)] == metering.statuses()[1]
    assert ("accepted", None) == metering.statuses()[0]
    assert 1 == metering.submitter.answers[label_of(error)]
    (finding,) = metering.faults.findings
    assert (code, record_cure(error)) == (finding.code, finding.cure)
    assert finding.detail.startswith("dimension requests: ")
    assert all((code in SILENT) == bool(waiting.unanswered) for waiting in metering.books.waiting())
    assert {"accepted": "5"}.items() <= metering.books.shown().items()


@pytest.mark.parametrize("code", [code for code, error in ERRORS_MET.items() if FATES[outcome_of(error)] == WAITS])
async def test_waiting_record_recovers(metering: "Metering", code: str) -> None:
    """What waits goes in with the next answer that takes it, and the finding goes away."""
    metering.marketplace.says("requests", ERRORS_MET[code])
    await metering.start(AT_ONCE)
    metering.use(event("5"))
    await metering.until(12)
    assert [("accepted", None)] == metering.statuses()
    assert [] == metering.faults.findings
    assert [metering.marketplace.requests[0]] * 2 == metering.marketplace.requests


@pytest.mark.parametrize("code", ["CustomerNotEntitledException", "CustomerNotSubscribedException"])
async def test_entitlement_told(metering: "Metering", code: str) -> None:
    """A refusal of the buyer is passed to the gate, and so is the record that AWS takes afterwards; nothing else is."""
    metering.marketplace.says("requests", ThrottlingException(), ERRORS[code]())
    await metering.start(AT_ONCE)
    metering.use(event("5"))
    await metering.until(12)
    assert [False, True] == metering.gate.told_so


async def test_refused_by_policy(metering: "Metering") -> None:
    """By policy a record that AWS finds too old stays unbilled instead of being carried."""
    metering.marketplace.says("requests", ERRORS["TimestampOutOfBoundsException"]())
    await metering.start(replace(AT_ONCE, late=LatePolicy.UNBILLED))
    metering.use(event("5"))
    await metering.until(12)
    assert [("unbilled", "expired")] == metering.statuses()


async def test_doubt_outweighs_refusal(metering: "Metering") -> None:
    """A record that AWS finds too old after an attempt without an answer may be in its books: it is not carried."""
    metering.marketplace.says("requests", NoAnswer(), ERRORS["TimestampOutOfBoundsException"]())
    await metering.start(AT_ONCE)
    metering.use(event("5"))
    await metering.until(12)
    assert [("unbilled", "in-doubt")] == metering.statuses()


@pytest.mark.parametrize("next_pod", [False, True], ids=["same pod", "next pod"])
async def test_doubt_denies_no_answer(metering: "Metering", *, next_pod: bool) -> None:
    """An answer with an unknown code proves nothing: the reason of the doubt does not deny the answer."""
    metering.marketplace.always["requests"] = UnknownAnswer("bad input", "ValidationException")
    await metering.start(AT_ONCE)
    metering.use(event("5"))
    await metering.until(12)
    if next_pod:
        await metering.kill()
        metering.books.restart("pod-2")
    else:
        await metering.until(18)
    doubt = metering.books.records()[0].reason or ""
    assert "without a conclusive answer" in doubt


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ERRORS["InvalidTagException"]("'anna' is malformed", request_id="request-1"), "AWS's words may name tags"),
        (UnknownAnswer("'anna' is malformed", "ValidationException", "request-1"), "AWS's words may name tags"),
        (ERRORS["TimestampOutOfBoundsException"]("too old: 'anna'", request_id="request-1"), "too old: '***'"),
    ],
    ids=lambda each: each.code if isinstance(each, MarketplaceError) else "",
)
async def test_tags_stay_in_the_ledger(metering: "Metering", error: MarketplaceError, shown: str) -> None:
    """A tag that AWS's words name is in the ledger, and neither in a log line nor in a fault."""
    metering.marketplace.says("requests", *[error] * 1000)
    await metering.start(replace(AT_ONCE, late=LatePolicy.UNBILLED))
    metering.use(event("5", tags=(("Tenant", "anna"),)))
    with capture_logs() as lines:
        await metering.until(12)
    texts = f"{lines} {metering.faults.findings}".replace('"', "'").replace("\\'", "'")
    assert "anna" not in texts
    assert f"{error.code}: {shown}" in texts
    assert "(request request-1)" in texts
    (row,) = metering.books.store.rows("SELECT answer FROM record")
    assert f"{error.code}: {error.message}" in row["answer"]


async def test_same_fault_said_once(metering: "Metering") -> None:
    """A fault that repeats is one warning and one finding since its first time, and its end is reported."""
    metering.marketplace.says("requests", *[ThrottlingException()] * 5)
    await metering.start(AT_ONCE)
    metering.use(event("5"))
    with capture_logs() as lines:
        await metering.until(12)
    events = [line["event"] for line in lines]
    assert (1, 1) == (events.count("metering.refused"), events.count("metering.recovered"))


async def test_failing_after_silence(metering: "Metering") -> None:
    """Metering fails once records have been due for longer than `failing_after` without a success, and recovers."""
    metering.marketplace.always["requests"] = ThrottlingException()
    await metering.start(AT_ONCE)
    metering.use(event("5"))
    judged = []
    for hour, minute in ((11, 30), (13, 2), (13, 3)):
        await metering.until(hour, minute)
        judged.append(bool(metering.submitter.courses.failures(metering.clock.now())))
    assert [False, False, True] == judged
    del metering.marketplace.always["requests"]
    await metering.until(13, 10)
    assert not metering.submitter.courses.failures(metering.clock.now())
    assert metering.submitter.last_success_at is not None


async def test_success_elsewhere_ends_nothing(metering: "Metering") -> None:
    """Each dimension is judged by its own successes: those of another one do not hide that it fails."""
    metering.marketplace.always["requests"] = ThrottlingException()
    await metering.start(AT_ONCE)
    metering.use(event("5"))
    for hour in range(11, 16):
        metering.use(event("1", dimension="peak"))
        await metering.until(hour, 10)
        assert (hour >= 13) == bool(metering.submitter.courses.failures(metering.clock.now()))


async def test_idle_pod_not_failing(metering: "Metering") -> None:
    """A pod with nothing to send never fails, however long ago its last success was."""
    await metering.start(AT_ONCE)
    metering.use(event("5"))
    await metering.clock.advance(timedelta(days=2))
    assert not metering.submitter.courses.failures(metering.clock.now())


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (UnknownAnswer("?", "SomethingNewException"), "UnknownAnswer"),
        (CredentialsRefused("no", "SignatureDoesNotMatch"), "CredentialsRefused"),
        (ERRORS["TooManyRequestsException"]("slow down", "TooManyRequestsException"), "ThrottlingException"),
        (ERRORS["DuplicateRequestException"]("other", "DuplicateRequestException"), "DuplicateRequestException"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_answers_counted_by_known_names(metering: "Metering", error: MarketplaceError, counted: str) -> None:
    """An unforeseen answer counts as its kind: there are no more names than the operator's table has."""
    metering.marketplace.says("requests", error)
    await metering.start(AT_ONCE)
    metering.use(event("5"))
    kinds = set()
    for minute in range(5):
        await metering.until(11, minute + 1)
        kinds |= {each.kind for each in metering.faults.findings}
    assert {counted} == kinds
    assert 1 == metering.submitter.answers[counted]
    assert {counted, "accepted"} >= metering.submitter.answers.keys()
