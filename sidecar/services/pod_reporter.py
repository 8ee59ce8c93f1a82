"""Reports this pod's state to the cluster, and asks it whether the pod is terminating.

Metering and entitlement never wait for it: a failed call becomes a fault and is retried with full jitter, each kind of
call by itself. The condition is set to the present state; events are written in their order, however late. Time here is
real time, even if an emulator's clock runs fast: the cluster and its limits follow real time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

import structlog

from sidecar.domain.pod.lifecycle import (
    Access,
    ClusterFailed,
    ConditionView,
    Fault,
    PodEnd,
    PodView,
    app_runs,
    cure_of,
    is_ending,
    may_lag,
    time_for_app,
)
from sidecar.domain.pod.reports import (
    LONGEST_MESSAGE,
    Condition,
    EventQueue,
    EventReason,
    PodEvent,
    Situation,
    condition,
    events_of,
)
from sidecar.domain.ports import Clock
from sidecar.services.faults import FaultLog, FaultRegister
from sidecar.services.retry_schedule import RetrySchedule

POLL_INTERVAL = timedelta(seconds=1)
"""Between two reads of this process's state."""
READ_INTERVAL = timedelta(seconds=5)
"""Between two reads of the pod while its deletion is watched for: 200 reads a second for 1,000 pods."""
ROLLOUT = timedelta(minutes=10)
"""How long after a release's Role is gone its pods may be deleted, as a Deployment may take by default."""
FIRST_WAIT = timedelta(seconds=2)
"""The first window of the jitter after a failed call; it doubles."""
LONGEST_WAIT = timedelta(minutes=1)
"""The largest window of the jitter."""
ANSWER_WITHIN = timedelta(seconds=2)
"""Real time that the question at shutdown may take."""
log = structlog.get_logger()


class PodApi(Protocol):
    """This pod's own object in the cluster. Each call takes a few real seconds at most."""

    async def get_pod(self) -> PodView:
        """Return the pod; raises ClusterFailed if it could not be read (sidecar.domain.pod.lifecycle)."""

    async def patch_condition(self, condition: Condition, changed_at: datetime) -> None:
        """Set one condition of the pod, with `changed_at` as the time of its last transition.

        Raises:
            ClusterFailed: It could not be set (sidecar.domain.pod.lifecycle).
        """

    async def create_event(self, event: PodEvent) -> None:
        """Write an event on the pod; the same one again changes nothing.

        Raises:
            ClusterFailed: It could not be written (sidecar.domain.pod.lifecycle).
        """


