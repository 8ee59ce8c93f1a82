"""The sidecar as one process: leads its parts through their life.

Open, serve, register, run, drain, close. The probes answer before anything is asked of AWS. The first signal drains, a
second one ends the process at once; what was accepted is on disk either way.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import structlog

from sidecar import __version__
from sidecar.adapters.clock import EmulatorClock, SystemClock
from sidecar.adapters.kubernetes.address import ACCOUNT, place_of
from sidecar.adapters.ledger.file import LedgerUnusable
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.adapters.pod import PodIdentity, pod_identity
from sidecar.adapters.signature import PublicKeys
from sidecar.app.cluster import Cluster
from sidecar.app.composition import Parts, assemble, rules_of
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.pod.lifecycle import PodEnd, drain_within
from sidecar.domain.pod.reports import EventReason
from sidecar.domain.pod.succession import PodPlace, Predecessor, describe
from sidecar.http_client import authority
from sidecar.marketplace import MarketplaceMeteringClient
from sidecar.services.health import HealthReport
from sidecar.services.intake import UsageIntake
from sidecar.services.registrar import DeniedExit
from sidecar.services.setup_watch import SetupWatch
from sidecar.settings import Settings
from sidecar.upstream import clock_of, endpoint_of

QUIET = timedelta(seconds=2)
"""How long the app must have been silent before the intake closes."""
RESERVED = timedelta(seconds=10)
"""The part of the shutdown's time that the open hour is sure of."""
LISTENERS_STOP = timedelta(seconds=1)
ADOPTED_SHOWN = 20
"""Dimensions and hours that the report of an adoption names; it gives the number of the others."""
ADOPTED_CURE = (
    "Nothing to do if that pod is gone and this is its volume. If the volume is a copy, a snapshot or a restore, the "
    "same usage may be billed twice: stop one of the pods, and compare with `ledger reconcile`."
)

log = structlog.get_logger()


class _Stopping(Exception):  # noqa: N818 - ends the loops; not an error
    """The process was asked to end."""


