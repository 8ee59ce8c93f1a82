"""What is reported to the cluster: the condition of the readiness gate, and events when something changes.

Decides what to report and when to repeat it; sends nothing. No text holds a nonce or a signature: all come
from the sentences that the probes answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sidecar.domain.entitlement.renewal import KEY_ROTATION_CURE
from sidecar.domain.entitlement.states import Entitlement, Reason, State
from sidecar.domain.status import Finding, ProbeAnswer
from sidecar.domain.timestamps import render

EVENT_DISTANCE = timedelta(minutes=10)
"""Between two events of one reason on a pod; what happens in between is counted in the next."""
LONGEST_MESSAGE = 1024
"""Characters of an event's message, as the API's newer event type limits them."""


@dataclass(frozen=True, slots=True)
class Situation:
    """The state of this pod at one instant."""

    entitlement: Entitlement
    ready: ProbeAnswer
    failing: bool
    """Metering fails (sidecar.domain.metering.failing)."""
    rotation_due: datetime | None
    """Since when the product's public key is out of date."""
    findings: Sequence[Finding] = ()
    """The faults of the present."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A pod condition as it should be."""

    type: str
    status: bool
    reason: str
    message: str


class EventReason(StrEnum):
    """Why an event is written, in the cluster's spelling."""

    ENTITLED = "Entitled"  # the pod may run
    DENIED = "Denied"  # AWS Marketplace refused it
    UNAVAILABLE = "Unavailable"  # no answer for long
    SUSPENDED = "Suspended"  # AWS Marketplace has since refused it
    METERING_FAILING = "MeteringFailing"  # metering fails: no success for long, duplicates, or no room
    METERING_RECOVERED = "MeteringRecovered"  # usage is taken again
    LEDGER_ADOPTED = "LedgerAdopted"  # usage of another pod was taken over; a copy of a ledger bills it again
    KEY_ROTATION_DUE = "KeyRotationDue"  # the product's public key is out of date
    LICENSE_EXPIRING = "LicenseExpiring"  # the contract ends soon
    LICENSE_EXPIRED = "LicenseExpired"  # the contract has ended; this pod keeps running, the next one is denied
    SEATS_TAKEN = "SeatsTaken"  # every seat is in use: this pod has none, or waits for one
    CHECKOUT_IN_DOUBT = "CheckoutInDoubt"  # a draw-down waits for a person

    @property
    def warning(self) -> bool:
        """It asks for an action."""
        return self not in {EventReason.ENTITLED, EventReason.METERING_RECOVERED}


_REASONS = {
    State.PENDING: None,
    State.ENTITLED: EventReason.ENTITLED,
    State.DENIED: EventReason.DENIED,
    State.UNAVAILABLE: EventReason.UNAVAILABLE,
    State.SUSPENDED: EventReason.SUSPENDED,
}


_FINDINGS = {
    "license-expiring": EventReason.LICENSE_EXPIRING,
    "license-expired": EventReason.LICENSE_EXPIRED,
    "seats-taken": EventReason.SEATS_TAKEN,
    "checkout-in-doubt": EventReason.CHECKOUT_IN_DOUBT,
}
"""The faults of a license that are worth an event when they begin."""


@dataclass(frozen=True, slots=True)
class PodEvent:
    """An event on the pod; several of one reason may have become one."""

    reason: EventReason
    message: str
    first_at: datetime
    last_at: datetime
    count: int = 1


def condition(kind: str, ready: ProbeAnswer) -> Condition:
    """Return the condition of type `kind` with the answer of the readiness probe."""
    return Condition(kind, ready.ok, _camel(ready.reason), ready.sentence)


def events_of(before: Situation | None, after: Situation, now: datetime) -> list[PodEvent]:
    """Return the events that the change between two looks is worth; `before` is None at the first one."""
    return [PodEvent(reason, message[:LONGEST_MESSAGE], now, now) for reason, message in _changes(before, after)]


def _changes(before: Situation | None, after: Situation) -> Iterator[tuple[EventReason, str]]:
    reason = _REASONS[after.entitlement.state]
    if reason is not None and (before is None or _answer(before.entitlement) != _answer(after.entitlement)):
        yield reason, after.entitlement.detail
    failed = before is not None and before.failing
    if after.failing and not failed:
        words = after.ready.sentence if after.ready.reason == "metering-failing" else "The pod is not entitled, too."
        yield EventReason.METERING_FAILING, f"Metering is failing: /v1/status of the sidecar shows what to do. {words}"
    if failed and not after.failing:
        yield EventReason.METERING_RECOVERED, "Usage is submitted to AWS Marketplace again."
    rotated = after.rotation_due
    if rotated is not None and (before is None or before.rotation_due != rotated):
        words = f"AWS Marketplace rotated the product's public key on {render(rotated)}"
        yield EventReason.KEY_ROTATION_DUE, f"{words}. {KEY_ROTATION_CURE}"
    if _waits_for_seat(after) and (before is None or not _waits_for_seat(before)):
        yield EventReason.SEATS_TAKEN, after.entitlement.detail
    known = set() if before is None else {finding.code for finding in before.findings}
    for finding in after.findings:
        if finding.code in _FINDINGS and finding.code not in known:
            yield _FINDINGS[finding.code], f"{finding.detail}. {finding.cure}"


def _waits_for_seat(situation: Situation) -> bool:
    entitlement = situation.entitlement
    return entitlement.state is State.PENDING and entitlement.reason == Reason.SEATS_TAKEN


def _answer(entitlement: Entitlement) -> tuple[State, str]:
    """Return what makes a change worth an event: the state, and why it is denied."""
    return entitlement.state, entitlement.reason if entitlement.state is State.DENIED else ""


def _camel(reason: str) -> str:
    return "".join(part.capitalize() for part in reason.split("-"))


class EventQueue:
    """The events that are still to be written: one per reason at most, each `EVENT_DISTANCE` after its like."""

    def __init__(self) -> None:
        self._waiting: dict[EventReason, PodEvent] = {}
        self._written: dict[EventReason, datetime] = {}

    def put(self, event: PodEvent) -> None:
        """Queue an event, or count it into the one of its reason that still waits."""
        earlier = self._waiting.get(event.reason)
        if earlier is not None:
            event = replace(event, first_at=earlier.first_at, count=earlier.count + event.count)
        self._waiting[event.reason] = event

    def due(self, now: datetime) -> list[PodEvent]:
        """Return the events that may be written at `now`, in the order in which their reasons came up."""
        return [event for event in self._waiting.values() if not self._too_soon(event.reason, now)]

    def written(self, event: PodEvent, now: datetime) -> None:
        """Note that an event of `due` was written."""
        del self._waiting[event.reason]
        self._written[event.reason] = now

    def _too_soon(self, reason: EventReason, now: datetime) -> bool:
        """A clock stepped backwards does not hold an event back."""
        written = self._written.get(reason)
        return written is not None and written <= now < written + EVENT_DISTANCE
