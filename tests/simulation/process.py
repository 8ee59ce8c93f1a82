"""One life of the sidecar's process: the real ledger, intake and submitter, from opening to draining or to death."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import structlog

from sidecar.adapters.ledger.file import LedgerUnusable
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.adapters.ledger.space import Space
from sidecar.adapters.ledger.store import Store
from sidecar.adapters.signature import PublicKeys
from sidecar.app.pod_end import OPEN_HOUR_RESERVE
from sidecar.domain.entitlement.states import AttestationFailed, Entitlement, EntitlementSource, State
from sidecar.domain.metering.events import LedgerUnavailable, Receipt, UsageBatch, UsageRefused
from sidecar.domain.metering.pages import PageUnusable
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.metering.sources import Otlp, Prometheus
from sidecar.domain.policy import EntitlementCheck, ProbeHour
from sidecar.services.counting import Counters
from sidecar.services.faults import FaultRegister
from sidecar.services.intake import UsageIntake
from sidecar.services.otlp_intake import OtlpIntake
from sidecar.services.registrar import Registrar, RegistrarSettings
from sidecar.services.scraping import FetchedPage, Scraping
from sidecar.services.start_probe import StartProbe
from sidecar.services.submitter import Submitter
from tests.simulation.clocks import PodClock
from tests.simulation.counting import COUNTED, CountingApp
from tests.simulation.disk import Crash, Disk, Volume
from tests.simulation.exporting import ExportingApp
from tests.simulation.marketplace import PodClient
from tests.simulation.witness import Witness

SHUTDOWN = timedelta(seconds=25)
_EXPORTS_EVERY = timedelta(minutes=7)
Result = TypeVar("Result")
MAX_SIZE = 8 * 2**20
"""The limit of a ledger; far more than a simulated life fills by itself."""


class WatchedLedger(Ledger):
    """The real ledger; shows the batches of a transaction and their fates before it commits.

    Events without an id leave no row, so nothing else names which of them a commit holds.
    """

    def __init__(self, path: Path, rules: MeteringRules, disk: Disk, volume: Volume) -> None:
        super().__init__(path, rules, max_size=MAX_SIZE, connect=disk.connect)
        self._disk = disk
        self.counts = False
        """It is noted that counters are read."""
        # The free bytes of the machine that simulates are nothing to go by.
        self._space = Space(path, MAX_SIZE, volume.free, lambda: asyncio.get_running_loop().time())

    def _hand_in(self, step: Callable[[], Result], then: Callable[[Callable[[], Result]], None]) -> None:
        asyncio.get_running_loop().run_in_executor(None, step).add_done_callback(lambda future: then(future.result))

    async def begin_series(self, origins: Mapping[str, str], at: datetime) -> None:
        await super().begin_series(origins, at)
        self.counts = True

    def _write_within_room(
        self, store: Store, usage: Sequence[UsageBatch], now: datetime, write: Callable[[], Result], states: int = 0
    ) -> Result:
        if self._disk.taking:
            return super()._write_within_room(store, usage, now, write, states)

        def count() -> Result:
            written = write()
            self._disk.taken = [(batch, Receipt(len(batch.events), duplicates=0)) for batch in usage]
            return written

        self._disk.taking = True
        try:
            return super()._write_within_room(store, usage, now, count, states)
        finally:
            self._disk.taking, self._disk.taken = False, []

    def _take(self, store: Store, batches: Sequence[UsageBatch], now: datetime) -> list[Receipt | UsageRefused]:
        self._disk.taking = True
        try:
            return super()._take(store, batches, now)
        finally:
            self._disk.taking, self._disk.taken = False, []

    def _store_usage(self, store: Store, batches: Sequence[UsageBatch], now: datetime) -> list[Receipt | UsageRefused]:
        fates = super()._store_usage(store, batches, now)
        self._disk.taken = list(zip(batches, fates, strict=True))
        return fates


class PodGate:
    """The entitlement, as far as metering changes it."""

    def __init__(self, state: State, now: datetime) -> None:
        self._verdicts = {
            state: Entitlement(
                state=state,
                reason="simulated",
                detail="simulated",
                source=EntitlementSource.LIVE,
                product_code="simulated",
                public_key_version=1,
                since=now,
            )
            for state in State
        }
        self._state = state

    def entitlement(self) -> Entitlement:
        """Return the entitlement."""
        return self._verdicts[self._state]

    async def wait_while(self, state: State, timeout: timedelta) -> Entitlement:
        """Return the entitlement immediately: there is no wait here."""
        return self.entitlement()

    async def attest(self, nonce: str) -> str:
        """Refuse."""
        raise AttestationFailed("not simulated")

    async def on_submission(self, *, accepted: bool) -> None:
        """Open the gate, or suspend an open one."""
        if accepted:
            self._state = State.ENTITLED
        elif self._state is State.ENTITLED:
            self._state = State.SUSPENDED

    def ask_again(self) -> None:
        """Open a gate that was denied: a subscribed pod registers within minutes, without any usage."""
        if self._state is State.DENIED:
            self._state = State.ENTITLED


class Process:
    """A sidecar that runs until it dies, fails or is told to end."""

    def __init__(
        self,
        *,
        path: Path,
        pod: str,
        rules: MeteringRules,
        clock: PodClock,
        client: PodClient,
        witness: Witness,
        gate: PodGate,
        draw: Callable[[], float],
        longest_sleep: timedelta,
        volume: Volume,
        probing: ProbeHour | None = None,
        counting: CountingApp | ExportingApp | None = None,
    ) -> None:
        self.pod = pod
        self.disk = Disk(witness.see_commit, witness.see_disturbance, self._die, volume)
        self.ended = asyncio.Event()
        self._clock = clock
        self._client = client
        self._witness = witness
        self._ledger = WatchedLedger(path, rules, self.disk, volume)
        self._registrar = None if probing is None else self._probe_by(probing, rules, draw)
        self._gate: PodGate | Registrar = self._registrar or gate
        self._rules = rules
        self._draw = draw
        self._longest_sleep = longest_sleep
        self._intake = UsageIntake(store=self._ledger, gate=self._gate, clock=clock)
        self._tasks: list[asyncio.Task[None]] = []
        self._counting = counting
        witness.counting = counting
        dimensions = list(rules.dimensions.values())
        origins = {each.name: each.source.origin for each in dimensions if isinstance(each.source, Prometheus | Otlp)}
        self._counters = Counters(origins=origins, store=self._ledger, clock=clock, system=clock)
        self._scraping = Scraping(
            dimensions=dimensions,
            counters=self._counters,
            gate=self._gate,
            clock=clock,
            fetch=counting.fetch if isinstance(counting, CountingApp) else _no_page,
            faults=FaultRegister(),
        )
        self._exports = OtlpIntake(
            dimensions=dimensions,
            counters=self._counters,
            gate=self._gate,
            clock=clock,
            faults=FaultRegister(),
            arrived=lambda: None,
        )

    def _probe_by(self, hour: ProbeHour, rules: MeteringRules, draw: Callable[[], float]) -> Registrar:
        """Return the real registrar, which opens the gate by a start probe of the first dimension."""
        settings = RegistrarSettings(
            product_code=rules.product_code, public_key_version=1, check=EntitlementCheck.METER, probe_hour=hour
        )
        probe = StartProbe(
            store=self._ledger,
            client=self._client,
            clock=self._clock,
            dimension=next(iter(rules.dimensions)),
            preferred=hour,
        )
        return Registrar(
            settings=settings,
            client=self._client,
            signatures=PublicKeys({}),
            clock=self._clock,
            evidence=self._ledger,
            pod=self.pod,
            probe=probe,
            random=draw,
            log=structlog.get_logger(),
            recheck_after=timedelta(hours=1),
        )

    @property
    def is_admitted(self) -> bool:
        """The gate was opened by the start probe, and is open."""
        return self._registrar is not None and self._registrar.entitlement().entitled

    async def start(self) -> None:
        """Open the ledger and run; an unusable ledger ends the process."""
        try:
            await self._ledger.open(self.pod, "downward-api", self._clock.now())
        except (LedgerUnusable, Crash) as error:
            self._witness.note(f"the process could not start: {error}")
            self.ended.set()
            return
        self._submitter = Submitter(
            store=self._ledger,
            client=self._client,
            gate=self._gate,
            clock=self._clock,
            rules=self._rules,
            pod=self.pod,
            random=self._draw,
            courses=self._ledger.courses,
            faults=FaultRegister(),
            longest_sleep=self._longest_sleep,
        )
        loops = [self._intake.run(), self._submitter.run()]
        if self._registrar is not None:
            loops.append(self._registrar.run())
        if self._counting is not None:
            loops.append(self._count(self._counting))
        for loop in loops:
            task = asyncio.create_task(loop)
            task.add_done_callback(self._watch)
            self._tasks.append(task)

    async def _count(self, app: CountingApp | ExportingApp) -> None:
        """Let the app start once counting has begun, as the kubelet does, and read its page or take its exports."""
        await self._counters.begin()
        app.start(noted=self._ledger.counts)
        if isinstance(app, CountingApp):
            await self._scraping.run()
            return
        while True:
            await asyncio.sleep(_EXPORTS_EVERY.total_seconds())
            await app.export(self._exports.take, COUNTED)

    async def take(self, batch: UsageBatch) -> Receipt:
        """Take usage, as the API does."""
        return await self._intake.take(batch)

    @property
    def has_taken_over(self) -> bool:
        """The ledger was another pod's, and that is reported with what was left unfinished in it."""
        ledger = self._ledger
        return ledger.predecessor is not None and ledger.handed_over > 0 and bool(ledger.taken_over)

    def resubscribe(self) -> None:
        """Let the pod learn that the buyer has subscribed; a real registrar asks by itself."""
        if isinstance(self._gate, PodGate):
            self._gate.ask_again()

    def fails(self) -> set[str]:
        """Return the dimensions whose metering fails, by what the submitter says."""
        failures = self._submitter.courses.failures(self._clock.now())
        return {failure.dimension for failure in failures if failure.dimension is not None}

    def kill(self) -> None:
        """Die now."""
        if not self.disk.dead:
            self.disk.die()

    async def drain(self) -> None:
        """End in order, as a signal makes it do."""
        self._witness.draining = True
        intake, *others = self._tasks
        for task in others:
            task.cancel()
        await asyncio.wait(others)
        deadline = asyncio.get_running_loop().time() + SHUTDOWN.total_seconds()
        # The process ends with its time, and with a disk that fails it; the next start continues.
        with suppress(TimeoutError, LedgerUnavailable):
            async with asyncio.timeout_at(deadline):
                await self._scraping.finish()
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(deadline - OPEN_HOUR_RESERVE.total_seconds()):
                        await self._submitter.drain(ending=False)
                self._intake.close()
                await intake
                await self._submitter.drain(ending=True)
        self._intake.close()
        await asyncio.wait([intake])

    async def bury(self) -> None:
        """Forget everything that was in memory, and let go of what the kernel would."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.disk.dead = True
        self._client.dead = True
        self._witness.draining = False
        self.disk.release()
        await self._ledger.close()

    def let_go(self) -> None:
        """Close the file without a loop to do it in."""
        self.disk.release()
        self._ledger._close()

    def _die(self) -> None:
        self._witness.see_disturbance()
        self._client.dead = True
        self.ended.set()

    def _watch(self, task: asyncio.Task[None]) -> None:
        if self.disk.dead or task.cancelled():
            return
        error = task.exception()
        if error is not None:
            with suppress(Exception):
                self._witness.fail(f"a loop of the process ended: {error!r}")
            self.ended.set()


def _no_page(url: str, within: timedelta) -> FetchedPage:
    raise PageUnusable("is not served")
