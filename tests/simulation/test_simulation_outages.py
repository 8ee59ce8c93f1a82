"""Outages of an hour, a working day, days and a month: what can be billed is, the rest is kept with its reason."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sidecar.domain.metering.events import Aggregation, Dimension
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.policy import LatePolicy, QuantityKind
from sidecar.domain.status import Terms
from tests.simulation.figures import Outcome
from tests.simulation.marketplace import Fault
from tests.simulation.plan import PRODUCT, Action, Kind, Plan
from tests.simulation.running import run

_RULES = MeteringRules(
    product_code=PRODUCT,
    dimensions={"requests": Dimension("requests", Aggregation.SUM)},
    quantity=QuantityKind.DECIMAL,
    late=LatePolicy.CARRY,
    settle=timedelta(minutes=2),
    spread=timedelta(minutes=20),
    window=timedelta(hours=6),
    report_zero=True,
    failing_after=timedelta(hours=2),
)


_USE = [Action(600.0, Kind.USE, seed) for seed in range(12)]


def _live_through(hours: float, late: LatePolicy, folder: Path, fault: Fault = Fault.UNREACHABLE) -> Outcome:
    return _live(late, folder, *_USE, Action(60.0, Kind.OUTAGE, 1, hours, fault), *_USE)


def _live(late: LatePolicy, folder: Path, *actions: Action) -> Outcome:
    rules = replace(_RULES, late=late)
    return run(Plan(seed=1, rules=rules, longest_sleep=timedelta(hours=1), actions=actions), folder)


@pytest.mark.timeout(900)  # a month takes half a minute, and several times that under a coverage measurement
@pytest.mark.parametrize("hours", [1, 8, 30 * 24])
def test_outage_loses_nothing(hours: float, folder: Path) -> None:
    """With `late: carry` all usage is submitted in the end, however long nothing could be sent."""
    outcome = _live_through(hours, LatePolicy.CARRY, folder)
    terms = outcome.terms["requests"]
    assert outcome.breach is None
    assert terms.accepted > 0
    assert Terms(accepted=terms.accepted, submitted=terms.accepted) == terms


@pytest.mark.timeout(900)  # a month takes half a minute, and several times that under a coverage measurement
@pytest.mark.parametrize("hours", [1, 8, 30 * 24])
def test_late_usage_is_kept(hours: float, folder: Path) -> None:
    """With `late: unbilled` every unit is either submitted or kept with its reason."""
    outcome = _live_through(hours, LatePolicy.UNBILLED, folder)
    terms = outcome.terms["requests"]
    assert outcome.breach is None
    assert terms.submitted > 0
    assert terms.unbilled > 0
    assert Terms(accepted=terms.accepted, submitted=terms.submitted, unbilled=terms.unbilled) == terms


def test_never_left_is_no_doubt(folder: Path) -> None:
    """An outage of a day in which no TLS handshake is ever finished leaves nothing in doubt: all is carried."""
    outcome = _live_through(24, LatePolicy.CARRY, folder, Fault.NEVER_LEFT)
    terms = outcome.terms["requests"]
    assert outcome.breach is None
    assert Terms(accepted=terms.accepted, submitted=terms.accepted) == terms


def test_end_during_outage_is_no_doubt(folder: Path) -> None:
    """A pod that ends while no TLS handshake is finished leaves nothing in doubt: its successor carries all."""
    outage = Action(60.0, Kind.WEATHER, 1, hours=2.1, fault=Fault.NEVER_LEFT)
    outcome = _live(LatePolicy.CARRY, folder, *_USE, outage, *_USE, Action(60.0, Kind.REPLACE, 1), *_USE)
    terms = outcome.terms["requests"]
    assert outcome.breach is None
    assert Terms(accepted=terms.accepted, submitted=terms.accepted) == terms


def test_taken_and_refused_is_doubt(folder: Path) -> None:
    """A day of 500s for records that were taken leaves them in doubt, and bills none of them again."""
    outcome = _live_through(24, LatePolicy.CARRY, folder, Fault.INTERNAL_TAKEN)
    terms = outcome.terms["requests"]
    assert outcome.breach is None
    assert terms.unbilled > 0
    assert terms.submitted + terms.unbilled == terms.accepted
