"""What each error of the service model means for the entitlement."""

import botocore.session
import pytest

from sidecar.domain.entitlement.states import Reason
from sidecar.marketplace import errors
from sidecar.marketplace.service_errors import ERRORS, error_from
from sidecar.services.refusals import REASONS, interpret

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
    "NobodyKnowsThisException": Reason.SERVICE_FAULT,
    # Of a dry run: the slot, the token or the clock, but not the entitlement.
    "DuplicateRequestException": Reason.SERVICE_FAULT,
    "IdempotencyConflictException": Reason.SERVICE_FAULT,
    "InvalidTagException": Reason.SERVICE_FAULT,
    "InvalidUsageAllocationsException": Reason.SERVICE_FAULT,
    "TimestampOutOfBoundsException": Reason.SERVICE_FAULT,
}


@pytest.mark.parametrize(("code", "reason"), [*REFUSALS.items(), *FAULTS.items()])
def test_meaning_of_code(code: str, reason: Reason) -> None:
    """Each code has one reason, is a refusal or a fault, and tells what it means and what to do."""
    error = error_from("RegisterUsage", code, "AWS's words", None)

    meaning = interpret(error)

    assert (reason, code in REFUSALS) == (meaning.reason, meaning.refused)
    assert meaning.detail.endswith(f". {error.cure}")


def test_every_modelled_error() -> None:
    """No error that RegisterUsage or MeterUsage may answer is left undecided."""
    model = botocore.session.get_session().get_service_model("meteringmarketplace")
    modelled = {
        shape.name
        for operation in ("RegisterUsage", "MeterUsage")
        for shape in model.operation_model(operation).error_shapes
    }

    assert set() == modelled - REFUSALS.keys() - FAULTS.keys()


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
    """What AWS Marketplace did not say itself is never a refusal."""
    meaning = interpret(error)

    assert (reason, False) == (meaning.reason, meaning.refused)


def test_every_reason_is_used() -> None:
    """The table names only classes that an answer can lead to, or that every error is."""
    reachable = {kind for error in ERRORS.values() for kind in error.__mro__}
    own = {errors.NotSent, errors.NoAnswer, errors.UnsupportedRegion, errors.CredentialsMissing}

    assert set() == set(REASONS) - reachable - own


@pytest.mark.parametrize(("kind", "reason"), REASONS.items())
def test_account_is_named_with_credentials(kind: type[errors.MarketplaceError], reason: Reason) -> None:
    """A fault of the credentials names the service account that the pod runs as; no other reason does."""
    detail = interpret(kind(), "acme/other").detail
    ours = reason in {Reason.CREDENTIALS_MISSING, Reason.CREDENTIALS_REFUSED, Reason.ACCESS_DENIED}
    assert ours is detail.endswith("The pod runs as the service account acme/other.")
    assert "service account None" not in interpret(kind()).detail
