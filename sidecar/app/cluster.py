"""This process's link to the cluster that it runs in, if it runs in one and may use it.

The configuration and the environment decide whether there is a link. Everything works without one: nothing is reported,
and the end of the process counts as the pod's own end.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import structlog

from sidecar.adapters.kubernetes.address import ACCOUNT, NotInCluster, locate_pod
from sidecar.adapters.kubernetes.pod import KubernetesPod
from sidecar.domain.pod.lifecycle import ClusterFailed, Fault, PodEnd
from sidecar.domain.pod.reports import EventReason, Situation
from sidecar.domain.pod.succession import Predecessor, still_runs
from sidecar.services.faults import FaultLog, FaultRegister
from sidecar.services.pod_reporter import PodReporter
from sidecar.settings import KubernetesSettings, KubernetesUse
from sidecar.system_clock import SystemClock

PREDECESSOR_WITHIN = timedelta(seconds=10)
"""Real time for the question whether the ledger's earlier pod still runs, with its repetitions, without loading."""
_ASK_AGAIN = timedelta(seconds=1)
"""Between two questions without a usable answer: the network of a pod that starts may come late, and an API server
that restarts refuses for a moment."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ClusterLink:
    """The pod in its cluster, and the reports on it."""

    pod: KubernetesPod
    reporter: PodReporter


class Cluster:
    """What this process asks of the cluster and reports to it."""

    def __init__(
        self,
        settings: KubernetesSettings,
        environ: Mapping[str, str],
        faults: FaultRegister,
        account: Path = ACCOUNT,
        uid: str | None = None,
    ) -> None:
        """Find out whether there is a link, without a call and without loading the package.

        `uid` is this pod's, where another source than POD_UID names it.
        """
        self._clock = SystemClock()
        self._faults = faults
        self._answer: str | None = None
        """The last one about the pod's end."""
        self._link = self._join(settings, environ, account, uid)

    def _join(
        self, settings: KubernetesSettings, environ: Mapping[str, str], account: Path, uid: str | None
    ) -> ClusterLink | None:
        if settings.enabled is KubernetesUse.NEVER:
            return None
        try:
            address = locate_pod(environ, account)
            address = replace(address, uid=address.uid or uid)
        except NotInCluster as missing:
            wanted = settings.enabled is KubernetesUse.ALWAYS
            if wanted or missing.in_pod:
                report = FaultLog(
                    begins="kubernetes.unavailable",
                    level=logging.ERROR if wanted else logging.WARNING,
                )
                now = self._clock.now()
                self._faults.observe("kubernetes-unavailable", str(missing), missing.cure, now, report=report)
            return None
        pod = KubernetesPod(address)
        reporter = PodReporter(
            api=pod,
            faults=self._faults,
            clock=self._clock,
            own_uid=address.uid,
            readiness_gate=settings.readiness_gate,
            events=settings.events,
            random=random.random,
        )
        return ClusterLink(pod, reporter)

    async def report(
        self, read_situation: Callable[[], Situation], on_deletion: Callable[[timedelta | None], None] | None = None
    ) -> None:
        """Report this pod's state until cancelled; return without a link.

        `on_deletion` is called once the pod's deletion is seen, or assumed for a time; None if it is not watched for.
        """
        if self._link is not None:
            await self._link.reporter.run(read_situation, on_deletion)

    async def ask_end(self) -> PodEnd | None:
        """Ask whether the pod is terminating; None if the cluster does not answer within a few seconds."""
        if self._link is None:
            return PodEnd(ending=True)
        end = await self._link.reporter.ask_end()
        words = "unknown" if end is None else "yes" if end.ending else "no"
        method = log.debug if words == self._answer else log.info
        method("shutdown.cluster_asked", pod_ends=words, grace_left=None if end is None else end.left)
        self._answer = words
        return end

    async def wait_for_app(self, drain: timedelta, begin: Callable[[], Awaitable[None]]) -> None:
        """Let the app report its last usage, if it got SIGTERM together with this container; see the reporter."""
        if self._link is not None:
            await self._link.reporter.wait_for_app(drain, begin)

    def announce(self, reason: EventReason, message: str) -> None:
        """Write an event on the pod, with the next report; nothing without a link."""
        if self._link is not None:
            self._link.reporter.announce(reason, message)

    async def runs(self, earlier: Predecessor) -> bool | None:
        """Return whether the pod that had the ledger last still runs; None where that cannot be decided.

        Takes `PREDECESSOR_WITHIN` at most once the kubernetes package is loaded.
        """
        runs: bool | None = None
        if self._link is not None and earlier.place is not None:
            with suppress(TimeoutError, ClusterFailed):
                await self._link.pod.load()
                async with asyncio.timeout(PREDECESSOR_WITHIN.total_seconds()):
                    runs = await self._look_for(self._link.pod, earlier)
        words = "unknown" if runs is None else "yes" if runs else "no"
        place = None if earlier.place is None else str(earlier.place)
        log.info("ledger.predecessor_asked", pod=earlier.uid, place=place, runs=words)
        return runs

    async def _look_for(self, api: KubernetesPod, earlier: Predecessor) -> bool:
        assert earlier.place is not None  # noqa: S101 - judged by the caller
        while True:
            try:
                return still_runs(await api.find_pod(earlier.place), earlier.uid)
            except ClusterFailed as failed:
                if failed.fault is Fault.NOT_FOUND:
                    return False
                if failed.fault not in {Fault.UNREACHABLE, Fault.REFUSED}:
                    raise
            await self._clock.sleep_until(self._clock.now() + _ASK_AGAIN)

    def close(self) -> None:
        """Make no further calls."""
        if self._link is not None:
            self._link.pod.close()
