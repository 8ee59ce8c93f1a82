"""The gate of a contract price: what opens it, what closes it, and what never does."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sidecar.domain.entitlement.licenses import License
from sidecar.domain.entitlement.states import Reason, State
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.policy import OnDenied, OnExpired
from sidecar.marketplace.license_manager import (
    AuthorizationException,
    NoEntitlementsAllowedException,
    ServerInternalException,
)
from sidecar.services.entitlement_fault import entitlement_fault
from sidecar.services.registrar import DeniedExit
from tests.support.license_manager import HOME, Trouble, World
from tests.support.licensed_pods import REGION, Pod
from tests.support.licenses import ARN, FEATURE, GOOD, HOLD_ONE, LOOK_ONLY, OTHER_SKU, RENEWED, SKU, USERS

if TYPE_CHECKING:
    from tests.conftest import ManualClock

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
MakePod = Callable[..., Pod]


async def test_proof_opens_and_holds_nothing(world: World, make_pod: MakePod) -> None:
    """The right is proved by a checkout that takes nothing and is returned immediately."""
    world.grant(GOOD)
    pod = await make_pod().start()
    assert (State.ENTITLED, Reason.LICENSED) == (pod.state(), pod.reason())
    assert [(None, "None")] == [(each.entitlements[0].value, each.entitlements[0].unit) for each in world.checkouts]
    assert {} == world.seats
    shown = pod.keeper.entitlement().license
    assert shown is not None
    assert (ARN, "AVAILABLE", 0) == (shown.arn, shown.status, shown.entitlements[0].held)


async def test_counted_entitlements_are_never_taken_as_proof(world: World, make_pod: MakePod) -> None:
    """A license that has counts only is proof itself: a probe would take a buyer's seat."""
    world.grant(replace(GOOD, entitlements=(USERS,)))
    pod = await make_pod().start()
    assert State.ENTITLED is pod.state()
    assert [] == world.checkouts


