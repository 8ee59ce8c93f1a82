"""What the app asks about entitlements and seats, what it is answered, and why it is refused."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Allowance:
    """What `GET /v1/entitlements/{name}` answers."""

    name: str
    allowed: bool
    max: int | None
    """None for an entitlement without a count."""
    held: int
    tier: str | None
    """The highest tier granted, if `name` is a tier."""
    until: datetime | None


@dataclass(frozen=True, slots=True)
class CheckoutRequest:
    """What `POST /v1/checkouts` asks for."""

    id: str
    entitlement: str
    count: int = 1
    drawdown: bool = False


class CheckoutRefused(Exception):
    """The app's request is not met; the message gives the reason and what to do."""


class UnknownEntitlement(CheckoutRefused):
    """The license has no such entitlement, and there is no such tier."""


class UnknownCheckout(CheckoutRefused):
    """There is no checkout of that id."""


class CheckoutReused(CheckoutRefused):
    """The id belongs to a checkout with other content."""


class SeatsTaken(CheckoutRefused):
    """The license is good, and none of the entitlement is left."""


class CheckoutNotEntitled(CheckoutRefused):
    """No good license grants it."""


class NotReturnable(CheckoutRefused):
    """What was checked out cannot be returned."""


class CheckoutInDoubt(CheckoutRefused):
    """AWS may or may not hold the draw-down; a person decides."""


class LicenseUnavailable(CheckoutRefused):
    """License Manager has not answered; the same request may succeed later."""

    retry_after = 5
    """Seconds."""
