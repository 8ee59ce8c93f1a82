"""What the app asks of its license, and what it is answered when AWS answers, refuses or is silent."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

import pytest

from sidecar.domain.entitlement.allowances import (
    CheckoutInDoubt,
    CheckoutNotEntitled,
    CheckoutRefused,
    CheckoutRequest,
    CheckoutReused,
    LicenseUnavailable,
    NotReturnable,
    SeatsTaken,
    UnknownCheckout,
    UnknownEntitlement,
)
from sidecar.domain.entitlement.checkouts import Checkout, CheckoutKind, CheckoutState
from sidecar.domain.entitlement.licenses import LicenseEntitlement
from sidecar.domain.entitlement.states import State
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.marketplace.license_manager import InvalidParameterValueException
from sidecar.marketplace.passage import mark_unsent
from sidecar.services.license_calls import LicenseCalls
from tests.support.license_manager import HOME, Trouble, World
from tests.support.licensed_pods import REGION, Pod
from tests.support.licenses import ARN, FEATURE, GOOD, OTHER_SKU, PRO, USERS

if TYPE_CHECKING:
    from tests.conftest import ManualClock

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
REPORTS = LicenseEntitlement("reports", "Count", 3)
LICENSE = replace(GOOD, end=None, entitlements=(USERS, REPORTS, PRO, FEATURE))
SEAT = CheckoutRequest("session-1", "users", 2)
ORDER = CheckoutRequest("order-1", "reports", 1, drawdown=True)
MakePod = Callable[..., Pod]


@pytest.fixture
async def pod(world: World, make_pod: MakePod) -> Pod:
    """A pod that is entitled."""
    world.grant(LICENSE)
    return await make_pod().start()


async def refusal(call: object) -> type[CheckoutRefused]:
    """Return how a call is refused."""
    with pytest.raises(CheckoutRefused) as refused:
        await call  # type: ignore[misc]
    return refused.type


async def test_seat_lives_while_the_app_confirms(clock: "ManualClock", world: World, pod: Pod) -> None:
    """A seat is extended while the app confirms it within an hour, and ends without."""
    checkout, made = await pod.app.check_out(SEAT)
    assert (CheckoutState.HELD, True, 2) == (checkout.state, made, world.held("users"))
    for _ in range(6):
        await clock.advance(50 * MINUTE)
        await pod.app.confirm("session-1")
        assert 2 == world.held("users")
    await clock.advance(3 * HOUR)
    assert 0 == world.held("users")
    assert [CheckoutState.LAPSED] == [each.state for each in await pod.app.listing()]
    assert CheckoutState.LAPSED is (await pod.app.confirm("session-1")).state
    assert (await pod.app.check_out(SEAT))[1]


@pytest.mark.parametrize("answers", [True, False])
async def test_clock_ahead_for_a_moment_takes_no_seat_away(
    clock: "ManualClock", world: World, pod: Pod, *, answers: bool
) -> None:
    """The same request gets its seat when the clock is right again: AWS has the old one back, or extends it."""
    everything = replace(SEAT, count=500)
    world.now = lambda: clock.now() - shift
    shift = timedelta()
    await pod.app.check_out(everything)
    shift = 3 * HOUR
    clock.step(shift)
    world.down = set() if answers else {HOME, REGION}
    pod.keeper.changes.wake()
    await clock.settle()
    clock.step(-shift)
    shift, world.down = timedelta(), set()
    checkout, made = await pod.app.check_out(everything)
    assert (CheckoutState.HELD, answers, 500) == (checkout.state, made, world.held("users"))


async def test_left_seat_is_no_loss(clock: "ManualClock", world: World, pod: Pod) -> None:
    """A seat that the app has left, and that AWS does not know any more, ends without a warning."""
    await pod.app.check_out(SEAT)
    world.down = {HOME, REGION}
    await clock.advance(3 * HOUR)
    world.down = set()
    await clock.advance(2 * MINUTE)
    assert [CheckoutState.LAPSED] == [each.state for each in await pod.app.listing()]
    assert "checkout.lost" not in pod.events


async def test_left_seat_is_asked_for_again(clock: "ManualClock", world: World, pod: Pod) -> None:
    """A seat whose return has no answer is not called held again before AWS has answered."""
    await pod.app.check_out(SEAT)
    world.down = {HOME, REGION}
    await clock.advance(3 * HOUR)
    assert LicenseUnavailable is await refusal(pod.app.check_out(SEAT))
    world.down = set()
    checkout, made = await pod.app.check_out(SEAT)
    assert (CheckoutState.HELD, True, 2) == (checkout.state, made, world.held("users"))


async def test_left_seat_is_not_confirmed_unasked(clock: "ManualClock", world: World, pod: Pod) -> None:
    """The app's late word alone does not make a seat held again whose time has passed: AWS may have it back."""
    await pod.app.check_out(SEAT)
    world.down = {HOME, REGION}
    await clock.advance(3 * HOUR)
    assert LicenseUnavailable is await refusal(pod.app.confirm("session-1"))
    assert LicenseUnavailable is await refusal(pod.app.check_out(SEAT))
    world.down = set()
    assert CheckoutState.LAPSED is (await pod.app.confirm("session-1")).state


