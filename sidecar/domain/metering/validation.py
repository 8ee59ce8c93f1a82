"""The rules a usage event must keep, judged on members that are already decoded.

One entry, `read_batch`: all events of a batch or one refusal that lists the faults of its items. It refuses what it
does not know rather than guess, because a misspelled member would otherwise change what a buyer pays. Whether an id was
seen before is judged by the ledger alone.

Strings are compared by exact type: a JSON number arrives as `NumberText`, and only a quantity may be one.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sidecar.domain import timestamps
from sidecar.domain.metering import quantity
from sidecar.domain.metering.events import (
    Aggregation,
    Dimension,
    InvalidUsage,
    NumberText,
    Tags,
    UsageEvent,
    UsageFault,
)

MAX_FUTURE = timedelta(minutes=15)
"""How far ahead of the clock an event may be dated."""
MAX_PAST = timedelta(days=7)
"""How far behind the clock an event may be dated."""
LONGEST_ID = 255
LARGEST_TAG_SET = 5
MOST_FAULTS = 1000
"""Faults of one batch that are listed; the first one beyond them ends the reading."""
MEASURED = "the sidecar measures this dimension (metering.dimensions has a source for it); send no events for it"
_LONGEST_NAME = 100
"""Characters of a member's name that a fault repeats."""

_MEMBERS = frozenset(UsageEvent._fields)
_SURROGATE = re.compile("[\ud800-\udfff]")
# MeterUsage's Tag: letters, digits, space and + - = . _ : \ / @, in ASCII.
_TAG_KEY = re.compile(r"[A-Za-z0-9 +\-=._:\\/@]{1,100}")
_TAG_VALUE = re.compile(r"[A-Za-z0-9 +\-=._:\\/@]{1,256}")


@dataclass(slots=True)
class FaultList:
    """The faults of a batch while it is read."""

    faults: list[UsageFault] = field(default_factory=list)

    def add(self, index: int, member: str, reason: str) -> None:
        """Note what is wrong with `member` of item `index`; raises InvalidUsage if `MOST_FAULTS` were noted before."""
        if len(self.faults) == MOST_FAULTS:
            raise InvalidUsage(self.faults, more=True)
        self.faults.append(UsageFault(index, member[:_LONGEST_NAME], reason))

    def refuse(self) -> None:
        """Raise InvalidUsage if there is any fault."""
        if self.faults:
            raise InvalidUsage(self.faults)


def read_batch(members: Iterable[object], *, dimensions: Mapping[str, Dimension], now: datetime) -> list[UsageEvent]:
    """Return the events that `members` describe, in their order.

    Args:
        members: The decoded items; JSON numbers as NumberText. They are read once, one after the other.
        dimensions: The product's dimensions by name.
        now: The present instant, aware; events may be dated from `MAX_PAST` before it to `MAX_FUTURE` after it.

    Raises:
        InvalidUsage: At least one item breaks a rule; lists the first `MOST_FAULTS` faults.
    """
    found = FaultList()
    events = read_items(enumerate(members), dimensions=dimensions, now=now, found=found, time_member="timestamp")
    found.refuse()
    return events


def read_items(
    items: Iterable[tuple[int, object]],
    *,
    dimensions: Mapping[str, Dimension],
    now: datetime,
    found: FaultList,
    time_member: str,
) -> list[UsageEvent]:
    """Return the events among `items` that keep the rules; the others add to `found`.

    `items` are index in the batch and decoded members; `found` takes the faults, in which the timestamp is called
    `time_member`.
    """
    rules = _Rules(dimensions, now, found, time_member)
    events = []
    for index, item in items:
        event = rules.read(index, item)
        if event is not None:
            events.append(event)
    return events


