"""When proofs are renewed: before half of their time, at most hourly, and a fleet within the account's quota."""

import heapq
import random
from datetime import timedelta

import pytest

from sidecar.domain.entitlement.renewal import LEAST, first_wait, longest_wait, next_wait, wait_after_failure

HOUR = timedelta(hours=1)
QUOTA = 5
PODS = 2000
LAST = 1 - 2**-53


@pytest.mark.parametrize("remember_for", [timedelta(), timedelta(minutes=1), timedelta(hours=2) - timedelta.resolution])
def test_short_memory_is_not_renewed(remember_for: timedelta) -> None:
    """Below two hours there is no renewal: its half is less than the hour that lies between two."""
    assert first_wait(remember_for, 0.5) is None
    assert next_wait(remember_for, 0.5) is None


@pytest.mark.parametrize("hours", [2, 2.5, 3, 4, 6, 24, 744])
def test_renewed_within_half_of_its_time(hours: float) -> None:
    """Each renewal comes before half of the time has passed, and an hour or more after the one before."""
    remember_for = timedelta(hours=hours)
    for draw in (0.0, 0.5, LAST):
        first, later = first_wait(remember_for, draw), next_wait(remember_for, draw)
        assert first is not None
        assert later is not None
        assert timedelta() <= first <= remember_for / 2
        assert LEAST <= later <= remember_for / 2
        assert max(first, later, wait_after_failure(draw)) <= longest_wait(remember_for)
        assert wait_after_failure(draw) >= LEAST


@pytest.mark.parametrize("hours", [2, 3, 24])
@pytest.mark.parametrize("failing", [False, True], ids=["answered", "failing"])
def test_fleet_stays_within_quota(hours: float, *, failing: bool) -> None:
    """2,000 pods that were registered in one instant renew below the quota, also while every renewal fails.

    The quota is a bucket of one second's calls: a call that finds it empty would be throttled.
    """
    chance = random.Random(4711)
    remember_for = timedelta(hours=hours)
    due = [first_wait(remember_for, chance.random()) for _ in range(PODS)]
    waiting = [wait.total_seconds() for wait in due if wait is not None]
    assert PODS == len(waiting)
    heapq.heapify(waiting)
    calls, throttled, left, last = 0, 0, float(QUOTA), 0.0
    while waiting[0] < 3 * 24 * 3600:
        now = heapq.heappop(waiting)
        left, last = min(QUOTA, left + (now - last) * QUOTA), now
        calls += 1
        if left < 1:
            throttled += 1
        else:
            left -= 1
        after = wait_after_failure(chance.random()) if failing else next_wait(remember_for, chance.random())
        assert after is not None
        heapq.heappush(waiting, now + after.total_seconds())
    assert calls >= PODS
    assert 0 == throttled


def test_day_of_memory_costs_little() -> None:
    """With the default of 24 hours a pod renews between two and four times a day."""
    waits = [next_wait(24 * HOUR, draw) for draw in (0.0, LAST)]
    assert [6 * HOUR, True] == [waits[0], waits[1] is not None and waits[1] <= 12 * HOUR]