async def test_seat_that_is_being_returned_is_not_held(world: World, pod: Pod) -> None:
    """While the return has no answer the seat is neither confirmed nor shown as held."""
    await pod.app.check_out(SEAT)
    world.troubles.append(Trouble.LOST)
    assert LicenseUnavailable is await refusal(pod.app.give_back("session-1"))
    assert LicenseUnavailable is await refusal(pod.app.confirm("session-1"))
    assert ([], {}) == (await pod.app.listing(), pod.checkouts.held())
    assert (await pod.app.check_out(SEAT))[1]


async def lapse_unwritten(clock: "ManualClock", pod: Pod) -> None:
    """Let a seat lapse while the ledger cannot be written."""
    await pod.app.check_out(SEAT)
    await clock.advance(89 * MINUTE)
    pod.store.failing = True
    await clock.advance(2 * MINUTE)
    with pytest.raises(LedgerUnavailable):
        await pod.app.check_out(SEAT)
    with pytest.raises(LedgerUnavailable):
        await pod.app.listing()
    pod.store.failing = False


async def test_lapse_that_was_not_written_is_written_later(clock: "ManualClock", world: World, pod: Pod) -> None:
    """Without a request of the app and without a new process the ledger learns that a seat has lapsed."""
    await lapse_unwritten(clock, pod)
    await clock.advance(MINUTE)
    rows = await pod.store.list_checkouts(1)
    assert (0, [CheckoutState.LAPSED]) == (world.held("users"), [each.state for each in rows])


async def test_app_is_never_told_that_a_lapsed_seat_is_held(clock: "ManualClock", world: World, pod: Pod) -> None:
    """The first request after the ledger's trouble takes a seat anew: AWS holds nothing of the old one."""
    await lapse_unwritten(clock, pod)
    checkout, made = await pod.app.check_out(SEAT)
    assert (CheckoutState.HELD, True, 2) == (checkout.state, made, world.held("users"))
    await pod.app.give_back("session-1")
    assert 0 == world.held("users")


async def test_same_id_is_the_same_checkout(world: World, pod: Pod) -> None:
    """The same content is one checkout; other content under the id is refused, also after its end."""
    await pod.app.check_out(SEAT)
    assert not (await pod.app.check_out(SEAT))[1]
    assert CheckoutReused is await refusal(pod.app.check_out(replace(SEAT, count=3)))
    await pod.app.give_back("session-1")
    await pod.app.give_back("session-1")
    assert 0 == world.held("users")
    assert CheckoutReused is await refusal(pod.app.check_out(replace(SEAT, drawdown=True)))
    assert (await pod.app.check_out(SEAT))[1]


async def test_checkouts_of_another_product(world: World, pod: Pod, make_pod: MakePod) -> None:
    """After a change of `product.id` a seat is taken anew and counts once; the id of a draw-down stays taken."""
    await pod.app.check_out(SEAT)
    await pod.app.check_out(ORDER)
    await pod.kill()
    world.grant(replace(LICENSE, sku=OTHER_SKU, arn="other"))
    other = await make_pod(store=pod.store, sku=OTHER_SKU).start()
    assert (State.ENTITLED, {}) == (other.state(), other.checkouts.held())
    assert (await other.app.check_out(SEAT))[1]
    assert CheckoutReused is await refusal(other.app.check_out(ORDER))
    assert {"users": 2} == other.checkouts.held()
    held = [seat for seat in world.seats.values() if seat.expires_at is not None]
    assert [OTHER_SKU] == [seat.request.product_sku for seat in held]


