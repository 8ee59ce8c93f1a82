"""Seats that AWS does not take back: whoever gave them up, and whenever, the same request resumes them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

import pytest

from sidecar.domain.entitlement.allowances import (
    CheckoutRefused,
    CheckoutRequest,
    LicenseUnavailable,
    NotReturnable,
    SeatsTaken,
)
from sidecar.domain.entitlement.checkouts import CheckoutKind, CheckoutState
from sidecar.domain.entitlement.license_policy import LicensePolicy, RequiredEntitlement
from sidecar.domain.entitlement.licenses import LicenseEntitlement
from sidecar.domain.entitlement.states import State
from sidecar.domain.policy import OnTaken
from sidecar.marketplace.errors import MarketplaceError, NoAnswer
from sidecar.marketplace.license_manager import (
    AccessDeniedException,
    InvalidParameterValueException,
    ServerInternalException,
)
from tests.support.license_manager import HOME, Trouble, World
from tests.support.licensed_pods import REGION, Pod
from tests.support.licenses import FEATURE, GOOD

if TYPE_CHECKING:
    from tests.conftest import ManualClock

MINUTE = timedelta(minutes=1)
SEAT = CheckoutRequest("session-1", "users", 2)
FIXED = LicenseEntitlement("users", "Count", 2, allow_check_in=False)
LICENSE = replace(GOOD, entitlements=(FIXED, FEATURE))
HOLD_TWO = LicensePolicy(require=(RequiredEntitlement("users", 2),), on_taken=OnTaken.WAIT)
RETURNABLE = replace(GOOD, entitlements=(replace(FIXED, allow_check_in=True), FEATURE))
FORBIDDEN = AccessDeniedException("no permission")
INTERNAL = ServerInternalException("internal")
INVALID = InvalidParameterValueException("no check-in")
SILENCE = NoAnswer("timed out")
MakePod = Callable[..., Pod]


async def answer(call: object) -> object:
    """Return what the app is answered: the checkout's state, or the kind of refusal."""
    try:
        found = await call  # type: ignore[misc]
        return found[0].state if isinstance(found, tuple) else found
    except CheckoutRefused as refused:
        return type(refused)


@pytest.mark.parametrize("repeated", [False, True])
async def test_delete_before_the_first_look(
    clock: "ManualClock", world: World, make_pod: MakePod, *, repeated: bool
) -> None:
    """A seat that the app deletes while no license is known is resumed, and ends in its time if the app has left it."""
    world.grant(LICENSE)
    pod = await make_pod().start()
    await pod.app.check_out(SEAT)
    await pod.kill()
    world.down = {HOME, REGION}
    await pod.start()
    assert LicenseUnavailable is await answer(pod.app.give_back("session-1"))
    world.down = set()
    await clock.advance(10 * MINUTE)
    if repeated:
        assert NotReturnable is await answer(pod.app.give_back("session-1"))
    assert (CheckoutState.HELD, 2) == (await answer(pod.app.check_out(SEAT)), pod.checkouts.held()["users"])
    assert NotReturnable is await answer(pod.app.give_back("session-1"))
    await clock.advance(66 * MINUTE)
    assert (0, [CheckoutState.LAPSED]) == (world.held("users"), [each.state for each in await pod.app.listing()])
    assert {} == pod.checkouts.refused


