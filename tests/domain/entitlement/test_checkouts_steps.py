"""A checkout from its intent to its end: what each answer and each silence makes of it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sidecar.domain.entitlement.checkouts import (
    MARGIN,
    TIME_TO_LIVE,
    Checkout,
    CheckoutKind,
    CheckoutState,
    CheckoutStep,
    Grant,
    drawdown_token,
    next_step,
)
from tests.support.licenses import CHECKOUT, GOOD, SKU, START

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
INTENDED = CHECKOUT
DRAWDOWN = replace(INTENDED, id="order-1", kind=CheckoutKind.APP, drawdown=True)
BY_APP = replace(INTENDED, id="session-1", kind=CheckoutKind.APP)
PROBE = replace(INTENDED, kind=CheckoutKind.PROBE)
GRANT = Grant("consumption", TIME_TO_LIVE, GOOD.arn)


def hold(checkout: Checkout = INTENDED) -> Checkout:
    """Return a checkout that AWS granted at its first attempt."""
    return checkout.attempting("us-east-1", START).granted(GRANT, START)


def lose(checkout: Checkout = INTENDED, at: timedelta = timedelta()) -> Checkout:
    """Return a checkout with an attempt more whose answer was lost."""
    return checkout.attempting("us-east-1", START + at)


def test_attempt_is_counted_before_its_answer() -> None:
    """From the moment of the attempt on AWS may hold it; only an answer takes that back."""
    assert (1, 0) == (lose().unanswered, lose().not_taken(None).unanswered)
    assert (START, None) == (lose().first_attempt_at, lose().not_taken(None).first_attempt_at)
    assert 1 == lose(lose()).not_taken(START).unanswered


def test_repeat_keeps_the_request() -> None:
    """Everything that AWS compares is the same in each attempt."""
    first, second = lose(), lose(lose(), 5 * MINUTE)
    frozen = ("sku", "issuer", "entitlement", "unit", "count", "drawdown", "client_token", "region")
    assert [getattr(first, name) for name in frozen] == [getattr(second, name) for name in frozen]


@pytest.mark.parametrize("kind", list(CheckoutKind))
def test_wanted_seat_is_repeated_whatever_the_time(kind: CheckoutKind) -> None:
    """A lost answer is repeated with the same request: a second one would take a second seat."""
    lost = lose(replace(INTENDED, kind=kind, confirmed_at=START + 3 * HOUR))
    now = START + 3 * HOUR
    assert lost is lost.settled_by(now)
    step = next_step(lost, now)
    assert step is not None
    assert CheckoutStep.CHECK_OUT is step[0]


def test_abandoned_seat_lapses_when_nothing_can_be_held() -> None:
    """A checkout that is not wanted any more ends once AWS cannot hold it."""
    lost = lose().unwanted()
    until = START + TIME_TO_LIVE + MARGIN
    assert CheckoutState.INTENDED is lost.settled_by(until - MINUTE).state
    assert CheckoutState.LAPSED is lost.settled_by(until).state
    assert CheckoutState.LAPSED is INTENDED.unwanted().settled_by(START).state


def test_time_counts_from_the_attempt() -> None:
    """The time to live is AWS's, counted by this machine's clock: that of AWS may differ by hours."""
    held = INTENDED.attempting("us-east-1", START).granted(Grant("t", 30 * MINUTE), START + MINUTE)
    assert (START + 30 * MINUTE, 30 * MINUTE) == (held.expires_at, held.time_to_live)


def test_repeated_grant_counts_from_the_first_attempt() -> None:
    """After a lost answer the seat may be as old as the first attempt, so it is extended early."""
    held = lose(lose(), 50 * MINUTE).granted(GRANT, START + 50 * MINUTE)
    assert START + TIME_TO_LIVE == held.expires_at
    assert (CheckoutStep.EXTEND, START + 30 * MINUTE) == next_step(held, START + 50 * MINUTE)


def test_extension_in_time() -> None:
    """A seat is extended at half its time, and may get another token."""
    held = hold()
    assert (CheckoutStep.EXTEND, START + 30 * MINUTE) == next_step(held, START)
    now = START + 30 * MINUTE
    extended = held.calling(CheckoutStep.EXTEND, now).granted(Grant("second"), now)
    assert ("second", now + TIME_TO_LIVE) == (extended.consumption_token, extended.expires_at)


def test_clock_that_went_back_extends_now() -> None:
    """A clock that steps back would extend the seat after its end."""
    now = START - 2 * HOUR
    assert (CheckoutStep.EXTEND, now) == next_step(hold(), now)


def test_lost_extension_uses_the_old_token() -> None:
    """A seat whose extension has no answer is extended again by the token that is known, also after its time."""
    late = START + 2 * HOUR
    held = hold().calling(CheckoutStep.EXTEND, START + 30 * MINUTE)
    assert held is held.settled_by(late)
    step = next_step(held, late)
    assert step is not None
    assert (CheckoutStep.EXTEND, "consumption") == (step[0], held.consumption_token)


def test_lost_extension_hides_no_step_of_the_clock() -> None:
    """A seat extended by a clock that was ahead is extended immediately, until an answer gives its true end."""
    ahead, back = START + 10 * HOUR, START + 30 * MINUTE
    held = hold().calling(CheckoutStep.EXTEND, ahead).granted(GRANT, ahead)
    assert (CheckoutStep.EXTEND, back) == next_step(held, back)
    lost = held.calling(CheckoutStep.EXTEND, back)
    assert (CheckoutStep.EXTEND, back + MINUTE) == next_step(lost, back + MINUTE)
    assert (CheckoutStep.EXTEND, back + 30 * MINUTE) == next_step(lost.granted(GRANT, back), back + MINUTE)


def test_refused_extension_does_not_move_the_end() -> None:
    """An attempt that AWS certainly did not process extends nothing; one without an answer may have."""
    held, tried_at = hold(), START + 40 * MINUTE
    over = START + TIME_TO_LIVE + MARGIN
    refused = held.calling(CheckoutStep.EXTEND, tried_at).not_extended(held.attempted_at)
    assert (False, True) == (refused.is_over(over - MINUTE), refused.is_over(over))
    assert not held.calling(CheckoutStep.EXTEND, tried_at).is_over(over)


def test_return_does_not_move_the_end() -> None:
    """An attempt to return a seat does not prolong the time for which AWS may hold it."""
    tried = hold().unwanted().calling(CheckoutStep.CHECK_IN, START + 40 * MINUTE)
    over = START + TIME_TO_LIVE + MARGIN
    assert (False, True) == (tried.is_over(over - MINUTE), tried.is_over(over))


@pytest.mark.parametrize("checkout", [INTENDED, BY_APP, PROBE])
def test_refused_repetition_does_not_move_the_end(checkout: Checkout) -> None:
    """AWS may hold the seat for its time after the last attempt that it may have processed."""
    over = START + TIME_TO_LIVE + MARGIN
    refused = lose(lose(checkout), 40 * MINUTE).not_taken(START)
    assert (False, True) == (refused.is_over(over - MINUTE), refused.is_over(over))
    assert not lose(checkout).not_taken(None).is_over(over)


def test_refused_drawdown_shows_a_clock_that_went_back() -> None:
    """The last attempt of a draw-down is kept: an earlier one would hide a step of the clock."""
    refused = lose(lose(DRAWDOWN), 40 * MINUTE).not_taken(START)
    assert not refused.is_over(START + 3 * HOUR)
    assert CheckoutState.IN_DOUBT is refused.settled_by(START + 34 * MINUTE).state


def test_seat_of_app_is_returned_without_its_word() -> None:
    """A seat that the app has not confirmed for an hour is not extended, and returned at its end."""
    held = hold(BY_APP)
    extended = held.calling(CheckoutStep.EXTEND, START + 30 * MINUTE).granted(GRANT, START + 30 * MINUTE)
    assert (CheckoutStep.EXTEND, START + 30 * MINUTE) == next_step(held, START + 59 * MINUTE)
    assert (CheckoutStep.CHECK_IN, START + 90 * MINUTE) == next_step(extended, START + HOUR)
    assert (False, True) == (extended.is_left(START + 89 * MINUTE), extended.is_left(START + 90 * MINUTE))
    assert not held.confirmed(START + 50 * MINUTE).is_left(START + HOUR)


@pytest.mark.parametrize("checkout", [hold(BY_APP), hold().unwanted(), hold(BY_APP).unwanted()])
def test_no_clock_ends_a_held_seat(checkout: Checkout) -> None:
    """Only AWS's answer ends a held seat: by a clock that is ahead its time seems to have passed."""
    now = START + 1000 * HOUR
    assert checkout is checkout.settled_by(now)
    step = next_step(checkout, now)
    assert step is not None
    assert (CheckoutStep.CHECK_IN, True) == (step[0], step[1] <= now)


