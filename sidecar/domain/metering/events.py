"""Usage events as an app reports them: their shape and what makes them refused.

Judges members that are already decoded; bytes, headers and encodings are the API's. A batch is all or nothing: the
faults of its items are listed, and none is stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sidecar.domain.metering.sources import Source

Tags = tuple[tuple[str, str], ...]
"""A tag set: (key, value) pairs sorted by key; empty for untagged usage."""


class Aggregation(StrEnum):
    """How the events of one dimension and hour make one quantity."""

    SUM = "sum"  # every event adds
    MAX = "max"  # the largest event counts
    LAST = "last"  # the latest event by its own time counts, then by arrival
    UNIQUE = "unique"  # the number of distinct values counts


@dataclass(frozen=True, slots=True)
class Dimension:
    """A priced unit of the product, as published in the listing."""

    name: str
    aggregation: Aggregation = Aggregation.SUM
    source: Source | None = None
    """What measures it; None if the app reports its usage."""


class NumberText(str):
    """The digits of a JSON number as the body has them: no float is ever made of them."""

    __slots__ = ()


class UsageEvent(NamedTuple):
    """One validated usage event."""

    id: str | None
    """The app's own id, 1..255 characters; None means new each time."""
    dimension: str
    quantity: int
    """Millionths; 1,000,000 for a `unique` dimension, where `value` counts instead."""
    value: str | None
    """What is counted once an hour on a `unique` dimension; None elsewhere."""
    timestamp: datetime | None
    """When it happened, aware; None means on arrival."""
    tags: Tags


@dataclass(frozen=True, slots=True)
class UsageBatch:
    """What one request carries."""

    events: Sequence[UsageEvent]
    idempotency_key: str | None = None
    """Takes the place of the ids of events without one."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """How a batch was taken; given only once it is on disk."""

    accepted: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class UsageFault:
    """Why one item was refused."""

    index: int
    field: str
    reason: str


class UsageRefused(Exception):
    """The batch was not taken; nothing of it is stored."""


class InvalidUsage(UsageRefused):
    """At least one item breaks a rule: fix the items listed and send the batch again."""

    def __init__(self, faults: Sequence[UsageFault], *, more: bool = False) -> None:
        super().__init__(f"{len(faults)}{' or more' if more else ''} faults in the batch; nothing was stored")
        self.faults = tuple(faults)
        self.more = more
        """The batch has further faults, which were not looked for."""


class IdReused(InvalidUsage):
    """An id (or Idempotency-Key) was seen with other fields: two different events may not share one id."""


class NotEntitled(UsageRefused):
    """AWS Marketplace has refused this pod, so its usage is not taken."""


class LedgerUnavailable(UsageRefused):
    """The ledger cannot be written now; the same batch may be sent again after `retry_after` seconds."""

    def __init__(self, detail: str, retry_after: int = 5) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class LedgerFull(LedgerUnavailable):
    """The ledger has no room for more usage; what it holds is still sealed and submitted."""

    def __init__(self, detail: str, retry_after: int, more: int) -> None:
        super().__init__(detail, retry_after)
        self.more = more
        """Bytes that the refused usage may take."""


class Overloaded(UsageRefused):
    """More batches wait for the disk than may; the same batch may be sent again after `retry_after` seconds."""

    def __init__(self, detail: str, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