async def test_deleted_seat_is_not_extended(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A seat whose return AWS has refused ends in its time, whenever the app has confirmed it last."""
    world.grant(RETURNABLE)
    pod = await make_pod().start()
    await pod.app.check_out(SEAT)
    world.grant(LICENSE)
    assert LicenseUnavailable is await answer(pod.app.give_back("session-1"))
    await clock.advance(61 * MINUTE)
    assert 0 == world.held("users")


async def test_unanswered_return_is_left(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A return without an answer is given up once the license is known to take nothing back."""
    world.grant(RETURNABLE)
    pod = await make_pod().start()
    await pod.app.check_out(SEAT)
    world.refused["CheckInLicense"] = SILENCE
    assert LicenseUnavailable is await answer(pod.app.give_back("session-1"))
    world.grant(LICENSE)
    await clock.advance(20 * MINUTE)
    assert NotReturnable is await answer(pod.app.give_back("session-1"))
    assert (CheckoutState.HELD, 2) == (await answer(pod.app.check_out(SEAT)), world.held("users"))


@pytest.mark.parametrize("retried", [False, True])
async def test_license_that_forbids_returns_meanwhile(
    clock: "ManualClock", world: World, make_pod: MakePod, *, retried: bool
) -> None:
    """A refusal that the last look did not foresee leaves the return open, and the same request has its seat."""
    world.grant(RETURNABLE)
    pod = await make_pod().start()
    await pod.app.check_out(SEAT)
    world.grant(LICENSE)
    assert LicenseUnavailable is await answer(pod.app.give_back("session-1"))
    if retried:
        await clock.advance(20 * MINUTE)
        assert NotReturnable is await answer(pod.app.give_back("session-1"))
    assert (CheckoutState.HELD, 2) == (await answer(pod.app.check_out(SEAT)), world.held("users"))
    await clock.advance(59 * MINUTE)
    assert 2 == world.held("users")


@pytest.mark.parametrize("restarted", [False, True])
async def test_part_is_never_resumed(clock: "ManualClock", world: World, make_pod: MakePod, *, restarted: bool) -> None:
    """A part that AWS does not take back is not called held for the whole, also by the next process."""
    world.grant(LICENSE)
    pod = await make_pod().start()
    world.most_allowed = 1
    assert LicenseUnavailable is await answer(pod.app.check_out(SEAT))
    if restarted:
        await pod.start()
    for _ in range(2):
        assert NotReturnable is await answer(pod.app.give_back("session-1"))
        assert (LicenseUnavailable, {}) == (await answer(pod.app.check_out(SEAT)), pod.checkouts.held())
        await clock.advance(10 * MINUTE)


@pytest.mark.parametrize("left", [1, 66])
async def test_successor_resumes_its_seats(clock: "ManualClock", world: World, make_pod: MakePod, left: int) -> None:
    """The next pod on the ledger has the seats that AWS has not taken back, and new ones once these are over."""
    world.grant(LICENSE)
    pod = await make_pod(HOLD_TWO).start()
    await pod.stop()
    assert 2 == world.held("users")
    await clock.advance(left * MINUTE)
    pod = await make_pod(HOLD_TWO, name="pod-2", store=pod.store).start()
    await clock.advance(2 * MINUTE)
    assert (State.ENTITLED, {"users": 2}, 2) == (pod.state(), pod.checkouts.held(), world.held("users"))
    await clock.advance(180 * MINUTE)
    assert (State.ENTITLED, {"users": 2}, 2) == (pod.state(), pod.checkouts.held(), world.held("users"))


async def test_successor_of_several_seats(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """Returns of several seats that are repeated at different instants do not delay the proof again and again."""
    world.grant(replace(GOOD, entitlements=(replace(FIXED, name="cores"), FIXED, FEATURE)))
    policy = replace(HOLD_TWO, require=(RequiredEntitlement("cores", 2), RequiredEntitlement("users", 2)))
    pod = await make_pod(policy).start()
    await pod.stop()
    world.down = {HOME, REGION}
    heir = await make_pod(policy, name="pod-2", store=pod.store).start()
    heir.checkouts._retries._random = Random(1).random
    await clock.advance(5 * MINUTE)
    world.down = set()
    await clock.advance(3 * MINUTE)
    assert (State.ENTITLED, {"cores": 2, "users": 2}) == (heir.state(), heir.checkouts.held())


async def test_resumed_seat_is_confirmed(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """AWS answers for a seat before the pod counts on it again."""
    world.grant(LICENSE)
    pod = await make_pod(HOLD_TWO).start()
    await pod.checkouts.give_up(CheckoutKind.SEAT, "users")
    assert {} == pod.checkouts.held()
    pod.keeper.changes.wake()
    await clock.settle()
    assert ["CheckInLicense", "ExtendLicenseConsumption"] == [operation for _, operation in world.calls[-2:]]
    assert ({"users": 2}, {}) == (pod.checkouts.held(), pod.checkouts.refused)


async def test_part_admits_the_successor(world: World, make_pod: MakePod) -> None:
    """A part that AWS still keeps for the next pod on the ledger counts as taken seats: the pod is admitted."""
    world.grant(LICENSE)
    world.most_allowed = 1
    policy = replace(HOLD_TWO, on_taken=OnTaken.ADMIT)
    pod = await make_pod(policy).start()
    await pod.kill()
    heir = await make_pod(policy, name="pod-2", store=pod.store).start()
    assert (State.ENTITLED, {}) == (heir.state(), heir.checkouts.held())
    detail = "This pod holds no seat of users: AWS allows only a part of 2, which is being returned"
    assert [detail] == [found.detail for found in heir.faults.findings if found.code == "seats-taken"]


async def test_seats_of_another_number_are_not_resumed(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """Seats that the configuration requires no more in that number are not counted on, nor extended."""
    world.grant(LICENSE)
    pod = await make_pod(HOLD_TWO).start()
    pod.policy = replace(HOLD_TWO, require=(RequiredEntitlement("users", 1),))
    await pod.start()
    await clock.advance(30 * MINUTE)
    assert ({}, 2) == (pod.checkouts.held(), world.held("users"))
    detail = "This pod holds no seat of users: AWS has not taken back the 2 that it returns"
    assert [detail] == [found.detail for found in pod.faults.findings if found.code == "seats-taken"]
    await clock.advance(40 * MINUTE)
    assert ({"users": 1}, 1) == (pod.checkouts.held(), world.held("users"))


@pytest.mark.parametrize("on_taken", OnTaken)
@pytest.mark.parametrize("error", [INVALID, FORBIDDEN, INTERNAL])
async def test_failed_return_locks_no_successor_out(
    world: World, make_pod: MakePod, error: MarketplaceError, on_taken: OnTaken
) -> None:
    """The next pod on the ledger has the seats whose return AWS answers without taking them back."""
    world.grant(RETURNABLE)
    world.refused["CheckInLicense"] = error
    policy = replace(HOLD_TWO, on_taken=on_taken)
    pod = await make_pod(policy).start()
    await pod.stop()
    heir = await make_pod(policy, name="pod-2", store=pod.store).start()
    assert (State.ENTITLED, {"users": 2}, set()) == (heir.state(), heir.checkouts.held(), heir.codes())
    assert (2, 1) == (world.held("users"), len(world.checkouts))


@pytest.mark.parametrize("taken", [True, False])
async def test_failed_return_locks_no_app_out(world: World, make_pod: MakePod, *, taken: bool) -> None:
    """The app has its seat again after a return that AWS has answered with a fault, or another one if it is free."""
    world.grant(RETURNABLE)
    pod = await make_pod().start()
    await pod.app.check_out(SEAT)
    world.troubles.extend([Trouble.LOST if taken else INTERNAL, INTERNAL])
    assert LicenseUnavailable is await answer(pod.app.give_back("session-1"))
    assert (CheckoutState.HELD, 2) == (await answer(pod.app.check_out(SEAT)), world.held("users"))
    assert ({"users": 2}, 1 + taken) == (pod.checkouts.held(), len({each.client_token for each in world.checkouts}) - 1)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("forbidden", [False, True])
async def test_seat_that_aws_has_back_is_not_held(
    clock: "ManualClock", world: World, make_pod: MakePod, *, restarted: bool, forbidden: bool
) -> None:
    """A seat that AWS took back without an answer is not called held because AWS refuses the repetition."""
    world.grant(RETURNABLE)
    pod = await make_pod().start()
    await pod.app.check_out(SEAT)
    world.troubles.append(Trouble.LOST)
    assert LicenseUnavailable is await answer(pod.app.give_back("session-1"))
    world.refused["CheckInLicense"] = INVALID
    other = await make_pod(name="pod-2").start()
    assert CheckoutState.HELD is await answer(other.app.check_out(SEAT))
    if forbidden:
        world.grant(LICENSE)
    if restarted:
        await pod.start()
    await clock.advance(20 * MINUTE)
    expected = NotReturnable if forbidden else LicenseUnavailable
    assert (expected, {}) == (await answer(pod.app.give_back("session-1")), pod.checkouts.held())
    assert LicenseUnavailable is await answer(pod.app.confirm("session-1"))
    assert (SeatsTaken, {}) == (await answer(pod.app.check_out(SEAT)), pod.checkouts.held())


async def test_left_seat_that_aws_has_back_is_not_held(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """The same holds for a seat that a clock which was ahead made look left, once the clock is right again."""
    world.grant(RETURNABLE)
    pod = await make_pod().start()
    await pod.app.check_out(SEAT)
    shift = timedelta(minutes=62)
    world.now = lambda: clock.now() - shift
    clock.step(shift)
    world.troubles.append(Trouble.LOST)
    await pod.checkouts.run_due()
    assert 0 == world.held("users")
    clock.step(-shift)
    shift = timedelta()
    other = await make_pod(name="pod-2").start()
    await other.app.check_out(SEAT)
    assert LicenseUnavailable is await answer(pod.app.confirm("session-1"))
    assert SeatsTaken is await answer(pod.app.check_out(SEAT))


async def test_refused_return_is_repeated(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """A return that AWS refuses once is repeated where the license takes seats back."""
    world.grant(RETURNABLE)
    pod = await make_pod().start()
    await pod.app.check_out(SEAT)
    world.troubles.append(INVALID)
    assert (LicenseUnavailable, 2) == (await answer(pod.app.give_back("session-1")), world.held("users"))
    await clock.advance(5 * MINUTE)
    assert (0, [CheckoutState.RETURNED]) == (world.held("users"), [each.state for each in await pod.app.listing()])


async def test_repeated_delete_prolongs_nothing(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """The app's seat ends in its time, however often it is deleted, and the next one is another."""
    world.grant(RETURNABLE)
    pod = await make_pod().start()
    await pod.app.check_out(SEAT)
    world.refused["CheckInLicense"] = INVALID
    for _ in range(3):
        assert LicenseUnavailable is await answer(pod.app.give_back("session-1"))
        await clock.advance(22 * MINUTE)
    assert None is await answer(pod.app.give_back("session-1"))
    assert [CheckoutState.LAPSED] == [each.state for each in await pod.app.listing()]


async def test_unanswered_return_is_not_resumed(world: World, make_pod: MakePod) -> None:
    """A seat is not called held, nor extended, while AWS may still process its return."""
    world.grant(RETURNABLE)
    pod = await make_pod().start()
    await pod.app.check_out(SEAT)
    world.refused["CheckInLicense"] = SILENCE
    assert LicenseUnavailable is await answer(pod.app.give_back("session-1"))
    assert LicenseUnavailable is await answer(pod.app.check_out(SEAT))
    assert ({}, "CheckInLicense") == (pod.checkouts.held(), world.calls[-1][1])


@pytest.mark.parametrize("error", [SILENCE, INTERNAL, INVALID, FORBIDDEN])
async def test_return_without_success_ends(
    clock: "ManualClock", world: World, make_pod: MakePod, error: MarketplaceError
) -> None:
    """Attempts to return a seat do not prolong the time for which AWS may hold it, and no restart begins it anew."""
    world.grant(RETURNABLE)
    pod = await make_pod(HOLD_TWO).start()
    await clock.advance(10 * MINUTE)
    world.refused["CheckInLicense"] = error
    pod.policy = replace(HOLD_TWO, require=(RequiredEntitlement("users", 1),))
    for _ in range(3):
        await pod.start()
        assert {} == pod.checkouts.held()
        await clock.advance(18 * MINUTE)
    await clock.advance(3 * MINUTE)
    assert (State.ENTITLED, {"users": 1}, 1) == (pod.state(), pod.checkouts.held(), world.held("users"))


@pytest.mark.parametrize("error", [SILENCE, INTERNAL, FORBIDDEN])
async def test_app_takes_another_seat_in_time(
    clock: "ManualClock", world: World, make_pod: MakePod, error: MarketplaceError
) -> None:
    """A seat whose return has no success is over in its time, whatever AWS answers to its last extension."""
    world.grant(RETURNABLE)
    pod = await make_pod().start()
    await pod.app.check_out(SEAT)
    world.refused = {"CheckInLicense": error, "ExtendLicenseConsumption": INTERNAL}
    assert LicenseUnavailable is await answer(pod.app.give_back("session-1"))
    await clock.advance(66 * MINUTE)
    assert (CheckoutState.HELD, 2, {"users": 2}) == (
        await answer(pod.app.check_out(SEAT)),
        world.held("users"),
        pod.checkouts.held(),
    )


@pytest.mark.parametrize("error", [SILENCE, INTERNAL, INVALID])
async def test_clock_ahead_ends_no_return(
    clock: "ManualClock", world: World, make_pod: MakePod, error: MarketplaceError
) -> None:
    """A clock that is ahead ends no seat that AWS holds, so the pod takes no second one."""
    world.grant(RETURNABLE)
    pod = await make_pod().start()
    await pod.app.check_out(SEAT)
    world.refused["CheckInLicense"] = error
    await answer(pod.app.give_back("session-1"))
    shift = timedelta(hours=3)
    world.now = lambda: clock.now() - shift
    clock.step(shift)
    await clock.advance(2 * MINUTE)
    assert 2 == world.held("users")
    clock.step(-shift)
    shift = timedelta()
    world.refused.clear()
    assert (CheckoutState.HELD, 2) == (await answer(pod.app.check_out(SEAT)), world.held("users"))


async def test_part_stays_a_part(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """An extension that AWS grants by a clock that is ahead does not make a part of the seats the whole."""
    world.grant(LICENSE)
    world.most_allowed = 1
    pod = await make_pod(replace(HOLD_TWO, on_taken=OnTaken.ADMIT)).start()
    shift = timedelta(hours=3)
    world.now = lambda: clock.now() - shift
    clock.step(shift)
    await clock.advance(2 * MINUTE)
    assert "ExtendLicenseConsumption" in {operation for _, operation in world.calls}
    assert ({}, {"seats-taken"}) == (pod.checkouts.held(), pod.codes())