async def test_seat_of_another_product_that_stays(
    clock: "ManualClock", world: World, pod: Pod, make_pod: MakePod
) -> None:
    """While AWS may hold a seat of an earlier `product.id`, its id is not free, and the seat is not called held."""
    await pod.app.check_out(SEAT)
    await pod.kill()
    world.grant(replace(LICENSE, sku=OTHER_SKU, arn="other"))
    world.refused["CheckInLicense"] = InvalidParameterValueException("no check-in")
    other = await make_pod(store=pod.store, sku=OTHER_SKU).start()
    assert LicenseUnavailable is await refusal(other.app.check_out(SEAT))
    assert {} == other.checkouts.held()
    await clock.advance(70 * MINUTE)
    assert (await other.app.check_out(SEAT))[1]
    assert {"users": 2} == other.checkouts.held()


async def test_refusals_have_their_kind(world: World, pod: Pod) -> None:
    """No seat left, no such entitlement, no good license and no such id are different answers."""
    assert SeatsTaken is await refusal(pod.app.check_out(replace(SEAT, count=501)))
    await pod.app.check_out(replace(SEAT, id="all", count=500))
    assert SeatsTaken is await refusal(pod.app.check_out(SEAT))
    assert CheckoutNotEntitled is await refusal(pod.app.check_out(replace(SEAT, entitlement="gold", id="x")))
    assert CheckoutNotEntitled is await refusal(pod.app.check_out(CheckoutRequest("y", "pro", 2)))
    assert UnknownCheckout is await refusal(pod.app.confirm("none"))
    assert UnknownCheckout is await refusal(pod.app.give_back("none"))
    await pod.app.check_out(ORDER)
    assert NotReturnable is await refusal(pod.app.give_back("order-1"))


async def test_closed_gate_takes_nothing(clock: "ManualClock", world: World, pod: Pod) -> None:
    """Once AWS has stopped the license nothing is checked out."""
    world.change(ARN, status="SUSPENDED")
    await clock.advance(15 * MINUTE)
    assert CheckoutNotEntitled is await refusal(pod.app.check_out(SEAT))
    assert not pod.app.allowance("users", 1).allowed


async def test_checkout_of_a_remembered_pod_is_no_refusal(world: World, pod: Pod, clock: "ManualClock") -> None:
    """A pod that runs on its memory, or after one look without its license, is told to try again."""
    await pod.kill()
    world.down = {HOME, REGION}
    await pod.start()
    await clock.advance(MINUTE)
    assert State.ENTITLED is pod.state()
    assert LicenseUnavailable is await refusal(pod.app.check_out(SEAT))
    world.down = set()
    await clock.advance(2 * MINUTE)
    world.licenses.clear()
    await clock.advance(15 * MINUTE)
    assert State.ENTITLED is pod.state()
    assert LicenseUnavailable is await refusal(pod.app.check_out(SEAT))


async def test_silence_is_unavailable_and_repeated(clock: "ManualClock", world: World, pod: Pod) -> None:
    """Without an answer the app asks again; the sidecar has repeated the same request meanwhile."""
    world.troubles.append(Trouble.LOST)
    assert LicenseUnavailable is await refusal(pod.app.check_out(SEAT))
    await clock.advance(MINUTE)
    checkout, made = await pod.app.check_out(SEAT)
    assert (CheckoutState.HELD, False, 2) == (checkout.state, made, world.held("users"))


async def test_part_of_the_seats_is_given_back(clock: "ManualClock", world: World, pod: Pod) -> None:
    """Fewer seats than were asked for are refused as taken, and AWS has its part back."""
    world.most_allowed = 1
    assert SeatsTaken is await refusal(pod.app.check_out(SEAT))
    assert (0, [CheckoutState.REFUSED]) == (world.held("users"), [each.state for each in await pod.app.listing()])
    world.troubles.extend([None, Trouble.UNSENT])
    assert LicenseUnavailable is await refusal(pod.app.check_out(SEAT))
    world.most_allowed = None
    assert (CheckoutState.HELD, True) == ((found := await pod.app.check_out(SEAT))[0].state, found[1])
    assert 2 == world.held("users")


