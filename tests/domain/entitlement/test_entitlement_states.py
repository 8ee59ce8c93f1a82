"""How the entitlement follows from what AWS Marketplace answered and from the time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sidecar.domain.entitlement.registration import Registration, judge, next_change
from sidecar.domain.entitlement.states import CLOCK_SKEW, Entitlement, EntitlementSource, Evidence, Reason, State

START = datetime(2026, 11, 23, 10, 20, tzinfo=UTC)
RETRY_FOR = timedelta(minutes=30)
REMEMBER_FOR = timedelta(hours=24)
MINUTE = timedelta(minutes=1)


def begin(now: datetime = START) -> Registration:
    """Return a pod that has just started."""
    return Registration(
        product_code="0abc123example",
        public_key_version=1,
        source=EntitlementSource.LIVE,
        retry_for=RETRY_FOR,
        asking_since=now,
        since=now,
    )


def evidence(registered_at: datetime = START) -> Evidence:
    """Return the proof of a registration."""
    return Evidence("pod-1", "0abc123example", 1, registered_at, "the nonce", "the signature")


def registered(now: datetime = START) -> Registration:
    """Return a pod that AWS has registered."""
    return begin(now).granted(Reason.REGISTERED, "registered", evidence(now), now)


def recalled(age: timedelta, remember_for: timedelta = REMEMBER_FOR) -> Registration:
    """Return a restarted pod whose evidence has that age."""
    return begin().recalled(evidence(START - age), remember_for, START - age)


def unreachable(registration: Registration, now: datetime = START) -> Registration:
    """Return the pod after a call without an answer."""
    return registration.faulted(Reason.UNREACHABLE, "no route", now)


def refused(registration: Registration, now: datetime = START) -> Registration:
    """Return the pod after an explicit refusal."""
    return registration.refused(Reason.CUSTOMER_NOT_ENTITLED, "subscribe", now)


def suspended(registration: Registration, now: datetime = START) -> Registration:
    """Return the pod after MeterUsage refused its usage."""
    return registration.suspended(Reason.CUSTOMER_NOT_ENTITLED, "subscribe", now)


TABLE: dict[str, tuple[Registration, timedelta, State, str]] = {
    "just started": (begin(), timedelta(), State.PENDING, "registering"),
    "a fault": (unreachable(begin()), MINUTE, State.PENDING, "unreachable"),
    "the last moment of patience": (unreachable(begin()), RETRY_FOR - MINUTE, State.PENDING, "unreachable"),
    "patience is over": (unreachable(begin()), RETRY_FOR, State.UNAVAILABLE, "unreachable"),
    "a hanging call": (begin(), RETRY_FOR, State.UNAVAILABLE, "registering"),
    "registered": (registered(), timedelta(days=400), State.ENTITLED, "registered"),
    "registered after patience": (
        unreachable(begin()).granted(Reason.REGISTERED, "", evidence(START + RETRY_FOR), START + RETRY_FOR),
        RETRY_FOR,
        State.ENTITLED,
        "registered",
    ),
    "faults of a running pod": (unreachable(registered()), timedelta(days=1), State.ENTITLED, "registered"),
    "refused": (refused(begin()), timedelta(days=1), State.DENIED, "customer-not-entitled"),
    "refused after patience": (
        refused(unreachable(begin()), START + RETRY_FOR),
        RETRY_FOR,
        State.DENIED,
        "customer-not-entitled",
    ),
    "a fault after a refusal": (unreachable(refused(begin())), RETRY_FOR, State.DENIED, "customer-not-entitled"),
    "subscribed after a refusal": (
        refused(begin()).granted(Reason.REGISTERED, "", evidence(), START),
        MINUTE,
        State.ENTITLED,
        "registered",
    ),
    "restarted, first call under way": (recalled(MINUTE), timedelta(), State.PENDING, "registering"),
    "restarted, nobody answers": (unreachable(recalled(MINUTE)), timedelta(), State.ENTITLED, "remembered"),
    "remembered past patience": (unreachable(recalled(MINUTE)), RETRY_FOR, State.ENTITLED, "remembered"),
    "the last moment of memory": (
        unreachable(recalled(REMEMBER_FOR - 2 * MINUTE)),
        MINUTE,
        State.ENTITLED,
        "remembered",
    ),
    "memory has run out": (unreachable(recalled(REMEMBER_FOR - MINUTE)), MINUTE, State.PENDING, "unreachable"),
    "memory and patience have run out": (
        unreachable(recalled(REMEMBER_FOR - MINUTE)),
        RETRY_FOR,
        State.UNAVAILABLE,
        "unreachable",
    ),
    "memory of zero": (unreachable(recalled(timedelta(), timedelta())), timedelta(), State.PENDING, "unreachable"),
    "memory of zero and a clock behind": (
        unreachable(recalled(-MINUTE, timedelta())),
        timedelta(),
        State.PENDING,
        "unreachable",
    ),
    "evidence from the future": (
        unreachable(recalled(-CLOCK_SKEW - MINUTE)),
        timedelta(),
        State.PENDING,
        "unreachable",
    ),
    "evidence from within the skew": (unreachable(recalled(-CLOCK_SKEW)), timedelta(), State.ENTITLED, "remembered"),
    "refused after a restart": (refused(recalled(MINUTE)), timedelta(), State.DENIED, "customer-not-entitled"),
    "refused while remembered": (
        refused(unreachable(recalled(MINUTE))),
        timedelta(),
        State.DENIED,
        "customer-not-entitled",
    ),
    "faults after that": (
        unreachable(refused(unreachable(recalled(MINUTE)))),
        timedelta(),
        State.DENIED,
        "customer-not-entitled",
    ),
    "usage refused": (suspended(registered()), MINUTE, State.SUSPENDED, "customer-not-entitled"),
    "usage refused while remembered": (
        suspended(unreachable(recalled(MINUTE))),
        timedelta(),
        State.SUSPENDED,
        "customer-not-entitled",
    ),
    "usage refused, never entitled": (suspended(begin()), MINUTE, State.DENIED, "customer-not-entitled"),
    "usage refused, then registered again": (
        suspended(registered()).granted(Reason.REGISTERED, "", evidence(), START),
        MINUTE,
        State.SUSPENDED,
        "customer-not-entitled",
    ),
    "usage refused, then taken": (suspended(registered()).restored(START), MINUTE, State.ENTITLED, "registered"),
    "usage taken of a pod that was refused": (
        refused(begin()).restored(START),
        MINUTE,
        State.DENIED,
        "customer-not-entitled",
    ),
    "usage taken before registration": (begin().restored(START), MINUTE, State.PENDING, "registering"),
    "not checked": (begin().granted(Reason.NOT_CHECKED, "", None, START), MINUTE, State.ENTITLED, "not-checked"),
}


@pytest.mark.parametrize(("registration", "later", "state", "reason"), TABLE.values(), ids=TABLE.keys())
def test_state_follows(registration: Registration, later: timedelta, state: State, reason: str) -> None:
    """Each history leads to one state and reason, and only entitled is entitled."""
    entitlement = judge(registration, START + later)

    assert (state, reason, state is State.ENTITLED) == (entitlement.state, entitlement.reason, entitlement.entitled)


def test_suspension_outlives_process() -> None:
    """A restart does not lift a suspension, reached or not: its evidence shows it."""
    kept = suspended(registered()).evidence
    assert kept is not None
    restarted = begin(START + MINUTE).recalled(kept, REMEMBER_FOR, kept.registered_at)

    for history in (restarted, unreachable(restarted), restarted.granted(Reason.REGISTERED, "", evidence(), START)):
        assert judge(history, START + MINUTE).state is State.SUSPENDED
    lifted = restarted.granted(Reason.REGISTERED, "", evidence(), START).restored(START + MINUTE)
    assert (State.ENTITLED, START + MINUTE) == (judge(lifted, START + MINUTE).state, lifted.since)


def test_refusal_voids_memory() -> None:
    """After a refusal no evidence is left that a restarted process could remember."""
    kept = refused(recalled(MINUTE)).evidence

    assert (START - MINUTE, "", "") == (kept and kept.registered_at, kept and kept.nonce, kept and kept.signature)


def test_remembered_members() -> None:
    """A remembered entitlement shows it, since when and until when, and shows the signature that it rests on."""
    entitlement = judge(unreachable(recalled(MINUTE), START + MINUTE), START + 2 * MINUTE)

    until = START - MINUTE + REMEMBER_FOR
    expected = Entitlement(
        state=State.ENTITLED,
        reason="remembered",
        detail=entitlement.detail,
        source=EntitlementSource.REMEMBERED,
        product_code="0abc123example",
        public_key_version=1,
        since=START + MINUTE,
        registered_at=START - MINUTE,
        until=until,
        nonce="the nonce",
        signature="the signature",
    )
    assert expected == entitlement
    assert "2026-11-24T10:19:00Z" in entitlement.detail


def test_proof_is_not_told_without_entitlement() -> None:
    """An app that is not entitled gets neither the nonce nor the signature of an earlier time."""
    for registration in (suspended(registered()), refused(recalled(MINUTE)), recalled(MINUTE)):
        entitlement = judge(registration, START)

        assert (None, None) == (entitlement.nonce, entitlement.signature)


def test_secrets_stay_out_of_repr() -> None:
    """Neither the evidence nor the entitlement shows the nonce or the signature in a log or traceback."""
    registration = registered()

    assert "the nonce" not in f"{registration!r} {judge(registration, START)!r}"
    assert "the signature" not in f"{registration!r} {judge(registration, START)!r}"


@pytest.mark.parametrize(
    ("registration", "edges"),
    [
        (begin(), [RETRY_FOR]),
        (registered(), []),
        (refused(begin()), []),
        (unreachable(recalled(REMEMBER_FOR - MINUTE)), [MINUTE, RETRY_FOR]),
        (unreachable(recalled(-CLOCK_SKEW - MINUTE)), [MINUTE, RETRY_FOR, REMEMBER_FOR + CLOCK_SKEW + MINUTE]),
    ],
    ids=["pending", "entitled", "denied", "memory that ends", "memory that begins"],
)
def test_time_changes_alone(registration: Registration, edges: list[timedelta]) -> None:
    """A caller that waits for another state learns every instant at which time alone may bring it."""
    now, found = START, []
    while (change := next_change(registration, now)) is not None:
        found.append(change - START)
        now = change

    assert edges == found


class Pod(RuleBasedStateMachine):
    """The state machine against the rules in plain words, restarts included."""

    @initialize()
    def start(self) -> None:
        """Start the pod's first process."""
        self.now = START
        self.registration = begin()
        self.started = START
        self.answer = "none"
        self.faulted = False
        self.memory: datetime | None = None
        self.was_entitled = False
        self.is_suspended = False
        self.signed_at: datetime | None = None

    @rule(minutes=st.integers(-20, 600))
    def pass_time(self, minutes: int) -> None:
        """Let time pass; now and then the clock is set back."""
        self.now += timedelta(minutes=minutes)

    @rule()
    def fault(self) -> None:
        """No answer comes."""
        self.registration = unreachable(self.registration, self.now)
        self.faulted = True

    @rule()
    def register(self) -> None:
        """AWS registers the pod."""
        self.registration = self.registration.granted(Reason.REGISTERED, "", evidence(self.now), self.now)
        self.answer, self.was_entitled, self.signed_at = "yes", True, self.now

    @precondition(lambda self: self.answer != "yes")
    @rule()
    def refuse(self) -> None:
        """AWS refuses the pod."""
        self.registration = refused(self.registration, self.now)
        self.answer, self.memory, self.signed_at = "no", None, None

    @rule()
    def refuse_usage(self) -> None:
        """MeterUsage refuses the pod."""
        self.registration = suspended(self.registration, self.now)
        if self.was_entitled:
            self.is_suspended = True
        else:
            self.answer = "no"

    @rule()
    def take_usage(self) -> None:
        """MeterUsage takes a record."""
        self.registration = self.registration.restored(self.now)
        self.is_suspended = False

    @rule()
    def restart(self) -> None:
        """Start another process of the same pod on what the first one kept."""
        kept = self.registration.evidence
        self.registration, self.started = begin(self.now), self.now
        if kept is not None:
            proved_at = kept.registered_at if kept.signature else None
            self.registration = self.registration.recalled(kept, REMEMBER_FOR, proved_at)
        self.answer, self.faulted, self.memory = "none", False, self.signed_at

    @invariant()
    def agrees(self) -> None:
        """The machine agrees with the plain rules."""
        assert self.expected() is judge(self.registration, self.now).state

    @invariant()
    def changes_only_when_told(self) -> None:
        """Until the next instant that the machine names the state stays what it is."""
        change = next_change(self.registration, self.now)
        last = self.now + timedelta(days=2) if change is None else change - timedelta(microseconds=1)

        assert judge(self.registration, self.now).state is judge(self.registration, last).state

    def expected(self) -> State:
        """Return the state by the plain rules."""
        if self.answer == "no":
            return State.DENIED
        if self.is_suspended:
            return State.SUSPENDED
        remembered = self.memory and -CLOCK_SKEW <= self.now - self.memory < REMEMBER_FOR
        if self.answer == "yes" or (remembered and self.faulted):
            return State.ENTITLED
        return State.PENDING if self.now - self.started < RETRY_FOR else State.UNAVAILABLE


TestPod = Pod.TestCase
TestPod.settings = settings(stateful_step_count=30, max_examples=150, deadline=None)


def test_registered_again_keeps_no_suspension_of_its_own() -> None:
    """Evidence of a later registration carries on the suspension that was known, and makes none."""
    again = registered().granted(Reason.REGISTERED, "", replace(evidence(), suspended_at=START), START)

    assert again.suspended_at is None


@pytest.mark.parametrize(
    ("proof", "kept"),
    [
        (replace(evidence(), signature=""), START),
        (replace(evidence(), signature="the signature"), None),
        (replace(evidence(), signature="", licensed_at=START), None),
    ],
)
def test_refusal_before_a_proof(proof: Evidence, kept: datetime | None) -> None:
    """AWS's signature and a license outdate a refusal, also one that is recalled late; what proves nothing does not."""
    granted = begin().granted(Reason.METERED, "", proof, START)
    later = granted.recalled_late(replace(evidence(), refused_at=START))
    again = registered().refused(Reason.NO_LICENSE, "", START).granted(Reason.METERED, "", proof, START)

    assert [replace(proof, refused_at=kept)] * 2 == [later.evidence, again.evidence]
