"""The service's own exceptions, under the model's names, and the one table from its error codes to classes.

Their texts say what AWS means, their cures what the operator does. It refuses to guess: a code outside the table is an
`UnknownAnswer`, which is retried and never taken for a refusal.
"""
# ruff: noqa: N818 - the model's own names

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sidecar.marketplace.errors import (
    AccessDenied,
    CredentialsMissing,
    CredentialsRefused,
    Disposition,
    MarketplaceError,
    Taken,
    UnknownAnswer,
)


class Refused(MarketplaceError):
    """The service answered with an error that blames the request (HTTP 4xx): it processed nothing."""

    taken = Taken.NO


class ThrottlingException(Refused):
    """Too many calls of this account in this Region."""

    cure = "Nothing to do: spread and repeated calls get through."


class InternalServiceErrorException(MarketplaceError):
    """The service failed (HTTP 500), which does not tell whether it processed the request before."""

    cure = "Nothing to do unless it lasts; then give AWS Support the request id."


class CustomerNotEntitledException(Refused):
    """The customer has no valid subscription to the product."""

    disposition = Disposition.STOP
    cure = "Subscribe to the product in AWS Marketplace with the account that runs the pod."


class CustomerNotSubscribedException(CustomerNotEntitledException):
    """The same under the name that only AWS's prose uses."""


class PlatformNotSupportedException(Refused):
    """AWS does not see a supported container platform behind the call."""

    disposition = Disposition.STOP
    cure = (
        "Run on Amazon EKS with IAM roles for service accounts, on Amazon ECS or on Fargate with a task role; "
        "elsewhere use mode: emulator."
    )


class DisabledApiException(Refused):
    """The operation is switched off in the Region."""

    disposition = Disposition.FIX_SETUP
    cure = "Use a Region in which AWS Marketplace offers the operation."


class InvalidRegionException(Refused):
    """RegisterUsage was called in another Region than the pod's."""

    disposition = Disposition.FIX_SETUP
    cure = "Let AWS_REGION be the pod's own Region and leave marketplace.region unset."


class InvalidEndpointRegionException(Refused):
    """MeterUsage was called in another Region than the pod's."""

    disposition = Disposition.FIX_SETUP
    cure = InvalidRegionException.cure


class InvalidPublicKeyVersionException(Refused):
    """The product has no public key of that version."""

    disposition = Disposition.FIX_SETUP
    cure = "Set product.public_key_version to the version that AWS Marketplace gave with the public key."


class InvalidProductCodeException(Refused):
    """No product of that code was published, or it is not the caller's."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Set product.code to the code that AWS Marketplace shows for the published product."


class InvalidUsageDimensionException(Refused):
    """The product has no such dimension."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Use the dimension names of the published product, letter by letter."


class InvalidTagException(Refused):
    """A tag is malformed, or there are more than 5."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Correct the tags of the usage allocations."


class InvalidUsageAllocationsException(Refused):
    """The allocations do not add up to the quantity, or are of another kind than it."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Let the allocations add up to exactly the quantity, in the same kind of number."


class TimestampOutOfBoundsException(Refused):
    """The hour is outside the submission window; of a batch nothing was processed."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Report usage within 6 hours (a batch: 24) and check the clock."


class DuplicateRequestException(Refused):
    """The pod, dimension and hour already hold another quantity; this one was not taken."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Find what else meters this dimension from this pod."


class IdempotencyConflictException(MarketplaceError):
    """The client token belongs to a request with other parameters, which may have been this usage."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Compare AWS's record of the hour with the ledger: a token must never serve two requests."


class InvalidCustomerIdentifierException(Refused):
    """A record names a customer who does not exist."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Use the customer that ResolveCustomer returned."


class InvalidLicenseException(Refused):
    """The license does not exist, is not the customer's, or was not active at that time."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Use the license ARN that ResolveCustomer returned for this agreement."


class InvalidTokenException(Refused):
    """The registration token is none."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Pass the token exactly as the buyer's browser posted it, URL-decoded once."


