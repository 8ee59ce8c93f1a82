"""The calls that change what AWS holds of a license, as the keeper of checkouts needs them."""

from typing import Protocol

from sidecar.domain.entitlement.checkouts import Checkout, Grant


class CheckoutService(Protocol):
    """The calls that change what AWS holds. Each is one attempt, and raises MarketplaceError."""

    async def check_out(self, checkout: Checkout) -> Grant:
        """Make a checkout in its Region."""

    async def extend(self, checkout: Checkout) -> Grant:
        """Hold a seat for longer."""

    async def check_in(self, checkout: Checkout) -> None:
        """Return a seat."""
