"""What the sidecar reports of one pod, over a fake of its object that fails on demand."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import structlog

from sidecar.domain.entitlement.states import Entitlement, EntitlementSource, State
from sidecar.domain.pod.lifecycle import (
    Access,
    ClusterFailed,
    ConditionView,
    ContainerView,
    Fault,
    PodEnd,
    PodView,
    RestartPolicy,
)
from sidecar.domain.pod.reports import Condition, PodEvent, Situation
from sidecar.domain.ports import Clock
from sidecar.domain.status import ProbeAnswer
from sidecar.services.faults import FaultRegister
from sidecar.services.pod_reporter import LONGEST_WAIT, READ_INTERVAL, ROLLOUT, PodReporter

if TYPE_CHECKING:
    from tests.conftest import ManualClock

GATE = "example.com/entitled"
SINCE = datetime(2026, 11, 23, 10, 20, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
POD = PodView(uid="u-1", phase="Running", deleted=False, native_sidecars=True)
APP, ENDED = ContainerView(RestartPolicy.ALWAYS, None), ContainerView(RestartPolicy.ALWAYS, 0)
PLAIN = replace(POD, native_sidecars=False, containers=[APP, APP], grace=MINUTE)
"""With the sidecar among its containers."""
DRAIN = 25 * SECOND


class FakePod:
    """The pod's object, which keeps what it is told and refuses what a test wants refused."""

    def __init__(self) -> None:
        self.view = POD
        self.later: list[PodView] = []
        """What the next looks show."""
        self.faults: dict[Access, Fault] = {}
        self.silent = False
        self.calls: list[Access] = []
        self.conditions: list[tuple[Condition, datetime]] = []
        self.events: list[PodEvent] = []

    async def get_pod(self) -> PodView:
        await self._called(Access.GET_POD)
        if self.later:
            self.view = self.later.pop(0)
        return self.view

    async def patch_condition(self, condition: Condition, changed_at: datetime) -> None:
        await self._called(Access.PATCH_STATUS)
        self.conditions.append((condition, changed_at))

    async def create_event(self, event: PodEvent) -> None:
        await self._called(Access.CREATE_EVENT)
        self.events.append(event)

    async def _called(self, access: Access) -> None:
        self.calls.append(access)
        if self.silent:
            await asyncio.Event().wait()
        if access in self.faults:
            raise ClusterFailed(self.faults[access], "HTTP 403: pods is forbidden")


class Stage:
    """A reporter, the pod that it reports on, and how that pod stands."""

    def __init__(self, clock: Clock, *, gate: str | None = GATE, events: bool = True, within: float = 20) -> None:
        self.pod = FakePod()
        self.faults = FaultRegister()
        self.situation = situation(State.PENDING)
        self.deletions: list[datetime] = []
        self.within: list[timedelta | None] = []
        """For how long each of them, seen or assumed, is said to hold."""
        self.waits = 0
        self._clock = clock
        self.reporter = PodReporter(
            api=self.pod,
            faults=self.faults,
            clock=clock,
            own_uid="u-1",
            readiness_gate=gate,
            events=events,
            random=lambda: 0.999,
            answer_within=timedelta(seconds=within),
        )

    @asynccontextmanager
    async def running(self, *, watching: bool = False) -> AsyncIterator[None]:
        """Let the reporter run, and watch for the pod's deletion if `watching`."""

        def note(within: timedelta | None) -> None:
            self.deletions.append(self._clock.now())
            self.within.append(within)

        task = asyncio.create_task(self.reporter.run(lambda: self.situation, note if watching else None))
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def wait_for_app(self) -> None:
        """Wait, and note that it began."""

        async def begin() -> None:
            self.waits += 1

        await self.reporter.wait_for_app(DRAIN, begin)

    def told(self) -> list[tuple[bool, str]]:
        """Return the conditions that were set."""
        return [(condition.status, condition.reason) for condition, _ in self.pod.conditions]


