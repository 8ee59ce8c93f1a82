"""What License Manager's refusals mean for a checkout that it may hold, and in which Region to ask instead."""

from typing import Final

from sidecar.marketplace.errors import MarketplaceError
from sidecar.marketplace.license_manager import (
    InvalidParameterValueException,
    NoEntitlementsAllowedException,
    RedirectException,
    ResourceNotFoundException,
    ValidationException,
)

UNKNOWN: Final = (ResourceNotFoundException,)
"""AWS does not know the consumption token any more."""
GONE: Final = (*UNKNOWN, InvalidParameterValueException, ValidationException)
"""AWS extends nothing by the token. To a return the last two may also mean that the license takes no seat back."""


def elsewhere(error: MarketplaceError, regions: list[str]) -> list[str]:
    """Return the Regions in which the same checkout may succeed although one has answered with `error`."""
    match error:
        case RedirectException(location=str(location)):
            return [location, *regions]
        case RedirectException() | NoEntitlementsAllowedException():
            return regions
        case _:
            return []
