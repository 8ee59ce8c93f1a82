"""The start probe of a custom price by License Manager: what opens the gate, what closes it, and what never does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import structlog
from structlog.testing import LogCapture

from sidecar.adapters.signature import PublicKeys
from sidecar.domain.entitlement.checkouts import Checkout, CheckoutState
from sidecar.domain.entitlement.license_policy import LicensePolicy
from sidecar.domain.entitlement.licenses import License
from sidecar.domain.entitlement.states import EntitlementSource, Evidence, Reason, State
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.policy import EntitlementCheck, StartProbe
from sidecar.marketplace.errors import MarketplaceError, NotSent
from sidecar.marketplace.license_manager import (
    AuthorizationException,
    NoEntitlementsAllowedException,
    ServerInternalException,
)
from sidecar.services.checkout_keeper import CheckoutKeeper
from sidecar.services.failed_calls import Explanation, interpret
from sidecar.services.license_calls import LicenseCalls
from sidecar.services.license_finder import LicenseFinder
from sidecar.services.license_probe import LicenseProbe
from sidecar.services.ports import SubscriptionProbe
from sidecar.services.registrar import Registrar, RegistrarSettings
from tests.services.fakes import Marketplace
from tests.support.license_manager import HOME, Trouble, World
from tests.support.licensed_pods import REGION, Store
from tests.support.licenses import ARN, GOOD, PRO, SKU, USERS

if TYPE_CHECKING:
    from tests.conftest import ManualClock

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
SETTINGS = RegistrarSettings(
    product_code="0abc123example",
    public_key_version=1,
    dimensions=("requests",),
    check=EntitlementCheck.METER,
    probe=StartProbe.LICENSE,
)


class Drawer(Store):
    """The ledger as the registrar needs it, too."""

    evidence: Evidence | None = None
    accepted_at: datetime | None = None
    unread = False
    """Whether the evidence cannot be read."""

    async def load_evidence(self) -> Evidence | None:
        """Return what was kept last."""
        if self.unread:
            raise LedgerUnavailable("disk I/O error")
        return self.evidence

    async def save_evidence(self, evidence: Evidence) -> None:
        """Keep it."""
        self.evidence = evidence

    async def last_accepted_at(self) -> datetime | None:
        """Return what the test has set."""
        return self.accepted_at


class UnreachableProbe:
    """A start probe by a record that never leaves."""

    proves_record = True

    async def ask(self) -> None:
        """Fail."""
        raise NotSent("no route")

    def explain(self, error: MarketplaceError, service_account: str | None) -> Explanation:
        """Return what the failure means."""
        return interpret(error, service_account)


@dataclass
class Pod:
    """One pod: its process may be killed and started again on its ledger."""

    clock: "ManualClock"
    world: World
    name: str = "pod-1"
    store: Drawer = field(default_factory=Drawer)
    settings: RegistrarSettings = SETTINGS
    log: LogCapture = field(default_factory=LogCapture)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self, probe: SubscriptionProbe | None = None) -> "Pod":
        """Start a new process in place of the running one; with another probe than the one by license."""
        await self.kill()
        log = structlog.wrap_logger(None, processors=[self.log])
        calls = LicenseCalls(self.world.connect)
        policy = LicensePolicy()
        finder = LicenseFinder(lister=calls, sku=SKU, policy=policy, region=REGION, clock=self.clock, any_issuer=False)
        checkouts = CheckoutKeeper(
            sku=SKU,
            store=self.store,
            service=calls,
            clock=self.clock,
            random=lambda: 0.5,
            log=log,
            regions=lambda: finder.checkout_regions,
        )
        by_license = LicenseProbe(finder=finder, checkouts=checkouts, sku=SKU, policy=policy, clock=self.clock)
        self.registrar = Registrar(
            settings=self.settings,
            client=Marketplace(self.clock.now),
            signatures=PublicKeys({}),
            clock=self.clock,
            evidence=self.store,
            pod=self.name,
            random=lambda: 0.5,
            log=log,
            probe=probe or by_license,
            recheck_after=HOUR,
        )
        self.tasks = [asyncio.create_task(self.registrar.run()), asyncio.create_task(by_license.run())]
        await self.clock.settle()
        return self

    async def kill(self) -> None:
        """Let the running process go as it stands."""
        for task in self.tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self.tasks = []

    def gate(self) -> tuple[State, str]:
        """Return the state of the gate, and why it is so."""
        entitlement = self.registrar.entitlement()
        return entitlement.state, entitlement.reason

    def state(self) -> State:
        """Return the state of the gate."""
        return self.gate()[0]

    @property
    def rows(self) -> list[CheckoutState]:
        """What the ledger holds of each checkout."""
        return [row.state for row in self.store.rows.values()]


@pytest.fixture
async def pod(clock: "ManualClock", world: World) -> AsyncIterator[Pod]:
    """A pod with a custom price, not started yet."""
    pod = Pod(clock, world)
    yield pod
    await pod.kill()


async def test_license_opens_and_holds_nothing(world: World, pod: Pod) -> None:
    """A checkout of AWS::Marketplace::Usage proves the subscription and is returned immediately."""
    world.grant(GOOD)
    await pod.start()
    assert (State.ENTITLED, Reason.METERED) == pod.gate()
    assert ["AWS::Marketplace::Usage"] == [each.entitlements[0].name for each in world.checkouts]
    assert ({}, [CheckoutState.RETURNED]) == (world.seats, pod.rows)
    assert "entitlement.probe: license" in pod.registrar.entitlement().detail


@pytest.mark.parametrize(
    ("entitlements", "asked"), [((PRO, USERS), ["pro"]), ((USERS,), [])], ids=["another feature", "counts only"]
)
async def test_license_without_the_feature(
    world: World, pod: Pod, entitlements: tuple[object, ...], asked: list[str]
) -> None:
    """Another entitlement without a count proves the right, too; a probe never takes a seat."""
    world.grant(replace(GOOD, entitlements=entitlements))  # type: ignore[arg-type]
    await pod.start()
    assert State.ENTITLED is pod.state()
    assert asked == [each.entitlements[0].name for each in world.checkouts]


@pytest.mark.parametrize(
    ("license_", "reason"),
    [
        (None, Reason.NO_LICENSE),
        (replace(GOOD, issuer="aws:111122223333:Own issuer:issuer-fingerprint"), Reason.NO_LICENSE),
        (replace(GOOD, grant_type="DelegateGrant"), Reason.NO_LICENSE),
        (replace(GOOD, received="PENDING_ACCEPT"), Reason.LICENSE_PENDING),
        (replace(GOOD, status="SUSPENDED"), Reason.LICENSE_SUSPENDED),
        (replace(GOOD, status="EXPIRED"), Reason.LICENSE_EXPIRED),
    ],
)
async def test_no_good_license_denies(
    clock: "ManualClock", world: World, pod: Pod, license_: License | None, reason: Reason
) -> None:
    """Without a good license the pod is denied and checks nothing out; a subscription opens without a restart."""
    if license_ is not None:
        world.grant(license_)
    await pod.start()
    assert (State.DENIED, reason) == pod.gate()
    await clock.advance(HOUR)
    assert (State.DENIED, []) == (pod.state(), world.checkouts)
    world.grant(GOOD)
    await clock.advance(5 * MINUTE)
    assert State.ENTITLED is pod.state()


@pytest.mark.parametrize("down", [{HOME}, {HOME, REGION}])
async def test_silence_denies_nothing(clock: "ManualClock", world: World, pod: Pod, down: set[str]) -> None:
    """Only both Regions together deny: without their answers the pod is pending, then unavailable."""
    world.down = down
    await pod.start()
    assert State.PENDING is pod.state()
    await clock.advance(HOUR)
    assert (State.UNAVAILABLE, Reason.UNREACHABLE) == pod.gate()
    assert NotSent.cure == pod.registrar.entitlement().cure
    world.down = set()
    world.grant(GOOD)
    await clock.advance(2 * MINUTE)
    assert State.ENTITLED is pod.state()


@pytest.mark.parametrize(
    "error", [ServerInternalException("fault"), AuthorizationException("no"), NoEntitlementsAllowedException("none")]
)
@pytest.mark.parametrize("operation", ["ListReceivedLicenses", "CheckoutLicense"])
async def test_failed_call_leaves_pending(
    clock: "ManualClock", world: World, pod: Pod, operation: str, error: ServerInternalException
) -> None:
    """A fault, a missing permission and a refused checkout of a good license neither open nor close."""
    world.grant(GOOD)
    world.refused = {operation: error}
    await pod.start()
    assert State.PENDING is pod.state()
    world.refused = {}
    await clock.advance(2 * MINUTE)
    assert (State.ENTITLED, {}) == (pod.state(), world.seats)


@pytest.mark.parametrize("trouble", [Trouble.LOST, Trouble.DROPPED])
@pytest.mark.parametrize("killed", [True, False])
async def test_lost_proof_is_repeated(
    clock: "ManualClock", world: World, pod: Pod, *, killed: bool, trouble: Trouble
) -> None:
    """A checkout whose answer was lost is the same request again, also by the next process."""
    world.grant(GOOD, REGION)
    world.troubles.extend([None, trouble])
    await pod.start()
    assert State.PENDING is pod.state()
    if killed:
        await pod.start()
    await clock.advance(MINUTE)
    assert State.ENTITLED is pod.state()
    assert (1, {}, [CheckoutState.RETURNED]) == (len(set(world.checkouts)), world.seats, pod.rows)


async def test_lost_return_is_repeated(clock: "ManualClock", world: World, pod: Pod) -> None:
    """The gate does not wait for the return, which is repeated until AWS answers it."""
    world.grant(GOOD, REGION)
    world.troubles.extend([None, None, Trouble.DROPPED])
    await pod.start()
    assert (State.ENTITLED, [CheckoutState.HELD]) == (pod.state(), pod.rows)
    await clock.advance(2 * MINUTE)
    assert ([CheckoutState.RETURNED], {}) == (pod.rows, world.seats)


async def test_gate_does_not_wait_for_the_return(
    clock: "ManualClock", world: World, pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right is proved by the checkout; a return that AWS does not answer delays nothing."""
    answer, check_in = asyncio.Event(), LicenseCalls.check_in

    async def hang(calls: LicenseCalls, checkout: Checkout) -> None:
        await answer.wait()
        await check_in(calls, checkout)

    monkeypatch.setattr(LicenseCalls, "check_in", hang)
    world.grant(GOOD, REGION)
    await pod.start()
    assert (State.ENTITLED, [CheckoutState.HELD]) == (pod.state(), pod.rows)
    answer.set()
    await clock.advance(MINUTE)
    assert ([CheckoutState.RETURNED], {}) == (pod.rows, world.seats)


