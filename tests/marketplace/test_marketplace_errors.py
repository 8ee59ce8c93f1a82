"""What an error holds for the caller."""

import copy
import pickle

import pytest

from sidecar.marketplace import (
    ERRORS,
    AccessDenied,
    ClientClosed,
    CredentialsMissing,
    CredentialsRefused,
    CustomerNotEntitledException,
    Disposition,
    ExpiredTokenException,
    IdempotencyConflictException,
    InternalServiceErrorException,
    InvalidTokenException,
    MarketplaceError,
    NoAnswer,
    NotSent,
    Taken,
    ThrottlingException,
    UnknownAnswer,
    UnsupportedRegion,
)
from sidecar.marketplace.service_errors import error_from
from tests.support.service_model import modelled

RETRY, GIVE_UP, STOP, FIX = Disposition

OWN: list[type[MarketplaceError]] = [
    AccessDenied,
    ClientClosed,
    CredentialsMissing,
    CredentialsRefused,
    NoAnswer,
    NotSent,
    UnknownAnswer,
    UnsupportedRegion,
]


@pytest.mark.parametrize(
    ("code", "disposition"),
    [
        ("ThrottlingException", RETRY),
        ("InternalServiceErrorException", RETRY),
        ("ExpiredToken", RETRY),
        ("SomethingNew", RETRY),
        ("DuplicateRequestException", GIVE_UP),
        ("IdempotencyConflictException", GIVE_UP),
        ("TimestampOutOfBoundsException", GIVE_UP),
        ("InvalidUsageDimensionException", GIVE_UP),
        ("InvalidTagException", GIVE_UP),
        ("InvalidUsageAllocationsException", GIVE_UP),
        ("InvalidProductCodeException", GIVE_UP),
        ("InvalidCustomerIdentifierException", GIVE_UP),
        ("InvalidLicenseException", GIVE_UP),
        ("CustomerNotEntitledException", STOP),
        ("CustomerNotSubscribedException", STOP),
        ("PlatformNotSupportedException", STOP),
        ("InvalidEndpointRegionException", FIX),
        ("InvalidRegionException", FIX),
        ("InvalidPublicKeyVersionException", FIX),
        ("DisabledApiException", FIX),
        ("AccessDeniedException", FIX),
        ("UnauthorizedException", FIX),
        ("UnrecognizedClientException", FIX),
    ],
)
def test_codes_tell_what_to_do(code: str, disposition: Disposition) -> None:
    """Each answer leads to one of four things that the caller does next."""
    assert disposition is error_from(modelled("MeterUsage"), code, "words", None).disposition


@pytest.mark.parametrize(
    ("operation", "code", "message", "expected"),
    [
        ("ResolveCustomer", "ExpiredTokenException", "The registration token has expired", ExpiredTokenException),
        ("ResolveCustomer", "ExpiredTokenException", "The security token included is expired", CredentialsMissing),
        ("MeterUsage", "ExpiredTokenException", "The security token included is expired", CredentialsMissing),
        ("RegisterUsage", "ExpiredTokenException", "", CredentialsMissing),
        ("ResolveCustomer", "InvalidTokenException", "Registration token is invalid.", InvalidTokenException),
        ("MeterUsage", "InvalidTokenException", "", CredentialsRefused),
    ],
)
def test_tokens_are_told_apart(operation: str, code: str, message: str, expected: type[MarketplaceError]) -> None:
    """The same code means the buyer's token for ResolveCustomer and the caller's credentials for the others."""
    assert expected is type(error_from(modelled(operation), code, message, None))


def test_unknown_code_is_no_refusal() -> None:
    """An unknown code is retried, keeps its name, and leaves open whether the request was processed."""
    error = error_from(modelled("MeterUsage"), "SomethingNewException", "words", "request-1")
    assert (UnknownAnswer, "SomethingNewException", "request-1") == (type(error), error.code, error.request_id)
    assert (RETRY, Taken.UNKNOWN) == (error.disposition, error.taken)


