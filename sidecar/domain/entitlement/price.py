"""Which check of the entitlement belongs to a price."""

from typing import assert_never

from sidecar.domain.policy import EntitlementCheck, Pricing


def check_of(pricing: Pricing) -> EntitlementCheck:
    """Return the check that AWS documents for a price."""
    match pricing:
        case Pricing.HOURLY:
            return EntitlementCheck.REGISTER
        case Pricing.CUSTOM:
            return EntitlementCheck.METER
        case Pricing.CONTRACT:
            return EntitlementCheck.LICENSE
        case _:
            assert_never(pricing)


def resolve(check: EntitlementCheck, pricing: Pricing | None, *, has_public_key: bool) -> EntitlementCheck:
    """Return the check in force, never `auto`.

    A product without a named price registers if it has a public key.
    """
    if check is not EntitlementCheck.AUTO:
        return check
    if pricing is not None:
        return check_of(pricing)
    return EntitlementCheck.REGISTER if has_public_key else EntitlementCheck.METER


def contradict(check: EntitlementCheck, pricing: Pricing | None) -> bool:
    """Return whether a configured check is that of another price; `auto` and `none` go with each price."""
    if pricing is None or check in {EntitlementCheck.AUTO, EntitlementCheck.NONE}:
        return False
    return check is not check_of(pricing)
