"""Counters of an app that are read through simulated pod-hours, with faults drawn from one seed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.adapters.ledger import series
from sidecar.domain.metering.series import Judgement, SeriesSample, SeriesState, SourceTerms, judge
from tests.simulation.counting_plan import draw_counting_plan, draw_exporting_plan
from tests.simulation.plan import Plan
from tests.simulation.running import prove, run

LIVES = 3
"""Of each part."""
SEEDS_APART = 1_000_000


@pytest.mark.parametrize("part", range(2))
def test_counters_hold_under_faults(part: int, folder: Path) -> None:
    """At most the true increase is billed; only what was counted after the last page of an app is missed."""
    first = 1 + part * SEEDS_APART
    figures = prove(map(draw_counting_plan, range(first, first + LIVES)), folder)
    assert figures.faults["page-stored"] > 100 * LIVES
    assert figures.faults["page-exact"] > 50 * LIVES
    assert figures.faults["app-start"] > 10 * LIVES
    assert figures.faults["page-lost"] > 10 * LIVES


@pytest.mark.parametrize("part", range(2))
def test_exports_hold_under_faults(part: int, folder: Path) -> None:
    """Exports of two SDKs, one behind a collector: at most the true increase is billed, and all that was answered."""
    first = 1 + part * SEEDS_APART
    figures = prove(map(draw_exporting_plan, range(first, first + LIVES)), folder)
    assert figures.faults["export-answered"] > 100 * LIVES
    assert figures.faults["export-exact"] > 50 * LIVES
    assert figures.faults["answer-lost"] > 10 * LIVES
    assert figures.faults["collector-start"] > 3 * LIVES
    assert figures.faults["app-start"] > 5 * LIVES


def test_same_seed_same_counters(folder: Path) -> None:
    """One integer decides everything that happens, so a failure can be repeated."""
    plan = draw_counting_plan(7, actions=15)
    assert run(plan, folder).trace == run(plan, folder).trace


@pytest.mark.parametrize("draw", [draw_counting_plan, draw_exporting_plan])
def test_increase_billed_twice_is_found(
    draw: Callable[[int], Plan], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sidecar that forgets each new state of a series bills an increase again, which is found."""

    def forget(state: SeriesState | None, sample: SeriesSample, terms: SourceTerms) -> Judgement:
        found = judge(state, sample, terms)
        return found if state is None else found._replace(state=state)

    monkeypatch.setattr(series, "judge", forget)
    breach = run(draw(7), folder).breach
    assert breach is not None
    assert "which has counted" in breach


def test_states_that_cannot_be_read(folder: Path) -> None:
    """A disk that fails while the states are read costs a page, not the process, as in seed 103."""
    assert run(draw_counting_plan(103), folder).breach is None