@dataclass(slots=True)  # not frozen: that takes a tenth of the time of a batch of one event
class _Rules:
    dimensions: Mapping[str, Dimension]
    now: datetime
    found: FaultList
    time_member: str

    def read(self, index: int, item: object) -> UsageEvent | None:
        if type(item) is not dict:
            self.found.add(index, "item", "an event is a JSON object")
            return None
        before = len(self.found.faults)
        if not item.keys() <= _MEMBERS:
            for name in item.keys() - _MEMBERS:
                self.found.add(index, name, "unknown member")
        event_id = item.get("id")
        if "id" in item and (reason := fault_of_text(event_id, LONGEST_ID)) is not None:
            self.found.add(index, "id", reason)
        name = item.get("dimension")
        dimension = self.dimensions.get(name) if type(name) is str else None
        if dimension is None:
            self._refuse_dimension(index, item)
        elif dimension.source is not None:
            self.found.add(index, "dimension", MEASURED)
        value = item.get("value")
        if dimension is not None and dimension.aggregation is Aggregation.UNIQUE:
            self._check_value(index, item)
        elif "value" in item and dimension is not None:
            self.found.add(index, "value", "only a `unique` dimension counts `value`")
        millionths = self._quantity(index, item["quantity"]) if "quantity" in item else quantity.MILLION
        timestamp = self._timestamp(index, item["timestamp"]) if "timestamp" in item else None
        tags = self._tags(index, item["tags"]) if "tags" in item else ()
        if dimension is None or len(self.found.faults) != before:
            return None
        return UsageEvent(event_id, dimension.name, millionths, value, timestamp, tags)

    def _refuse_dimension(self, index: int, item: Mapping[str, object]) -> None:
        if "dimension" not in item:
            self.found.add(index, "dimension", "required")
        elif type(item["dimension"]) is not str:
            self.found.add(index, "dimension", "must be a string")
        else:
            self.found.add(index, "dimension", f"unknown dimension; known: {', '.join(self.dimensions) or 'none'}")

    def _check_value(self, index: int, item: Mapping[str, object]) -> None:
        if "quantity" in item:
            self.found.add(index, "quantity", "a `unique` dimension counts `value`, not `quantity`")
        reason = fault_of_text(item["value"], LONGEST_ID) if "value" in item else "required"
        if reason is not None:
            self.found.add(index, "value", reason)

    def _quantity(self, index: int, given: object) -> int:
        millionths = quantity.parse(given) if type(given) is str or type(given) is NumberText else None
        if millionths is None:
            self.found.add(
                index,
                "quantity",
                "must be a number or decimal string without sign, exponent or leading zeros, of at most 10 integer "
                "and 6 fraction digits",
            )
            return 0
        return millionths

    def _timestamp(self, index: int, given: object) -> datetime | None:
        instant = timestamps.parse(given) if type(given) is str else None
        if instant is None:
            self.found.add(index, self.time_member, "must be an RFC 3339 time with offset")
        elif instant > self.now + MAX_FUTURE:
            self.found.add(index, self.time_member, "more than 15 minutes ahead of the clock")
        elif instant < self.now - MAX_PAST:
            self.found.add(index, self.time_member, "more than 7 days behind the clock")
        return instant

    def _tags(self, index: int, given: object) -> Tags:
        if type(given) is not dict:
            self.found.add(index, "tags", "must be an object of strings")
            return ()
        if len(given) > LARGEST_TAG_SET:
            self.found.add(index, "tags", f"at most {LARGEST_TAG_SET} tags")
        for key, value in given.items():
            if _TAG_KEY.fullmatch(key) is None:
                self.found.add(index, "tags", r"a key is 1 to 100 letters, digits, spaces and +-=._:\/@")
            if type(value) is not str or _TAG_VALUE.fullmatch(value) is None:
                self.found.add(index, "tags", r"a value is 1 to 256 letters, digits, spaces and +-=._:\/@")
        return tuple(sorted(given.items()))


def is_tag_key(text: str) -> bool:
    """Return whether AWS takes `text` as the key of a tag."""
    return _TAG_KEY.fullmatch(text) is not None


def is_tag_value(text: str) -> bool:
    """Return whether AWS takes `text` as the value of a tag."""
    return _TAG_VALUE.fullmatch(text) is not None


def fault_of_text(value: object, longest: int) -> str | None:
    """Return why `value` is not a string of 1 to `longest` characters that UTF-8 can hold, or None when it is."""
    if type(value) is str and 0 < len(value) <= longest and (value.isascii() or _SURROGATE.search(value) is None):
        return None
    if type(value) is not str:
        return "must be a string"
    if not 0 < len(value) <= longest:
        return f"must have 1 to {longest} characters"
    return "must not hold a lone surrogate"
