"""The metering engine through thousands of simulated pod-hours, each with faults drawn from one seed."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.figures import Figures
from tests.simulation.plan import Plan, draw_plan
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


@pytest.mark.parametrize("seed", [7, 3_000_001])
def test_same_seed_same_life(seed: int, folder: Path) -> None:
    """One integer decides everything that happens, whatever ran before, so a failure can be repeated."""
    first, second = run(draw_plan(seed), folder), run(draw_plan(seed), folder)
    assert first.trace == second.trace
    assert first.figures == second.figures


_HASHED = """
import hashlib, json, sys
from pathlib import Path
import structlog
from tests.simulation.plan import Plan, draw_plan
from tests.simulation.running import run
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
for seed in (1, 9, 118):
    outcome = run(draw_plan(seed, actions=25), Path(sys.argv[1]))
    print(seed, hashlib.sha256("\\n".join(outcome.trace).encode()).hexdigest(), outcome.figures.commits)
"""


def test_same_life_in_another_process(tmp_path: Path) -> None:
    """Neither the hashes of strings, nor addresses, nor the machine's memory decide what happens in a life."""
    lives = []
    for hashes in ("1", "2"):
        folder = tmp_path / hashes
        folder.mkdir()
        environ = {**os.environ, "PYTHONHASHSEED": hashes, "PYTHONPATH": str(Path.cwd())}
        if hashes == "2":
            environ["PYTHONMALLOC"] = "malloc"
        done = subprocess.run(
            [sys.executable, "-c", _HASHED, str(folder)], env=environ, capture_output=True, check=True
        )
        lives.append(done.stdout.decode())
    assert lives[0] == lives[1]


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_guarantees_hold_for_long(folder: Path) -> None:
    """The same for as many pod-hours as are asked for, from a seed that is printed."""
    seed = int(os.environ.get("SOAK_SEED", random.SystemRandom().randrange(10**9)))
    print(f"SOAK_SEED={seed}", flush=True)  # noqa: T201 - a person who sees it fail needs it
    pod_hours = float(os.environ.get("SOAK_POD_HOURS", "1000000"))
    figures = prove(seeds_from(seed), folder, pod_hours=pod_hours, passed=_show_progress)
    print(figures)  # noqa: T201
    assert pod_hours <= figures.pod_hours


def _show_progress(plan: Plan, figures: Figures) -> None:
    if plan.seed % 100 == 0:
        print(f"seed {plan.seed}: {figures.pod_hours:.0f} pod-hours", flush=True)  # noqa: T201 - it takes hours
