"""What stands between this pod and paid work, as faults: the entitlement and the metering, beside what causes them.

A pod that is denied or whose metering fails is not healthy, whatever else is right. `pending` is no fault: each pod
begins so. `Since` keeps the instant at which a fault was first seen, so that a status read later shows the same one.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

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


class Since:
    """Remembers when each fault that has no instant of its own was first seen."""

    def __init__(self) -> None:
        self._first: dict[str, datetime] = {}

    def date(self, findings: Iterable[Finding]) -> list[Finding]:
        """Return the findings with the instant of their code's first sight; a code that is absent is forgotten."""
        found = list(findings)
        self._first = {each.code: self._first.get(each.code, each.since) for each in found}
        return [replace(each, since=self._first[each.code]) for each in found]
