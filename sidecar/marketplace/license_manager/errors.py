"""License Manager's own exceptions under the model's names, and the class of each error code.

The docstring of a class gives AWS's meaning, its cure the operator's next step. Services share codes, so this table is
separate from Metering's; the errors of AWS's front door are in both. An unknown code becomes an `UnknownAnswer`.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from sidecar.marketplace.errors import AccessDenied, Disposition, MarketplaceError, Taken
from sidecar.marketplace.service_errors import Refused, ThrottlingException, with_front_door

_KINDS: Final[dict[str, type[MarketplaceError]]] = {}
_REGION = re.compile(r"(?<![a-z0-9-])[a-z]{2,4}(?:-[a-z]+){1,3}-[0-9]{1,2}(?![a-z0-9-])", re.ASCII)


class LicenseManagerError(MarketplaceError):
    """License Manager's answer is an error."""

    kinds: ClassVar[dict[str, type[MarketplaceError]]] = _KINDS


class LicenseRefused(LicenseManagerError, Refused):
    """License Manager refused the request (HTTP 4xx) and processed nothing."""


class ValidationException(LicenseRefused):
    """A member of the request is not valid."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Correct the member that AWS's message names."


class InvalidParameterValueException(LicenseRefused):
    """A value in the request is not valid."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Correct the value that AWS's message names; a client token belongs to one checkout only."


class ResourceNotFoundException(LicenseRefused):
    """AWS does not know the license, the product or the consumption token."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = "Check product.id, the Region and the account; a checkout that has ended has no token any more."


class NoEntitlementsAllowedException(LicenseRefused):
    """There is no license with the entitlement in that unit, or none of it is left; the answer does not say which."""

    disposition = Disposition.GIVE_UP_RECORD
    cure = (
        "Read the licenses of the account: subscribe if there is none, correct name and unit of the entitlement, or "
        "wait until a seat returns."
    )


class UnsupportedDigitalSignatureMethodException(LicenseRefused):
    """AWS cannot sign the answer for this license."""

    disposition = Disposition.FIX_SETUP
    cure = "Give AWS Support the request id: the seller's license asks for a signature that AWS does not make."


class RedirectException(LicenseRefused):
    """The license belongs to another Region."""

    disposition = Disposition.FIX_SETUP
    cure = "Call License Manager in the license's home Region."
    location: str | None = None
    """The Region that AWS names, from a Region, a host or a URL; None if it names none."""

    def read_members(self, members: Mapping[str, Any]) -> None:
        """Take the Region out of `Location`. Only a Region leaves it, never a host that could be called."""
        named = members.get("Location")
        found = _REGION.search(named) if isinstance(named, str) else None
        self.location = None if found is None else found[0]


class AuthorizationException(LicenseManagerError, AccessDenied):
    """The account or its role may not do this."""

    disposition = Disposition.FIX_SETUP
    taken = Taken.NO
    cure = (
        "Allow license-manager:CheckoutLicense, CheckInLicense, ExtendLicenseConsumption, GetLicense and "
        "ListReceivedLicenses on resource * in the role's policy."
    )


class AccessDeniedException(AuthorizationException):
    """The role lacks the permission."""

    codes = AccessDenied.codes


class RateLimitExceededException(LicenseRefused):
    """Too many calls of this account in this Region."""

    codes = (ThrottlingException.__name__, *ThrottlingException.codes)
    cure = "Nothing to do: the call is repeated."


class ServerInternalException(LicenseManagerError):
    """The service failed (HTTP 500). It may have processed the request before that."""

    cure = "Nothing to do unless it persists; then give AWS Support the request id."


class ConflictException(LicenseRefused):
    """Another change of the same checkout is being processed."""

    cure = "Nothing to do: the call is repeated."


class ResourceLimitExceededException(LicenseRefused):
    """The account has reached a limit of License Manager."""

    disposition = Disposition.FIX_SETUP
    cure = "Ask AWS Support for a higher limit of the account."


ERRORS: Final[Mapping[str, type[MarketplaceError]]] = with_front_door(_KINDS)
"""From error code to class."""