def test_probe_is_returned_immediately() -> None:
    """A proof takes nothing for longer than its own call."""
    assert (CheckoutStep.CHECK_IN, START) == next_step(hold(PROBE), START)


def test_returned_seat_is_over() -> None:
    """What was returned needs no call, and keeps no token."""
    returned = hold().unwanted().returned(START)
    assert (None, None, False) == (next_step(returned, START), returned.consumption_token, returned.state.live)


def test_drawdown_needs_nothing_more() -> None:
    """A draw-down never ends and is never extended or returned."""
    held = hold(DRAWDOWN)
    assert (None, None) == (held.expires_at, next_step(held, START + 1000 * HOUR))
    assert held is held.settled_by(START + 1000 * HOUR)


def test_drawdown_in_doubt_after_first_time_to_live() -> None:
    """AWS may forget the client token after its time to live: a repeat could draw twice, so a person decides."""
    lost = lose(lose(DRAWDOWN), 40 * MINUTE)
    assert CheckoutState.INTENDED is lost.settled_by(START + 54 * MINUTE).state
    doubt = lost.settled_by(START + 55 * MINUTE)
    assert (CheckoutState.IN_DOUBT, None) == (doubt.state, next_step(doubt, START + 2 * HOUR))


def test_drawdown_in_doubt_when_the_clock_went_back() -> None:
    """A clock that went back does not show whether AWS still knows the client token."""
    lost = lose(DRAWDOWN, 40 * MINUTE)
    assert CheckoutState.INTENDED is lost.settled_by(START + 35 * MINUTE).state
    assert CheckoutState.IN_DOUBT is lost.settled_by(START + 34 * MINUTE).state


