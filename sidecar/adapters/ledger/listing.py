"""The ledger as the operator's commands see it: one instant of it, also while a sidecar is writing.

Reads only. What cannot be read at all is told as an unusable ledger; whether what can be read is right is the proof's
business.
"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sidecar.adapters.ledger import digests
from sidecar.adapters.ledger.reading import record_id, sequence
from sidecar.adapters.ledger.snapshot import reading
from sidecar.adapters.ledger.store import read_tags
from sidecar.domain.metering.events import Tags
from sidecar.domain.metering.hours import Hour, from_micros, hour_of, start_of
from sidecar.domain.status import RecordQuery


@dataclass(frozen=True, slots=True)
class Overview:
    """What the ledger holds, beside its conservation terms and the progress of the submissions."""

    schema: int
    pod: str | None
    """The pod that had the ledger last; None before the first one."""
    pod_source: str | None
    pod_since: datetime | None
    pods: int
    open_hours: list[datetime]
    waiting: int
    """Sealed records."""
    events: int
    """Event ids that are still recognized, whether the event is kept whole or as a digest."""
    oldest_event_at: datetime | None
    """When the oldest event that is still kept whole was taken."""
    resolved: int
    """Decisions in the audit trail."""


@dataclass(frozen=True, slots=True)
class EventView:
    """One event that is still kept whole: it has an id, and its hour was open the last time the ledger looked."""

    id: str | None
    dimension: str
    quantity: int | None
    """Millionths; None for an event of a `unique` dimension, which has a value."""
    value: str | None
    timestamp: datetime | None
    """As the app gave it."""
    tags: Tags
    hour: datetime
    taken_at: datetime


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which events to list; every part that is given must match. A limit of None lists all."""

    dimension: str | None = None
    hour: datetime | None = None
    id: str | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class AuditView:
    """One decision of a person about a record, and the record before and after it."""

    at: datetime
    action: str
    record: str
    reason: str
    who: str
    before: dict[str, str | None]
    after: dict[str, str | None]


look = reading
"""Opens the ledger at one instant (sidecar.adapters.ledger.snapshot)."""


def overview(connection: sqlite3.Connection) -> Overview:
    """Return what the ledger holds."""
    pod = connection.execute(
        "SELECT uid, source, first_seen_at FROM pod JOIN meta ON meta.value = pod.uid WHERE meta.key = 'pod'"
    ).fetchone()
    hours = connection.execute("SELECT DISTINCT hour FROM bucket WHERE sealed = 0 ORDER BY hour")
    oldest = _number(connection, "SELECT min(taken_at) FROM (SELECT taken_at FROM event ORDER BY seq LIMIT 1)")
    return Overview(
        schema=_schema(connection),
        pod=None if pod is None else pod["uid"],
        pod_source=None if pod is None else pod["source"],
        pod_since=None if pod is None else from_micros(pod["first_seen_at"]),
        pods=_number(connection, "SELECT count(*) FROM pod") or 0,
        open_hours=[start_of(Hour(row["hour"])) for row in hours],
        waiting=_number(connection, "SELECT count(*) FROM record WHERE status = 'sealed'") or 0,
        events=(_number(connection, "SELECT count(*) FROM event") or 0) + digests.count(connection),
        oldest_event_at=None if oldest is None else from_micros(oldest),
        resolved=_number(connection, "SELECT count(*) FROM audit") or 0,
    )


def events(connection: sqlite3.Connection, query: EventQuery) -> Iterator[EventView]:
    """Yield events in order of arrival."""
    conditions = {
        "name = ?": query.dimension,
        "hour = ?": None if query.hour is None else hour_of(query.hour),
        "event.id = ?": query.id,
    }
    given = {text: value for text, value in conditions.items() if value is not None}
    rows = connection.execute(
        "SELECT event.*, name, tags FROM event JOIN dimension ON dimension.id = event.dimension"
        f" JOIN tag_set ON tag_set.id = event.tag_set WHERE {' AND '.join(given) or '1'} ORDER BY seq LIMIT ?",
        (*given.values(), -1 if query.limit is None else query.limit),
    )
    for row in rows:
        yield EventView(
            id=row["id"],
            dimension=row["name"],
            quantity=row["millionths"] if row["value"] is None else None,
            value=row["value"],
            timestamp=None if row["given_at"] is None else from_micros(row["given_at"]),
            tags=read_tags(row["tags"]),
            hour=start_of(Hour(row["hour"])),
            taken_at=from_micros(row["taken_at"]),
        )


def audit(connection: sqlite3.Connection, query: RecordQuery) -> Iterator[AuditView]:
    """Yield the decisions about records that match, in order; `status` is the one that the record was given."""
    asked = {
        "status": query.status,
        "dimension": query.dimension,
        "hour": None if query.hour is None else query.hour.isoformat().replace("+00:00", "Z"),
    }
    after = 0 if query.after is None else sequence(query.after)
    found = 0
    for row in connection.execute("SELECT * FROM audit WHERE record > ? ORDER BY seq", (after,)):
        members = json.loads(row["after"])
        if found < query.limit and all(members[name] == value for name, value in asked.items() if value is not None):
            found += 1
            yield AuditView(
                at=from_micros(row["at"]),
                action=row["action"],
                record=record_id(row["record"]),
                reason=row["reason"],
                who=row["who"],
                before=json.loads(row["before"]),
                after=members,
            )


def _schema(connection: sqlite3.Connection) -> int:
    return _number(connection, "PRAGMA main.user_version") or 0


def _number(connection: sqlite3.Connection, statement: str) -> int | None:
    found: int | None = connection.execute(statement).fetchone()[0]
    return found
