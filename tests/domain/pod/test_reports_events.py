"""What the sidecar reports to the cluster, and how often."""

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.entitlement.states import Entitlement, EntitlementSource, State
from sidecar.domain.pod.reports import (
    EVENT_DISTANCE,
    LONGEST_MESSAGE,
    Condition,
    EventQueue,
    EventReason,
    PodEvent,
    Situation,
    condition,
    events_of,
)
from sidecar.domain.status import Finding, ProbeAnswer

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def situation(
    state: State, reason: str = "why", *, failing: bool = False, rotation_due: datetime | None = None
) -> Situation:
    """Return how a pod stands."""
    entitlement = Entitlement(
        state=state,
        reason=reason,
        detail=f"It is {state}: {reason}.",
        source=EntitlementSource.LIVE,
        product_code="0abc123example",
        public_key_version=1,
        since=NOON,
        nonce="the-nonce",
        signature="eyJhbGciOiJQUzI1NiJ9.e30.c2ln",
    )
    return Situation(entitlement, ProbeAnswer(ok=True, reason=reason, sentence="."), failing, rotation_due)


def faulty(*codes: str) -> Situation:
    """Return an entitled pod with faults."""
    return replace(situation(State.ENTITLED), findings=[Finding(code, f"It is {code}", "Act.", NOON) for code in codes])


PENDING, ENTITLED, DENIED = situation(State.PENDING), situation(State.ENTITLED), situation(State.DENIED)
FAILING, ROTATED = situation(State.ENTITLED, failing=True), situation(State.ENTITLED, rotation_due=NOON)


@pytest.mark.parametrize(
    ("before", "after", "reasons"),
    [
        (None, PENDING, []),
        (None, ENTITLED, ["Entitled"]),
        (None, replace(ENTITLED, failing=True), ["Entitled", "MeteringFailing"]),
        (PENDING, ENTITLED, ["Entitled"]),
        (PENDING, DENIED, ["Denied"]),
        (PENDING, situation(State.UNAVAILABLE), ["Unavailable"]),
        (situation(State.PENDING, "registering"), situation(State.PENDING, "throttled"), []),
        (ENTITLED, ENTITLED, []),
        (ENTITLED, situation(State.ENTITLED, "remembered"), []),
        (ENTITLED, situation(State.SUSPENDED), ["Suspended"]),
        (situation(State.SUSPENDED), ENTITLED, ["Entitled"]),
        (DENIED, situation(State.DENIED, "another"), ["Denied"]),
        (DENIED, ENTITLED, ["Entitled"]),
        (ENTITLED, FAILING, ["MeteringFailing"]),
        (FAILING, FAILING, []),
        (FAILING, ENTITLED, ["MeteringRecovered"]),
        (ENTITLED, ROTATED, ["KeyRotationDue"]),
        (ROTATED, ROTATED, []),
        (ROTATED, situation(State.ENTITLED, rotation_due=NOON + MINUTE), ["KeyRotationDue"]),
        (ENTITLED, faulty("license-expiring"), ["LicenseExpiring"]),
        (faulty("license-expiring"), faulty("license-expiring"), []),
        (faulty("license-expiring"), faulty("license-expired"), ["LicenseExpired"]),
        (ENTITLED, faulty("seats-taken", "checkout-in-doubt"), ["SeatsTaken", "CheckoutInDoubt"]),
        (ENTITLED, faulty("ledger-filling"), []),
        (PENDING, situation(State.PENDING, "seats-taken"), ["SeatsTaken"]),
        (situation(State.PENDING, "seats-taken"), situation(State.PENDING, "seats-taken"), []),
    ],
)
def test_changes_become_events(before: Situation | None, after: Situation, reasons: list[str]) -> None:
    """Each change of interest is one event; what stays is none, and no event has a secret."""
    events = events_of(before, after, NOON)
    assert reasons == [event.reason.value for event in events]
    assert all("the-nonce" not in event.message and "eyJ" not in event.message for event in events)