async def test_zero_is_no_part(world: World, pod: Pod) -> None:
    """AWS documents 0 as the value of an unlimited entitlement, so it refuses nothing."""
    world.most_allowed = 0
    assert CheckoutState.HELD is (await pod.app.check_out(SEAT))[0].state


async def test_part_of_the_seats_is_returned_later(clock: "ManualClock", world: World, pod: Pod) -> None:
    """A part whose return has no answer is never called held, and its return is repeated."""
    world.most_allowed = 1
    world.troubles.extend([None, Trouble.DROPPED])
    assert LicenseUnavailable is await refusal(pod.app.check_out(SEAT))
    await clock.advance(MINUTE)
    assert (0, [CheckoutState.RETURNED]) == (world.held("users"), [each.state for each in await pod.app.listing()])


async def test_drawdown_in_part_waits_for_a_person(world: World, pod: Pod) -> None:
    """What AWS has drawn in part is neither held nor drawn again."""
    world.most_allowed = 1
    for _ in range(2):
        assert CheckoutInDoubt is await refusal(pod.app.check_out(replace(ORDER, count=2)))
    assert 1 == len(world.checkouts) - 1  # the proof at the start is one, too


async def test_unanswered_drawdown_keeps_no_pod(world: World, pod: Pod) -> None:
    """The end of a pod returns its seats once; a draw-down without an answer does not make it try again."""
    await pod.app.check_out(SEAT)
    world.troubles.append(Trouble.LOST)
    assert LicenseUnavailable is await refusal(pod.app.check_out(ORDER))
    calls = len(world.calls)
    await pod.stop()
    assert ["CheckInLicense"] == [name for _, name in world.calls[calls:]]
    assert (0, False) == (world.held("users"), "license.seats_not_returned" in pod.events)


async def test_given_up_seat_is_taken_anew(world: World, pod: Pod) -> None:
    """A seat whose return has no answer is not called held to the app that asks for it again."""
    await pod.app.check_out(SEAT)
    world.troubles.append(Trouble.UNSENT)
    assert LicenseUnavailable is await refusal(pod.app.give_back("session-1"))
    checkout, made = await pod.app.check_out(SEAT)
    assert (CheckoutState.HELD, False, True, 2) == (checkout.state, checkout.returning, made, world.held("users"))


async def test_lost_return_is_repeated(clock: "ManualClock", world: World, pod: Pod) -> None:
    """A return without an answer is repeated by the sidecar, and the seat is not extended meanwhile."""
    await pod.app.check_out(SEAT)
    world.troubles.append(Trouble.DROPPED)
    assert LicenseUnavailable is await refusal(pod.app.give_back("session-1"))
    await clock.advance(MINUTE)
    assert 0 == world.held("users")
    assert [CheckoutState.RETURNED] == [each.state for each in await pod.app.listing()]


async def test_license_without_returns(clock: "ManualClock", world: World, make_pod: MakePod) -> None:
    """Where the license takes nothing back, the seat ends by itself."""
    world.grant(replace(LICENSE, entitlements=(replace(USERS, allow_check_in=False), FEATURE)))
    pod = await make_pod().start()
    await pod.app.check_out(SEAT)
    assert NotReturnable is await refusal(pod.app.give_back("session-1"))
    await clock.advance(61 * MINUTE)
    assert 0 == world.held("users")
    assert [CheckoutState.LAPSED] == [each.state for each in await pod.app.listing()]


