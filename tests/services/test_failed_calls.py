"""What each error of the service model means for the entitlement and for the record; what a new error takes."""

from collections.abc import Iterator

import pytest

import sidecar.marketplace
from sidecar.domain.entitlement.states import Reason
from sidecar.domain.metering.outcomes import Outcome
from sidecar.marketplace import errors, service_errors
from sidecar.marketplace.emulation import EmulatorUnreachable
from sidecar.marketplace.errors import Disposition, MarketplaceError, Taken
from sidecar.marketplace.service_errors import ERRORS, error_from
from sidecar.services import failed_calls
from sidecar.services.failed_calls import MEANINGS, Meaning, interpret, label_of, outcome_of, record_cure
from tests.support.service_model import modelled

REFUSALS = {
    "CustomerNotEntitledException": Reason.CUSTOMER_NOT_ENTITLED,
    "CustomerNotSubscribedException": Reason.CUSTOMER_NOT_ENTITLED,
    "DisabledApiException": Reason.DISABLED_API,
    "InvalidEndpointRegionException": Reason.INVALID_REGION,
    "InvalidProductCodeException": Reason.INVALID_PRODUCT_CODE,
    "InvalidPublicKeyVersionException": Reason.INVALID_PUBLIC_KEY_VERSION,
    "InvalidRegionException": Reason.INVALID_REGION,
    "InvalidUsageDimensionException": Reason.INVALID_USAGE_DIMENSION,
    "PlatformNotSupportedException": Reason.PLATFORM_NOT_SUPPORTED,
}
FAULTS = {
    "ThrottlingException": Reason.THROTTLED,
    "InternalServiceErrorException": Reason.SERVICE_FAULT,
    "AccessDeniedException": Reason.ACCESS_DENIED,
    "UnrecognizedClientException": Reason.CREDENTIALS_REFUSED,
    "ExpiredTokenException": Reason.CREDENTIALS_MISSING,
    "UnheardOfException": Reason.SERVICE_FAULT,
}
OUTCOMES = {
    "CustomerNotEntitledException": Outcome.NOT_ENTITLED,
    "DuplicateRequestException": Outcome.DUPLICATE,
    "IdempotencyConflictException": Outcome.CONFLICT,
    "InternalServiceErrorException": Outcome.UNKNOWN,
    "InvalidEndpointRegionException": Outcome.SETUP,
    "InvalidProductCodeException": Outcome.REJECTED,
    "InvalidTagException": Outcome.REJECTED,
    "InvalidUsageAllocationsException": Outcome.REJECTED,
    "InvalidUsageDimensionException": Outcome.REJECTED,
    "ThrottlingException": Outcome.RETRY,
    "TimestampOutOfBoundsException": Outcome.EXPIRED,
}
"""What the errors of MeterUsage mean for the record; the disposition alone decides about one without a row."""
BY_DISPOSITION = {
    Disposition.RETRY: Outcome.RETRY,
    Disposition.STOP: Outcome.RETRY,
    Disposition.FIX_SETUP: Outcome.SETUP,
    Disposition.GIVE_UP_RECORD: Outcome.REJECTED,
}
AGREEING = {
    Disposition.RETRY: {Outcome.RETRY, Outcome.UNKNOWN},
    Disposition.STOP: {Outcome.RETRY, Outcome.NOT_ENTITLED},
    Disposition.FIX_SETUP: {Outcome.SETUP},
    Disposition.GIVE_UP_RECORD: {Outcome.REJECTED, Outcome.DUPLICATE, Outcome.CONFLICT, Outcome.EXPIRED},
}
"""The outcomes that do with the record what the disposition asks of any caller."""


@pytest.mark.parametrize(("code", "reason"), [*REFUSALS.items(), *FAULTS.items()])
def test_reason_of_code(code: str, reason: Reason) -> None:
    """Each code has one reason, is a refusal or a fault, and comes with its meaning and its cure."""
    error = error_from(modelled("RegisterUsage"), code, "AWS's words", None)

    explained = interpret(error)

    assert (reason, code in REFUSALS) == (explained.reason, explained.refused)
    assert explained.detail.endswith(f". {error.cure}")
    assert error.cure == explained.cure


@pytest.mark.parametrize("code", sorted((modelled("RegisterUsage") | modelled("MeterUsage")) - REFUSALS.keys()))
def test_no_other_error_closes_gate(code: str) -> None:
    """An error without a row above is a fault of the service: it says nothing about the entitlement."""
    explained = interpret(error_from(modelled("RegisterUsage"), code, "AWS's words", None))

    assert (FAULTS.get(code, Reason.SERVICE_FAULT), False) == (explained.reason, explained.refused)


