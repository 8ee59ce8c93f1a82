"""The sidecar as one process: open, serve, register, run, drain, close.

The probes answer before the first call to AWS. The first signal drains, a second one ends the process immediately;
accepted usage is on disk in both cases.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from sidecar import __version__
from sidecar.adapters.clock import EmulatorClock
from sidecar.adapters.kubernetes.address import ACCOUNT, place_of
from sidecar.adapters.ledger.file import LedgerUnusable
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.adapters.pod import PodIdentity, pod_identity
from sidecar.adapters.signature import PublicKeys
from sidecar.app.cluster import Cluster
from sidecar.app.composition import assemble, name_price, rules_of
from sidecar.app.drain import Drain, Finishing
from sidecar.app.setup_watches import watch_clock, watch_setup
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.metering.sources import TimeSource
from sidecar.domain.pod.reports import EventReason
from sidecar.domain.pod.succession import PodPlace, Predecessor, describe
from sidecar.domain.policy import EntitlementCheck
from sidecar.http_client import authority
from sidecar.services.faults import FaultRegister
from sidecar.services.health import HealthReport
from sidecar.services.registrar import DeniedExit
from sidecar.settings import Settings
from sidecar.system_clock import SystemClock
from sidecar.upstream import clock_of, endpoint_of

LISTENERS_STOP = timedelta(seconds=1)
ADOPTED_SHOWN = 20
"""Dimensions and hours that the report of an adoption names; it gives the number of the others."""
ADOPTED_CURE = (
    "Nothing to do if that pod is gone and this is its volume. If the volume is a copy, a snapshot or a restore, the "
    "same usage may be billed twice: stop one of the pods, and compare with `ledger reconcile`."
)

log = structlog.get_logger()


class AppWaiting(Protocol):
    """What the end of the process needs of the cluster before the drain."""

    async def wait_for_app(self, drain: timedelta, begin: Callable[[], Awaitable[None]]) -> None:
        """Wait while the app may still run, and run `begin` meanwhile; leave the drain its time."""


class _Stopping(Exception):
    """The process was asked to end."""


async def run(
    settings: Settings,
    environ: Mapping[str, str],
    stop: asyncio.Event,
    account: Path = ACCOUNT,
    follow: Callable[[HealthReport], Coroutine[object, object, None]] | None = None,
) -> None:
    """Live until `stop` is set, then drain.

    Args:
        settings: The configuration.
        environ: The environment.
        stop: Ends it.
        account: The folder with the files of the pod's service account.
        follow: Shows a person how it goes, from the first moment to the end of the drain.

    Raises:
        UnusableKeys: A public key cannot be used (sidecar.adapters.signature).
        UnsupportedRegion: Container products are not metered there (sidecar.marketplace).
        PodRefused: The environment names no pod where it must, or contradicts itself (sidecar.adapters.pod).
        PodUnknown: ECS did not name the task (sidecar.adapters.pod).
        LedgerUnusable: The ledger cannot be opened (sidecar.adapters.ledger.file).
        CannotListen, TokenFileUnusable: A listener cannot be had (sidecar.adapters.http).
        DeniedExit: AWS refused, and the seller wants the process to end then (sidecar.services.registrar).
    """
    keys = PublicKeys.load(settings.product.public_keys)
    endpoint = endpoint_of(settings.marketplace, environ)
    async with AsyncExitStack() as stack:
        clock = await stack.enter_async_context(clock_of(settings.marketplace))
        pod = await asyncio.to_thread(pod_identity, environ)
        faults = FaultRegister()
        cluster = Cluster(settings.kubernetes, environ, faults, account, None if pod is None else pod.uid)
        stack.callback(cluster.close)
        ledger = await _open_ledger(settings, pod, clock, stack, cluster, place_of(environ, account))
        components = assemble(
            settings,
            environ,
            endpoint,
            keys,
            clock,
            ledger,
            faults=faults,
            running=lambda: not intake.done(),
        )
        stack.callback(components.health.close)
        intake = asyncio.create_task(components.intake.run(), name="intake")
        if follow is not None:
            stack.callback(asyncio.create_task(follow(components.health), name="follow").cancel)
        await components.counters.begin()
        await components.probes.start()
        stack.push_async_callback(components.probes.stop, LISTENERS_STOP)
        await components.api.start()
        stack.push_async_callback(components.api.stop, LISTENERS_STOP)
        log.info(
            "sidecar.started",
            version=__version__,
            api=authority(settings.api.host, components.api.port),
            probes=authority(settings.probes.host, components.probes.port),
            pod=ledger.pod,
            pod_source=ledger.pod_source,
            region=endpoint.region_name,
            mode=settings.marketplace.mode,
            pricing=settings.product.pricing,
            check=settings.check,
        )
        name_price(settings)
        await prove(ledger)
        await components.client.open()
        stack.push_async_callback(components.client.close)
        for licensed in (components.licensed, components.licensed_start):
            if licensed is not None:
                stack.push_async_callback(licensed.clients.close)
        denied: DeniedExit | None = None
        loops = (
            _watch(intake),
            components.gate.run(),
            components.submitter.run(),
            components.measuring.run(),
            components.scraping.run(),
            *(() if components.licensed_start is None else (components.licensed_start.probe.run(),)),
            *(each.run(clock) for each in watch_setup(settings, environ, components.client, faults)),
            *(each.run() for each in watch_clock(settings, components.client)),
            cluster.report(
                components.health.situation, components.scraping.hasten if components.scraping.present else None
            ),
            _end(stop, partial(wait_for_app, settings, cluster, components.measuring)),
        )
        try:
            # In a task of its own: a group that was cancelled from within leaves its task marked as cancelled, and the
            # time limits of the drain would not hold (CPython before 3.11.5).
            await asyncio.create_task(_together(loops), name="loops")
        except* _Stopping:
            log.info("sidecar.stopping")
        except* DeniedExit as ended:
            denied = next((leaf for leaf in ended.exceptions if isinstance(leaf, DeniedExit)), None)
        finally:
            drain = Drain(
                submitter=components.submitter,
                intake=components.intake,
                sources=(components.measuring, components.scraping),
                storing=intake,
                stop_api=partial(components.api.stop, LISTENERS_STOP),
                timeout=settings.shutdown.timeout,
                ask_end=cluster.ask_end,
                ledger_fault=lambda: ledger.fault,
                seats=None if components.licensed is None else components.licensed.keeper,
            )
            await drain.run()
        if denied is not None:
            raise denied


async def _together(loops: Sequence[Coroutine[object, object, None]]) -> None:
    """Run the loops until one of them ends all."""
    async with asyncio.TaskGroup() as group:
        for loop in loops:
            group.create_task(loop)


async def _watch(intake: asyncio.Task[None]) -> None:
    """Fail when the intake fails; it outlives the other loops, for it closes last."""
    await asyncio.shield(intake)


async def _end(stop: asyncio.Event, wait_for_app: Callable[[], Coroutine[object, object, None]]) -> None:
    await stop.wait()
    await wait_for_app()
    raise _Stopping


async def wait_for_app(settings: Settings, cluster: AppWaiting, measuring: Finishing) -> None:
    """Let the app use the API until it has ended, if it does; the samples of its counters continue meanwhile."""
    reports = any(not isinstance(each.source, TimeSource) for each in settings.metering.dimensions)
    if reports or settings.check is EntitlementCheck.LICENSE:
        # Measured time ends with the signal, whatever follows.
        await cluster.wait_for_app(settings.shutdown.timeout, measuring.finish)


async def _open_ledger(
    settings: Settings,
    pod: PodIdentity | None,
    clock: SystemClock | EmulatorClock,
    stack: AsyncExitStack,
    cluster: Cluster,
    place: PodPlace | None,
) -> Ledger:
    ledger = Ledger(settings.ledger.path, rules_of(settings), max_size=settings.ledger.max_size)
    stack.push_async_callback(ledger.close)

    async def admit(earlier: Predecessor) -> None:
        if await cluster.runs(earlier):
            raise LedgerUnusable(
                ledger.path,
                f"pod {earlier.place} (UID {earlier.uid}), which had it last, still runs: this is a copy or a "
                "volume of two pods, and both would bill the same usage",
                _how_to_succeed(earlier, ledger.path),
            )

    await ledger.open(pod.uid if pod else None, pod.source if pod else "", clock.now(), place=place, admit=admit)
    if ledger.handed_over:
        _report_adoption(ledger, cluster)
    return ledger


def _how_to_succeed(earlier: Predecessor, path: Path) -> str:
    named = "" if earlier.place is None else f" (kubectl --namespace {earlier.place.namespace} delete pod "
    named += "" if earlier.place is None else f"{earlier.place.name})"
    return (
        f"Wait until that pod has ended{named}; this one then starts by itself. Or give this pod an empty volume. "
        f"To read a copy: marketplace-sidecar ledger status --read-only --ledger {path}"
    )


def _report_adoption(ledger: Ledger, cluster: Cluster) -> None:
    """Report usage that was taken over: a copy of a ledger, or a restored one, bills it a second time."""
    earlier = None if ledger.predecessor is None else ledger.predecessor.uid
    log.error(
        "ledger.adopted",
        pod=ledger.pod,
        earlier_pod=earlier,
        entries=ledger.handed_over,
        usage=describe(ledger.taken_over, ADOPTED_SHOWN),
        cure=ADOPTED_CURE,
    )
    words = f"Took over unfinished usage of pod {earlier} with the ledger. {ADOPTED_CURE} Usage: "
    cluster.announce(EventReason.LEDGER_ADOPTED, words + describe(ledger.taken_over, ADOPTED_SHOWN))


async def prove(ledger: Ledger) -> None:
    """Prove the conservation law at start. A breach is logged and does not close the gate."""
    try:
        found = await ledger.terms()
    except LedgerUnavailable:
        return  # the ledger logs it, and all that follows works without it
    for dimension, terms in found.items():
        if not terms.balanced:
            log.error(
                "ledger.conservation_broken", dimension=dimension, cure="Run `marketplace-sidecar ledger verify`."
            )
