"""What happens in one simulated world, drawn from one integer: the product's rules and a list of actions.

Every action carries a seed of its own, so that leaving one out changes nothing about the others.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from random import Random

from sidecar.domain.metering.events import Aggregation, Dimension
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.policy import LatePolicy, QuantityKind

PRODUCT = "0abc123example"


class Kind(StrEnum):
    """What an action does."""

    USE = "use"  # the app reports usage: fresh, late, early, repeated, changed
    REST = "rest"  # some hours without events
    WEATHER = "weather"  # the service fails in some ways for a while
    OUTAGE = "outage"  # the service takes nothing for an hour or eight; usage goes on
    UNSUBSCRIBE = "unsubscribe"  # the buyer does, for a while
    DISK = "disk"  # some statements fail
    CRASH = "crash"  # the process dies now
    CRASH_AT_STATEMENT = "crash-at-statement"  # the process dies before or after a statement to come
    CRASH_WHEN_TAKEN = "crash-when-taken"  # the process dies when a record to come is taken, before it is answered
    RESTART = "restart"  # the container is stopped in order and started again
    REPLACE = "replace"  # the pod is deleted in order; another one finds its ledger
    LOSE_POD = "lose-pod"  # the pod dies; another one finds its ledger
    STEP = "step"  # the pod's wall clock is set
    SUSPEND = "suspend"  # the machine sleeps for hours


_SHARES = {
    Kind.USE: 54,
    Kind.REST: 14,
    Kind.WEATHER: 10,
    Kind.OUTAGE: 1,
    Kind.UNSUBSCRIBE: 1,
    Kind.DISK: 4,
    Kind.CRASH: 3,
    Kind.CRASH_AT_STATEMENT: 7,
    Kind.CRASH_WHEN_TAKEN: 4,
    Kind.RESTART: 3,
    Kind.REPLACE: 2,
    Kind.LOSE_POD: 2,
    Kind.STEP: 3,
    Kind.SUSPEND: 1,
}


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that happens."""

    after: float
    """Seconds since the one before."""
    kind: Kind
    seed: int
    hours: float = 0.0
    """How long an outage lasts in which no connection can be made; 0 draws both."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One world."""

    seed: int
    rules: MeteringRules
    longest_sleep: timedelta
    """How long the submitter rests at most."""
    actions: tuple[Action, ...]


def draw_rules(random: Random) -> MeteringRules:
    """Return the rules of some product."""
    aggregations = random.choices(list(Aggregation), weights=[4, 1, 1, 1], k=random.choice([1, 1, 1, 2, 3]))
    dimensions = [Dimension(f"d{number}-{kind}", kind) for number, kind in enumerate(aggregations)]
    return MeteringRules(
        product_code=PRODUCT,
        dimensions={dimension.name: dimension for dimension in dimensions},
        quantity=random.choice(list(QuantityKind)),
        late=random.choice(list(LatePolicy)),
        settle=timedelta(minutes=random.choice([0, 2, 2, 10])),
        spread=timedelta(minutes=random.choice([0, 20, 20, 40])),
        window=timedelta(hours=random.choice([6, 6, 6, 3, 1])),
        report_zero=random.random() < 0.5,
        failing_after=timedelta(hours=2),
    )


def draw_plan(seed: int, actions: int = 60) -> Plan:
    """Return the world of a seed."""
    random = Random(seed)
    rules = draw_rules(random)
    kinds = random.choices(list(_SHARES), weights=list(_SHARES.values()), k=actions)
    return Plan(
        seed=seed,
        rules=rules,
        longest_sleep=timedelta(minutes=random.choice([10, 60, 60, 60, 60, 60])),
        actions=tuple(Action(_draw_gap(random), kind, random.getrandbits(48)) for kind in kinds),
    )


def _draw_gap(random: Random) -> float:
    longest = random.choice([0.05, 10.0, 600.0, 3600.0, 3600.0, 7200.0])
    return random.random() * longest
