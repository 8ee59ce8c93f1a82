"""Runs simulated worlds by their seeds; a world that breaks a guarantee is shrunk and reported in full."""

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.simulation.figures import Figures, Outcome
from tests.simulation.life import live
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


def prove(
    plans: Iterable[Plan],
    folder: Path,
    *,
    pod_hours: float = float("inf"),
    passed: Callable[[Plan, Figures], None] = lambda _plan, _figures: None,
) -> Figures:
    """Live plans until they amount to so many pod-hours.

    Args:
        plans: The worlds, in order.
        folder: Where their ledgers lie.
        pod_hours: How many are enough.
        passed: Called after each world that broke nothing, with the figures of all so far.

    Raises:
        AssertionError: A guarantee was broken; names the seed and the smallest plan that breaks one.
    """
    total = Figures()
    for plan in plans:
        outcome = run(plan, folder)
        if outcome.breach is not None:
            raise AssertionError(_tell(plan, outcome, folder))
        total.add(outcome.figures)
        passed(plan, total)
        if total.pod_hours >= pod_hours:
            break
    return total


def seeds_from(first: int) -> Iterable[Plan]:
    """Yield the worlds of `first` and of all seeds after it."""
    return (draw_plan(seed) for seed in itertools.count(first))


def _tell(plan: Plan, first: Outcome, folder: Path) -> str:
    """Return the breach of a plan, and the smallest plan that has one; the first trace where it is not repeated."""
    small = shrink(plan, lambda candidate: run(candidate, folder).breach is not None)
    outcome = run(small, folder)
    told = f"seed {plan.seed} broke a guarantee: {first.breach}\n"
    if outcome.breach is None:
        told += "THE SAME PLAN DID NOT BREAK IT AGAIN: something in the simulation is not drawn from the seed\n"
        small, outcome = plan, first
    elif outcome.breach != first.breach:
        told += f"and the smallest plan: {outcome.breach}\n"
    actions = "\n".join(f"  after {action.after:.6f} s: {action.kind} {action.seed}" for action in small.actions)
    return (
        f"{told}{small.rules}\nsmallest plan, {len(small.actions)} of {len(plan.actions)} actions:\n{actions}\n"
        "trace:\n" + "\n".join(outcome.trace)
    )
