"""A closed gate as a fault. `pending` is no fault: each pod begins with it."""

from collections.abc import Mapping
from typing import Final

from sidecar.domain.entitlement.states import Entitlement, Reason, State
from sidecar.domain.entitlement.token import FORGERY_CURE
from sidecar.domain.status import LEDGER_CURE, Finding
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
    Reason.LEDGER_UNAVAILABLE: LEDGER_CURE,
}
"""Of the reasons that come without a failed call."""
_ASKS = "The sidecar asks again by itself"
_AGAIN: Final = f"{_ASKS}; no restart is needed."
_AGAIN_UNLESS: Final = f"{_ASKS}. Restart the pod only if its role, its environment or the configuration is replaced."
_RESTART: Final = "Restart the pod after that: the sidecar reads environment and configuration only at its start."


def entitlement_fault(entitlement: Entitlement) -> Finding | None:
    """Return the fault that a closed gate is; None while it is open or AWS has not answered yet."""
    reason = Reason(entitlement.reason)
    detail = f"{reason}: {entitlement.detail}"
    # One reason has several causes and services, so the call that failed knows better.
    cure = f"{entitlement.cure or _CURES.get(reason, '')} {follow_up(reason)}".strip()
    match entitlement.state:
        case State.DENIED:
            return Finding("entitlement-denied", detail, cure, entitlement.since)
        case State.SUSPENDED:
            return Finding("entitlement-suspended", detail, cure, entitlement.since)
        case State.UNAVAILABLE:
            return Finding("entitlement-unavailable", detail, cure, entitlement.since)
        case State.PENDING | State.ENTITLED:
            return None


def follow_up(reason: Reason) -> str:
    """Return whether the running process picks up the cure by itself."""
    match reason:
        case (
            Reason.CUSTOMER_NOT_ENTITLED
            | Reason.LEDGER_UNAVAILABLE
            | Reason.LICENSE_EXPIRED
            | Reason.LICENSE_PENDING
            | Reason.LICENSE_SUSPENDED
            | Reason.NO_PROBE_SLOT
            | Reason.REGISTERING
            | Reason.SEATS_TAKEN
            | Reason.THROTTLED
        ):
            return _AGAIN
        case (
            Reason.ACCESS_DENIED
            | Reason.CREDENTIALS_REFUSED
            | Reason.NO_LICENSE
            | Reason.SERVICE_FAULT
            | Reason.UNREACHABLE
        ):
            return _AGAIN_UNLESS
        case Reason.SIGNATURE_INVALID:
            return f"The sidecar reads the key's file again. {_AGAIN_UNLESS}"
        case (
            Reason.DISABLED_API
            | Reason.INVALID_PRODUCT_CODE
            | Reason.INVALID_PUBLIC_KEY_VERSION
            | Reason.INVALID_REGION
            | Reason.INVALID_USAGE_DIMENSION
            | Reason.PLATFORM_NOT_SUPPORTED
            | Reason.UNSUPPORTED_REGION
        ):
            return _RESTART
        case Reason.CREDENTIALS_MISSING:
            return ""  # its cures end with the restart
        case Reason.LICENSED | Reason.METERED | Reason.NOT_CHECKED | Reason.REGISTERED | Reason.REMEMBERED:
            return ""  # of an open gate