def situation(state: State, sentence: str = "Because.") -> Situation:
    """Return how a pod stands."""
    entitlement = Entitlement(state, "why", sentence, EntitlementSource.LIVE, "0abc123example", 1, SINCE)
    return Situation(entitlement, ProbeAnswer(ok=entitlement.entitled, reason=state, sentence=sentence), False, None)  # noqa: FBT003 - no failing


async def test_condition_follows_changes(clock: "ManualClock") -> None:
    """The condition is set at the start and at each change of status, reason or sentence, and not in between."""
    stage = Stage(clock)
    async with stage.running():
        await clock.advance(5 * SECOND)
        stage.situation = situation(State.PENDING, "Throttled.")
        await clock.advance(5 * SECOND)
        stage.situation = situation(State.ENTITLED)
        await clock.advance(5 * SECOND)
    assert [(False, "Pending"), (False, "Pending"), (True, "Entitled")] == stage.told()
    (_, began), (_, same), (_, turned) = stage.pod.conditions
    assert (began, True) == (same, turned > began)
    assert {GATE} == {condition.type for condition, _ in stage.pod.conditions}


async def test_restart_sets_condition_again(clock: "ManualClock") -> None:
    """A new process sets the condition again, and keeps since when it has been so, if the pod shows that."""
    since = clock.now() - MINUTE
    stage = Stage(clock)
    stage.pod.view = replace(POD, conditions={GATE: ConditionView("False", since)})
    async with stage.running():
        await clock.advance(SECOND)
        stage.situation = situation(State.ENTITLED)
        await clock.advance(SECOND)
    assert [(False, "Pending"), (True, "Entitled")] == stage.told()
    assert since == stage.pod.conditions[0][1]
    assert since < stage.pod.conditions[1][1]


async def test_failed_calls_back_off(clock: "ManualClock") -> None:
    """A call that fails is tried again ever more seldom, up to a minute, until it goes well; then with what is true."""
    stage = Stage(clock, events=False)
    stage.pod.faults[Access.PATCH_STATUS] = Fault.UNREACHABLE
    async with stage.running():
        await clock.advance(10 * MINUTE)
        tried = stage.pod.calls.count(Access.PATCH_STATUS)
        assert 10 <= tried <= 18
        stage.situation = situation(State.ENTITLED)
        stage.pod.faults.clear()
        await clock.advance(LONGEST_WAIT + SECOND)
    assert [(True, "Entitled")] == stage.told()


async def test_kinds_fail_alone(clock: "ManualClock") -> None:
    """A Role that allows neither reading the pod nor its status does not keep events from being written."""
    stage = Stage(clock)
    stage.pod.faults = {Access.GET_POD: Fault.FORBIDDEN, Access.PATCH_STATUS: Fault.FORBIDDEN}
    stage.situation = situation(State.DENIED, "No subscription.")
    async with stage.running():
        await clock.advance(SECOND)
    assert [("Denied", "No subscription.")] == [(event.reason.value, event.message) for event in stage.pod.events]


async def test_missing_rule_is_said_once(clock: "ManualClock") -> None:
    """A refusal is one line and one finding with the rule to add; both end when the rule is there."""
    stage = Stage(clock, events=False)
    stage.pod.faults[Access.PATCH_STATUS] = Fault.FORBIDDEN
    with structlog.testing.capture_logs() as lines:
        async with stage.running():
            await clock.advance(30 * MINUTE)
            (finding,) = stage.faults.findings
            stage.pod.faults.clear()
            await clock.advance(LONGEST_WAIT + SECOND)
    assert ("kubernetes-forbidden", "cannot patch pods/status: HTTP 403: pods is forbidden") == (
        finding.code,
        finding.detail,
    )
    assert Access.PATCH_STATUS.rule in finding.cure
    assert [] == stage.faults.findings
    assert ["kubernetes.failed", "kubernetes.recovered"] == [line["event"] for line in lines]


