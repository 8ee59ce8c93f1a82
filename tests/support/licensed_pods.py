"""Licensed pods: the real services over a store and a License Manager in memory, and a clock that stands still."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from unittest.mock import patch

import structlog
from structlog.testing import LogCapture

from sidecar.domain.entitlement.checkouts import Checkout, CheckoutKind
from sidecar.domain.entitlement.license_policy import LicensePolicy
from sidecar.domain.entitlement.states import LicenseEvidence, State
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.policy import OnDenied
from sidecar.services import license_keeper
from sidecar.services.app_checkouts import AppCheckouts
from sidecar.services.checkout_keeper import CheckoutKeeper
from sidecar.services.faults import FaultRegister
from sidecar.services.license_calls import LicenseCalls
from sidecar.services.license_finder import LicenseFinder
from sidecar.services.license_keeper import LicenseChoices, LicenseKeeper
from sidecar.services.registrar import DeniedExit
from tests.support.license_manager import World
from tests.support.licenses import LOOK_ONLY, SKU, terms

if TYPE_CHECKING:
    from tests.conftest import ManualClock

REGION = "eu-west-1"


class Store:
    """The rows of one ledger. A process that was killed cannot write to them any more."""

    def __init__(self) -> None:
        self.rows: dict[int, Checkout] = {}
        self.license: LicenseEvidence | None = None
        self.failing = False
        self._newest = 0

    async def load_checkouts(self) -> list[Checkout]:
        """Return what is live."""
        self._use()
        return [each for each in self.rows.values() if each.state.live]

    async def find_checkout(self, id_: str) -> Checkout | None:
        """Return the newest of an id."""
        self._use()
        found = [each for each in self.rows.values() if each.id == id_ and each.kind is CheckoutKind.APP]
        return max(found, key=lambda each: each.seq, default=None)

    async def list_checkouts(self, limit: int) -> list[Checkout]:
        """Return the app's."""
        self._use()
        newest = {each.id: each for each in self.rows.values() if each.kind is CheckoutKind.APP}
        return sorted(newest.values(), key=lambda each: (not each.state.live, each.seq))[:limit]

    async def save_checkout(self, checkout: Checkout) -> Checkout:
        """Keep it."""
        self._use()
        if not checkout.seq:
            twins = [each for each in self.rows.values() if (each.kind, each.id) == (checkout.kind, checkout.id)]
            assert not [each for each in twins if each.state.live]
        self._newest += not checkout.seq
        seq = checkout.seq or self._newest
        self.rows[seq] = checkout = replace(checkout, seq=seq)
        await asyncio.sleep(0)
        return checkout

    async def load_license(self) -> LicenseEvidence | None:
        """Return the evidence."""
        self._use()
        return self.license

    async def save_license(self, evidence: LicenseEvidence) -> None:
        """Keep it."""
        self._use()
        self.license = evidence

    def _use(self) -> None:
        if self.failing:
            raise LedgerUnavailable("disk I/O error")


class Pod:
    """One pod: its process may be started, killed, drained and started again on its ledger."""

    def __init__(
        self,
        clock: "ManualClock",
        world: World,
        policy: LicensePolicy = LOOK_ONLY,
        *,
        name: str = "pod-1",
        store: Store | None = None,
        on_denied: OnDenied = OnDenied.HOLD,
        remember_for: timedelta = timedelta(hours=24),
        sku: str = SKU,
    ) -> None:
        self.clock = clock
        self.world = world
        self.policy = policy
        self.name = name
        self.sku = sku
        self.store = store or Store()
        self.on_denied = on_denied
        self.remember_for = remember_for
        self.process: asyncio.Task[None] | None = None
        self.log = LogCapture()
        self.make()

    def make(self) -> None:
        """Make the components of a new process."""
        log = structlog.wrap_logger(None, processors=[self.log])
        calls = LicenseCalls(self.world.connect)
        finder = LicenseFinder(
            lister=calls, sku=self.sku, policy=self.policy, region=REGION, clock=self.clock, any_issuer=False
        )
        self.faults = FaultRegister(log)
        self.checkouts = CheckoutKeeper(
            sku=self.sku,
            store=self.store,
            service=calls,
            clock=self.clock,
            random=lambda: 0.5,
            log=log,
            regions=lambda: finder.checkout_regions,
        )
        known = terms(
            self.policy,
            on_taken=self.policy.on_taken,
            on_expired=self.policy.on_expired,
            pod=self.name,
            remember_for=self.remember_for,
            sku=self.sku,
        )
        self.keeper = LicenseKeeper(
            choices=LicenseChoices(terms=known, on_denied=self.on_denied),
            finder=finder,
            checkouts=self.checkouts,
            store=self.store,
            clock=self.clock,
            faults=self.faults,
            random=lambda: 0.5,
            log=log,
            recheck_after=timedelta(hours=1),
        )
        self.app = AppCheckouts(keeper=self.keeper, store=self.store, clock=self.clock, tiers=self.policy.tiers)

    async def start(self) -> "Pod":
        """Start a new process in place of the running one."""
        await self.kill()
        self.make()
        self.process = asyncio.create_task(self.keeper.run())
        await self.clock.settle()
        return self

    async def kill(self) -> None:
        """Let the running process go as it stands."""
        if self.process is not None:
            self.process.cancel()
            with contextlib.suppress(asyncio.CancelledError, DeniedExit):
                await self.process
            self.process = None

    async def stop(self, *, ending: bool = True) -> None:
        """End the process in an orderly way."""
        await self.kill()
        with patch.object(license_keeper, "RETURN_AGAIN_SECONDS", 0.0):
            await self.keeper.drain(ending=ending)

    def state(self) -> State:
        """Return the state of the gate."""
        return self.keeper.entitlement().state

    def reason(self) -> str:
        """Return why the gate is so."""
        return self.keeper.entitlement().reason

    def codes(self) -> set[str]:
        """Return the faults of this process."""
        return {finding.code for finding in self.faults.findings}

    @property
    def events(self) -> list[str]:
        """What was logged."""
        return [entry["event"] for entry in self.log.entries]