async def test_clock_that_goes_back_delays_no_proof(clock: "ManualClock", world: World, pod: Pod) -> None:
    """A killed process leaves a checkout without an answer; it is repeated though it lies ahead of the clock now."""
    world.grant(GOOD, REGION)
    world.troubles.extend([None, Trouble.LOST])
    await pod.start()
    assert State.PENDING is pod.state()
    clock.step(-6 * HOUR)
    await pod.start()
    await clock.advance(5 * MINUTE)
    assert State.ENTITLED is pod.state()


async def test_ledger_that_fails_closes_nothing(clock: "ManualClock", world: World, pod: Pod) -> None:
    """A ledger that cannot be used delays the proof and ends no process."""
    world.grant(GOOD)
    pod.store.failing = True
    await pod.start()
    assert (State.PENDING, Reason.LEDGER_UNAVAILABLE) == pod.gate()
    pod.store.failing = False
    await clock.advance(MINUTE)
    assert State.ENTITLED is pod.state()


async def test_restart_asks_nothing(clock: "ManualClock", world: World, pod: Pod) -> None:
    """A restarted container runs on its proof, also without AWS; a new pod on the ledger asks for itself."""
    world.grant(GOOD)
    await pod.start()
    await clock.advance(HOUR)
    world.calls.clear()
    world.down = {HOME, REGION}
    await pod.start()
    assert (State.ENTITLED, EntitlementSource.REMEMBERED) == (pod.state(), pod.registrar.entitlement().source)
    assert [] == world.calls
    await clock.advance(23 * HOUR)
    assert State.UNAVAILABLE is pod.state()
    other = await Pod(clock, world, "pod-2", pod.store).start()
    assert State.PENDING is other.state()
    await other.kill()


