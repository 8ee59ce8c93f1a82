"""The metering rules of one product, as the seller set them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from sidecar.domain.declaration import Group, key
from sidecar.domain.metering.buckets import Bucket
from sidecar.domain.metering.events import Dimension
from sidecar.domain.metering.hours import Hour, start_of, to_micros
from sidecar.domain.policy import LatePolicy, OnFailing, QuantityKind

LONGEST_WINDOW = timedelta(hours=6)
"""How old usage may be when AWS takes it."""
_MOST_DELAY = {
    "least": timedelta(),
    "most": timedelta(minutes=59),
    "because": "an hour's record must be due before the next one's",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class MeteringPolicy(Group):
    """What the seller chose for every dimension: the keys of the group `metering` without the dimensions."""

    quantity: QuantityKind = key(
        QuantityKind.DECIMAL,
        "`decimal` reports up to 6 fraction digits. `integer` reports whole numbers and keeps the fraction as "
        "`remainder` for the next hour; use it for listings with whole units.",
    )
    settle: timedelta = key(
        timedelta(minutes=2),
        "Wait after the end of an hour before the sidecar seals it. Raise it for apps that report late: usage "
        "that arrives after the seal is carried.",
        **_MOST_DELAY,
    )
    spread: timedelta = key(
        timedelta(minutes=20),
        "Period over which different pods spread their submissions. AWS takes ten a second from one account: "
        "raise it for thousands of pods.",
        **_MOST_DELAY,
    )
    window: timedelta = key(
        timedelta(hours=6),
        "Maximum age of a record at its submission, counted from the start of its hour; AWS refuses older "
        "usage. It must be longer than one hour, `settle` and `spread` together.",
        least=timedelta(hours=1),
        most=LONGEST_WINDOW,
        because="AWS refuses usage older than 6h, and hours are reported when they ended",
    )
    late: LatePolicy = key(
        LatePolicy.CARRY,
        "Handling of usage that can no longer go into its own hour: `carry` adds it to the current hour, "
        "`unbilled` stores it with the reason and never charges it.",
    )
    report_zero: bool = key(default=True, sentence="Whether idle hours are reported as 0, as AWS recommends.")
    failing_after: timedelta = key(
        timedelta(hours=2),
        "Metering is `failing` when records of a dimension are due for this long without an accepted one, or "
        "the ledger refuses usage for lack of room for this long.",
        least=timedelta(seconds=1),
        most=timedelta(days=7),
        because="usage is lost to billing 6h after its hour began",
    )
    on_failing: OnFailing = key(
        OnFailing.WARN,
        "`warn` reports failing metering in log, status and metrics. `gate` also makes the pod not ready, so a "
        "network fault costs the buyer availability.",
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class MeteringRules(MeteringPolicy):
    """What sealing, placing and expiring depend on."""

    product_code: str
    dimensions: Mapping[str, Dimension]
    overage: bool = False
    """The price is a contract, and the dimensions bill what exceeds it."""


class Placement(StrEnum):
    """Where an event's quantity goes."""

    OPEN = "open"  # into its own hour
    CARRIED = "carried"  # its hour is closed: into the current one, as an entry of its own
    UNBILLED = "unbilled"  # its hour is closed: kept, and not charged


def placement(
    hour: Hour,
    bucket: Bucket | None,
    *,
    now_micros: int,
    current: Hour,
    sealed: bool,
    countable: bool,
    rules: MeteringRules,
    probed: bool = False,
) -> Placement:
    """Decide where an event of `hour` goes.

    An hour that was sealed before it ended (the pod seemed to be ending, or the clock went back) is our own doing, so
    what comes for it is carried whatever the policy. So is an hour whose slot the start probe has, while AWS would
    still take it.

    Args:
        hour: The event's own.
        bucket: What is there for its tag set; an open one takes more until it is sealed.
        now_micros: The present instant in epoch microseconds.
        current: The present hour.
        sealed: Whether the hour's slot is frozen.
        countable: Whether it is still known what was counted in the hour; if not, charging for more could charge twice,
            in an open bucket too.
        rules: The product's.
        probed: Whether the start probe has the hour's slot.
    """
    if not countable:
        return Placement.UNBILLED
    if bucket is not None and not bucket.sealed:
        return Placement.OPEN
    if not sealed and not window_closed(hour, rules, now_micros):
        return Placement.OPEN
    ours = hour >= current or (probed and not window_closed(hour, rules, now_micros))
    if ours or rules.late is LatePolicy.CARRY:
        return Placement.CARRIED
    return Placement.UNBILLED


def window_closed(hour: Hour, rules: MeteringRules, now_micros: int) -> bool:
    """Return whether AWS no longer takes what is dated at the start of `hour`."""
    return to_micros(start_of(hour) + rules.window) <= now_micros