async def test_events_wait_out_an_outage(clock: "ManualClock") -> None:
    """Events that could not be written come once the API answers, in order and with their own instants."""
    stage = Stage(clock, gate=None)
    stage.pod.faults[Access.CREATE_EVENT] = Fault.UNREACHABLE
    began = clock.now()
    stage.situation = situation(State.DENIED)
    async with stage.running():
        await clock.advance(MINUTE)
        stage.situation = situation(State.ENTITLED)
        await clock.advance(MINUTE)
        assert [] == stage.pod.events
        stage.pod.faults.clear()
        await clock.advance(LONGEST_WAIT + SECOND)
    assert ["Denied", "Entitled"] == [event.reason.value for event in stage.pod.events]
    assert began == stage.pod.events[0].first_at


async def test_switches_are_kept(clock: "ManualClock") -> None:
    """Without a readiness gate no condition is set, without events none is written."""
    stage = Stage(clock, gate=None, events=False)
    stage.situation = situation(State.ENTITLED)
    async with stage.running():
        await clock.advance(MINUTE)
    assert [Access.GET_POD] == stage.pod.calls


async def test_deletion_is_seen_once(clock: "ManualClock") -> None:
    """The deletion is seen within the interval of the reads, after failed reads as well, and ends the reads."""
    stage = Stage(clock, gate=None, events=False)
    async with stage.running(watching=True):
        await clock.advance(MINUTE)
        stage.pod.faults[Access.GET_POD] = Fault.UNREACHABLE
        await clock.advance(MINUTE)
        stage.pod.faults.clear()
        await clock.advance(LONGEST_WAIT + SECOND)
        assert ([], []) == (stage.deletions, stage.faults.findings)
        deleted_at = clock.now()
        stage.pod.view = replace(POD, deleted=True, left=MINUTE)
        with structlog.testing.capture_logs() as lines:
            await clock.advance(READ_INTERVAL + SECOND)
        read = len(stage.pod.calls)
        await clock.advance(MINUTE)
    assert [True] == [at - deleted_at <= READ_INTERVAL + SECOND for at in stage.deletions]
    assert [None] == stage.within
    assert [("kubernetes.deletion_seen", MINUTE)] == [(line["event"], line["grace_left"]) for line in lines]
    assert read == len(stage.pod.calls)


@pytest.mark.parametrize("fault", [Fault.FORBIDDEN, Fault.UNAUTHORIZED])
async def test_lost_access_is_taken_for_a_deletion(clock: "ManualClock", fault: Fault) -> None:
    """A refusal after a success may come of `helm uninstall`: the deletion is assumed, once, for a limited time."""
    stage = Stage(clock, gate=None, events=False)
    stage.pod.view = replace(POD, grace=MINUTE)
    async with stage.running(watching=True):
        await clock.advance(MINUTE)
        lost_at, read = clock.now(), len(stage.pod.calls)
        stage.pod.faults[Access.GET_POD] = fault
        with structlog.testing.capture_logs() as lines:
            await clock.advance(60 * MINUTE)
        assert len(stage.pod.calls) - read < 70
        assert ([ROLLOUT + MINUTE], True) == (stage.within, stage.deletions[0] - lost_at <= READ_INTERVAL + SECOND)
        assert ["kubernetes.deletion_assumed", "kubernetes.failed"] == [line["event"] for line in lines]
        # The Role is back, and goes again.
        stage.pod.faults.clear()
        await clock.advance(2 * LONGEST_WAIT)
        assert timedelta() == stage.within.pop()
        stage.pod.faults[Access.GET_POD] = fault
        await clock.advance(MINUTE)
    assert [ROLLOUT + MINUTE] * 2 == stage.within


