"""Contract prices through simulated pod-hours: seats, checkouts and draw-downs under faults drawn from one seed."""

import itertools
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.domain.entitlement.checkouts import Checkout
from tests.simulation.figures import Figures, Outcome
from tests.simulation.seat_life import live_with_seats
from tests.simulation.seat_plan import SeatPlan, draw_seat_plan

LIVES = 3
"""Of each part."""
SEEDS_APART = 1_000_000
_numbers = itertools.count()


def live(plan: SeatPlan, folder: Path) -> Outcome:
    """Carry out a plan on fresh ledgers."""
    place = folder / f"life-{next(_numbers)}"
    place.mkdir()
    outcome = live_with_seats(plan, place)
    for file in place.iterdir():
        file.unlink()
    return outcome


def prove(first: int, lives: float, folder: Path, pod_hours: float = float("inf")) -> Figures:
    """Carry out plans from a seed on; raise AssertionError with the trace of one that breaks a guarantee."""
    total = Figures()
    for seed in itertools.count(first):
        if seed >= first + lives or total.pod_hours >= pod_hours:
            return total
        outcome = live(draw_seat_plan(seed), folder)
        if outcome.breach is not None:
            lines = "\n".join(outcome.trace)
            raise AssertionError(f"seed {seed} broke a guarantee: {outcome.breach}\ntrace:\n{lines}")
        total.add(outcome.figures)
    return total


@pytest.mark.parametrize("part", range(2))
def test_seats_hold_under_faults(part: int, folder: Path) -> None:
    """L1 to L4, whatever fails: nobody who pays is locked out, and AWS holds and draws what the ledgers show."""
    figures = prove(part * SEEDS_APART, LIVES, folder)
    assert figures.pod_hours > 10 * LIVES


def test_same_seed_same_seats(folder: Path) -> None:
    """One integer decides everything that happens, so a failure can be repeated."""
    plan = draw_seat_plan(7, actions=15)
    assert live(plan, folder).trace == live(plan, folder).trace


def test_seat_taken_twice_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sidecar that forgets the client token of a checkout takes a second seat after a lost answer, which is found."""
    attempting = Checkout.attempting

    def forget(self: Checkout, *args: object) -> Checkout:
        return replace(attempting(self, *args), client_token=f"token-{next(_numbers)}")  # type: ignore[arg-type]

    monkeypatch.setattr(Checkout, "attempting", forget)
    with pytest.raises(AssertionError, match=r"AWS holds|AWS has drawn"):
        prove(0, 20, folder)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_seats_hold_for_long(folder: Path) -> None:
    """The same for as many pod-hours as are asked for, from a seed that is printed."""
    seed = int(os.environ.get("SOAK_SEED", random.SystemRandom().randrange(10**9)))
    print(f"SOAK_SEED={seed}", flush=True)  # noqa: T201 - a person who sees it fail needs it
    pod_hours = float(os.environ.get("SOAK_POD_HOURS", "100000"))
    assert pod_hours <= prove(seed, float("inf"), folder, pod_hours).pod_hours
