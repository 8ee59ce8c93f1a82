"""The service's own exceptions under the model's names, and the class of each error code.

The docstring of a class gives AWS's meaning, its cure the operator's next step. An unknown code becomes an
`UnknownAnswer`, which is retried and never treated as a refusal. A new error needs a class here; if it means something
to the entitlement or has its own outcome for a record, it also needs a row in `sidecar.services.failed_calls`.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from sidecar.marketplace.errors import (
    KINDS,
    AccessDenied,
    CredentialsMissing,
    CredentialsRefused,
    Disposition,
    MarketplaceError,
    Taken,
    UnknownAnswer,
)


class Refused(MarketplaceError):
    """The service refused the request (HTTP 4xx) and processed nothing."""

    taken = Taken.NO


class ThrottlingException(Refused):
    """Too many calls of this account in this Region."""

    codes = ("Throttling", "ThrottledException", "TooManyRequestsException", "RequestLimitExceeded")
    cure = "Nothing to do: the sidecar spreads and repeats its calls."


class InternalServiceErrorException(MarketplaceError):
    """The service failed (HTTP 500). It may have processed the request before that."""

    cure = "Nothing to do unless it persists; then give AWS Support the request id."


class CustomerNotEntitledException(Refused):
    """The customer has no valid subscription to the product."""

    disposition = Disposition.STOP
    cure = "Subscribe to the product in AWS Marketplace with the account that runs the pod."


class CustomerNotSubscribedException(CustomerNotEntitledException):
    """The same error under a name that only AWS's prose uses."""


class AccessDeniedException(AccessDenied):
    """The role lacks the permission, by the common error of AWS's services."""


class UnauthorizedException(AccessDenied):
    """The role lacks the permission, by the documented answer to a dry run."""


class PlatformNotSupportedException(Refused):
    """AWS does not see a supported container platform behind the call."""

    disposition = Disposition.STOP
    cure = (
        "Run on Amazon EKS with IAM roles for service accounts, on Amazon ECS or on Fargate with a task role; "
        "elsewhere use mode: emulator."
    )


class DisabledApiException(Refused):
    """The operation is disabled in the Region."""

    disposition = Disposition.FIX_SETUP
    cure = "Use a Region in which AWS Marketplace offers the operation."


class InvalidRegionException(Refused):
    """RegisterUsage was called in a Region other than the pod's."""

    disposition = Disposition.FIX_SETUP
    cure = "Set AWS_REGION to the pod's own Region and remove marketplace.region."


class InvalidEndpointRegionException(Refused):
    """MeterUsage was called in a Region other than the pod's."""

    disposition = Disposition.FIX_SETUP
    cure = InvalidRegionException.cure


class InvalidPublicKeyVersionException(Refused):
    """The product has no public key of that version."""

    disposition = Disposition.FIX_SETUP
    cure = "Set product.public_key_version to the version that AWS Marketplace gave with the public key."


class InvalidProductCodeException(Refused):
    """No published product has that code, or the product is not the caller's."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Set product.code to the code that AWS Marketplace shows for the published product."


class InvalidUsageDimensionException(Refused):
    """The product has no such dimension."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Use the exact dimension names of the published product."


class InvalidTagException(Refused):
    """A tag is malformed, or there are more than 5."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Correct the tags of the usage allocations."


class InvalidUsageAllocationsException(Refused):
    """The allocations do not add up to the quantity, or their kind of number differs."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Make the allocations add up to exactly the quantity, in the same kind of number."


class TimestampOutOfBoundsException(Refused):
    """The hour is outside the submission window; of a batch nothing was processed."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Report usage within 6 hours (a batch: 24) and check the clock."


class DuplicateRequestException(Refused):
    """AWS already holds another quantity for the pod, dimension and hour; it did not take this one."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Find what else meters this dimension from this pod."


class IdempotencyConflictException(MarketplaceError):
    """AWS knows the client token from a request with other parameters, which may have been this usage."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Compare AWS's record of the hour with the ledger: no two requests may share a token."


class InvalidCustomerIdentifierException(Refused):
    """A record names an unknown customer."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Use the customer that ResolveCustomer returned."


class InvalidLicenseException(Refused):
    """The license does not exist, is not the customer's, or was not active at that time."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Use the license ARN that ResolveCustomer returned for this agreement."


class InvalidTokenException(Refused):
    """The registration token is not valid."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Pass the token exactly as the buyer's browser posted it, URL-decoded once."


class ExpiredTokenException(Refused):
    """The registration token has expired."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Ask the buyer to register again, and resolve the token immediately."


ERRORS: Final[Mapping[str, type[MarketplaceError]]] = MappingProxyType(KINDS)
"""From error code to class: the modelled errors, and the errors that AWS's front door answers for every service."""


def with_front_door(own: Mapping[str, type[MarketplaceError]]) -> Mapping[str, type[MarketplaceError]]:
    """Return the table of another service: its own errors, and those that AWS's front door answers for every service.

    In such a service a token that is expired or not valid is always the caller's credentials.
    """
    front_door = {code: kind for code, kind in KINDS.items() if kind in {CredentialsMissing, CredentialsRefused}}
    tokens = {"ExpiredTokenException": CredentialsMissing, "InvalidTokenException": CredentialsRefused}
    return MappingProxyType({**front_door, **tokens, **own})


_CLIENT_FAULTS = range(400, 500)
"""The HTTP statuses that reject the request."""


def error_from(
    modelled: Collection[str],
    code: str,
    message: str,
    request_id: str | None,
    status: int = 400,
    *,
    kinds: Mapping[str, type[MarketplaceError]] = ERRORS,
) -> MarketplaceError:
    """Return the error of the service's answer; an unknown code is an `UnknownAnswer`.

    Only an error of the operation itself, or of the front door, with an HTTP status that rejects the request (4xx)
    proves that nothing was processed. Under another status a refusal is an `UnknownAnswer`.

    Args:
        modelled: The names of the errors that the service model gives the operation.
        code: The error code of the answer.
        message: AWS's words.
        request_id: AWS's id of the request.
        status: The HTTP status.
        kinds: The service's errors by their codes.
    """
    kind = _kind(kinds, modelled, code, message)
    rejected = status in _CLIENT_FAULTS
    if not rejected and kind.disposition is not Disposition.RETRY:
        return UnknownAnswer(f"HTTP {status} with the error {code}", request_id=request_id)
    known = not issubclass(kind, Refused) or any(each.__name__ in modelled for each in kind.__mro__)
    return kind(message, code, request_id, kind.taken if rejected and known else Taken.UNKNOWN)


def _kind(
    kinds: Mapping[str, type[MarketplaceError]], modelled: Collection[str], code: str, message: str
) -> type[MarketplaceError]:
    kind = kinds.get(code, UnknownAnswer)
    # Both codes are also the front door's for the caller's credentials. Only ResolveCustomer has tokens of its own, and
    # even there AWS writes "security token" for the credentials.
    if code not in modelled or "security token" in message.lower():
        if kind is ExpiredTokenException:
            return CredentialsMissing
        if kind is InvalidTokenException:
            return CredentialsRefused
    return kind