@pytest.mark.parametrize(
    ("code", "status", "kind", "taken"),
    [
        ("InternalServiceErrorException", 500, InternalServiceErrorException, Taken.UNKNOWN),
        ("InternalServiceErrorException", 400, InternalServiceErrorException, Taken.UNKNOWN),
        ("ThrottlingException", 400, ThrottlingException, Taken.NO),
        ("ThrottlingException", 429, ThrottlingException, Taken.NO),
        ("ThrottlingException", 503, ThrottlingException, Taken.UNKNOWN),
        ("ExpiredToken", 403, CredentialsMissing, Taken.NO),
        ("ExpiredToken", 500, CredentialsMissing, Taken.UNKNOWN),
        ("CustomerNotEntitledException", 400, CustomerNotEntitledException, Taken.NO),
        ("CustomerNotEntitledException", 500, UnknownAnswer, Taken.UNKNOWN),
        ("DuplicateRequestException", 502, UnknownAnswer, Taken.UNKNOWN),
        ("AccessDeniedException", 302, UnknownAnswer, Taken.UNKNOWN),
        ("ServiceUnavailable", 503, UnknownAnswer, Taken.UNKNOWN),
        ("SlowDown", 503, UnknownAnswer, Taken.UNKNOWN),
        ("RequestTimeout", 400, UnknownAnswer, Taken.UNKNOWN),
        ("InternalFailure", 400, UnknownAnswer, Taken.UNKNOWN),
        ("InvalidLicenseException", 400, ERRORS["InvalidLicenseException"], Taken.UNKNOWN),
        ("DisabledApiException", 400, ERRORS["DisabledApiException"], Taken.UNKNOWN),
    ],
)
def test_only_a_refusal_proves(code: str, status: int, kind: type[MarketplaceError], taken: Taken) -> None:
    """A code of MeterUsage or of AWS's front door under a status 4xx proves that nothing was taken; nothing else does.

    A refusal under another status is none, so it closes no gate and settles no record.
    """
    error = error_from(modelled("MeterUsage"), code, "words", "request-1", status)
    assert (kind, taken, "request-1") == (type(error), error.taken, error.request_id)
    assert (error.code == "UnknownAnswer") == (kind is UnknownAnswer and code in ERRORS)


@pytest.mark.parametrize("error", [*ERRORS.values(), *OWN, MarketplaceError])
def test_only_lost_answers_leave_doubt(error: type[MarketplaceError]) -> None:
    """A refusal and a call that never left prove that nothing was taken; no other error does."""
    doubtful = {NoAnswer, UnknownAnswer, IdempotencyConflictException, InternalServiceErrorException, MarketplaceError}
    assert (Taken.UNKNOWN if error in doubtful else Taken.NO) is error.taken


@pytest.mark.parametrize("error", [*ERRORS.values(), *OWN])
def test_every_error_has_a_cure(error: type[MarketplaceError]) -> None:
    """Every error names the cure in a sentence."""
    assert error.cure.endswith(".")


@pytest.mark.parametrize("kind", [*ERRORS.values(), *OWN])
def test_errors_travel(kind: type[MarketplaceError]) -> None:
    """Errors keep what they tell through copying and pickling."""
    error = kind("words", "Code", "request-1", Taken.UNKNOWN)
    for twin in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert type(error) is type(twin)
        assert ("words", "Code", "request-1") == (twin.message, twin.code, twin.request_id)
        assert twin.taken is Taken.UNKNOWN
        assert "Code: words (request request-1)" == str(twin)


def test_not_subscribed_is_not_entitled() -> None:
    """The name that only AWS's prose uses is handled wherever not-entitled is."""
    with pytest.raises(CustomerNotEntitledException):
        raise error_from(modelled("RegisterUsage"), "CustomerNotSubscribedException", "", None)


def test_code_defaults_to_the_class() -> None:
    """An error without an answer is reported by its own name."""
    assert ("ThrottlingException", "NotSent: no route") == (ThrottlingException().code, str(NotSent("no route")))
