"""The ledger as its readers see it: open buckets, records, kept events, progress, and what a decision is about.

Reads only, one instant at a time. Whether what is read is right is judged by `proof`, whether it can be read at all by
`integrity`.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from typing import Any

from sidecar.adapters.ledger import recent
from sidecar.adapters.ledger.store import read_tags
from sidecar.domain.metering.events import Tags
from sidecar.domain.metering.hours import Hour, from_micros, hour_of, start_of
from sidecar.domain.metering.probes import PROBE_MARK, is_probe
from sidecar.domain.metering.quantity import parse_signed
from sidecar.domain.metering.records import RecordKind, RecordStatus, UnbilledReason
from sidecar.domain.status import AllocationView, BucketView, Progress, RecordPage, RecordQuery, RecordView

_SHOWN_AS = {RecordKind.SLOT: "usage", RecordKind.UNSENT: "usage", RecordKind.LATE: "late"}
"""What readers call the kinds of a record; a slot of the start probe is `probe`."""
_WAITING = f"status = 'sealed' AND client_token NOT GLOB '{PROBE_MARK}*'"
"""A frozen start probe holds no usage that waits."""
_PAGE_BYTES = 1024 * 1024
"""Bytes of tags and quantities after which a page of records ends: about 10,000 allocations, as a record has 2,500."""
_SHARE_BYTES = 64
"""What an allocation takes besides its tags."""
_UNDECIDED = "status = 'unbilled' AND resolved = 0"
_RESOLVABLE = f"{_UNDECIDED} AND NOT (client_token GLOB '{PROBE_MARK}*' AND reason_word = '{UnbilledReason.DUPLICATE}')"
"""What a person may decide about: a start probe that met another record of its pod bills nothing, and is a proof."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What the ledger holds, without its conservation terms and the progress of the submissions."""

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
class Choice:
    """The records that a decision is about."""

    identifiers: tuple[str, ...] | None = None
    """By name; None means every unbilled record without a decision that fits the members below."""
    dimension: str | None = None
    since: datetime | None = None
    """The start of the first hour."""
    until: datetime | None = None
    """The start of the hour after the last one."""
    kind: str | None = None
    """The word with which the reason begins, such as `in-doubt`."""
    without: str | None = None
    """Such a word that the reason does not begin with."""


def open_buckets(connection: sqlite3.Connection, *, limit: int = -1, after: str | None = None) -> list[BucketView]:
    """Return open buckets, oldest hour first; within what is returned by dimension and tags.

    At most `limit`, -1 for all; `after` is the greatest `key` of the listing that this one continues.
    """
    # In the order of the index of open buckets: a page costs as much as it shows.
    rows = connection.execute(
        "SELECT hour, pod, dimension, tag_set, name, tags, own, carried, moved, events FROM named_bucket"
        " WHERE sealed = 0 AND (hour, pod, dimension, tag_set) > (?, ?, ?, ?)"
        " ORDER BY hour, pod, dimension, tag_set LIMIT ?",
        (*_position(after), limit),
    )
    found = [
        BucketView(
            dimension=name,
            hour=start_of(Hour(hour)),
            quantity=parse_signed(own) + parse_signed(carried) - parse_signed(moved),
            tags=read_tags(tags),
            events=events,
            key=f"{hour}.{pod}.{dimension}.{tag_set}",
        )
        for hour, pod, dimension, tag_set, name, tags, own, carried, moved, events in rows
    ]
    return sorted(found, key=lambda view: (view.hour, view.dimension, view.tags))


def _position(key: str | None) -> tuple[int, ...]:
    if key is None:
        return -(2**62), 0, 0, 0
    parts = [sequence(part) for part in key.split(".")]
    return tuple(parts) if len(parts) == 4 else (2**62, 0, 0, 0)


def records(connection: sqlite3.Connection, query: RecordQuery) -> RecordPage:
    """Return one page of records in the order in which they were sealed; it ends early after many allocations."""
    where, values = _matching(
        {
            "status = ?": query.status,
            "name = ?": query.dimension,
            "hour = ?": None if query.hour is None else hour_of(query.hour),
            "seq > ?": None if query.after is None else sequence(query.after),
        }
    )
    rows = connection.execute(
        f"SELECT * FROM named_record WHERE {where} ORDER BY seq LIMIT ?", (*values, query.limit + 1)
    ).fetchall()
    page: list[RecordView] = []
    size = 0
    for row in rows[: query.limit]:
        if page and size >= _PAGE_BYTES:
            break
        shares = connection.execute(
            "SELECT quantity, tags FROM tagged_allocation WHERE record = ? ORDER BY tags", (row["seq"],)
        ).fetchall()
        size += sum(_SHARE_BYTES + len(share["tags"]) for share in shares)
        page.append(_view(row, shares))
    return RecordPage(page, page[-1].id if len(rows) > len(page) else None)


def _matching(conditions: Mapping[str, object]) -> tuple[str, list[object]]:
    """Return the condition that every one given makes together, and its values."""
    given = {text: value for text, value in conditions.items() if value is not None}
    return " AND ".join(given) or "1", list(given.values())


def progress(connection: sqlite3.Connection) -> Progress:
    """Return how far the submissions have come."""
    last = _value(connection, "SELECT max(settled_at) FROM record WHERE status = 'accepted' AND resolved = 0")
    oldest = connection.execute(
        "SELECT hour, min(timestamp) AS timestamp FROM record"
        f" WHERE {_WAITING} AND hour = (SELECT min(hour) FROM record WHERE {_WAITING})"
    ).fetchone()
    opened = _value(connection, "SELECT min(hour) FROM bucket WHERE sealed = 0")
    in_doubt, _ = _undecided(connection, UnbilledReason.IN_DOUBT)
    others, others_since = _undecided(connection, UnbilledReason.OTHER_PRODUCT)
    return Progress(
        last_success_at=None if last is None else from_micros(last),
        oldest_unsent_hour=None if oldest["hour"] is None else start_of(Hour(oldest["hour"])),
        in_doubt=in_doubt,
        oldest_unsent_at=None if oldest["timestamp"] is None else from_micros(oldest["timestamp"]),
        oldest_open_hour=None if opened is None else start_of(Hour(opened)),
        other_product=others,
        other_product_since=others_since,
    )