@pytest.mark.parametrize("deleted", [True, False])
async def test_seat_that_cannot_return_is_resumed(
    clock: "ManualClock", world: World, make_pod: MakePod, *, deleted: bool
) -> None:
    """A seat that AWS does not take back stays in the books while AWS holds it, so the same request gets it again."""
    world.grant(replace(LICENSE, entitlements=(LicenseEntitlement("users", "Count", 2, allow_check_in=False), FEATURE)))
    pod = await make_pod().start()
    await pod.app.check_out(SEAT)
    if deleted:
        assert NotReturnable is await refusal(pod.app.give_back("session-1"))
    else:  # the clock is ahead for a moment, so the seat looks left and over, and AWS refuses its return
        shift = 3 * HOUR
        world.now = lambda: clock.now() - shift
        clock.step(shift)
        pod.keeper.changes.wake()
        await clock.settle()
        assert ["CheckInLicense", "ExtendLicenseConsumption"] == [operation for _, operation in world.calls[-2:]]
        clock.step(-shift)
        shift = timedelta()
    checkout, made = await pod.app.check_out(SEAT)
    assert (CheckoutState.HELD, False, 2) == (checkout.state, made, world.held("users"))


@pytest.mark.parametrize("restart", [True, False])
async def test_lost_drawdown_is_never_drawn_twice(
    clock: "ManualClock", world: World, pod: Pod, *, restart: bool
) -> None:
    """A draw-down whose answer was lost for longer than AWS knows its token waits for a person."""
    world.troubles.append(Trouble.LOST)
    assert LicenseUnavailable is await refusal(pod.app.check_out(ORDER))
    world.down = {HOME, REGION}
    if restart:
        await pod.start()
    await clock.advance(2 * HOUR)
    world.down = set()
    await clock.advance(HOUR)
    assert CheckoutInDoubt is await refusal(pod.app.check_out(ORDER))
    assert {"checkout-in-doubt"} == pod.codes()
    assert 1 == world.held("reports")
    # A person finds it at AWS: the same request is answered, and nothing more is drawn.
    (row,) = [each for each in pod.store.rows.values() if each.drawdown]
    pod.store.rows[row.seq] = row.resolved(drawn=True, now=clock.now())
    assert (CheckoutState.HELD, False) == ((found := await pod.app.check_out(ORDER))[0].state, found[1])
    await clock.advance(16 * MINUTE)
    assert (1, set()) == (world.held("reports"), pod.codes())


async def test_undrawn_drawdown_is_given_up(clock: "ManualClock", world: World, pod: Pod) -> None:
    """A draw-down that never reached AWS can be given up, and the same one may be asked for again."""
    world.down = {HOME, REGION}
    assert LicenseUnavailable is await refusal(pod.app.check_out(ORDER))
    await pod.app.give_back("order-1")
    await pod.app.give_back("order-1")
    world.down = set()
    await clock.advance(10 * MINUTE)
    assert (0, [CheckoutState.LAPSED]) == (world.held("reports"), [each.state for each in await pod.app.listing()])
    assert CheckoutState.HELD is (await pod.app.check_out(ORDER))[0].state
    assert NotReturnable is await refusal(pod.app.give_back("order-1"))
    assert 1 == world.held("reports")


@pytest.mark.parametrize(("left", "unanswered"), [(False, 0), (True, 1)])
async def test_cut_drawdown(pod: Pod, monkeypatch: pytest.MonkeyPatch, *, left: bool, unanswered: int) -> None:
    """A draw-down that is cut off before it left counts no attempt; the next process is free to ask for it."""
    called = asyncio.Event()

    async def hang(_: LicenseCalls, __: Checkout) -> NoReturn:
        called.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as cut:
            if not left:
                mark_unsent(cut)
            raise
        raise AssertionError

    monkeypatch.setattr(LicenseCalls, "check_out", hang)
    monkeypatch.setattr("sidecar.services.app_checkouts.ANSWER_WITHIN", timedelta())
    assert LicenseUnavailable is await refusal(pod.app.check_out(ORDER))
    await called.wait()
    await pod.kill()
    calls = set(pod.app._calls)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    assert [unanswered] == [each.unanswered for each in pod.store.rows.values() if each.drawdown]


async def test_lost_drawdown_is_not_given_up(world: World, pod: Pod) -> None:
    """A draw-down that AWS may have made is used up until an answer shows the contrary."""
    world.troubles.append(Trouble.DROPPED)
    assert LicenseUnavailable is await refusal(pod.app.check_out(ORDER))
    assert NotReturnable is await refusal(pod.app.give_back("order-1"))
    assert CheckoutState.HELD is (await pod.app.check_out(ORDER))[0].state