async def test_memory_ends_with_a_refusal(clock: "ManualClock", world: World, pod: Pod) -> None:
    """The proof is asked for anew after half of the memory; a refusal then is kept over a restart."""
    world.grant(GOOD)
    await pod.start()
    world.remove(ARN)
    await pod.start()
    await clock.advance(13 * HOUR)
    assert (State.DENIED, Reason.NO_LICENSE) == pod.gate()
    world.down = {HOME, REGION}
    await pod.start()
    assert State.PENDING is pod.state()


async def test_refusal_after_a_proof_from_the_future(clock: "ManualClock", world: World, pod: Pod) -> None:
    """A proof that was made while the clock was ahead counts as none after a refusal, also once its time has come."""
    clock.step(HOUR)
    world.grant(GOOD)
    await pod.start()
    clock.step(-HOUR)
    world.remove(ARN)
    await pod.start()
    assert (State.DENIED, Reason.NO_LICENSE) == pod.gate()
    await pod.kill()
    await clock.advance(2 * HOUR)
    world.down = {HOME, REGION}
    await pod.start()
    assert State.PENDING is pod.state()


async def test_proof_after_a_refusal_from_the_future(clock: "ManualClock", world: World, pod: Pod) -> None:
    """A proof counts after a refusal that was made before it while the clock was ahead."""
    world.grant(GOOD)
    await pod.start()
    await pod.kill()
    clock.step(13 * HOUR)
    world.remove(ARN)
    await pod.start()
    assert (State.DENIED, Reason.NO_LICENSE) == pod.gate()
    clock.step(-13 * HOUR)
    world.grant(GOOD)
    await pod.start()
    world.down = {HOME, REGION}
    await pod.start()
    assert (State.ENTITLED, EntitlementSource.REMEMBERED) == (pod.state(), pod.registrar.entitlement().source)