async def run(
    settings: Settings,
    environ: Mapping[str, str],
    stop: asyncio.Event,
    account: Path = ACCOUNT,
    watch: Callable[[MarketplaceMeteringClient], Sequence[SetupWatch]] = lambda _: (),
    follow: Callable[[HealthReport], Coroutine[object, object, None]] | None = None,
) -> None:
    """Live until `stop` is set, then drain.

    Args:
        settings: The configuration.
        environ: The environment.
        stop: Ends it.
        account: The folder with the files of the pod's service account.
        watch: Tells what of the set-up is doubtful or wrong, with the client once it is open; after the probes answer.
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
        cluster = Cluster(settings.kubernetes, environ, account, None if pod is None else pod.uid)
        stack.callback(cluster.close)
        ledger = await _open_ledger(settings, pod, clock, stack, cluster, place_of(environ, account))
        watches: list[SetupWatch] = []
        parts = assemble(
            settings,
            environ,
            endpoint,
            keys,
            clock,
            ledger,
            passing=lambda: [
                *cluster.findings(),
                *ledger.room_watch.findings(),
                *(found for each in watches for found in each.findings),
            ],
            running=lambda: not intake.done(),
        )
        stack.callback(parts.health.close)
        intake = asyncio.create_task(parts.intake.run(), name="intake")
        if follow is not None:
            stack.callback(asyncio.create_task(follow(parts.health), name="follow").cancel)
        await parts.probes.start()
        stack.push_async_callback(parts.probes.stop, LISTENERS_STOP)
        await parts.api.start()
        stack.push_async_callback(parts.api.stop, LISTENERS_STOP)
        log.info(
            "sidecar.started",
            version=__version__,
            api=authority(settings.api.host, parts.api.port),
            probes=authority(settings.probes.host, parts.probes.port),
            pod=ledger.pod,
            pod_source=ledger.pod_source,
            region=endpoint.region,
            mode=settings.marketplace.mode,
        )
        await _prove(ledger)
        await parts.client.open()
        stack.push_async_callback(parts.client.close)
        watches += watch(parts.client)
        denied: DeniedExit | None = None
        loops = (
            _watch(intake),
            parts.registrar.run(),
            parts.submitter.run(),
            *(each.run(clock) for each in watches),
            cluster.report(parts.health.situation),
            _end(stop),
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
            await _drain(parts, intake, settings.shutdown.timeout, cluster.ask_end)
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


async def _end(stop: asyncio.Event) -> None:
    await stop.wait()
    raise _Stopping


async def _drain(
    parts: Parts, intake: asyncio.Task[None], timeout: timedelta, ask_end: Callable[[], Awaitable[PodEnd]]
) -> None:
    """Submit what has ended, hear the app out, then seal and submit the open hour, unless the pod goes on living.

    Whether it does is asked at once and meanwhile: a pod that used up its grace leaves its sidecar no time for it. How
    much of the grace is left may come with the answer, and then bounds the drain; it counts from the question, so that
    a slow answer makes it no longer.
    """
    question = asyncio.ensure_future(ask_end())
    began_at = asyncio.get_running_loop().time()

    async def deadline() -> float:
        end = await asyncio.shield(question)
        return began_at + drain_within(timeout, end.left, RESERVED).total_seconds()

    try:
        async with asyncio.timeout_at(began_at + timeout.total_seconds()) as whole:
            try:
                async with asyncio.timeout_at(began_at + (timeout - RESERVED).total_seconds()) as part:
                    bounding = asyncio.create_task(_bound(part, deadline))
                    try:
                        await parts.submitter.drain(ending=False)
                        await _hear_out(parts.intake)
                    finally:
                        bounding.cancel()
            except TimeoutError:
                log.warning("shutdown.ended_hours_wait")
            await parts.api.stop(LISTENERS_STOP)
            parts.intake.close()
            await intake
            whole.reschedule(await deadline())
            await parts.submitter.drain(ending=(await question).ending)
    except TimeoutError:
        log.warning("shutdown.incomplete", cure="What is left is in the ledger; the next start on it goes on.")
    except LedgerUnavailable as error:
        log.error("shutdown.ledger_unavailable", detail=str(error))  # noqa: TRY400 - the sentence is the whole story
    else:
        log.info("sidecar.stopped")
    finally:
        parts.intake.close()
        question.cancel()
        await asyncio.wait([intake, question])


async def _bound(part: asyncio.Timeout, deadline: Callable[[], Awaitable[float]]) -> None:
    """Let the first part of the drain end as long before the deadline as the open hour needs, once that is known."""
    ends_at = await deadline() - RESERVED.total_seconds()
    if not part.expired():
        part.reschedule(ends_at)


async def _hear_out(intake: UsageIntake) -> None:
    """Return once no usage has come for `QUIET`."""
    loop = asyncio.get_running_loop()
    while (left := intake.last_taken + QUIET.total_seconds() - loop.time()) > 0:  # noqa: ASYNC110 - a silence is no event
        await asyncio.sleep(left)


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
                f"pod {earlier.place} (UID {earlier.uid}), which had it last, still runs, so that this is a copy or a "
                "volume of two pods, and both would bill the same usage",
                _how_to_succeed(earlier, ledger.path),
            )

    await ledger.open(pod.uid if pod else None, pod.source if pod else "", clock.now(), place=place, admit=admit)
    if ledger.adopted:
        _tell_adopted(ledger, cluster)
    return ledger


def _how_to_succeed(earlier: Predecessor, path: Path) -> str:
    named = "" if earlier.place is None else f" (kubectl --namespace {earlier.place.namespace} delete pod "
    named += "" if earlier.place is None else f"{earlier.place.name})"
    return (
        f"Let that pod end{named}, which starts this one by itself, or give this pod an empty volume. To read a copy: "
        f"marketplace-sidecar ledger status --read-only --ledger {path}"
    )


def _tell_adopted(ledger: Ledger, cluster: Cluster) -> None:
    """Report usage that was taken over: a copy of a ledger, or a restored one, bills it a second time."""
    earlier = None if ledger.predecessor is None else ledger.predecessor.uid
    log.error(
        "ledger.adopted",
        pod=ledger.pod,
        earlier_pod=earlier,
        entries=ledger.adopted,
        usage=describe(ledger.taken_over, ADOPTED_SHOWN),
        cure=ADOPTED_CURE,
    )
    words = f"Took over unfinished usage of pod {earlier} with the ledger. {ADOPTED_CURE} Usage: "
    cluster.announce(EventReason.LEDGER_ADOPTED, words + describe(ledger.taken_over, ADOPTED_SHOWN))


async def _prove(ledger: Ledger) -> None:
    """Prove the conservation law at start; a breach is loud but locks nobody out."""
    for dimension, terms in (await ledger.terms()).items():
        if not terms.balanced:
            log.error(
                "ledger.conservation_broken", dimension=dimension, cure="Run `marketplace-sidecar ledger verify`."
            )
