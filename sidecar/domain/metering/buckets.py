"""Open buckets: what the events of one dimension, hour and tag set add up to.

A bucket's quantity is its own aggregate plus what was carried into it, less what was moved out. The same folding
serves an hour that was already sealed: then only what the late events would have added counts, never less than
nothing, and it goes elsewhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sidecar.domain.metering.events import Aggregation
from sidecar.domain.metering.quantity import MILLION


@dataclass(frozen=True, slots=True)
class Bucket:
    """The state of one bucket; quantities in millionths."""

    own: int = 0
    """The aggregate of the bucket's events."""
    carried: int = 0
    """What was moved here from records and hours that could not be submitted."""
    moved: int = 0
    """The part of its own and carried quantity that has since gone elsewhere."""
    events: int = 0
    last_at: int | None = None
    """The time, in epoch microseconds, of the event that counts in a `last` bucket."""
    sealed: bool = False
    """Its quantity is frozen in a record, or it only counts what came after its hour was closed."""

    @property
    def quantity(self) -> int:
        """What a record of this bucket carries."""
        return self.own + self.carried - self.moved


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What other buckets of one ledger hold of the same dimension, hour and tag set: of other pods, or other terms.

    AWS adds up what pods report, so a bucket of `max`, `last` or `unique` counts only what exceeds this.
    """

    counted: int = 0
    """Millionths that count already; for `unique`, which compares values one by one, only what is not exceeded yet."""
    last_at: int | None = None
    """The time of the newest event that counts in another `last` bucket."""


NOWHERE = Elsewhere()


def record(
    bucket: Bucket,
    aggregation: Aggregation,
    events: Iterable[tuple[int, int]],
    *,
    distinct: int | None = None,
    elsewhere: Elsewhere = NOWHERE,
) -> Bucket:
    """Return the bucket after `events`, pairs of (millionths, epoch microseconds) in order of arrival.

    Args:
        bucket: The bucket before.
        aggregation: The dimension's.
        events: What arrived; only counted for a `unique` dimension.
        distinct: How many of the events' values were in no bucket of the hour and tag set yet; `unique` only.
        elsewhere: What the other buckets of the hour and tag set count already; a sum adds to it.
    """
    arrived = list(events)
    own, last_at = bucket.own, bucket.last_at
    match aggregation:
        case Aggregation.SUM:
            own += sum(quantity for quantity, _ in arrived)
        case Aggregation.MAX:
            own = max(own, max((quantity for quantity, _ in arrived), default=0) - elsewhere.counted)
        case Aggregation.LAST:
            newest = max((at for at in (last_at, elsewhere.last_at) if at is not None), default=None)
            for quantity, at in arrived:
                if newest is None or at >= newest:
                    own, newest, last_at = quantity - elsewhere.counted, at, at
            # What has gone elsewhere, or was billed elsewhere, stays counted: a smaller value cannot call it back.
            own = max(own, 0, bucket.moved - bucket.carried)
        case Aggregation.UNIQUE:
            own += max((distinct or 0) * MILLION - elsewhere.counted, 0)
    # Spelled out: `replace` takes four times as long.
    return Bucket(own, bucket.carried, bucket.moved, bucket.events + len(arrived), last_at, bucket.sealed)


def record_late(
    bucket: Bucket,
    aggregation: Aggregation,
    events: Iterable[tuple[int, int]],
    *,
    distinct: int | None = None,
    elsewhere: Elsewhere = NOWHERE,
) -> tuple[Bucket, int]:
    """Return a closed bucket after late events, and what they would have added to it (millionths, never negative).

    What they add is counted here, as the events' own hour, and moved out in the same step.
    """
    after = record(bucket, aggregation, events, distinct=distinct, elsewhere=elsewhere)
    added = max(0, after.own - bucket.own)
    return replace(after, own=bucket.own + added, moved=bucket.moved + added, sealed=True), added