async def test_access_that_never_was_is_not_lost(clock: "ManualClock") -> None:
    """Neither a Role that was missing from the start nor an API that is out of reach shows a deletion."""
    stage = Stage(clock, gate=None, events=False)
    stage.pod.faults[Access.GET_POD] = Fault.FORBIDDEN
    async with stage.running(watching=True):
        await clock.advance(MINUTE)
        stage.pod.faults.clear()
        await clock.advance(2 * LONGEST_WAIT)
        stage.pod.faults[Access.GET_POD] = Fault.UNREACHABLE
        await clock.advance(MINUTE)
    assert [] == stage.within


async def test_deletion_of_another_pod(clock: "ManualClock") -> None:
    """A pod of the same name with another UID is not this one: its deletion changes nothing."""
    stage = Stage(clock, gate=None, events=False)
    stage.pod.view = replace(POD, uid="u-2", deleted=True)
    async with stage.running(watching=True):
        await clock.advance(MINUTE)
    assert [] == stage.deletions


async def test_living_pod_is_told(clock: "ManualClock") -> None:
    """A pod without a sign of its end continues; a deleted one ends, and what is left of its grace is handed on."""
    stage = Stage(clock)
    assert PodEnd(ending=False) == await stage.reporter.ask_end()
    stage.pod.view = replace(POD, deleted=True, left=MINUTE)
    assert PodEnd(ending=True, left=MINUTE) == await stage.reporter.ask_end()


async def test_app_is_awaited(clock: "ManualClock") -> None:
    """In a deleted pod of regular containers the app gets its time, and no more once it or the pod is gone."""
    ended = replace(ENDED, ended_at=clock.now() + SECOND)
    for after in (replace(PLAIN, deleted=True, containers=[ended, APP]), replace(PLAIN, uid="u-2")):
        stage = Stage(clock)
        stage.pod.view = PLAIN
        async with stage.running():
            await clock.advance(SECOND)
            stage.pod.view = replace(PLAIN, deleted=True, left=MINUTE)
            waiting = asyncio.create_task(stage.wait_for_app())
            await clock.advance(10 * SECOND)
            stage.pod.faults[Access.GET_POD] = Fault.UNREACHABLE
            await clock.advance(10 * SECOND)
            assert not waiting.done()
            stage.pod.faults.clear()
            stage.pod.view = after
            await clock.advance(2 * SECOND)
            assert (True, 1) == (waiting.done(), stage.waits)


async def awaits_app(clock: "ManualClock", before: Sequence[ContainerView], after: Sequence[ContainerView]) -> bool:
    """Return whether the app is still awaited 10 seconds after the deletion of a pod with these containers."""
    stage = Stage(clock)
    stage.pod.view = replace(PLAIN, containers=before)
    async with stage.running():
        await clock.advance(SECOND)
        stage.pod.view = replace(PLAIN, containers=after, deleted=True, left=MINUTE)
        waiting = asyncio.create_task(stage.wait_for_app())
        await clock.advance(10 * SECOND)
        return waiting.cancel()


async def test_app_that_had_crashed_is_awaited(clock: "ManualClock") -> None:
    """What the pod showed when the sidecar started says nothing of the app at the pod's end."""
    assert await awaits_app(clock, [ENDED, APP], PLAIN.containers)


async def test_stale_status_ends_no_wait(clock: "ManualClock") -> None:
    """A status that still shows the sidecar's own earlier container, which crashed, does not show the app as ended."""
    crashed = replace(ENDED, exit_code=137, ended_at=clock.now() - SECOND)
    assert await awaits_app(clock, [APP, crashed], [APP, crashed])