def test_refusal_after_lost_answer_of_drawdown_is_doubt() -> None:
    """The lost attempt may have drawn the last of it, which would explain the refusal."""
    assert CheckoutState.IN_DOUBT is lose(lose(DRAWDOWN)).refused(START).state
    assert CheckoutState.REFUSED is lose(DRAWDOWN).refused(START).state
    assert CheckoutState.REFUSED is lose(lose()).refused(START).state


@pytest.mark.parametrize(("drawn", "state"), [(True, CheckoutState.HELD), (False, CheckoutState.REFUSED)])
def test_person_settles_the_doubt(*, drawn: bool, state: CheckoutState) -> None:
    """After a person's decision the draw-down is held, or the same one may be asked for again."""
    assert state is lose(DRAWDOWN).doubted(START).resolved(drawn=drawn, now=START).state


def test_drawdown_token_is_a_digest() -> None:
    """A lost ledger makes the same token for the same draw-down, and another one for each difference."""
    same = drawdown_token(SKU, "reports", "order-1", 2)
    others = {
        drawdown_token("prod-other", "reports", "order-1", 2),
        drawdown_token(SKU, "report", "sorder-1", 2),
        drawdown_token(SKU, "reports", "order-2", 2),
        drawdown_token(SKU, "reports", "order-1", 3),
    }
    assert same == drawdown_token(SKU, "reports", "order-1", 2)
    assert 4 == len(others - {same})
