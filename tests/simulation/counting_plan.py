"""What happens in one simulated world whose app counts by itself, drawn from one integer."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from random import Random

from sidecar.domain.metering.events import Dimension
from sidecar.domain.metering.sources import Otlp, Prometheus
from tests.simulation.counting import COUNTED
from tests.simulation.plan import Kind, Plan, draw_plan


def draw_counting_plan(seed: int, actions: int = 40) -> Plan:
    """Return the world of a seed with a counter; its configuration stays what it is."""
    random = Random(f"counting {seed}")
    plan = draw_plan(seed, actions)
    source = Prometheus(
        "http://127.0.0.1/metrics",
        "served_total",
        tags=(("tenant", "Customer"),),
        scale=Decimal(random.choice(["1", "1", "0.001", "0.333333333333"])),
        every=timedelta(minutes=random.choice([3, 7, 25])),
    )
    dimensions = {**plan.rules.dimensions, COUNTED: Dimension(COUNTED, source=source)}
    return replace(
        plan,
        rules=replace(plan.rules, dimensions=dimensions),
        actions=tuple(replace(each, kind=Kind.USE) if each.kind is Kind.RECONFIGURE else each for each in plan.actions),
        shows_starts=random.random() < 0.7,
    )


def draw_exporting_plan(seed: int, actions: int = 40) -> Plan:
    """Return the world of a seed with a counter that the app exports."""
    random = Random(f"exporting {seed}")
    plan = draw_counting_plan(seed, actions)
    scale = Decimal(random.choice(["1", "0.001", "0.333333333333"]))
    source = Otlp("served", tags=(("tenant", "Customer"),), scale=scale)
    dimensions = {**plan.rules.dimensions, COUNTED: Dimension(COUNTED, source=source)}
    return replace(plan, rules=replace(plan.rules, dimensions=dimensions))