@pytest.mark.parametrize("late", [False, True])
async def test_refusal_voids_records_without_evidence(
    clock: "ManualClock", world: World, pod: Pod, *, late: bool
) -> None:
    """A refusal is kept over a restart where the ledger has accepted records only, also if they are read after it."""
    pod.store.accepted_at = clock.now()
    await clock.advance(13 * HOUR)
    pod.store.unread = late
    await pod.start()
    pod.store.unread = False
    await clock.advance(MINUTE)
    assert State.DENIED is pod.state()
    world.down = {HOME, REGION}
    await pod.start()
    assert State.PENDING is pod.state()


async def test_only_a_record_lifts_a_suspension(clock: "ManualClock", world: World, pod: Pod) -> None:
    """What MeterUsage refused a license does not lift: the next record that AWS takes does."""
    world.grant(GOOD)
    await pod.start()
    await pod.registrar.on_submission(accepted=False)
    await pod.start()
    await clock.advance(13 * HOUR)
    assert State.SUSPENDED is pod.state()
    await pod.registrar.on_submission(accepted=True)
    assert (State.ENTITLED, Reason.METERED) == pod.gate()


async def test_refusal_forgets_no_suspension(clock: "ManualClock", world: World, pod: Pod) -> None:
    """A pod that is suspended, and refused after that, stays suspended by a later license, also after a restart."""
    world.grant(GOOD)
    await pod.start()
    await pod.registrar.on_submission(accepted=False)
    world.remove(ARN)
    await pod.start()
    await clock.advance(13 * HOUR)
    assert State.DENIED is pod.state()
    world.grant(GOOD)
    await pod.start()
    await clock.advance(MINUTE)
    assert State.SUSPENDED is pod.state()


async def test_license_proof_counts_for_no_other_probe(world: World, pod: Pod) -> None:
    """After a change to `probe: record` the proof by a license counts as none: AWS holds no record."""
    world.grant(GOOD)
    await pod.start()
    pod.settings = replace(SETTINGS, probe=StartProbe.RECORD)
    await pod.start(UnreachableProbe())
    assert State.PENDING is pod.state()
