"""The simulation's own means: they notice what is wrong, and make a failing plan small."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from sidecar.marketplace import MeterUsageRequest
from tests.simulation.clocks import PodClock, World
from tests.simulation.plan import PRODUCT, Kind, Plan, draw_plan, draw_rules
from tests.simulation.shrinking import shrink
from tests.simulation.tally import Tally
from tests.simulation.witness import Breach, Witness
from tests.support.simulated_loop import SimulatedLoop, Stalled


@pytest.fixture
def clock() -> Iterator[PodClock]:
    """A pod's clock at the beginning of a world."""
    loop = SimulatedLoop(Random(0))
    yield PodClock(World(loop))
    loop.close()


@pytest.fixture
def witness(clock: PodClock) -> Witness:
    """A witness who has seen nothing yet."""
    rules = draw_rules(Random(0))
    return Witness(Tally(rules), rules, clock)


@pytest.fixture
def request_of_ended_hour(clock: PodClock) -> MeterUsageRequest:
    """What a pod may send."""
    return MeterUsageRequest(
        product_code=PRODUCT,
        timestamp=clock.now() - timedelta(hours=2),
        usage_dimension="requests",
        usage_quantity_as_decimal="1.5",
    )


@pytest.mark.parametrize(
    "change",
    [
        {"usage_quantity_as_decimal": "1.6"},
        {"client_token": "another"},
        {"timestamp": datetime(2026, 2, 27, 19, 30, tzinfo=UTC)},
    ],
    ids=["quantity", "token", "timestamp"],
)
def test_changed_retry_is_noticed(
    change: dict[str, Any], witness: Witness, request_of_ended_hour: MeterUsageRequest
) -> None:
    """A slot that is sent a second time with anything changed is a breach."""
    witness.see_sent("pod-1", request_of_ended_hour)
    witness.see_sent("pod-1", request_of_ended_hour)
    with pytest.raises(Breach):
        witness.see_sent("pod-1", replace(request_of_ended_hour, **change))


def test_second_identity_is_noticed(witness: Witness, request_of_ended_hour: MeterUsageRequest) -> None:
    """A record that a second pod sends is a breach."""
    witness.see_sent("pod-1", request_of_ended_hour)
    with pytest.raises(Breach):
        witness.see_sent("pod-2", request_of_ended_hour)


def test_open_hour_is_noticed(witness: Witness, request_of_ended_hour: MeterUsageRequest, clock: PodClock) -> None:
    """An hour that is sent before it has ended is a breach, unless the process is ending."""
    early = replace(request_of_ended_hour, timestamp=clock.now())
    with pytest.raises(Breach):
        witness.see_sent("pod-1", early)
    witness.draining = True
    assert witness.see_sent("pod-1", early)


def test_shrinking_leaves_the_cause() -> None:
    """Of a failing plan only the actions stay without which it does not fail, at their own instants."""
    plan = draw_plan(3)
    causes = [plan.actions[7], plan.actions[40]]

    def breaks(candidate: Plan) -> bool:
        return {cause.seed for cause in causes} <= {action.seed for action in candidate.actions}

    small = shrink(plan, breaks)
    assert [cause.seed for cause in causes] == [action.seed for action in small.actions]
    assert sum(action.after for action in plan.actions[:41]) == pytest.approx(
        sum(action.after for action in small.actions)
    )


def test_every_kind_is_drawn() -> None:
    """The plans of a few seeds hold every kind of action."""
    assert set(Kind) == {action.kind for seed in range(20) for action in draw_plan(seed).actions}


def test_spinning_is_noticed() -> None:
    """A program that continues without letting any time pass does not hang the simulation."""
    loop = SimulatedLoop(Random(0))

    async def spin() -> None:
        while True:
            await loop.run_in_executor(None, int)

    with pytest.raises(Stalled):
        loop.run_until_complete(spin())
    loop.close()
