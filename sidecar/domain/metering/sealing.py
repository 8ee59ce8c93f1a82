"""Sealing: when an hour may be closed, and the one quantity and the allocations its record carries.

What a record cannot carry is never cut off: it is held back (the fraction, when whole numbers are sent) or passed on
to the next hour (the excess over AWS's limit). For every seal: gathered + remainder before = quantity + remainder
after + excess.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sidecar.domain.metering.events import Tags
from sidecar.domain.metering.hours import Hour, end_of, start_of
from sidecar.domain.metering.quantity import LARGEST, LARGEST_WHOLE, MILLION
from sidecar.domain.policy import QuantityKind

MOST_TAG_SETS = 2500
"""Allocations in one record (MeterUsage's model)."""
MOST_KEYS = 5
"""Distinct tag keys in one record (Marketplace's rule)."""
UNTAGGED: Tags = ()


@dataclass(frozen=True, slots=True)
class Seal:
    """What becomes of an hour's buckets; quantities in millionths."""

    quantity: int
    allocations: Mapping[Tags, int]
    """Shares by tag set that add up to the quantity; empty when no usage has tags."""
    gathered: int
    remainder: int
    """Held back for the next hour because only whole numbers are sent; below one unit."""
    excess: Mapping[Tags, int]
    """Over AWS's limit of one record: carried to the next hour."""
    folded: int
    """Tag sets that went into the untagged share because AWS takes no more."""


def sealable_at(hour: Hour, settle: timedelta | None) -> datetime:
    """Return when the buckets of `hour` may be sealed.

    Args:
        hour: The hour to close.
        settle: How long an hour settles after its end; None at the pod's own end, which closes the open hour too.
    """
    return start_of(hour) if settle is None else end_of(hour) + settle


def seal(buckets: Mapping[Tags, int], *, remainder: int, quantity_kind: QuantityKind) -> Seal:
    """Decide the record of one dimension and hour.

    Args:
        buckets: The quantity by tag set.
        remainder: What earlier seals of this dimension held back.
        quantity_kind: Whether fractions may be sent.
    """
    shares, folded = _fold(buckets)
    held = 0
    if quantity_kind is QuantityKind.INTEGER:
        pool = remainder + shares.get(UNTAGGED, 0)
        for tags, quantity in shares.items():
            if tags:
                shares[tags] = quantity - quantity % MILLION
                pool += quantity % MILLION
        held = pool % MILLION
        shares[UNTAGGED] = pool - held
    else:
        shares[UNTAGGED] = shares.get(UNTAGGED, 0) + remainder
    limit = LARGEST if quantity_kind is QuantityKind.DECIMAL else LARGEST_WHOLE * MILLION
    shares, excess = _split(shares, limit)
    shares = {tags: quantity for tags, quantity in sorted(shares.items()) if quantity}
    allocations = shares if any(shares) else {}
    return Seal(
        quantity=sum(shares.values()),
        allocations=allocations,
        gathered=sum(buckets.values()),
        remainder=held,
        excess=excess,
        folded=folded,
    )


def _fold(buckets: Mapping[Tags, int]) -> tuple[dict[Tags, int], int]:
    """Keep the largest tag sets that AWS takes together; the others join the untagged share."""
    kept: dict[Tags, int] = {}
    keys: set[str] = set()
    untagged = folded = 0
    for tags, quantity in sorted(buckets.items(), key=lambda item: (-item[1], item[0])):
        further = [key for key, _ in tags if key not in keys]
        if tags and len(kept) < MOST_TAG_SETS - 1 and len(keys) + len(further) <= MOST_KEYS:
            kept[tags] = quantity
            keys.update(further)
        else:
            untagged += quantity
            folded += bool(tags)
    if untagged:
        kept[UNTAGGED] = untagged
    return kept, folded


def _split(shares: dict[Tags, int], limit: int) -> tuple[dict[Tags, int], dict[Tags, int]]:
    """Part the shares at AWS's limit of one record, the largest giving first."""
    over = sum(shares.values()) - limit
    within, excess = dict(shares), dict[Tags, int]()
    if over <= 0:
        return within, excess
    for tags, quantity in sorted(shares.items(), key=lambda item: (-item[1], item[0])):
        if over <= 0:
            break
        excess[tags] = min(quantity, over)
        within[tags] = quantity - excess[tags]
        over -= excess[tags]
    return within, excess
