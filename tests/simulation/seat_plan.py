"""What happens in one simulated world with a contract price, drawn from one integer.

Every action carries a seed of its own, so leaving one out changes nothing about the others.
"""

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

from sidecar.domain.entitlement.license_policy import LicensePolicy, RequiredEntitlement
from sidecar.domain.policy import OnTaken
from tests.simulation.seat_service import SeatFault

MOST_PODS: Final = 2


class Deed(StrEnum):
    """What an action does."""

    USE = "use"  # the app takes, confirms or returns a seat, or draws down, or repeats a draw-down
    REST = "rest"  # some hours without anything
    WEATHER = "weather"  # License Manager fails in some ways for a while
    OUTAGE = "outage"  # a Region, or both, cannot be reached, or refuses each call, for some hours
    DISK = "disk"  # some statements fail
    CRASH = "crash"  # a process dies now
    CRASH_AT_STATEMENT = "crash-at-statement"  # a process dies before or after a statement to come
    CRASH_WHEN_TAKEN = "crash-when-taken"  # a process dies when AWS has processed a call to come
    RESTART = "restart"  # a container is stopped in order and started again
    ROLL = "roll"  # a new pod starts, then an old one ends in order
    LOSE_POD = "lose-pod"  # a pod dies with its ledger, and another one takes its place
    MORE = "more"  # a pod is added
    FEWER = "fewer"  # a pod ends in order
    STEP = "step"  # a pod's wall clock is set
    SUSPEND = "suspend"  # the machines sleep
    STOP_LICENSE = "stop-license"  # AWS stops the license for some hours
    AMEND = "amend"  # the contract grants more seats, or fewer
    RENEW = "renew"  # a new license stands in the old one's place
    RESOLVE = "resolve"  # a person decides about the draw-downs in doubt


_SHARES: Final = {
    Deed.USE: 40,
    Deed.REST: 10,
    Deed.WEATHER: 10,
    Deed.OUTAGE: 3,
    Deed.DISK: 3,
    Deed.CRASH: 4,
    Deed.CRASH_AT_STATEMENT: 6,
    Deed.CRASH_WHEN_TAKEN: 5,
    Deed.RESTART: 4,
    Deed.ROLL: 3,
    Deed.LOSE_POD: 3,
    Deed.MORE: 3,
    Deed.FEWER: 2,
    Deed.STEP: 2,
    Deed.SUSPEND: 1,
    Deed.STOP_LICENSE: 1,
    Deed.AMEND: 1,
    Deed.RENEW: 1,
    Deed.RESOLVE: 2,
}


@dataclass(frozen=True, slots=True)
class SeatAction:
    """One thing that happens."""

    after: float
    """Seconds since the one before."""
    deed: Deed
    seed: int


@dataclass(frozen=True, slots=True)
class SeatPlan:
    """One world."""

    seed: int
    policy: LicensePolicy
    most_seats: int
    """MaxCount of what each pod holds, in pods."""
    new_tokens: bool
    """An extension returns another consumption token."""
    actions: tuple[SeatAction, ...]
    fixed: bool
    """The license takes no seat back."""
    unreturned: SeatFault | None
    """How AWS answers every return until the world recovers; None if as usual."""


def draw_seat_plan(seed: int, actions: int = 25) -> SeatPlan:
    """Return the world of a seed."""
    random = Random(seed)
    holds = random.choice([{"seats": 1}, {"seats": 1}, {"seats": 2}, {"seats": 1, "cores": 4}, {}])
    kinds = random.choices(list(_SHARES), weights=list(_SHARES.values()), k=actions)
    return SeatPlan(
        seed=seed,
        policy=LicensePolicy(
            require=tuple(RequiredEntitlement(name, hold) for name, hold in holds.items()),
            on_taken=random.choice([OnTaken.ADMIT, OnTaken.ADMIT, OnTaken.WAIT]),
        ),
        most_seats=random.choice([1, 1, 2, 3]),
        new_tokens=random.random() < 0.3,
        actions=tuple(SeatAction(_draw_gap(random), kind, random.getrandbits(48)) for kind in kinds),
        fixed=random.random() < 0.3,
        unreturned=random.choice([None, None, None, SeatFault.INTERNAL, SeatFault.ACCESS_DENIED]),
    )


def _draw_gap(random: Random) -> float:
    return random.random() * random.choice([0.05, 10.0, 600.0, 3600.0, 3600.0, 7200.0])