async def test_shortened_grace_ends_the_wait(clock: "ManualClock") -> None:
    """A grace period that is shortened shortens the wait; an answer without it, or with more, does nothing."""
    stage = Stage(clock)
    stage.pod.view = PLAIN
    async with stage.running():
        await clock.advance(SECOND)
        stage.pod.view = replace(PLAIN, deleted=True, left=MINUTE)
        waiting = asyncio.create_task(stage.wait_for_app())
        for left in (MINUTE, None, DRAIN + MINUTE):
            stage.pod.view = replace(PLAIN, deleted=True, left=left)
            await clock.advance(2 * SECOND)
            assert not waiting.done()
        stage.pod.view = replace(PLAIN, deleted=True, left=14 * SECOND)
        await clock.advance(2 * SECOND)
        assert waiting.done()


@pytest.mark.parametrize(
    "after",
    [
        replace(PLAIN, deleted=True, left=14 * SECOND),
        replace(PLAIN, uid="u-2"),
    ],
    ids=["shortened grace", "end of the app"],
)
async def test_stalled_begin_hides_no_end(clock: "ManualClock", after: PodView) -> None:
    """The pod is looked at while the write of the last sample stalls; a write that is left unfinished is cut off."""
    stage, cut = Stage(clock), []
    stage.pod.view = PLAIN

    async def stall() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cut.append(clock.now())
            raise

    async with stage.running():
        await clock.advance(SECOND)
        stage.pod.view = replace(PLAIN, deleted=True, left=MINUTE)
        waiting = asyncio.create_task(stage.reporter.wait_for_app(DRAIN, stall))
        await clock.advance(2 * SECOND)
        assert (False, []) == (waiting.done(), cut)
        stage.pod.view = after
        await clock.advance(2 * SECOND)
        assert (True, 1) == (waiting.done(), len(cut))


async def test_longer_grace_extends_no_wait(clock: "ManualClock") -> None:
    """The wait ends by the shortest answer, whatever a later one shows."""
    stage = Stage(clock)
    stage.pod.view = PLAIN
    async with stage.running():
        await clock.advance(SECOND)
        stage.pod.view = replace(PLAIN, deleted=True, left=DRAIN + timedelta(seconds=3.05))
        waiting = asyncio.create_task(stage.wait_for_app())
        await clock.settle()
        stage.pod.view = replace(PLAIN, deleted=True, left=MINUTE)
        await clock.advance(2 * SECOND)
        await asyncio.wait_for(waiting, 20)
    assert 1 == stage.waits


async def test_drain_keeps_its_time(clock: "ManualClock") -> None:
    """An app that does not end is awaited for what the drain leaves of the grace period."""
    stage = Stage(clock)
    stage.pod.view = PLAIN
    async with stage.running():
        await clock.advance(SECOND)
        stage.pod.view = replace(PLAIN, deleted=True, left=DRAIN + timedelta(seconds=3.01))
        with structlog.testing.capture_logs() as lines:
            await stage.wait_for_app()
    assert [timedelta(seconds=0.01)] == [line["within"] for line in lines if line["event"] == "shutdown.app_awaited"]


@pytest.mark.parametrize(
    "view",
    [
        replace(POD, deleted=True, left=MINUTE, containers=[APP, APP]),
        replace(PLAIN, deleted=True, left=MINUTE, containers=[APP]),
        replace(PLAIN, left=MINUTE),
        replace(PLAIN, deleted=True),
        replace(PLAIN, deleted=True, left=DRAIN),
    ],
    ids=["native sidecar", "no app", "container restarts", "grace unknown", "short grace"],
)
async def test_nothing_is_awaited(clock: "ManualClock", view: PodView) -> None:
    """Where the app has ended, the pod continues, or the time is unknown or short, the drain begins immediately."""
    stage = Stage(clock)
    stage.pod.view = view
    async with stage.running():
        await clock.advance(SECOND)
        waiting = asyncio.create_task(stage.wait_for_app())
        await clock.advance(SECOND)
        await asyncio.wait_for(waiting, 20)
    assert 0 == stage.waits


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.NOT_FOUND])
async def test_grace_counts_without_an_answer(clock: "ManualClock", fault: Fault) -> None:
    """Without an answer, as after `helm uninstall`, the app has the pod's own grace period less the drain's time."""
    stage = Stage(clock)
    stage.pod.view = replace(PLAIN, grace=DRAIN + timedelta(seconds=3.05))
    async with stage.running():
        await clock.advance(SECOND)
        stage.pod.faults[Access.GET_POD] = fault
        with structlog.testing.capture_logs() as lines:
            await asyncio.wait_for(stage.wait_for_app(), 20)
    assert timedelta(seconds=0.05) == next(line["within"] for line in lines if line["event"] == "shutdown.app_awaited")


