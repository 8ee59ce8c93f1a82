"""A closed gate as a fault. `pending` is no fault: each pod begins with it."""

from collections.abc import Mapping
from typing import Final

from sidecar.domain.entitlement.states import Entitlement, Reason, State
from sidecar.domain.entitlement.token import FORGERY_CURE
from sidecar.domain.status import Finding
from sidecar.marketplace.service_errors import CustomerNotEntitledException

LICENSE_CURES: Final[Mapping[str, str]] = {
    Reason.NO_LICENSE: "Subscribe to the product in AWS Marketplace with the account that runs this pod; if there is a "
    "subscription, check product.id and the entitlements of the contract.",
    Reason.LICENSE_PENDING: "Accept the grant in License Manager (Granted licenses), or wait for the contract's start.",
    Reason.LICENSE_EXPIRED: "Renew the contract in AWS Marketplace.",
    Reason.LICENSE_SUSPENDED: "Ask the seller or AWS Support why the license is stopped.",
}
_CURES: Final[Mapping[str, str]] = {
    **LICENSE_CURES,
    Reason.CUSTOMER_NOT_ENTITLED: CustomerNotEntitledException.cure,
    Reason.SIGNATURE_INVALID: FORGERY_CURE,
    Reason.LEDGER_UNAVAILABLE: "Make room on the ledger's volume, or restore the file or volume.",
}
"""Of the reasons that come without a failed call."""
_AGAIN = "The sidecar asks again by itself; no restart is needed."


def entitlement_fault(entitlement: Entitlement) -> Finding | None:
    """Return the fault that a closed gate is; None while it is open or AWS has not answered yet."""
    detail = f"{entitlement.reason}: {entitlement.detail}"
    # One reason has several causes and services, so the call that failed knows better.
    cure = f"{entitlement.cure or _CURES.get(entitlement.reason, '')} {_AGAIN}".lstrip()
    match entitlement.state:
        case State.DENIED:
            return Finding("entitlement-denied", detail, cure, entitlement.since)
        case State.SUSPENDED:
            return Finding("entitlement-suspended", detail, cure, entitlement.since)
        case State.UNAVAILABLE:
            return Finding("entitlement-unavailable", detail, cure, entitlement.since)
        case State.PENDING | State.ENTITLED:
            return None
