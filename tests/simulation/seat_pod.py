"""One pod of a contract price: its ledger, its clock, and the processes that come and go on them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from random import Random

import structlog

from sidecar.adapters.ledger.checkouts import read_all, resolve
from sidecar.adapters.ledger.file import LedgerUnusable, open_for_reading
from sidecar.domain.entitlement.checkouts import Checkout, CheckoutState
from sidecar.domain.entitlement.license_policy import LicensePolicy
from sidecar.domain.entitlement.licensing import LicenseTerms
from sidecar.domain.entitlement.states import Entitlement, EntitlementSource
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.policy import OnDenied
from sidecar.services.app_checkouts import AppCheckouts
from sidecar.services.checkout_keeper import CheckoutKeeper
from sidecar.services.faults import FaultRegister
from sidecar.services.license_calls import LicenseCalls
from sidecar.services.license_finder import LicenseFinder
from sidecar.services.license_keeper import LicenseChoices, LicenseKeeper
from tests.simulation.clocks import PodClock, World
from tests.simulation.disk import Crash, Disk, Volume
from tests.simulation.process import WatchedLedger
from tests.simulation.seat_service import SeatClient, SeatService
from tests.support.licenses import SKU

REGION = "eu-west-1"
_RULES = MeteringRules(product_code="0abc123example", dimensions={})
_MANY = 10_000


class SeatPod:
    """One pod. Its process may die, and another one starts on its ledger.

    Args:
        name: The pod's UID.
        path: Its ledger.
        world: True time.
        service: License Manager.
        policy: What the seller requires.
        fail: Takes what no process may do.
        disturb: Called when a disk fails.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        *,
        world: World,
        service: SeatService,
        policy: LicensePolicy,
        fail: Callable[[str], None],
        disturb: Callable[[], None],
    ) -> None:
        self.name = name
        self.path = path
        self.clock = PodClock(world)
        self.born_at = world.now()
        self.started_at = world.now()
        self.process: SeatProcess | None = None
        self.stepped = False
        """Its clock has been wrong."""
        self.processes = 0
        self._world = world
        self._service = service
        self._policy = policy
        self.fail = fail
        self.disturb = disturb

    def succeed(self) -> None:
        """Let the next pod have the ledger, as a StatefulSet does."""
        self.name += "+"
        self.born_at = self._world.now()

    async def start(self) -> None:
        """Start a process; one that cannot start is dead already."""
        self.processes += 1
        self.started_at = self._world.now()
        draw = Random(f"{self.name} {self.processes}").random
        self.process = SeatProcess(self, SeatClient(self._service, self.path.stem), self._policy, draw)
        await self.process.start()

    async def stop(self, *, ending: bool) -> None:
        """End the process in order; with the pod if it is `ending`."""
        if self.process is not None:
            await self.process.drain(ending=ending)
            await self.bury()

    async def bury(self) -> None:
        """Forget what the process had in memory."""
        process, self.process = self.process, None
        if process is not None:
            await process.bury()

    def rows(self) -> list[Checkout]:
        """Return what the ledger holds."""
        if not self.path.exists():
            return []
        connection = open_for_reading(self.path)
        try:
            known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'checkout'").fetchone()
            return read_all(connection, _MANY) if known else []
        finally:
            connection.close()

    def drawn(self, row: Checkout) -> bool:
        """Return whether AWS has made a draw-down."""
        return self._service.account.takings[row.client_token] > 0

    async def resolve_doubts(self) -> None:
        """Write a person's true decision about each draw-down in doubt."""
        if self.process is None:
            return
        for row in self.rows():
            if row.state is CheckoutState.IN_DOUBT:
                await self.process.resolve(row, drawn=self.drawn(row))


class SeatProcess:
    """A sidecar that runs until it dies or is told to end."""

    def __init__(
        self,
        pod: SeatPod,
        client: SeatClient,
        policy: LicensePolicy,
        draw: Callable[[], float],
    ) -> None:
        self._pod = pod
        self._client = client
        volume = Volume()
        self.disk = Disk(lambda _connection, _taken: None, pod.disturb, self._die, volume)
        self._ledger = WatchedLedger(pod.path, _RULES, self.disk, volume)
        log = structlog.get_logger()
        calls = LicenseCalls(client.connect)
        finder = LicenseFinder(lister=calls, sku=SKU, policy=policy, region=REGION, clock=pod.clock, any_issuer=False)
        checkouts = CheckoutKeeper(
            sku=SKU,
            store=self._ledger.checkouts,
            service=calls,
            clock=pod.clock,
            random=draw,
            log=log,
            regions=lambda: finder.checkout_regions,
        )
        terms = LicenseTerms(
            pod=pod.name,
            product_code=_RULES.product_code,
            public_key_version=1,
            sku=SKU,
            policy=policy,
            source=EntitlementSource.LIVE,
            retry_for=timedelta(minutes=30),
            remember_for=timedelta(hours=24),
        )
        self._keeper = LicenseKeeper(
            choices=LicenseChoices(terms=terms, on_denied=OnDenied.HOLD),
            finder=finder,
            checkouts=checkouts,
            store=self._ledger.checkouts,
            clock=pod.clock,
            faults=FaultRegister(log),
            random=draw,
            log=log,
            recheck_after=timedelta(hours=1),
        )
        self.app = AppCheckouts(keeper=self._keeper, store=self._ledger.checkouts, clock=pod.clock, tiers=policy.tiers)
        self._task: asyncio.Task[None] | None = None

    @property
    def dead(self) -> bool:
        """Whether the process has ended."""
        return self.disk.dead

    def entitlement(self) -> Entitlement:
        """Return what the gate shows."""
        return self._keeper.entitlement()

    def wake(self) -> None:
        """Let the keeper judge its wait anew: the clock was set."""
        self._keeper.changes.wake()

    async def start(self) -> None:
        """Open the ledger and run."""
        try:
            await self._ledger.open(self._pod.name, "downward-api", self._pod.clock.now())
        except (LedgerUnusable, Crash):
            if not self.dead:
                self.disk.die()
            return
        self._task = asyncio.create_task(self._keeper.run())
        self._task.add_done_callback(self._watch)

    async def resolve(self, row: Checkout, *, drawn: bool) -> None:
        """Write a person's decision, as `ledger resolve` does."""
        now = self._pod.clock.now()
        with suppress(LedgerUnavailable, Crash, LookupError):
            await self._ledger._write(
                lambda store: resolve(store, row.seq, drawn=drawn, who="a person", reason="CloudTrail", now=now)
            )

    async def drain(self, *, ending: bool) -> None:
        """End in order, as a signal makes it do."""
        await self._end_loop()
        with suppress(Crash, LedgerUnavailable):
            await self._keeper.drain(ending=ending)

    async def bury(self) -> None:
        """Forget everything that was in memory."""
        self.disk.dead = self._client.dead = True
        await self._end_loop()
        self.disk.release()
        await self._ledger.close()

    async def _end_loop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _die(self) -> None:
        self._client.dead = True

    def _watch(self, task: asyncio.Task[None]) -> None:
        if not self.dead and not task.cancelled() and (error := task.exception()) is not None:
            self._pod.fail(f"{self._pod.name}: the keeper ended: {error!r}")