@pytest.mark.parametrize("restart", [True, False])
async def test_forgotten_drawdown_is_not_drawn_later(
    clock: "ManualClock", world: World, pod: Pod, *, restart: bool
) -> None:
    """What the app has not asked for during an hour is not drawn when AWS can be reached again."""
    world.down = {HOME, REGION}
    assert LicenseUnavailable is await refusal(pod.app.check_out(ORDER))
    await clock.advance(59 * MINUTE)
    assert [CheckoutState.INTENDED] == [each.state for each in await pod.app.listing()]
    if restart:
        await pod.kill()
    await clock.advance(2 * MINUTE)
    world.down = set()
    if restart:
        await pod.start()
    await clock.advance(2 * MINUTE)
    assert (0, [CheckoutState.LAPSED]) == (world.held("reports"), [each.state for each in await pod.app.listing()])


async def test_drawdown_given_up_during_its_call(world: World, pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    """A draw-down that is given up while one Region's answer is written is not drawn in the next Region."""
    world.grant(LICENSE, REGION)
    world.redirects = {HOME: REGION}
    save = pod.store.save_checkout

    async def save_and_give_up(checkout: Checkout) -> Checkout:
        saved = await save(checkout)
        if checkout.attempted_at is not None and not checkout.unanswered and not checkout.returning:
            await pod.checkouts.give_up(CheckoutKind.APP, checkout.id)
        return saved

    monkeypatch.setattr(pod.store, "save_checkout", save_and_give_up)
    assert LicenseUnavailable is await refusal(pod.app.check_out(ORDER))
    assert 0 == world.held("reports")


async def test_lost_ledger_draws_nothing_twice(world: World, pod: Pod, make_pod: MakePod) -> None:
    """The client token of a draw-down is a digest, so a pod with an empty ledger makes the same request."""
    await pod.app.check_out(ORDER)
    other = await make_pod(name="pod-2").start()
    assert CheckoutState.HELD is (await other.app.check_out(ORDER))[0].state
    assert 1 == world.held("reports")


async def test_forgotten_token_draws_again(clock: "ManualClock", world: World, pod: Pod, make_pod: MakePod) -> None:
    """The known limit: once AWS has forgotten the client token, a pod with an empty ledger draws the same id again."""
    await pod.app.check_out(ORDER)
    await clock.advance(2 * HOUR)
    other = await make_pod(name="pod-2").start()
    assert CheckoutState.HELD is (await other.app.check_out(ORDER))[0].state
    assert 2 == world.held("reports")


async def test_allowance_from_memory(world: World, pod: Pod) -> None:
    """An entitlement is answered without a call, with what this pod holds."""
    await pod.app.check_out(SEAT)
    world.calls.clear()
    found = pod.app.allowance("users", 500)
    assert (True, 500, 2, None, None) == (found.allowed, found.max, found.held, found.tier, found.until)
    assert not pod.app.allowance("users", 501).allowed
    assert ("pro", None) == ((tier := pod.app.allowance("basic", 1)).tier, tier.max)
    with pytest.raises(UnknownEntitlement):
        pod.app.allowance("gold", 1)
    assert [] == world.calls


async def test_checkout_before_the_ledger_is_read(clock: "ManualClock", world: World, pod: Pod) -> None:
    """What the app says of a checkout before the sidecar has read it is refused: nothing would note it."""
    await pod.app.check_out(SEAT)
    await pod.kill()
    pod.make()
    for call in (pod.app.check_out(SEAT), pod.app.confirm("session-1"), pod.app.give_back("session-1")):
        assert LicenseUnavailable is await refusal(call)
    await pod.start()
    await pod.app.give_back("session-1")
    assert 0 == world.held("users")


async def test_allowance_before_the_first_answer(world: World, make_pod: MakePod) -> None:
    """Before License Manager has answered nothing is known, which is not a refusal."""
    world.down = {HOME, REGION}
    pod = await make_pod().start()
    with pytest.raises(LicenseUnavailable):
        pod.app.allowance("users", 1)
    assert LicenseUnavailable is await refusal(pod.app.check_out(SEAT))
