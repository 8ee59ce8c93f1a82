"""Seats that a pod holds: taken once, extended in time, taken over, returned; and what a missing one means."""

import asyncio
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sidecar.domain.entitlement.checkouts import Checkout, CheckoutState
from sidecar.domain.entitlement.license_policy import LicensePolicy, RequiredEntitlement
from sidecar.domain.entitlement.licenses import LicenseEntitlement
from sidecar.domain.entitlement.states import Reason, State
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.policy import OnTaken
from sidecar.marketplace.errors import MarketplaceError, NoAnswer
from sidecar.marketplace.license_manager import (
    AccessDeniedException,
    ConflictException,
    InvalidParameterValueException,
    LicenseManagerError,
    RateLimitExceededException,
    ValidationException,
)
from sidecar.services.license_keeper import RETURN_TRIES
from tests.support.license_manager import HOME, Trouble, World
from tests.support.licensed_pods import REGION, Pod
from tests.support.licenses import ARN, GOOD, HOLD_ONE, RENEWED, SEATS

if TYPE_CHECKING:
    from tests.conftest import ManualClock

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
WAIT = replace(HOLD_ONE, on_taken=OnTaken.WAIT)
A, B = LicenseEntitlement("a", "Count", 1), LicenseEntitlement("b", "Count", 1)
TWO = LicensePolicy(require=(RequiredEntitlement("a", 1), RequiredEntitlement("b", 1)))
THROTTLED = RateLimitExceededException("slow down")
MakePod = Callable[..., Pod]


def states(pod: Pod) -> list[CheckoutState]:
    """Return the states of every checkout of the pod's ledger, the oldest first."""
    return [each.state for each in pod.store.rows.values()]