def _undecided(connection: sqlite3.Connection, reason: UnbilledReason) -> tuple[int, datetime | None]:
    """Return how many unbilled records of one reason wait for a decision, and since when the first one does."""
    # A range of the index on reasons; `~` is after every character that follows the word.
    count, since = connection.execute(
        f"SELECT count(*), min(settled_at) FROM record WHERE {_UNDECIDED} AND reason >= ?1 AND reason < ?1 || '~'",
        (reason,),
    ).fetchone()
    return count, None if since is None else from_micros(since)


def overview(connection: sqlite3.Connection) -> Overview:
    """Return what the ledger holds."""
    pod = connection.execute(
        "SELECT uid, source, first_seen_at FROM pod JOIN meta ON meta.value = pod.uid WHERE meta.key = 'pod'"
    ).fetchone()
    hours = connection.execute("SELECT DISTINCT hour FROM bucket WHERE sealed = 0 ORDER BY hour")
    firsts = (f"(SELECT taken_at FROM {table} ORDER BY seq LIMIT 1)" for table in recent.event_tables(connection))
    oldest = _value(connection, f"SELECT coalesce({', '.join(firsts)}, NULL)")
    return Overview(
        schema=_value(connection, "PRAGMA main.user_version") or 0,
        pod=None if pod is None else pod["uid"],
        pod_source=None if pod is None else pod["source"],
        pod_since=None if pod is None else from_micros(pod["first_seen_at"]),
        pods=_value(connection, "SELECT count(*) FROM pod") or 0,
        open_hours=[start_of(Hour(row["hour"])) for row in hours],
        waiting=_value(connection, f"SELECT count(*) FROM record WHERE {_WAITING}") or 0,
        events=recent.count(connection),
        oldest_event_at=None if oldest is None else from_micros(oldest),
        resolved=_value(connection, "SELECT count(*) FROM audit") or 0,
    )


def events(connection: sqlite3.Connection, query: EventQuery) -> Iterator[EventView]:
    """Yield events in order of arrival."""
    where, values = _matching(
        {
            "name = ?": query.dimension,
            "hour = ?": None if query.hour is None else hour_of(query.hour),
            "id = ?": query.id,
        }
    )
    # All rows of the version before are older than the others. Neither part is sorted: `seq` is the order of the rows.
    rows = chain.from_iterable(
        connection.execute(f"SELECT * FROM {view} WHERE {where} ORDER BY seq", values)
        for view in ("named_event_by_id", "named_event")
    )
    for row in islice(rows, query.limit):
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


def record_id(seq: int) -> str:
    """Return the name by which people and the API call a record."""
    return f"rec-{seq}"


def sequence(identifier: str) -> int:
    """Return the row of a record's name; an unknown name is after everything."""
    digits = identifier.removeprefix("rec-")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else 2**62


def facts_of(row: sqlite3.Row) -> dict[str, Any]:
    """Return the fields of `RecordFacts` from a row of the records' view."""
    return {
        "id": record_id(row["seq"]),
        "dimension": row["name"],
        "hour": start_of(Hour(row["hour"])),
        "quantity": parse_signed(row["quantity"]),
        "status": RecordStatus(row["status"]),
        "reason": row["reason"],
        "client_token": row["client_token"],
        "metering_record_id": row["metering_record_id"],
    }


def _view(row: sqlite3.Row, shares: Sequence[sqlite3.Row]) -> RecordView:
    return RecordView(
        **facts_of(row),
        attempts=row["attempts"],
        allocations=[AllocationView(parse_signed(share["quantity"]), read_tags(share["tags"])) for share in shares],
        sealed_at=from_micros(row["sealed_at"]),
        accepted_at=from_micros(row["settled_at"]) if row["status"] == RecordStatus.ACCEPTED else None,
        carried_to=None if row["carried_to"] is None else start_of(Hour(row["carried_to"])),
        kind="probe" if is_probe(row["client_token"]) else _SHOWN_AS[RecordKind(row["kind"])],
        product_code=row["product_code"],
    )


def choose(connection: sqlite3.Connection, choice: Choice) -> Sequence[str]:
    """Return the names of the chosen records, in the order in which they were sealed, or in that of the choice."""
    if choice.identifiers is not None:
        return tuple(dict.fromkeys(choice.identifiers))
    where, values = _matching(
        {
            "name = ?": choice.dimension,
            "hour >= ?": None if choice.since is None else hour_of(choice.since),
            "hour < ?": None if choice.until is None else hour_of(choice.until),
            "reason_word = ?": choice.kind,
            "reason_word <> ?": choice.without,
        }
    )
    rows = connection.execute(f"SELECT seq FROM named_record WHERE {_RESOLVABLE} AND {where} ORDER BY seq", values)
    return tuple(record_id(row["seq"]) for row in rows)


def undecided_reasons(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many unbilled records wait for a decision, by the word with which their reason begins."""
    rows = connection.execute(
        f"SELECT reason_word, count(*) AS number FROM named_record WHERE {_RESOLVABLE} GROUP BY 1 ORDER BY 1"
    )
    return {row["reason_word"]: row["number"] for row in rows}


def _value(connection: sqlite3.Connection, statement: str) -> int | None:
    found: int | None = connection.execute(statement).fetchone()[0]
    return found
