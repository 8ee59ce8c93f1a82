"""Runs simulated worlds by their seeds; a world that breaks a guarantee is shrunk and told in full."""

import itertools
from collections.abc import Iterable
from pathlib import Path

from tests.simulation.life import Figures, Outcome, live
from tests.simulation.plan import Plan, draw_plan
from tests.simulation.shrinking import shrink

_numbers = itertools.count()


def run(plan: Plan, folder: Path) -> Outcome:
    """Live a plan on a fresh ledger."""
    place = folder / f"life-{next(_numbers)}"
    place.mkdir()
    outcome = live(plan, place / "ledger.db")
    for file in place.iterdir():
        file.unlink()
    return outcome


def prove(plans: Iterable[Plan], folder: Path, *, pod_hours: float = float("inf")) -> Figures:
    """Live plans until they amount to so many pod-hours.

    Raises:
        AssertionError: A guarantee was broken; names the seed and the smallest plan that breaks one.
    """
    total = Figures()
    for plan in plans:
        outcome = run(plan, folder)
        if outcome.breach is not None:
            raise AssertionError(_tell(plan, folder))
        total.add(outcome.figures)
        if total.pod_hours >= pod_hours:
            break
    return total


def seeds_from(first: int) -> Iterable[Plan]:
    """Yield the worlds of `first` and of all seeds after it."""
    return (draw_plan(seed) for seed in itertools.count(first))


def _tell(plan: Plan, folder: Path) -> str:
    small = shrink(plan, lambda candidate: run(candidate, folder).breach is not None)
    outcome = run(small, folder)
    actions = "\n".join(f"  after {action.after:.6f} s: {action.kind} {action.seed}" for action in small.actions)
    trace = "\n".join(outcome.trace)
    return (
        f"seed {plan.seed} broke a guarantee: {outcome.breach}\n{small.rules}\n"
        f"smallest plan, {len(small.actions)} of {len(plan.actions)} actions:\n{actions}\ntrace:\n{trace}"
    )
