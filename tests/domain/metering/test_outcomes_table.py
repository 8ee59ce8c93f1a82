"""The table of outcomes is complete over the service model, and says what each answer means."""

import botocore.loaders
import pytest

from sidecar.domain.metering.outcomes import OUTCOMES, Outcome, classify
from sidecar.marketplace import errors
from sidecar.marketplace.errors import MarketplaceError, Taken
from sidecar.marketplace.service_errors import ERRORS

_METER_USAGE = botocore.loaders.Loader().load_service_model("meteringmarketplace", "service-2")["operations"][
    "MeterUsage"
]
MODELLED: list[str] = sorted(error["shape"] for error in _METER_USAGE["errors"])

EXPECTED = {
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
"""What each modelled error of MeterUsage means for the record."""


@pytest.mark.parametrize("code", MODELLED)
def test_modelled_errors_listed(code: str) -> None:
    """Every error that the service model gives MeterUsage has a row of its own."""
    assert EXPECTED[code] == OUTCOMES[code]


@pytest.mark.parametrize("code", MODELLED)
def test_modelled_errors_classified(code: str) -> None:
    """The client's own error for a modelled code means what the table says, whatever it tells of being taken."""
    error = ERRORS[code]()
    assert EXPECTED[code] == classify(code, maybe_taken=error.taken is Taken.UNKNOWN)


@pytest.mark.parametrize(
    ("code", "maybe_taken", "outcome"),
    [
        ("CustomerNotSubscribedException", False, Outcome.NOT_ENTITLED),
        ("AccessDeniedException", False, Outcome.SETUP),
        ("UnauthorizedException", False, Outcome.SETUP),
        ("InvalidRequest", False, Outcome.REJECTED),
        ("NotSent", False, Outcome.RETRY),
        ("CredentialsMissing", False, Outcome.RETRY),
        ("CredentialsRefused", False, Outcome.RETRY),
        ("SomethingNewException", False, Outcome.RETRY),
        ("SomethingNewException", True, Outcome.UNKNOWN),
        ("NoAnswer", True, Outcome.UNKNOWN),
        ("UnknownAnswer", True, Outcome.UNKNOWN),
        ("InternalServiceErrorException", True, Outcome.UNKNOWN),
        ("IdempotencyConflictException", True, Outcome.CONFLICT),
        ("IdempotencyConflictException", False, Outcome.CONFLICT),
    ],
)
def test_other_answers_wait(code: str, maybe_taken: bool, outcome: Outcome) -> None:  # noqa: FBT001 - a table's column
    """What is not in the table is retried; what may have been taken is never treated as not taken."""
    assert outcome == classify(code, maybe_taken=maybe_taken)


def test_only_answers_prove() -> None:
    """The client's errors of calls without an answer say so, so that such an attempt stays unanswered."""
    silent = {errors.NoAnswer, errors.UnknownAnswer}
    kinds: list[type[MarketplaceError]] = [
        errors.NoAnswer,
        errors.UnknownAnswer,
        errors.NotSent,
        errors.CredentialsMissing,
        errors.CredentialsRefused,
        errors.AccessDenied,
    ]
    assert silent == {
        kind for kind in kinds if classify(kind().code, maybe_taken=kind.taken is Taken.UNKNOWN) is Outcome.UNKNOWN
    }
