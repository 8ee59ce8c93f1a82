"""A closed gate as a fault. `pending` is no fault: each pod begins with it."""

from collections.abc import Mapping
from typing import Final

from sidecar.domain.entitlement.states import Entitlement, Reason, State
from sidecar.domain.status import Finding
from sidecar.services.failed_calls import cure_of

LICENSE_CURES: Final[Mapping[str, str]] = {
    Reason.NO_LICENSE: "Subscribe to the product in AWS Marketplace with the account that runs this pod; if there is a "
    "subscription, check product.id and the entitlements of the contract.",
    Reason.LICENSE_PENDING: "Accept the grant in License Manager (Granted licenses), or wait for the contract's start.",
    Reason.LICENSE_EXPIRED: "Renew the contract in AWS Marketplace.",
    Reason.LICENSE_SUSPENDED: "Ask the seller or AWS Support why the license is stopped.",
}
_AGAIN = "The sidecar asks again by itself; no restart is needed."


def entitlement_fault(entitlement: Entitlement, *, emulator: bool) -> Finding | None:
    """Return the fault that a closed gate is; None while it is open or AWS has not answered yet."""
    detail = f"{entitlement.reason}: {entitlement.detail}"
    known = LICENSE_CURES.get(entitlement.reason)
    cure = f"{known or cure_of(entitlement.reason, emulator=emulator)} {_AGAIN}".lstrip()
    match entitlement.state:
        case State.DENIED:
            return Finding("entitlement-denied", detail, cure, entitlement.since)
        case State.SUSPENDED:
            return Finding("entitlement-suspended", detail, cure, entitlement.since)
        case State.UNAVAILABLE:
            return Finding("entitlement-unavailable", detail, cure, entitlement.since)
        case State.PENDING | State.ENTITLED:
            return None
