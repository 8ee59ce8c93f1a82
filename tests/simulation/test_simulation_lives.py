"""The metering engine through thousands of simulated pod-hours, each with faults drawn from one seed."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.life import Figures
from tests.simulation.plan import draw_plan
from tests.simulation.running import prove, run, seeds_from

PARTS = 20
POD_HOURS = 1_000
"""Of each part; together at least 20,000."""
SEEDS_APART = 1_000_000


@pytest.fixture(scope="module")
def total() -> Iterator[Figures]:
    """What all parts amount to; printed at the end."""
    figures = Figures()
    yield figures
    print(f"\n{figures}")  # noqa: T201 - the figures are what one runs it for


@pytest.mark.parametrize("part", range(PARTS))
def test_guarantees_hold_under_faults(part: int, folder: Path, total: Figures) -> None:
    """Whatever fails and whenever the process dies, no event is lost or counted twice, and no slot is sent twice."""
    figures = prove(seeds_from(part * SEEDS_APART), folder, pod_hours=POD_HOURS)
    total.add(figures)
    assert figures.pod_hours >= POD_HOURS


def test_same_seed_same_life(folder: Path) -> None:
    """One integer decides everything that happens, so that a failure can be repeated."""
    first, second = run(draw_plan(7), folder), run(draw_plan(7), folder)
    assert first.trace == second.trace
    assert first.figures == second.figures


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_guarantees_hold_for_long(folder: Path) -> None:
    """The same for as many pod-hours as are asked for, from a seed that is printed."""
    seed = int(os.environ.get("SOAK_SEED", random.SystemRandom().randrange(10**9)))
    print(f"SOAK_SEED={seed}", flush=True)  # noqa: T201 - whoever sees it fail needs it
    figures = prove(seeds_from(seed), folder, pod_hours=float(os.environ.get("SOAK_POD_HOURS", "1000000")))
    print(figures)  # noqa: T201