def test_message_has_a_limit() -> None:
    """A message is cut to what the API takes."""
    entitlement = replace(DENIED.entitlement, detail="x" * 5000)
    (event,) = events_of(None, replace(DENIED, entitlement=entitlement), NOON)
    assert "x" * LONGEST_MESSAGE == event.message


def test_warnings_are_what_needs_somebody() -> None:
    """Good news is Normal, everything else a Warning."""
    assert {EventReason.ENTITLED, EventReason.METERING_RECOVERED} == {
        reason for reason in EventReason if not reason.warning
    }


@pytest.mark.parametrize(
    ("ok", "reason", "spelled"),
    [(True, "registered", "Registered"), (False, "denied", "Denied"), (False, "metering-failing", "MeteringFailing")],
)
def test_condition_follows_readiness(ok: bool, reason: str, spelled: str) -> None:  # noqa: FBT001 - a column of the table
    """The condition says what the readiness probe says, the reason in the cluster's spelling."""
    assert Condition("gate", ok, spelled, "Because.") == condition("gate", ProbeAnswer(ok, reason, "Because."))


def event(reason: EventReason, at: datetime) -> PodEvent:
    """Return an event that happened once."""
    return PodEvent(reason, f"at {at}", at, at)


def test_same_reason_waits() -> None:
    """The next event of a reason comes 10 minutes after the last, and counts what happened in between."""
    queue = EventQueue()
    queue.put(event(EventReason.DENIED, NOON))
    (first,) = queue.due(NOON)
    queue.written(first, NOON)
    queue.put(event(EventReason.DENIED, NOON + MINUTE))
    queue.put(event(EventReason.ENTITLED, NOON + 2 * MINUTE))
    queue.put(event(EventReason.DENIED, NOON + 3 * MINUTE))
    assert [EventReason.ENTITLED] == [due.reason for due in queue.due(NOON + 3 * MINUTE)]
    assert EventReason.DENIED not in {due.reason for due in queue.due(NOON + EVENT_DISTANCE - timedelta(seconds=1))}
    denied = next(due for due in queue.due(NOON + EVENT_DISTANCE) if due.reason is EventReason.DENIED)
    assert PodEvent(EventReason.DENIED, f"at {NOON + 3 * MINUTE}", NOON + MINUTE, NOON + 3 * MINUTE, 2) == denied


def test_unwritten_event_stays() -> None:
    """An event that could not be written is due again immediately; how soon it is tried is not its business."""
    queue = EventQueue()
    queue.put(event(EventReason.DENIED, NOON))
    assert queue.due(NOON) == queue.due(NOON + MINUTE) == [event(EventReason.DENIED, NOON)]


def test_clock_stepped_back() -> None:
    """A clock set back by a day does not silence a reason for a day."""
    queue = EventQueue()
    queue.put(event(EventReason.DENIED, NOON))
    queue.written(queue.due(NOON)[0], NOON)
    queue.put(event(EventReason.DENIED, NOON - timedelta(days=1)))
    assert 1 == len(queue.due(NOON - timedelta(days=1)))


@given(
    st.lists(
        st.tuples(st.sampled_from(EventReason), st.integers(0, 900), st.booleans()),
        max_size=60,
    )
)
def test_nothing_is_lost_or_too_often(steps: list[tuple[EventReason, int, bool]]) -> None:
    """Whatever happens: written and waiting counts add up, and equal reasons keep their distance."""
    queue, now = EventQueue(), NOON
    put, written = Counter[EventReason](), Counter[EventReason]()
    instants = defaultdict[EventReason, list[datetime]](list)
    for reason, seconds, works in steps:
        now += timedelta(seconds=seconds)
        queue.put(event(reason, now))
        put[reason] += 1
        for due in queue.due(now) if works else ():
            queue.written(due, now)
            written[due.reason] += due.count
            instants[due.reason].append(now)
    for due in queue.due(now + EVENT_DISTANCE):
        written[due.reason] += due.count
    assert put == written
    for times in instants.values():
        assert all(later - earlier >= EVENT_DISTANCE for earlier, later in pairwise(times))
