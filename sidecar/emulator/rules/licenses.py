"""What the operations on licenses share: a license's status, which one a product gets, and what is taken of it.

Refuses to change anything. A license gives a right only while it is available, its grant is active, and the grant is a
buyer's. Of several the newest one counts: AWS leaves no way to choose.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from sidecar.emulator.state.license_entries import Checkout, License
from sidecar.emulator.state.store import State

AVAILABLE = "AVAILABLE"
NO_COUNT = "None"
"""The unit of an entitlement without a count."""


def license_status(license_: License, now: datetime) -> str:
    """Return the status of a license: the one that was set, else the one of its validity."""
    if license_.set_status is not None:
        return license_.set_status
    if license_.end is not None and now >= license_.end:
        return "EXPIRED"
    return AVAILABLE if now >= license_.begin else "PENDING_AVAILABLE"


def gives_right(license_: License, now: datetime) -> bool:
    """Return whether the account may use the license."""
    return (
        not license_.removed
        and license_status(license_, now) == AVAILABLE
        and license_.received == "ACTIVE"
        and license_.grant_type != "DelegateGrant"
    )


def newest_license(state: State, now: datetime, sku: str, fingerprint: str) -> License | None:
    """Return the license that a checkout of the product takes from, None if no license gives the right."""
    fitting = [
        each
        for each in state.licenses.values()
        if each.sku == sku and each.fingerprint == fingerprint and gives_right(each, now)
    ]
    # Of licenses of the same instant the one that came last, and `max` takes the first.
    return max(reversed(fitting), key=lambda each: each.created_at, default=None)


def is_held(checkout: Checkout, now: datetime) -> bool:
    """Return whether a checkout still takes its entitlements."""
    return checkout.returned_at is None and (checkout.expires_at is None or now < checkout.expires_at)


def amount_held(checkouts: Iterable[Checkout], arn: str, name: str, now: datetime) -> Decimal:
    """Return how much of an entitlement of the license `arn` is taken."""
    return sum(
        (
            Decimal(asked.value or 0)
            for checkout in checkouts
            if checkout.license_arn == arn and is_held(checkout, now)
            for asked in checkout.request.entitlements
            if asked.name == name and asked.unit != NO_COUNT
        ),
        Decimal(0),
    )
