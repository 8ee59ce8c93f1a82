"""Lives that broke a guarantee, kept as plans since the engine was mended."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from sidecar.domain.metering.events import Aggregation, Dimension
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.policy import LatePolicy, QuantityKind
from tests.simulation.marketplace import Fault
from tests.simulation.plan import PRODUCT, Action, Kind, Plan, draw_plan
from tests.simulation.running import run

_RULES = MeteringRules(
    product_code=PRODUCT,
    dimensions={
        "d0-sum": Dimension("d0-sum", Aggregation.SUM),
        "d1-last": Dimension("d1-last", Aggregation.LAST),
    },
    quantity=QuantityKind.DECIMAL,
    late=LatePolicy.CARRY,
    settle=timedelta(),
    spread=timedelta(),
    window=timedelta(hours=1),
    report_zero=False,
    failing_after=timedelta(hours=2),
)
_ACTIONS = (
    Action(11785.878725, Kind.USE, 180503795563449),
    Action(3562.772382, Kind.CRASH_AT_STATEMENT, 177929261807312),
    Action(5.435738, Kind.STEP, 79321772605877),
    Action(11.827672, Kind.DISK, 42476076539204),
    Action(571.427127, Kind.USE, 271748334229676),
    Action(182.496715, Kind.OUTAGE, 46298907695224, 1.0, Fault.INTERNAL),
    Action(6177.779166, Kind.USE, 41411056211320),
    Action(1.756455, Kind.USE, 203924592007413),
    Action(4133.042211, Kind.REST, 249731229628539),
    Action(149.581581, Kind.USE, 203924592007413),
    Action(0.507794, Kind.USE, 185534833824760),
    Action(0.507794, Kind.SUSPEND, 87041767363867),
    Action(0.04, Kind.STEP, 132199946974582),
)


def test_clock_set_back_while_sealing(folder: Path) -> None:
    """A clock that is set back between the seals of one turn leaves the next hour open: it has not ended by it."""
    plan = Plan(seed=7, rules=_RULES, longest_sleep=timedelta(hours=1), actions=_ACTIONS)
    assert run(plan, folder).breach is None


def test_disk_fails_while_reopening(folder: Path) -> None:
    """A disk that fails many statements in a row is used again once it works: no other file lies in its place."""
    actions = (
        Action(62052.865249, Kind.USE, 22746927104899),
        Action(0.047011, Kind.DISK, 83612736878090),
        Action(10259.918619, Kind.USE, 168825208836585),
    )
    dimensions = {f"d{number}-unique": Dimension(f"d{number}-unique", Aggregation.UNIQUE) for number in (1, 2)}
    rules = replace(_RULES, dimensions={**_RULES.dimensions, **dimensions}, window=timedelta(hours=6))
    plan = Plan(seed=122, rules=rules, longest_sleep=timedelta(hours=1), actions=actions)
    assert run(plan, folder).breach is None


def test_denied_pod_recovers(folder: Path) -> None:
    """A pod that started without a subscription, hours ahead of AWS, submits again once both are mended."""
    actions = (
        Action(23499.633971, Kind.STEP, 101906364530333),
        Action(5.416289, Kind.STEP, 81478892596737),
        Action(9713.763042, Kind.REST, 77422920292637),
        Action(3206.461372, Kind.STEP, 143102385666103),
        Action(20277.941756, Kind.CRASH_AT_STATEMENT, 189432006453210),
        Action(2259.119954, Kind.USE, 254441576754929),
        Action(377.091573, Kind.CRASH_AT_STATEMENT, 39668442921042),
        Action(994.475407, Kind.UNSUBSCRIBE, 52076893060806),
        Action(3.781911, Kind.CRASH_AT_STATEMENT, 137932781352257),
        Action(8236.115810, Kind.USE, 32742927115672),
    )
    plan = replace(draw_plan(20000489), actions=actions)
    assert run(plan, folder).breach is None