async def test_grant_starts_a_denied_pod(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A buyer who subscribes after the start gets in without a restart, within minutes."""
    pod = await make_pod().start()
    assert (State.DENIED, Reason.NO_LICENSE) == (pod.state(), pod.reason())
    world.grant(GOOD)
    await clock.advance(5 * MINUTE)
    assert State.ENTITLED is pod.state()


@pytest.mark.parametrize(
    "license_",
    [
        replace(GOOD, issuer="aws:111122223333:me:issuer-fingerprint"),
        replace(GOOD, issuer="somebody"),
        replace(GOOD, grant_type="DelegateGrant"),
        replace(GOOD, received="PENDING_ACCEPT"),
        replace(GOOD, received="REJECTED"),
        replace(GOOD, received="DISABLED"),
    ],
)
async def test_false_license_never_opens(
    clock: "ManualClock", world: World, make_pod: MakePod, license_: License
) -> None:
    """A license of another issuer, a delegated grant and one that is not active never open the gate."""
    world.grant(license_)
    pod = await make_pod().start()
    for _ in range(20):
        assert State.DENIED is pod.state()
        await clock.advance(5 * MINUTE)
    assert [] == world.checkouts


async def test_one_silent_region_denies_nothing(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """Only the pod's Region and us-east-1 together prove that there is no license."""
    world.down = {HOME}
    pod = await make_pod().start()
    assert State.PENDING is pod.state()
    await clock.advance(HOUR)
    assert (State.UNAVAILABLE, Reason.UNREACHABLE) == (pod.state(), pod.reason())
    world.down = set()
    await clock.advance(2 * MINUTE)
    assert State.DENIED is pod.state()


async def test_empty_list_is_remembered(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """Two Regions that answer one after the other prove together that there is no license."""
    world.down = {HOME}
    pod = await make_pod().start()
    world.down = {REGION}
    await clock.advance(2 * MINUTE)
    assert State.DENIED is pod.state()


@pytest.mark.parametrize("error", [ServerInternalException("fault"), AuthorizationException("no")])
async def test_failed_look_denies_nothing(
    clock: "ManualClock", world: World, make_pod: MakePod, error: ServerInternalException | AuthorizationException
) -> None:
    """A fault or a missing permission is no answer about the license."""
    world.grant(GOOD)
    world.troubles.extend([error] * 8)
    pod = await make_pod().start()
    assert State.PENDING is pod.state()
    assert "license.retrying" in pod.events
    await clock.advance(10 * MINUTE)
    assert State.ENTITLED is pod.state()
    assert "license.recovered" in pod.events


@pytest.mark.parametrize("error", [NoEntitlementsAllowedException("none"), AuthorizationException("no")])
async def test_fault_has_the_cure_of_its_call(
    clock: "ManualClock", world: World, make_pod: MakePod, error: NoEntitlementsAllowedException
) -> None:
    """The fault names License Manager's cure: the same reason of Metering has another one."""
    world.grant(GOOD)
    world.troubles.extend([error] * 1000)
    pod = await make_pod().start()
    await clock.advance(HOUR)
    found = entitlement_fault(pod.keeper.entitlement())
    assert found is not None
    assert ("entitlement-unavailable", error.cure) == (found.code, found.cure[: len(error.cure)])


async def test_refused_proof_denies_nothing(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """NoEntitlementsAllowed alone never closes the gate, and does not open it either."""
    world.grant(GOOD, REGION)
    world.troubles.extend(
        [Trouble.UNSENT, NoEntitlementsAllowedException("none"), NoEntitlementsAllowedException("none")]
    )
    pod = await make_pod().start()
    await clock.advance(2 * MINUTE)
    assert State.ENTITLED is pod.state()


@pytest.mark.parametrize("region", [HOME, REGION])
async def test_region_of_the_license(world: World, make_pod: MakePod, region: str) -> None:
    """The pod's Region is asked first, then us-east-1; the one that answered is remembered."""
    world.grant(GOOD, region)
    pod = await make_pod().start()
    assert State.ENTITLED is pod.state()
    assert pod.store.license is not None
    assert region == pod.store.license.region
    world.calls.clear()
    await pod.start()
    assert {region} == {called for called, _ in world.calls}


async def test_lesser_license_hides_no_good_one(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A license that lacks something, in the Region that is asked first, does not end the search for a good one."""
    world.grant(GOOD, REGION)
    pod = await make_pod().start()
    world.grant(replace(GOOD, entitlements=(FEATURE,)), REGION)
    await clock.advance(15 * MINUTE)
    amended = pod.keeper.entitlement().license
    assert amended is not None
    assert (State.ENTITLED, ARN) == (pod.state(), amended.arn)
    world.grant(RENEWED)
    await clock.advance(15 * MINUTE)
    renewed = pod.keeper.entitlement().license
    assert renewed is not None
    assert (State.ENTITLED, RENEWED.arn) == (pod.state(), renewed.arn)


@pytest.mark.parametrize("home", [HOME, None])
async def test_home_region_knows_better(
    clock: "ManualClock", world: World, make_pod: MakePod, home: str | None
) -> None:
    """An older copy of a license in the pod's Region decides nothing once its home Region has answered."""
    license_ = replace(GOOD, home_region=home)
    world.grant(replace(license_, status="SUSPENDED"), REGION)
    world.grant(license_)
    pod = await make_pod().start()
    assert (State.ENTITLED, Reason.LICENSED) == (pod.state(), pod.reason())
    world.grant(replace(license_, status="SUSPENDED"))
    world.grant(replace(license_, status="PENDING_AVAILABLE"), REGION)
    await clock.advance(15 * MINUTE)
    assert (State.SUSPENDED, Reason.LICENSE_SUSPENDED) == (pod.state(), pod.reason())


async def test_redirect_is_followed(world: World, make_pod: MakePod) -> None:
    """A Region that redirects is left for the one that it names."""
    world.redirects = {REGION: "eu-north-1", HOME: "eu-north-1"}
    world.grant(replace(GOOD, home_region="eu-north-1"), "eu-north-1")
    pod = await make_pod().start()
    assert State.ENTITLED is pod.state()


@pytest.mark.parametrize("killed", [True, False])
async def test_lost_proof_is_repeated(clock: "ManualClock", world: World, make_pod: MakePod, *, killed: bool) -> None:
    """A proof whose answer was lost is the same request again, also by the next process, and nothing stays held."""
    world.grant(GOOD, REGION)
    world.troubles.extend([None, Trouble.LOST])
    pod = await make_pod().start()
    assert State.PENDING is pod.state()
    if killed:
        await pod.start()
    await clock.advance(MINUTE)
    assert State.ENTITLED is pod.state()
    assert (2, 1, {}) == (len(world.checkouts), len(set(world.checkouts)), world.seats)


async def test_lost_proof_of_another_product(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A proof that an earlier `product.id` has left without an answer opens no gate: the new product has its own."""
    world.grant(GOOD, REGION)
    world.troubles.extend([None, Trouble.LOST])
    pod = await make_pod().start()
    await pod.kill()
    world.grant(replace(GOOD, sku=OTHER_SKU, arn="other"), REGION)
    other = await make_pod(store=pod.store, sku=OTHER_SKU).start()
    await clock.advance(2 * MINUTE)
    assert (State.ENTITLED, {}) == (other.state(), world.seats)
    assert [SKU, SKU, OTHER_SKU] == [each.product_sku for each in world.checkouts]


async def test_stopped_license_closes_and_opens(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A license that AWS stops closes the gate at the next look, and opens it when it is good again."""
    world.grant(GOOD)
    pod = await make_pod().start()
    world.change(ARN, status="SUSPENDED")
    await clock.advance(15 * MINUTE)
    assert (State.SUSPENDED, Reason.LICENSE_SUSPENDED) == (pod.state(), pod.reason())
    await pod.start()
    assert State.SUSPENDED is pod.state()
    world.change(ARN, status="AVAILABLE")
    await clock.advance(5 * MINUTE)
    assert State.ENTITLED is pod.state()


async def test_missing_license_takes_two_looks(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A license that is not listed closes the gate at the second look, and a fault comes first."""
    world.grant(GOOD)
    pod = await make_pod().start()
    world.remove(ARN)
    await clock.advance(15 * MINUTE)
    assert State.ENTITLED is pod.state()
    assert "license-missing" in pod.codes()
    await pod.start()
    assert State.ENTITLED is pod.state()
    await clock.advance(15 * MINUTE)
    assert (State.SUSPENDED, Reason.NO_LICENSE) == (pod.state(), pod.reason())


@pytest.mark.parametrize("region", [HOME, REGION])
async def test_each_look_has_an_answer_of_its_own(
    clock: "ManualClock", world: World, make_pod: MakePod, region: str
) -> None:
    """The Region that has shown the license answers both looks: its old answer is no second one."""
    world.grant(GOOD, region)
    pod = await make_pod().start()
    await clock.advance(14 * MINUTE)
    world.remove(ARN)
    await clock.advance(2 * MINUTE)
    await pod.start()  # which looks once more, after the first look and less than `refresh` before the second
    assert (State.ENTITLED, {"license-missing"}) == (pod.state(), pod.codes())
    world.grant(GOOD, region)
    world.down = {region}
    await clock.advance(2 * HOUR)
    assert State.ENTITLED is pod.state()


async def test_clock_step_between_two_looks(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A step forward brings the second look closer; the gate that it closes opens at the next look."""
    world.grant(GOOD)
    pod = await make_pod().start()
    world.remove(ARN)
    await clock.advance(15 * MINUTE)
    clock.step(HOUR)
    await clock.settle()
    assert (State.SUSPENDED, Reason.NO_LICENSE) == (pod.state(), pod.reason())
    world.grant(GOOD)
    await clock.advance(5 * MINUTE)
    assert State.ENTITLED is pod.state()


async def test_expiry_while_running(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """Expiry leaves this pod entitled until it is replaced; a new pod is denied; a renewal is taken over."""
    end = clock.now() + HOUR
    world.grant(replace(GOOD, end=end))
    pod = await make_pod().start()
    assert "license-expiring" in pod.codes()
    await clock.advance(2 * HOUR)
    assert (State.ENTITLED, "license-expired" in pod.codes()) == (pod.state(), True)
    shown = pod.keeper.entitlement().license
    assert shown is not None
    assert "EXPIRED" == shown.status
    world.change(ARN, status="EXPIRED")
    await pod.start()
    assert State.ENTITLED is pod.state()
    other = await make_pod(name="pod-2").start()
    assert (State.DENIED, Reason.LICENSE_EXPIRED) == (other.state(), other.reason())
    warned = await make_pod(replace(LOOK_ONLY, on_expired=OnExpired.WARN), name="pod-3").start()
    assert (State.ENTITLED, Reason.LICENSE_EXPIRED) == (warned.state(), warned.reason())
    world.grant(RENEWED)
    await clock.advance(15 * MINUTE)
    assert [State.ENTITLED] * 3 == [pod.state(), other.state(), warned.state()]
    assert set() == {"license-expired"} & pod.codes()


async def test_unreachable_after_restart(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A restarted container runs on the newest proof for `remember_for`; a new pod does not."""
    world.grant(GOOD)
    pod = await make_pod(remember_for=3 * HOUR).start()
    await pod.kill()
    world.down = {HOME, REGION}
    await pod.start()
    await clock.advance(MINUTE)
    assert (State.ENTITLED, Reason.REMEMBERED) == (pod.state(), pod.reason())
    await clock.advance(3 * HOUR)
    assert State.UNAVAILABLE is pod.state()
    other = await make_pod(name="pod-2", store=pod.store).start()
    await clock.advance(MINUTE)
    assert State.PENDING is other.state()


async def test_overage_never_touches_the_gate(world: World, make_pod: MakePod) -> None:
    """What MeterUsage answers about overage changes nothing."""
    world.grant(GOOD)
    pod = await make_pod().start()
    await pod.keeper.on_submission(accepted=False)
    assert State.ENTITLED is pod.state()


async def test_denied_exit(world: World, make_pod: MakePod) -> None:
    """`on_denied: exit` ends the process once the pod is denied."""
    pod = await make_pod(on_denied=OnDenied.EXIT).start()
    assert pod.process is not None
    with pytest.raises(DeniedExit, match="no-license"):
        await pod.process
    pod.process = None


async def test_ledger_that_fails_closes_nothing(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A ledger that cannot be used delays a proof and never ends the process."""
    world.grant(replace(GOOD, entitlements=(FEATURE, USERS)))
    pod = make_pod()
    pod.store.failing = True
    await pod.start()
    await clock.advance(MINUTE)
    assert State.PENDING is pod.state()
    pod.store.failing = False
    await clock.advance(MINUTE)
    assert State.ENTITLED is pod.state()


async def test_ledger_that_fails_at_the_start_forgets_nothing(
    clock: "ManualClock", world: World, make_pod: MakePod
) -> None:
    """What an earlier process left is read before anything is asked: an expired license denies a pod without it."""
    world.grant(GOOD)
    pod = await make_pod(HOLD_ONE).start()
    world.change(ARN, status="EXPIRED")
    pod.store.failing = True
    await pod.start()
    await clock.advance(MINUTE)
    assert (State.PENDING, Reason.LEDGER_UNAVAILABLE) == (pod.state(), pod.reason())
    assert 1 == pod.events.count("license.evidence_not_read")
    pod.store.failing = False
    await clock.advance(MINUTE)
    assert (State.ENTITLED, {"seats": 1}) == (pod.state(), pod.checkouts.held())


async def test_license_that_needs_no_ledger_opens_without(
    clock: "ManualClock", world: World, make_pod: MakePod
) -> None:
    """A good license that is proof itself opens while the ledger cannot be read; what the ledger has is read later."""
    world.grant(replace(GOOD, entitlements=(USERS,)))
    pod = make_pod()
    pod.store.failing = True
    await pod.start()
    assert (State.ENTITLED, None) == (pod.state(), pod.keeper.good_license)
    pod.store.failing = False
    await clock.advance(15 * MINUTE)
    assert pod.keeper.good_license is not None
    assert pod.store.license is not None
    world.change(ARN, status="SUSPENDED")
    await clock.advance(15 * MINUTE)
    assert State.SUSPENDED is pod.state()


async def test_evidence_is_kept_later(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A suspension that the ledger refused is written after the next look, so a restart cannot bypass it."""
    world.grant(GOOD)
    pod = await make_pod().start()
    world.change(ARN, status="SUSPENDED")
    pod.store.failing = True
    await clock.advance(15 * MINUTE)
    assert State.SUSPENDED is pod.state()
    pod.store.failing = False
    await clock.advance(5 * MINUTE)
    assert pod.store.license is not None
    assert pod.store.license.closed_at is not None
    world.down = {HOME, REGION}
    await pod.start()
    await clock.advance(MINUTE)
    assert State.PENDING is pod.state()


async def test_empty_list_is_forgotten(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """An empty list that is older than `refresh` proves nothing any more: the buyer may have subscribed since."""
    world.down = {HOME}
    pod = await make_pod().start()
    world.down = {HOME, REGION}
    await clock.advance(20 * MINUTE)
    world.down = {REGION}
    await clock.advance(3 * MINUTE)
    assert State.PENDING is pod.state()


async def test_seat_that_was_not_read_is_not_taken_again(
    clock: "ManualClock", world: World, make_pod: MakePod, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the ledger cannot be read, no checkout is made: an earlier process of the pod may have made it."""
    world.grant(GOOD)
    pod = await make_pod(HOLD_ONE).start()
    asked = len(world.checkouts)

    async def fail() -> None:
        raise LedgerUnavailable("it cannot be read")

    with monkeypatch.context() as broken:
        broken.setattr(pod.store, "load_license", fail)
        await pod.start()
        await clock.advance(MINUTE)
        assert asked == len(world.checkouts)
    await clock.advance(MINUTE)
    assert {"seats": 1} == pod.checkouts.held()