@pytest.mark.parametrize("restarts", [True, False])
async def test_answer_ends_a_wait_without_one(clock: "ManualClock", restarts: bool) -> None:  # noqa: FBT001 - a column
    """An answer ends the wait that began without one, if it shows a container that restarts, or no such pod."""
    stage = Stage(clock)
    stage.pod.view = PLAIN
    async with stage.running():
        await clock.advance(SECOND)
        stage.pod.faults[Access.GET_POD] = Fault.UNREACHABLE
        waiting = asyncio.create_task(stage.wait_for_app())
        await clock.advance(10 * SECOND)
        assert (False, 1) == (waiting.done(), stage.waits)
        stage.pod.faults = {} if restarts else {Access.GET_POD: Fault.NOT_FOUND}
        await clock.advance(2 * SECOND)
        assert waiting.done()


async def test_refusal_costs_no_wait(clock: "ManualClock") -> None:
    """An API server that refuses for a moment is asked again for the grace period, so the app has its time."""
    stage = Stage(clock)
    stage.pod.view = PLAIN
    async with stage.running():
        await clock.advance(SECOND)
        stage.pod.view = replace(PLAIN, deleted=True, left=MINUTE)
        stage.pod.faults[Access.GET_POD] = Fault.REFUSED
        waiting = asyncio.create_task(stage.wait_for_app())
        await clock.settle()
        stage.pod.faults.clear()
        await clock.advance(SECOND)
        assert (False, 1) == (waiting.done(), stage.waits)
        waiting.cancel()


async def test_unknown_is_told(clock: "ManualClock") -> None:
    """An API that refuses or is silent shows nothing, within the time, and names the fault and its cure."""
    stage = Stage(clock, within=0.05)
    stage.pod.faults[Access.GET_POD] = Fault.FORBIDDEN
    assert await stage.reporter.ask_end() is None
    assert Access.GET_POD.rule in stage.faults.findings[0].cure
    stage.pod.faults.clear()
    stage.pod.silent = True
    assert await stage.reporter.ask_end() is None
    assert ["kubernetes-unreachable"] == [finding.code for finding in stage.faults.findings]
    assert "no answer within 0.05 s" in stage.faults.findings[0].detail


async def test_completion_may_show_late(clock: "ManualClock") -> None:
    """A Job that the API shows as running may have completed, and is not taken for a restart."""
    running = replace(POD, containers=[ContainerView(RestartPolicy.NEVER, None)])
    done = replace(POD, containers=[ContainerView(RestartPolicy.NEVER, 0)])
    stage = Stage(clock)
    stage.pod.later = [running, done]
    assert PodEnd(ending=False, may_lag=True) == await stage.reporter.ask_end()
    assert PodEnd(ending=True) == await stage.reporter.ask_end()


async def test_each_fault_has_its_cure(clock: "ManualClock") -> None:
    """Every kind of fault is a finding of its own code with a cure of its own; a change of kind replaces it."""
    stage, cures = Stage(clock), set()
    for fault in Fault:
        stage.pod.faults[Access.GET_POD] = fault
        assert None is await stage.reporter.ask_end()
        (finding,) = stage.faults.findings
        assert (f"kubernetes-{fault}", "cannot get pods: HTTP 403: pods is forbidden") == (finding.code, finding.detail)
        cures.add(finding.cure)
    assert len(Fault) == len(cures)
