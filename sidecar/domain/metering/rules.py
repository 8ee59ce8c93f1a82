"""The metering rules of one product, as the seller set them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from sidecar.domain.metering.buckets import Bucket
from sidecar.domain.metering.events import Dimension
from sidecar.domain.metering.hours import Hour, start_of, to_micros
from sidecar.domain.policy import LatePolicy, OnFailing, QuantityKind


@dataclass(frozen=True, slots=True)
class MeteringRules:
    """What sealing, placing and expiring depend on."""

    product_code: str
    dimensions: Mapping[str, Dimension]
    kind: QuantityKind
    late: LatePolicy
    settle: timedelta
    spread: timedelta
    window: timedelta
    """How old a record may be when AWS still takes it."""
    report_zero: bool
    failing_after: timedelta
    """How long records may be due without a success of their dimension."""
    on_failing: OnFailing = OnFailing.WARN


class Placement(StrEnum):
    """Where an event's quantity goes."""

    OPEN = "open"  # into its own hour
    CARRIED = "carried"  # its hour is closed: into the current one, as an entry of its own
    UNBILLED = "unbilled"  # its hour is closed: kept, and nobody is charged


def placement(
    hour: Hour,
    bucket: Bucket | None,
    *,
    now_micros: int,
    current: Hour,
    sealed: bool,
    countable: bool,
    rules: MeteringRules,
) -> Placement:
    """Decide where an event of `hour` goes.

    An hour that was sealed before it ended (the pod seemed to be ending, or the clock went back) is our own doing, so
    what comes for it is carried whatever the policy.

    Args:
        hour: The event's own.
        bucket: What is there for its tag set; an open one takes more until it is sealed.
        now_micros: The present instant in epoch microseconds.
        current: The present hour.
        sealed: Whether the hour's slot is frozen.
        countable: Whether it is still known what was counted in the hour; if not, charging for more could charge twice,
            in an open bucket too.
        rules: The product's.
    """
    if not countable:
        return Placement.UNBILLED
    if bucket is not None and not bucket.sealed:
        return Placement.OPEN
    if not sealed and not window_closed(hour, rules, now_micros):
        return Placement.OPEN
    if hour >= current or rules.late is LatePolicy.CARRY:
        return Placement.CARRIED
    return Placement.UNBILLED


def window_closed(hour: Hour, rules: MeteringRules, now_micros: int) -> bool:
    """Tell whether AWS no longer takes what is dated at the start of `hour`."""
    return to_micros(start_of(hour) + rules.window) <= now_micros
