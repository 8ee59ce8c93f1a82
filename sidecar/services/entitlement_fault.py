"""A closed gate as a fault. `pending` is no fault: each pod begins with it."""

from sidecar.domain.entitlement.states import Entitlement, State
from sidecar.domain.status import Finding
from sidecar.services.failed_calls import cure_of

_AGAIN = "The sidecar asks again by itself; no restart is needed."


def entitlement_fault(entitlement: Entitlement, *, emulator: bool) -> Finding | None:
    """Return the fault that a closed gate is; None while it is open or AWS has not answered yet."""
    detail = f"{entitlement.reason}: {entitlement.detail}"
    cure = f"{cure_of(entitlement.reason, emulator=emulator)} {_AGAIN}".lstrip()
    match entitlement.state:
        case State.DENIED:
            return Finding("entitlement-denied", detail, cure, entitlement.since)
        case State.SUSPENDED:
            return Finding("entitlement-suspended", detail, cure, entitlement.since)
        case State.UNAVAILABLE:
            return Finding("entitlement-unavailable", detail, cure, entitlement.since)
        case State.PENDING | State.ENTITLED:
            return None
