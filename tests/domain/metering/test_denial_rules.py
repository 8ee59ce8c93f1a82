"""What a denial keeps from being billed."""

import pytest

from sidecar.domain.metering.denial import NEVER_DENIED, Denial, Right


@pytest.mark.parametrize("right", [Right.ENTITLED, Right.UNDECIDED])
def test_pod_that_was_never_denied(right: Right) -> None:
    """Usage counts while the first answer is awaited, as it does for events."""
    denial = NEVER_DENIED.meet(right, 100, 90)
    assert (NEVER_DENIED, False) == (denial, denial.bars(10))


def test_denial_outlives_the_process() -> None:
    """Without an answer a pod that was denied stays denied; the grant ends that."""
    denial = NEVER_DENIED.meet(Right.DENIED, 100, 90).meet(Right.UNDECIDED, 200, 190)
    assert denial.bars(200)
    ended = denial.meet(Right.ENTITLED, 300, 250)
    assert [True, True, False] == [ended.bars(200), ended.bars(249), ended.bars(250)]
    assert ended == ended.meet(Right.UNDECIDED, 400, 390)


def test_grant_that_is_dated_before_the_denial() -> None:
    """A clock that was set may date the grant early: what began at a sample of the denied pod is still not billed."""
    ended = Denial(denied_at=100).meet(Right.ENTITLED, 120, 50)
    assert [True, False] == [ended.bars(100), ended.bars(101)]


def test_clock_that_is_set_back() -> None:
    """A clock that was set back to before the denial does not keep later usage from being billed."""
    ended = Denial(denied_at=100).meet(Right.ENTITLED, 40, 30)
    assert ended.bars(100)
    assert [True, False] == [ended.settle(40).bars(39), ended.settle(40).bars(40)]
    assert NEVER_DENIED == NEVER_DENIED.settle(40)
