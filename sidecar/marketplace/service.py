"""The services of AWS that the library calls, each as one value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sidecar.marketplace.errors import MarketplaceError
from sidecar.marketplace.service_errors import ERRORS


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """How the SDK names a service, and what its answers mean."""

    name: str
    """The name that the SDK makes a client by."""
    errors: Mapping[str, type[MarketplaceError]]
    """From error code to class."""
    secret_members: tuple[str, ...] = ()
    """Members of requests whose values no error may repeat."""


METERING: Final = Service(
    name="meteringmarketplace",
    errors=ERRORS,
    secret_members=("Nonce", "RegistrationToken"),
)
"""AWS Marketplace Metering."""
