"""The Entitlement Service's own exceptions under the model's names, and the class of each error code.

The docstring of a class gives AWS's meaning, its cure the operator's next step. Services share codes, so this table is
separate from Metering's; the errors of AWS's front door are in both. An unknown code becomes an `UnknownAnswer`.
"""

from collections.abc import Mapping
from typing import ClassVar, Final

from sidecar.marketplace import service_errors
from sidecar.marketplace.errors import AccessDenied, Disposition, MarketplaceError

_KINDS: Final[dict[str, type[MarketplaceError]]] = {}


class EntitlementServiceError(MarketplaceError):
    """The Entitlement Service's answer is an error."""

    kinds: ClassVar[dict[str, type[MarketplaceError]]] = _KINDS


class EntitlementRefused(EntitlementServiceError, service_errors.Refused):
    """The Entitlement Service refused the request (HTTP 4xx)."""


class InvalidParameterException(EntitlementRefused):
    """A parameter is not valid, or the product is not the caller's."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Correct the parameter that AWS's message names; the product must belong to the account that calls."


class ThrottlingException(EntitlementRefused):
    """Too many calls of this account."""

    codes = service_errors.ThrottlingException.codes
    cure = "Nothing to do: the call is repeated."


class InternalServiceErrorException(EntitlementServiceError):
    """The service failed (HTTP 500)."""

    cure = service_errors.InternalServiceErrorException.cure


class AccessDeniedException(EntitlementServiceError, AccessDenied):
    """The role lacks the permission."""

    codes = AccessDenied.codes
    cure = "Allow aws-marketplace:GetEntitlements on resource * in the role's policy, in the seller's account."


ERRORS: Final[Mapping[str, type[MarketplaceError]]] = service_errors.with_front_door(_KINDS)
"""From error code to class."""
