"""Finds a small plan that still breaks the same way: leaves out runs of actions as long as the breach remains."""

from collections.abc import Callable
from dataclasses import replace

from tests.simulation.plan import Action, Plan


def shrink(plan: Plan, breaks: Callable[[Plan], bool], *, most_runs: int = 200) -> Plan:
    """Return a plan of which no part can be left out, as far as so many runs can tell; their gaps stay."""
    runs = 0
    size = max(1, len(plan.actions) // 2)
    while runs < most_runs:
        start, smaller = 0, False
        while start < len(plan.actions) and runs < most_runs:
            candidate = replace(plan, actions=_without(plan.actions, start, size))
            runs += 1
            if breaks(candidate):
                plan, smaller = candidate, True
            else:
                start += size
        if size == 1 and not smaller:
            break
        size = max(1, size // 2)
    return plan


def _without(actions: tuple[Action, ...], start: int, size: int) -> tuple[Action, ...]:
    """Leave actions out; the time they took passes before the next one."""
    gone = sum(action.after for action in actions[start : start + size])
    rest = actions[start + size :]
    if rest:
        rest = (replace(rest[0], after=rest[0].after + gone), *rest[1:])
    return actions[:start] + rest
