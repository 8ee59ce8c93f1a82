"""What happens in one simulated world, drawn from one integer: the product's rules and a list of actions.

Every action carries a seed of its own, so leaving one out changes nothing about the others.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from random import Random

from sidecar.domain.metering.events import Aggregation, Dimension
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.policy import LatePolicy, OnFailing, ProbeHour, QuantityKind
from tests.simulation.marketplace import Fault

PRODUCT = "0abc123example"
OTHER_PRODUCT = "0def456example"


class Kind(StrEnum):
    """What an action does."""

    USE = "use"  # the app reports usage: fresh, late, early, repeated, changed
    REST = "rest"  # some hours without events
    WEATHER = "weather"  # the service fails in some ways for a while
    OUTAGE = "outage"  # the service takes nothing for an hour or eight; usage continues
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
    FULL = "full"  # the ledger's volume has no room left for some hours
    RECONFIGURE = (
        "reconfigure"  # the next life has other rules: product, aggregation, quantity kind, policy, dimensions
    )
    STRANGER = "stranger"  # another process reports zeros as this pod, always first, for some hours
    COPY = "copy"  # for some hours a second pod runs on a copy of the ledger


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
    Kind.FULL: 2,
    Kind.RECONFIGURE: 4,
    Kind.STRANGER: 1,
    Kind.COPY: 1,
}


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that happens."""

    after: float
    """Seconds since the one before."""
    kind: Kind
    seed: int
    hours: float = 0.0
    """How long an outage or a weather lasts; 0 draws that and its faults."""
    fault: Fault = Fault.UNREACHABLE
    """What an outage or a weather of so many hours does to each call."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One world."""

    seed: int
    rules: MeteringRules
    longest_sleep: timedelta
    """How long the submitter rests at most."""
    actions: tuple[Action, ...]
    probing: ProbeHour | None = None
    """The pods prove the subscription by a start probe of this hour; None leaves the gate to the simulation."""
    shows_starts: bool = True
    """The page of an app that counts has the start time of its process."""


def draw_rules(random: Random) -> MeteringRules:
    """Return the rules of some product."""
    aggregations = random.choices(list(Aggregation), weights=[4, 1, 1, 1], k=random.choice([1, 1, 1, 2, 3]))
    dimensions = [Dimension(f"d{number}-{kind}", kind) for number, kind in enumerate(aggregations)]
    return MeteringRules(
        product_code=PRODUCT,
        dimensions={dimension.name: dimension for dimension in dimensions},
        quantity=random.choice(list(QuantityKind)),
        late=random.choice(list(LatePolicy)),
        settle=_draw_settle(random),
        spread=timedelta(minutes=random.choice([0, 20, 20, 40])),
        window=_draw_window(random),
        report_zero=random.random() < 0.5,
        failing_after=timedelta(hours=2),
        on_failing=random.choice(list(OnFailing)),
    )


def change_rules(rules: MeteringRules, first: MeteringRules, random: Random) -> MeteringRules:
    """Return the rules after a person has edited one or two things.

    Args:
        rules: What was configured until now.
        first: The plan's own rules, of whose dimensions some are removed and come back.
        random: Draws the edits.
    """
    for change in random.sample(["product", "aggregation", "kind", "policy", "dimensions"], random.choice([1, 1, 2])):
        match change:
            case "product":
                rules = replace(rules, product_code=random.choice([PRODUCT, OTHER_PRODUCT]))
            case "aggregation":
                name = random.choice(list(rules.dimensions))
                other = Dimension(name, random.choice(list(Aggregation)))
                rules = replace(rules, dimensions={**rules.dimensions, name: other})
            case "kind":
                rules = replace(rules, quantity=random.choice(list(QuantityKind)))
            case "policy":
                late = random.choice(list(LatePolicy))
                rules = replace(rules, late=late, settle=_draw_settle(random), window=_draw_window(random))
            case _:
                names = random.sample(list(first.dimensions), random.randint(1, len(first.dimensions)))
                kept = {name: rules.dimensions.get(name, first.dimensions[name]) for name in names}
                rules = replace(rules, dimensions=kept)
    return rules


def _draw_settle(random: Random) -> timedelta:
    return timedelta(minutes=random.choice([0, 2, 2, 10]))


def _draw_window(random: Random) -> timedelta:
    return timedelta(hours=random.choice([6, 6, 6, 3, 1]))


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
        probing=Random(f"probing {seed}").choice([None, None, *ProbeHour]),
    )


def _draw_gap(random: Random) -> float:
    longest = random.choice([0.05, 10.0, 600.0, 3600.0, 3600.0, 7200.0])
    return random.random() * longest