class ExpiredTokenException(Refused):
    """The registration token has expired."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Let the buyer register again, and resolve the token at once."


_MODELLED: Final[tuple[type[MarketplaceError], ...]] = (
    CustomerNotEntitledException,
    DisabledApiException,
    DuplicateRequestException,
    ExpiredTokenException,
    IdempotencyConflictException,
    InternalServiceErrorException,
    InvalidCustomerIdentifierException,
    InvalidEndpointRegionException,
    InvalidLicenseException,
    InvalidProductCodeException,
    InvalidPublicKeyVersionException,
    InvalidRegionException,
    InvalidTagException,
    InvalidTokenException,
    InvalidUsageAllocationsException,
    InvalidUsageDimensionException,
    PlatformNotSupportedException,
    ThrottlingException,
    TimestampOutOfBoundsException,
)

ERRORS: Final[Mapping[str, type[MarketplaceError]]] = MappingProxyType(
    {error.__name__: error for error in _MODELLED}
    | {
        "CustomerNotSubscribedException": CustomerNotSubscribedException,
        "Throttling": ThrottlingException,
        "ThrottledException": ThrottlingException,
        "TooManyRequestsException": ThrottlingException,
        "RequestLimitExceeded": ThrottlingException,
        "AccessDenied": AccessDenied,
        "AccessDeniedException": AccessDenied,
        "UnauthorizedException": AccessDenied,
        "UnauthorizedOperation": AccessDenied,
        "ExpiredToken": CredentialsMissing,
        "MissingAuthenticationToken": CredentialsMissing,
        "MissingAuthenticationTokenException": CredentialsMissing,
        "IncompleteSignature": CredentialsRefused,
        "IncompleteSignatureException": CredentialsRefused,
        "InvalidClientTokenId": CredentialsRefused,
        "InvalidSignatureException": CredentialsRefused,
        "NotAuthorized": CredentialsRefused,
        "RequestExpired": CredentialsRefused,
        "SignatureDoesNotMatch": CredentialsRefused,
        "UnrecognizedClientException": CredentialsRefused,
    }
)
"""From error code to class: the modelled ones, and what AWS's front door answers for every service."""


REFUSALS: Final[Mapping[str, frozenset[type[MarketplaceError]]]] = MappingProxyType(
    {
        "RegisterUsage": frozenset(
            {
                CustomerNotEntitledException,
                CustomerNotSubscribedException,
                DisabledApiException,
                InvalidProductCodeException,
                InvalidPublicKeyVersionException,
                InvalidRegionException,
                PlatformNotSupportedException,
                ThrottlingException,
            }
        ),
        "MeterUsage": frozenset(
            {
                CustomerNotEntitledException,
                CustomerNotSubscribedException,
                DuplicateRequestException,
                InvalidEndpointRegionException,
                InvalidProductCodeException,
                InvalidTagException,
                InvalidUsageAllocationsException,
                InvalidUsageDimensionException,
                ThrottlingException,
                TimestampOutOfBoundsException,
            }
        ),
        "BatchMeterUsage": frozenset(
            {
                DisabledApiException,
                InvalidCustomerIdentifierException,
                InvalidLicenseException,
                InvalidProductCodeException,
                InvalidTagException,
                InvalidUsageAllocationsException,
                InvalidUsageDimensionException,
                ThrottlingException,
                TimestampOutOfBoundsException,
            }
        ),
        "ResolveCustomer": frozenset(
            {DisabledApiException, ExpiredTokenException, InvalidTokenException, ThrottlingException}
        ),
    }
)
"""The errors of the model by which each operation refuses a request; the prose's CustomerNotSubscribed is one, too."""

_CLIENT_FAULTS = range(400, 500)
"""The HTTP statuses that blame the request."""


def error_from(operation: str, code: str, message: str, request_id: str | None, status: int = 400) -> MarketplaceError:
    """Return the error that the service's answer stands for; a code outside the table is an `UnknownAnswer`.

    Only a code that is the operation's own, or the front door's, together with an HTTP status that blames the request
    (4xx) proves that nothing was processed. Under another status a refusal is an `UnknownAnswer`.
    """
    error = _kind(operation, code, message)
    blames_request = status in _CLIENT_FAULTS
    if not blames_request and error.disposition is not Disposition.RETRY:
        return UnknownAnswer(f"HTTP {status} with the error {code}", request_id=request_id)
    known = not issubclass(error, Refused) or error in REFUSALS[operation]
    return error(message, code, request_id, error.taken if blames_request and known else Taken.UNKNOWN)


def _kind(operation: str, code: str, message: str) -> type[MarketplaceError]:
    error = ERRORS.get(code, UnknownAnswer)
    # Both codes are also the front door's words for the caller's own credentials. Only ResolveCustomer has tokens of
    # its own, and even there AWS says "security token" when it means the credentials.
    if operation != "ResolveCustomer" or "security token" in message.lower():
        if error is ExpiredTokenException:
            return CredentialsMissing
        if error is InvalidTokenException:
            return CredentialsRefused
    return error