async def test_seat_is_held_for_days(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """One checkout, extended in time for as long as the pod runs; unit and count are the license's."""
    world.grant(GOOD)
    pod = await make_pod(HOLD_ONE).start()
    for _ in range(48):
        assert (State.ENTITLED, 1) == (pod.state(), world.held("seats"))
        await clock.advance(HOUR)
    asked = [
        (each.entitlements[0].name, each.entitlements[0].unit, each.entitlements[0].value) for each in world.checkouts
    ]
    assert [("seats", "Count", "1")] == asked
    shown = pod.keeper.entitlement().license
    assert shown is not None
    assert 1 == shown.entitlements[0].held


async def test_restarted_container_takes_its_seat_over(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A container that is killed and started again extends the seat that it has, and takes no second one."""
    world.grant(replace(GOOD, entitlements=(replace(SEATS, max_count=5),)))
    pod = await make_pod(HOLD_ONE).start()
    for _ in range(10):
        await clock.advance(20 * MINUTE)
        await pod.start()
        assert (State.ENTITLED, 1) == (pod.state(), world.held("seats"))
    assert 1 == len(world.checkouts)


async def test_orderly_end_returns_the_seat(world: World, make_pod: MakePod) -> None:
    """The end of the pod returns the seat; a container that is merely restarted keeps it."""
    world.grant(GOOD)
    pod = await make_pod(HOLD_ONE).start()
    await pod.stop(ending=False)
    assert 1 == world.held("seats")
    await pod.stop()
    assert (0, [CheckoutState.RETURNED]) == (world.held("seats"), states(pod))


async def test_end_during_the_start_returns_the_seat(world: World, make_pod: MakePod) -> None:
    """A pod that ends before its new process has read the ledger returns the seat that the earlier one took."""
    world.grant(GOOD)
    pod = await make_pod(HOLD_ONE).start()
    await pod.kill()
    pod.make()
    pod.store.failing = True
    await pod.stop()
    assert (1, ["license.seats_not_returned"]) == (world.held("seats"), pod.events[-1:])
    pod.store.failing = False
    await pod.stop()
    assert (0, [CheckoutState.RETURNED]) == (world.held("seats"), states(pod))


@pytest.mark.parametrize("trouble", [Trouble.LOST, Trouble.DROPPED, Trouble.UNSENT, THROTTLED])
async def test_return_is_tried_again(
    world: World, make_pod: MakePod, trouble: Trouble | RateLimitExceededException
) -> None:
    """A return that AWS throttles or does not answer is repeated before the pod ends: the next pod needs the seat."""
    world.grant(GOOD)
    pod = await make_pod(HOLD_ONE).start()
    world.troubles.extend([trouble, trouble])
    await pod.stop()
    assert (0, False) == (world.held("seats"), "license.seats_not_returned" in pod.events)


@pytest.mark.parametrize(("error", "tries"), [(THROTTLED, RETURN_TRIES), (AccessDeniedException("no"), 1)])
async def test_vain_return_ends(world: World, make_pod: MakePod, error: LicenseManagerError, tries: int) -> None:
    """A return is repeated a few times, and not at all if only another set-up would change the answer."""
    world.grant(GOOD)
    pod = await make_pod(HOLD_ONE).start()
    world.refused["CheckInLicense"] = error
    await pod.stop()
    assert (1, tries) == (world.held("seats"), [name for _, name in world.calls].count("CheckInLicense"))
    assert (tries > 1) is ("license.seats_not_returned" in pod.events)


async def test_successor_on_the_ledger_keeps_the_seat(world: World, make_pod: MakePod) -> None:
    """A new pod on the ledger of a lost one extends that one's seat."""
    world.grant(GOOD)
    pod = await make_pod(HOLD_ONE).start()
    await pod.kill()
    other = await make_pod(HOLD_ONE, name="pod-2", store=pod.store).start()
    assert (State.ENTITLED, 1, 1) == (other.state(), world.held("seats"), len(world.checkouts))


@pytest.mark.parametrize("trouble", [Trouble.LOST, Trouble.DROPPED, Trouble.UNSENT])
@pytest.mark.parametrize("killed", [True, False])
async def test_unanswered_checkout_takes_one_seat(
    clock: "ManualClock", world: World, make_pod: MakePod, trouble: Trouble, *, killed: bool
) -> None:
    """A checkout without an answer is repeated with the same token and parameters, also after a kill."""
    world.grant(replace(GOOD, entitlements=(replace(SEATS, max_count=5),)), REGION)
    world.troubles.extend([None, trouble, trouble])
    pod = await make_pod(HOLD_ONE).start()
    assert State.PENDING is pod.state()
    if killed:
        await pod.start()
    await clock.advance(2 * MINUTE)
    assert (State.ENTITLED, 1) == (pod.state(), world.held("seats"))
    assert 1 == len({each.client_token for each in world.checkouts})


async def test_rolling_update_on_one_seat(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """With MaxCount 1 the new pod runs without a seat, and gets the old pod's once that one has ended."""
    world.grant(GOOD)
    old = await make_pod(HOLD_ONE).start()
    new = await make_pod(HOLD_ONE, name="pod-2").start()
    assert [State.ENTITLED] * 2 == [old.state(), new.state()]
    assert {"seats-taken"} == new.codes()
    await clock.advance(10 * MINUTE)
    await old.stop()
    await clock.advance(2 * MINUTE)
    assert (State.ENTITLED, set(), 1) == (new.state(), new.codes(), world.held("seats"))


@pytest.mark.parametrize("refresh", [MINUTE, 24 * HOUR])
async def test_lost_node_frees_its_seat(
    clock: "ManualClock", world: World, make_pod: MakePod, refresh: timedelta
) -> None:
    """A pod whose predecessor was lost with its seat runs throughout: the seat is free in time, however rare a look."""
    world.grant(GOOD)
    policy = replace(HOLD_ONE, refresh=refresh)
    old = await make_pod(policy).start()
    await clock.advance(29 * MINUTE)
    await old.kill()
    new = await make_pod(policy, name="pod-2").start()
    for _ in range(70):
        await clock.advance(MINUTE)
        assert State.ENTITLED is new.state()
    assert (1, 2) == (world.held("seats"), len(world.seats))


async def test_pod_without_a_seat_waits_in_the_end(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A pod that never gets a seat is pending after 65 minutes, never denied, and gets in when one is free."""
    world.grant(GOOD)
    old = await make_pod(HOLD_ONE).start()
    new = await make_pod(HOLD_ONE, name="pod-2").start()
    await clock.advance(64 * MINUTE)
    assert State.ENTITLED is new.state()
    await clock.advance(2 * MINUTE)
    assert (State.PENDING, Reason.SEATS_TAKEN) == (new.state(), new.reason())
    await new.start()
    assert (State.PENDING, Reason.SEATS_TAKEN) == (new.state(), new.reason())
    await old.stop()
    await clock.advance(2 * MINUTE)
    assert State.ENTITLED is new.state()


async def test_copies_share_one_seat(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """Pods on copies of a dead pod's ledger extend the same seat: AWS counts one, and the sidecars cannot know."""
    world.grant(GOOD)
    pod = await make_pod(HOLD_ONE).start()
    await pod.kill()
    copies = [await make_pod(HOLD_ONE, name=f"copy-{n}", store=deepcopy(pod.store)).start() for n in range(3)]
    await clock.advance(3 * HOUR)
    assert ([State.ENTITLED] * 3, 1) == ([copy.state() for copy in copies], world.held("seats"))
    assert [set()] * 3 == [copy.codes() for copy in copies]


@pytest.mark.parametrize("silent", [("CheckoutLicense",), ("CheckoutLicense", "ListReceivedLicenses")])
async def test_silence_closes_no_gate_of_a_pod_without_a_seat(
    clock: "ManualClock", world: World, make_pod: MakePod, silent: tuple[str, ...]
) -> None:
    """A pod that AWS has refused a seat runs while AWS gives no answer, also after a restart, and has its fault."""
    world.grant(GOOD)
    old = await make_pod(HOLD_ONE).start()
    new = await make_pod(HOLD_ONE, name="pod-2").start()
    world.refused = dict.fromkeys(silent, THROTTLED)
    await old.stop()
    for restarted in (False, True):
        if restarted:
            await new.start()
        await clock.advance(9 * HOUR)
        assert (State.ENTITLED, 0) == (new.state(), world.held("seats"))
    assert State.ENTITLED is new.state()
    await clock.advance(7 * HOUR)
    assert State.UNAVAILABLE is new.state()
    world.refused.clear()
    await clock.advance(2 * MINUTE)
    assert (State.ENTITLED, 1) == (new.state(), world.held("seats"))


async def test_waiting_for_a_seat(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """With `on_taken: wait` the new pod is pending until the old one has ended."""
    world.grant(GOOD)
    old = await make_pod(WAIT).start()
    new = await make_pod(WAIT, name="pod-2").start()
    assert (State.PENDING, Reason.SEATS_TAKEN) == (new.state(), new.reason())
    await old.stop()
    await clock.advance(2 * MINUTE)
    assert State.ENTITLED is new.state()


@pytest.mark.parametrize("returned", [True, False])
async def test_part_of_the_seats_is_no_seat(
    clock: "ManualClock", world: World, make_pod: MakePod, *, returned: bool
) -> None:
    """A pod that AWS allows fewer seats than it requires counts as one that got none, and AWS has them back."""
    world.grant(replace(GOOD, entitlements=(replace(SEATS, max_count=3),)))
    world.most_allowed = 1
    world.troubles.extend([None, None] if returned else [None, None, Trouble.UNSENT])
    hold_three = LicensePolicy(require=(RequiredEntitlement("seats", 3),), on_taken=OnTaken.WAIT)
    pod = await make_pod(hold_three).start()
    await clock.advance(10 * MINUTE)
    assert (State.PENDING, Reason.SEATS_TAKEN, 0) == (pod.state(), pod.reason(), world.held("seats"))
    assert len(world.checkouts) < 40  # a wait that grows to a minute lies between them
    world.most_allowed = None
    await clock.advance(2 * MINUTE)
    assert (State.ENTITLED, 3) == (pod.state(), world.held("seats"))


@pytest.mark.parametrize("error", [None, InvalidParameterValueException("no check-in"), NoAnswer("timed out")])
async def test_part_that_does_not_return_is_no_seat(
    clock: "ManualClock", world: World, make_pod: MakePod, error: MarketplaceError | None
) -> None:
    """A part that AWS keeps admits the pod as taken seats do, and no other is asked for while it may be held."""
    world.grant(replace(GOOD, entitlements=(replace(SEATS, max_count=20, allow_check_in=error is not None),)))
    world.most_allowed = 1
    if error is not None:
        world.refused["CheckInLicense"] = error
    pod = await make_pod(LicensePolicy(require=(RequiredEntitlement("seats", 2),))).start()
    for _ in range(11):
        await clock.advance(5 * MINUTE)
        assert (State.ENTITLED, {"seats-taken"}, {}) == (pod.state(), pod.codes(), pod.checkouts.held())
    assert 1 == len(world.checkouts)
    world.most_allowed = None
    world.refused.clear()
    await clock.advance(11 * MINUTE)
    assert (State.ENTITLED, 2) == (pod.state(), pod.checkouts.held()["seats"])


async def test_lost_extension_then_the_old_token(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A lost extension is repeated with the old token; if AWS does not know it, the seat is lost, not the right."""
    world.grant(replace(GOOD, entitlements=(replace(SEATS, max_count=2),)))
    world.new_tokens = True
    pod = await make_pod(HOLD_ONE).start()
    await clock.advance(29 * MINUTE)
    world.troubles.extend([None, Trouble.LOST])  # the look at minute 30, then the extension
    await clock.advance(3 * MINUTE)
    assert State.ENTITLED is pod.state()
    assert [CheckoutState.LAPSED, CheckoutState.HELD] == states(pod)
    await clock.advance(2 * HOUR)
    assert 1 == world.held("seats")


@pytest.mark.parametrize(("minutes", "checkouts"), [(20, 1), (180, 2)])
async def test_suspension_takes_no_second_seat(
    clock: "ManualClock", world: World, make_pod: MakePod, minutes: int, checkouts: int
) -> None:
    """AWS extends no seat of a suspended license. After it the old seat is tried first, as AWS may still count it."""
    world.grant(replace(GOOD, entitlements=(replace(SEATS, max_count=2),)))
    pod = await make_pod(HOLD_ONE).start()
    await clock.advance(29 * MINUTE + timedelta(seconds=30))
    world.change(ARN, status="SUSPENDED")
    for _ in range(minutes):
        await clock.advance(MINUTE)
        assert world.held("seats") <= 1
    assert (State.SUSPENDED, Reason.LICENSE_SUSPENDED) == (pod.state(), pod.reason())
    world.change(ARN, status="AVAILABLE")
    for _ in range(180):
        await clock.advance(MINUTE)
        assert world.held("seats") <= 1
    assert (State.ENTITLED, 1, checkouts) == (pod.state(), world.held("seats"), len(world.checkouts))
    assert not pod.codes()


async def test_unwritten_end_of_an_extension(
    clock: "ManualClock", world: World, make_pod: MakePod, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that refuses to note AWS's refusal of an extension does not make the pod give its seat up."""
    world.grant(GOOD)
    pod = await make_pod(HOLD_ONE).start()
    await clock.advance(29 * MINUTE + timedelta(seconds=30))
    world.change(ARN, status="SUSPENDED")
    save, saved = pod.store.save_checkout, 0

    async def refuse_the_second(checkout: Checkout) -> Checkout:
        nonlocal saved
        saved += 1
        if saved == 2:
            raise LedgerUnavailable("disk I/O error")
        return await save(checkout)

    monkeypatch.setattr(pod.store, "save_checkout", refuse_the_second)
    await clock.advance(5 * MINUTE)
    assert saved >= 2
    assert State.SUSPENDED is pod.state()
    world.change(ARN, status="AVAILABLE")
    await clock.advance(10 * MINUTE)
    assert (State.ENTITLED, 1, 1) == (pod.state(), world.held("seats"), len(world.checkouts))


async def test_unknown_token_of_a_good_license(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A seat that AWS has returned under a good license is replaced within minutes, and the gate stays open."""
    world.grant(GOOD)
    pod = await make_pod(HOLD_ONE).start()
    world.seats.clear()
    await clock.advance(35 * MINUTE)
    assert (State.ENTITLED, 1, 2) == (pod.state(), world.held("seats"), len(world.checkouts))


async def test_seat_lost_while_unreachable(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A running pod whose seat AWS has given to another stays entitled while the license is good."""
    world.grant(GOOD)
    old = await make_pod(HOLD_ONE).start()
    world.down = {HOME, REGION}
    await clock.advance(61 * MINUTE)
    world.down = set()
    new = await make_pod(HOLD_ONE, name="pod-2").start()
    assert 1 == world.held("seats")
    await clock.advance(3 * HOUR)
    assert [State.ENTITLED] * 1 == [old.state()]
    assert {"seats-taken"} == old.codes() | new.codes()


async def test_hold_above_maximum(world: World, make_pod: MakePod) -> None:
    """More than the contract has is no license, unless the contract has overage."""
    world.grant(GOOD)
    pod = await make_pod(LicensePolicy(require=(RequiredEntitlement("seats", 2),))).start()
    assert (State.DENIED, Reason.NO_LICENSE, []) == (pod.state(), pod.reason(), world.checkouts)
    world.grant(replace(GOOD, entitlements=(replace(SEATS, overage=True),)))
    await pod.start()
    assert (State.ENTITLED, 2) == (pod.state(), world.held("seats"))


async def test_wrong_unit_is_a_fault(world: World, make_pod: MakePod) -> None:
    """An entitlement without a count cannot be held: the pod runs, and a fault names the mistake."""
    world.grant(replace(GOOD, entitlements=(LicenseEntitlement("seats", "None"),)))
    pod = await make_pod(HOLD_ONE).start()
    assert (State.ENTITLED, {"license-wrong-unit"}) == (pod.state(), pod.codes())


async def test_changed_hold_replaces_the_seat(world: World, make_pod: MakePod) -> None:
    """Another number of seats after a restart returns the old ones and takes the new ones."""
    world.grant(replace(GOOD, entitlements=(replace(SEATS, max_count=2),)))
    pod = await make_pod(HOLD_ONE).start()
    pod.policy = LicensePolicy(require=(RequiredEntitlement("seats", 2),))
    await pod.start()
    assert (State.ENTITLED, 2) == (pod.state(), world.held("seats"))
    assert [CheckoutState.RETURNED, CheckoutState.HELD] == states(pod)


async def test_seat_that_is_not_required_any_more(world: World, make_pod: MakePod) -> None:
    """A restart with a configuration without the seat returns it."""
    world.grant(GOOD)
    pod = await make_pod(HOLD_ONE).start()
    pod.policy = LicensePolicy()
    await pod.start()
    assert (State.ENTITLED, 0) == (pod.state(), world.held("seats"))


async def test_seat_that_a_full_ledger_keeps(
    clock: "ManualClock", world: World, make_pod: MakePod, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that can be read and not written locks no pod out by a seat that is not required any more."""
    world.grant(replace(GOOD, entitlements=(SEATS,)))
    pod = await make_pod(HOLD_ONE).start()
    pod.policy = LicensePolicy(require=(RequiredEntitlement("seats"),))

    async def refuse(_: Checkout) -> Checkout:
        raise LedgerUnavailable("database or disk is full")

    with monkeypatch.context() as full:
        full.setattr(pod.store, "save_checkout", refuse)
        await pod.start()
        assert (State.ENTITLED, 1) == (pod.state(), world.held("seats"))
    await clock.advance(MINUTE)
    assert (State.ENTITLED, 0, [CheckoutState.RETURNED]) == (pod.state(), world.held("seats"), states(pod))


async def test_late_answer_opens_immediately(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A checkout that succeeds at its own repetition opens the gate then, not at the next attempt of the proof."""
    world.grant(GOOD, REGION)
    world.troubles.extend([None, Trouble.DROPPED, Trouble.DROPPED, Trouble.DROPPED, Trouble.DROPPED])
    pod = await make_pod(HOLD_ONE).start()
    while not world.held("seats"):
        assert State.PENDING is pod.state()
        await clock.advance(timedelta(seconds=1))
    assert State.ENTITLED is pod.state()


async def test_renewal_takes_a_seat_of_the_new_license(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """After a renewal the seat of the old license ends, and one of the new license follows without a gap."""
    world.grant(GOOD)
    pod = await make_pod(HOLD_ONE).start()
    world.change(ARN, status="EXPIRED")
    world.grant(RENEWED)
    for _ in range(8):
        await clock.advance(15 * MINUTE)
        assert State.ENTITLED is pod.state()
    assert 1 == world.held("seats")
    assert RENEWED.arn == list(world.seats.values())[-1].arn


@pytest.mark.parametrize("step", [-3 * HOUR, -25 * MINUTE, 25 * MINUTE, 3 * HOUR])
async def test_clock_step_loses_no_seat(clock: "ManualClock", world: World, make_pod: MakePod, step: timedelta) -> None:
    """A clock that jumps neither loses the seat nor takes a second one: AWS counts by its own time."""
    world.grant(replace(GOOD, entitlements=(replace(SEATS, max_count=5),)))
    shift = timedelta()
    world.now = lambda: clock.now() - shift
    pod = await make_pod(HOLD_ONE).start()
    await clock.advance(20 * MINUTE)
    clock.step(step)
    shift = step
    pod.keeper.changes.wake()  # as it does each real minute
    for _ in range(12):
        await clock.advance(15 * MINUTE)
        assert (State.ENTITLED, 1) == (pod.state(), world.held("seats"))
    assert 1 == len(world.checkouts)


async def test_refused_extension_loses_the_seat_in_time(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A seat whose extension AWS refuses is not shown as held for ever: AWS returns it, and a new one follows."""
    world.grant(GOOD)
    pod = await make_pod(HOLD_ONE).start()
    world.refused["ExtendLicenseConsumption"] = AccessDeniedException("no permission")
    await clock.advance(64 * MINUTE)
    assert [CheckoutState.HELD] == states(pod)
    for _ in range(5):
        await clock.advance(3 * MINUTE)
        assert (State.ENTITLED, 1) == (pod.state(), world.held("seats"))
    assert [CheckoutState.LAPSED, CheckoutState.HELD] == states(pod)


@pytest.mark.parametrize("error", [InvalidParameterValueException, ValidationException, ConflictException])
async def test_refused_repetition_ends_in_time(
    clock: "ManualClock", world: World, make_pod: MakePod, error: type[MarketplaceError]
) -> None:
    """A lost answer and then a refused client token: once AWS cannot hold the seat a new checkout follows."""
    world.grant(replace(GOOD, entitlements=(replace(SEATS, max_count=5),)), REGION)
    world.troubles.extend([None, Trouble.LOST])
    pod = await make_pod(HOLD_ONE).start()
    world.refused["CheckoutLicense"] = error("ClientToken was used")
    await clock.advance(64 * MINUTE)
    assert [CheckoutState.INTENDED] == states(pod)
    assert 1 == len({each.client_token for each in world.checkouts})
    await clock.advance(3 * MINUTE)
    del world.refused["CheckoutLicense"]
    await clock.advance(2 * MINUTE)
    assert (State.ENTITLED, 1) == (pod.state(), world.held("seats"))
    assert [CheckoutState.LAPSED, CheckoutState.HELD] == states(pod)
    assert 2 == len({each.client_token for each in world.checkouts})


async def test_two_seats_never_deadlock(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """Two pods that each need two seats take them in one order, so one of them gets both, and the other then."""
    world.grant(replace(GOOD, entitlements=(A, B)))
    pods = [make_pod(TWO), make_pod(replace(TWO, require=TWO.require[::-1]), name="pod-2")]
    for pod in pods:
        pod.process = asyncio.create_task(pod.keeper.run())
    await clock.settle()
    first, second = sorted(pods, key=lambda pod: len(pod.checkouts.held()), reverse=True)
    assert ({"a": 1, "b": 1}, {}) == (first.checkouts.held(), second.checkouts.held())
    assert ["This pod holds no seat of a: all 1 are taken"] == [each.detail for each in second.faults.findings]
    await first.stop()
    await clock.advance(2 * MINUTE)
    assert ({"a": 1, "b": 1}, set()) == (second.checkouts.held(), second.codes())


async def test_later_seat_without_an_earlier_one_returns(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A pod that takes over one of two seats, and is refused the other, returns it to the pod that has the other."""
    world.grant(replace(GOOD, entitlements=(A, B)))
    lost = await make_pod(replace(TWO, require=TWO.require[1:])).start()
    await lost.kill()
    other = await make_pod(TWO, name="pod-2").start()
    assert {"a": 1} == other.checkouts.held()
    heir = await make_pod(TWO, name="pod-3", store=lost.store).start()
    assert {} == heir.checkouts.held()
    await clock.advance(2 * MINUTE)
    assert ({"a": 1, "b": 1}, State.ENTITLED) == (other.checkouts.held(), other.state())


async def test_seat_granted_between_two_proofs_counts(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """The repeated checkout of the last missing seat is answered outside a proof: the pod is seated all the same."""
    world.grant(replace(GOOD, entitlements=(A, B)))
    other = await make_pod(replace(TWO, require=TWO.require[:1])).start()
    pod = await make_pod(TWO, name="pod-2").start()
    assert (State.ENTITLED, 0) == (pod.state(), world.held("b"))
    await other.stop()
    # The proof has failed more often than the seat's own call, so it is repeated later.
    world.troubles.extend([Trouble.DROPPED, None, Trouble.DROPPED])
    await clock.advance(3 * HOUR)
    assert (State.ENTITLED, 1, 1) == (pod.state(), world.held("a"), world.held("b"))


async def test_refused_seat_and_a_silent_region(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """Seats that are taken in one Region admit the pod although the other Region fails; the request is repeated."""
    world.grant(GOOD, REGION)
    await make_pod(HOLD_ONE).start()
    world.troubles.extend([None, None, *[NoAnswer("timed out")] * 40])
    new = await make_pod(HOLD_ONE, name="pod-2").start()
    assert [CheckoutState.INTENDED] == states(new)
    assert State.ENTITLED is new.state()
    await clock.advance(2 * MINUTE)
    assert State.ENTITLED is new.state()
    assert 3 < world.calls.count((HOME, "CheckoutLicense")) < 20
    # The old refusal closes nothing: only a new one would.
    world.troubles.extend([NoAnswer("timed out")] * 9999)
    await clock.advance(2 * HOUR)
    assert (State.ENTITLED, {"seats-taken"}) == (new.state(), new.codes())


async def test_refused_extension_and_a_wrong_clock(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A clock that jumps ahead while AWS cannot be reached takes no second seat."""
    world.grant(replace(GOOD, entitlements=(replace(SEATS, max_count=5),)))
    shift = 3 * HOUR
    pod = await make_pod(HOLD_ONE).start()
    world.now = lambda: clock.now() - shift
    world.down = {HOME, REGION}
    clock.step(shift)
    pod.keeper.changes.wake()
    await clock.advance(5 * MINUTE)
    world.down = set()
    await clock.advance(5 * MINUTE)
    assert (1, 1) == (world.held("seats"), len(world.checkouts))