@pytest.mark.parametrize("code", sorted(modelled("MeterUsage")))
def test_outcome_of_modelled_error(code: str) -> None:
    """Every error that the service model gives MeterUsage has the outcome that the guarantees give it."""
    error = error_from(modelled("MeterUsage"), code, "AWS's words", None)

    assert OUTCOMES.get(code, BY_DISPOSITION[error.disposition]) == outcome_of(error)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ERRORS["CustomerNotSubscribedException"](), Outcome.NOT_ENTITLED),
        (ERRORS["AccessDeniedException"](), Outcome.SETUP),
        (ERRORS["UnauthorizedException"](), Outcome.SETUP),
        (errors.AccessDenied("no", "UnauthorizedOperation"), Outcome.SETUP),
        (errors.CredentialsRefused(), Outcome.SETUP),
        (errors.UnsupportedRegion(), Outcome.SETUP),
        (errors.InvalidRequest(), Outcome.REJECTED),
        (errors.NotSent(), Outcome.RETRY),
        (errors.CredentialsMissing(), Outcome.RETRY),
        (errors.CredentialsMissing("expired", taken=Taken.UNKNOWN), Outcome.UNKNOWN),
        (errors.UnknownAnswer("?", "SomethingNewException"), Outcome.UNKNOWN),
        (errors.UnknownAnswer("?", "SomethingNewException", taken=Taken.NO), Outcome.RETRY),
        (errors.NoAnswer(), Outcome.UNKNOWN),
        (ERRORS["DuplicateRequestException"](taken=Taken.UNKNOWN), Outcome.UNKNOWN),
        (ERRORS["IdempotencyConflictException"](), Outcome.CONFLICT),
        (ERRORS["IdempotencyConflictException"](taken=Taken.NO), Outcome.CONFLICT),
        # Not errors of MeterUsage: without that proof they leave the record in doubt.
        (error_from(modelled("MeterUsage"), "PlatformNotSupportedException", "", None), Outcome.UNKNOWN),
        (error_from(modelled("MeterUsage"), "InvalidLicenseException", "", None), Outcome.UNKNOWN),
    ],
    ids=lambda value: value.code if isinstance(value, MarketplaceError) else value,
)
def test_other_outcomes(error: MarketplaceError, outcome: Outcome) -> None:
    """An unknown error is retried, and a record that AWS may have taken never counts as not taken."""
    assert outcome == outcome_of(error)


@pytest.mark.parametrize("kind", list(dict.fromkeys([*ERRORS.values(), *MEANINGS])))
def test_outcome_agrees_with_disposition(kind: type[MarketplaceError]) -> None:
    """The record's outcome never contradicts what the class asks of every caller."""
    error = kind()
    error.taken = Taken.NO
    assert outcome_of(error) in AGREEING[kind.disposition]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.NotSent("no route"), Reason.UNREACHABLE),
        (errors.NoAnswer("time-out"), Reason.UNREACHABLE),
        (errors.UnknownAnswer("502"), Reason.SERVICE_FAULT),
        (errors.CredentialsMissing("none"), Reason.CREDENTIALS_MISSING),
        (errors.UnsupportedRegion("mars-1"), Reason.UNSUPPORTED_REGION),
        (errors.InvalidRequest(), Reason.SERVICE_FAULT),
    ],
    ids=lambda value: type(value).__name__,
)
def test_meaning_of_silence(error: errors.MarketplaceError, reason: Reason) -> None:
    """Only an answer of AWS Marketplace is a refusal."""
    explained = interpret(error)

    assert (reason, False) == (explained.reason, explained.refused)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("https://metering.marketplace.us-east-1.amazonaws.com: refused", "https://metering.marketplace"),
        ("sts.us-east-1.amazonaws.com: timed out", "sts.us-east-1"),
        ("the proxy http://proxy:3128 refuses", "The proxy http://proxy"),
    ],
)
def test_address_keeps_its_spelling(message: str, shown: str) -> None:
    """The words of the cause begin with a capital, and an address does not."""
    assert f" {shown}" in interpret(errors.NotSent(message)).detail


def test_every_row_is_used() -> None:
    """The table names only classes that an answer can lead to, or that every error is."""
    reachable = {kind for error in ERRORS.values() for kind in error.__mro__}
    own = {errors.NotSent, errors.NoAnswer, errors.UnsupportedRegion, errors.CredentialsMissing}

    assert set() == set(MEANINGS) - reachable - own