class PodReporter:
    """Reports on one pod.

    Made when the process starts. The clock is real time; `random` is uniform in [0, 1). `answer_within` bounds the
    question at shutdown.
    """

    def __init__(
        self,
        *,
        api: PodApi,
        faults: FaultRegister,
        clock: Clock,
        own_uid: str | None,
        readiness_gate: str | None,
        events: bool,
        random: Callable[[], float],
        answer_within: timedelta = ANSWER_WITHIN,
    ) -> None:
        self._api = api
        self._faults = faults
        self._clock = clock
        self._began_at = clock.now()
        self._own_uid = own_uid
        self._readiness_gate = readiness_gate
        self._events = events
        self._answer_within = answer_within
        self._before: Situation | None = None
        self._queue = EventQueue()
        self._pod: PodView | None = None
        self._on_deletion: Callable[[timedelta | None], None] | None = None
        self._access_lost = False
        self._read_at: datetime | None = None
        self._set: Condition | None = None
        self._shown: ConditionView | None = None
        self._retries = RetrySchedule(base=FIRST_WAIT, cap=LONGEST_WAIT, random=random)

    async def run(
        self, read_situation: Callable[[], Situation], on_deletion: Callable[[timedelta | None], None] | None = None
    ) -> None:
        """Report until cancelled.

        Args:
            read_situation: Returns the pod's state.
            on_deletion: Called once with None, when the pod's deletion is seen; None if it is not watched for. A native
                sidecar gets SIGTERM only after the app has ended, and the deletion is known before. A deletion that is
                only assumed is handed on with the time for which it is, and taken back with zero.
        """
        self._on_deletion = on_deletion
        while True:
            await self._turn(read_situation())
            await self._clock.sleep_until(self._clock.now() + POLL_INTERVAL)

    def announce(self, reason: EventReason, message: str) -> None:
        """Write one event of something that has happened, once the next turn comes; nothing where none are wanted."""
        now = self._clock.now()
        if self._events:
            self._queue.put(PodEvent(reason, message[:LONGEST_MESSAGE], now, now))

    async def ask_end(self) -> PodEnd | None:
        """Ask whether the pod itself ends, and how much of its grace period is left; None without an answer."""
        try:
            async with asyncio.timeout(self._answer_within.total_seconds()):
                pod = await self._api.get_pod()
        except TimeoutError:
            silence = ClusterFailed(Fault.UNREACHABLE, f"no answer within {self._answer_within.total_seconds():g} s")
            self._observe(Access.GET_POD, silence)
            return None
        except ClusterFailed as failed:
            self._observe(Access.GET_POD, failed)
            return None
        if is_ending(pod, self._own_uid, self._clock.now()):
            return PodEnd(ending=True, left=pod.left)
        return PodEnd(ending=False, may_lag=may_lag(pod))

    async def wait_for_app(self, drain: timedelta, begin: Callable[[], Awaitable[None]]) -> None:
        """Give the app time where it got SIGTERM together with this container; leave the drain its time of the grace.

        Ends early once the cluster shows the app as ended. The kubelet may show that only after all containers, this
        one too. Without an answer the pod's whole grace period counts: `helm uninstall` removes the Role before the
        pods end. An answer may still come, and shorten the wait; nothing extends it. `begin` runs meanwhile and is
        cancelled at the end: it may be slow.
        """
        # What cannot change in a pod; whether the app runs now, only a new look shows. A pod that was never read may
        # have a native sidecar, which would lose the end of its grace to a cluster that does not answer.
        if self._pod is None or self._pod.native_sidecars or len(self._pod.containers) <= 1:
            return
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        end = await self.ask_end()
        within = time_for_app(self._pod.grace if end is None else end.left, drain)
        if not within:
            return
        log.info("shutdown.app_awaited", within=within)
        until = asked_at + within.total_seconds()
        beginning = asyncio.ensure_future(begin())
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until) as limit:
                    while True:
                        try:
                            pod = await self._api.get_pod()
                        except ClusterFailed as failed:
                            if failed.fault is Fault.NOT_FOUND:
                                return
                        else:
                            if pod.uid != self._pod.uid or not self._app_ends(pod):
                                return
                            if pod.left is not None:
                                until = min(until, loop.time() + time_for_app(pod.left, drain).total_seconds())
                                limit.reschedule(until)
                        await self._clock.sleep_until(self._clock.now() + POLL_INTERVAL)
        finally:
            beginning.cancel()
            await asyncio.wait([beginning])

    def _app_ends(self, pod: PodView) -> bool:
        """Return whether the pod ends, and its app still runs."""
        return is_ending(pod, self._own_uid, self._clock.now()) and app_runs(pod, self._began_at)

    async def _turn(self, situation: Situation) -> None:
        now = self._clock.now()
        if self._pod is None or (self._read_at is not None and now >= self._read_at):
            await self._try(Access.GET_POD, self._get_pod)
        if self._readiness_gate is not None:
            await self._bring_about(condition(self._readiness_gate, situation.ready))
        if self._events:
            for event in events_of(self._before, situation, now):
                self._queue.put(event)
            await self._write_events()
        self._before = situation

    async def _get_pod(self) -> None:
        """Read the pod at least once: shows early whether the question at shutdown will be answered."""
        try:
            self._pod = pod = await self._api.get_pod()
        except ClusterFailed as failed:
            self._assume_deletion(failed.fault)
            raise
        if self._on_deletion is None:
            return
        self._read_at = self._clock.now() + READ_INTERVAL
        if pod.deleted and self._own_uid in (None, pod.uid):
            log.info("kubernetes.deletion_seen", grace_left=pod.left)
            self._on_deletion(None)
            self._on_deletion = self._read_at = None
        elif self._access_lost:
            self._on_deletion(timedelta())
        self._access_lost = False

    def _assume_deletion(self, fault: Fault) -> None:
        """Take lost access for a deletion: `helm uninstall` removes Role and account before the pods end.

        For a limited time and once, because they may as well be removed by mistake.
        """
        lost = fault in {Fault.FORBIDDEN, Fault.UNAUTHORIZED}
        if self._on_deletion is None or self._pod is None or self._access_lost or not lost:
            return
        self._access_lost = True
        within = ROLLOUT + (self._pod.grace or timedelta())
        log.info("kubernetes.deletion_assumed", within=within)
        self._on_deletion(within)

    async def _bring_about(self, wanted: Condition) -> None:
        if wanted == self._set:
            return
        changed_at = self._changed_since(wanted)
        if await self._try(Access.PATCH_STATUS, lambda: self._api.patch_condition(wanted, changed_at)):
            self._set, self._shown = wanted, ConditionView(str(wanted.status), changed_at)

    def _changed_since(self, wanted: Condition) -> datetime:
        """Return when the condition's status changed last: also before a restart, if the pod shows that."""
        shown = self._shown
        if shown is None and self._pod is not None:
            shown = self._pod.conditions.get(wanted.type)
        if shown is None or shown.changed_at is None or shown.status != str(wanted.status):
            return self._clock.now()
        return shown.changed_at

    async def _write_events(self) -> None:
        for event in self._queue.due(self._clock.now()):
            if not await self._try(Access.CREATE_EVENT, partial(self._api.create_event, event)):
                return
            self._queue.written(event, self._clock.now())

    async def _try(self, access: Access, call: Callable[[], Awaitable[None]]) -> bool:
        """Make a call unless it has to wait for its turn; whether it was made and went well."""
        not_before = self._retries.not_before(access)
        if not_before is not None and self._clock.now() < not_before:
            return False
        try:
            await call()
        except ClusterFailed as failed:
            self._retries.failed(access, self._clock.now())
            self._observe(access, failed)
            return False
        self._retries.succeeded(access)
        self._faults.clear(access, self._clock.now())
        return True

    def _observe(self, access: Access, failed: ClusterFailed) -> None:
        """Note why a call failed. Each access has a fault of its own: a Role may allow one and not another."""
        self._faults.observe(
            f"kubernetes-{failed.fault}",
            f"cannot {access}: {failed}",
            f"{cure_of(failed.fault, access)} The sidecar retries until the call succeeds.",
            self._clock.now(),
            about=access,
            report=FaultLog(
                begins="kubernetes.failed",
                ends="kubernetes.recovered",
                about={"access": access},
                details={"fault": failed.fault, "detail": str(failed)},
            ),
        )