@pytest.mark.parametrize("kind", MEANINGS)
def test_account_is_named_with_credentials(kind: type[errors.MarketplaceError]) -> None:
    """A fault of the credentials names the service account that the pod runs as; no other reason does."""
    explained = interpret(kind(), "acme/other")
    ours = explained.reason in {Reason.CREDENTIALS_MISSING, Reason.CREDENTIALS_REFUSED, Reason.ACCESS_DENIED}
    assert ours is explained.detail.endswith("The pod runs as the service account acme/other.")
    assert "service account None" not in interpret(kind()).detail


@pytest.mark.parametrize(
    ("error", "label"),
    [
        (ERRORS["TooManyRequestsException"]("slow down", "TooManyRequestsException"), "ThrottlingException"),
        (ERRORS["CustomerNotSubscribedException"](), "CustomerNotSubscribedException"),
        (error_from(modelled("MeterUsage"), "UnauthorizedException", "", None), "UnauthorizedException"),
        (error_from(modelled("MeterUsage"), "AccessDenied", "", None), "AccessDenied"),
        (error_from(modelled("MeterUsage"), "ExpiredTokenException", "", None), "CredentialsMissing"),
        (errors.UnknownAnswer("?", "SomethingNewException"), "UnknownAnswer"),
        (EmulatorUnreachable("refused", "NotSent"), "NotSent"),
    ],
    ids=lambda value: value.code if isinstance(value, MarketplaceError) else value,
)
def test_label_is_known(error: MarketplaceError, label: str) -> None:
    """Metrics count an error under a name of the operator's table, also a more particular kind of a known error."""
    assert label == label_of(error)


@pytest.fixture
def _new_error(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what a test adds to the classes and the table."""
    known = dict(errors.KINDS)
    monkeypatch.setattr(failed_calls, "MEANINGS", dict(MEANINGS))
    yield
    errors.KINDS.clear()
    errors.KINDS.update(known)


@pytest.mark.parametrize("code", ["InvalidTagException", "InvalidUsageAllocationsException"])
def test_refused_tags_name_the_carry(code: str) -> None:
    """The cure of a refusal for tags names the carry without them, but not if AWS may bill the record."""
    error = error_from(modelled("MeterUsage"), code, "", None)
    carry = "`ledger resolve ... carry --without-tags`"
    assert record_cure(error).startswith(error.cure)
    assert carry in record_cure(error)
    assert carry not in record_cure(error_from(modelled("RegisterUsage"), code, "", None))


@pytest.mark.usefixtures("_new_error")
def test_new_error_takes_a_class_and_a_row() -> None:
    """All else about a new error of the service follows from its class and its row."""

    class QuotaSpentException(service_errors.Refused):
        """The buyer has spent the quota."""

        disposition = Disposition.STOP
        codes = ("QuotaSpent",)
        cure = "Buy more."

    failed_calls.MEANINGS[QuotaSpentException] = Meaning(  # type: ignore[index]
        Reason.CUSTOMER_NOT_ENTITLED, "The quota is spent.", refused=True, outcome=Outcome.NOT_ENTITLED
    )
    model = {*modelled("MeterUsage"), "QuotaSpentException"}
    for code in ("QuotaSpentException", "QuotaSpent"):
        error = error_from(model, code, "AWS's words", "request-1")
        assert (QuotaSpentException, code, Taken.NO) == (type(error), error.code, error.taken)
        assert Outcome.NOT_ENTITLED is outcome_of(error)
        assert (Reason.CUSTOMER_NOT_ENTITLED, "The quota is spent. Buy more.", True) == (
            interpret(error).reason,
            interpret(error).detail,
            interpret(error).refused,
        )
        assert "QuotaSpentException" == label_of(error)
    # An answer of another operation, which the model does not give it, proves nothing.
    assert Outcome.UNKNOWN is outcome_of(error_from(modelled("MeterUsage"), "QuotaSpent", "", None))


@pytest.mark.usefixtures("_new_error")
def test_new_error_without_row() -> None:
    """An error without a row is no refusal of the pod, and its disposition decides about the record."""

    class InvalidMoodException(service_errors.Refused):
        """The dimension is in the wrong mood."""

        disposition = Disposition.GIVE_UP_RECORD
        cure = "Wait."

    error = error_from({"InvalidMoodException"}, "InvalidMoodException", "", None)
    assert Outcome.REJECTED is outcome_of(error)
    assert (Reason.SERVICE_FAULT, False) == (interpret(error).reason, interpret(error).refused)


def test_library_exports_every_error() -> None:
    """Each class of the two modules of errors is a name of the library, without a list of its own."""
    kinds = {kind for kind in ERRORS.values() if kind.__module__.startswith("sidecar.marketplace")}
    assert kinds == {getattr(sidecar.marketplace, kind.__name__) for kind in kinds}
