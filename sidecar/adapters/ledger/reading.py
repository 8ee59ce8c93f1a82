"""The ledger as its readers see it: open buckets, records page by page, what an operator asks first."""

import sqlite3

from sidecar.adapters.ledger.store import read_bucket, read_tags
from sidecar.domain.metering.hours import Hour, from_micros, start_of, to_micros
from sidecar.domain.metering.quantity import exact
from sidecar.domain.status import AllocationView, BucketView, Progress, RecordPage, RecordQuery, RecordView

_KINDS = {"slot": "usage", "unsent": "usage"}
"""What readers call the kinds of a record's row; the other kinds go by their own name."""


def open_buckets(connection: sqlite3.Connection, *, limit: int = -1, after: str | None = None) -> list[BucketView]:
    """Return open buckets, oldest hour first; within what is returned by dimension and tags.

    Args:
        connection: A connection to the ledger.
        limit: How many at most; -1 returns all.
        after: The greatest `key` of the listing that this one continues.
    """
    # The order of the index of open buckets, so that a page costs as much as it shows.
    rows = connection.execute(
        "SELECT bucket.*, name, tags FROM (SELECT * FROM bucket WHERE sealed = 0"
        " AND (hour, pod, dimension, tag_set) > (?, ?, ?, ?) ORDER BY hour, pod, dimension, tag_set LIMIT ?) AS bucket"
        " JOIN dimension ON dimension.id = bucket.dimension JOIN tag_set ON tag_set.id = bucket.tag_set",
        (*_position(after), limit),
    )
    found = [
        BucketView(
            dimension=row["name"],
            hour=start_of(Hour(row["hour"])),
            quantity=read_bucket(row).quantity,
            tags=read_tags(row["tags"]),
            events=row["events"],
            key=".".join(str(row[column]) for column in ("hour", "pod", "dimension", "tag_set")),
        )
        for row in rows
    ]
    return sorted(found, key=lambda view: (view.hour, view.dimension, view.tags))


def _position(key: str | None) -> tuple[int, ...]:
    if key is None:
        return -(2**62), 0, 0, 0
    parts = [sequence(part) for part in key.split(".")]
    return tuple(parts) if len(parts) == 4 else (2**62, 0, 0, 0)


def records(connection: sqlite3.Connection, query: RecordQuery) -> RecordPage:
    """Return one page of records in the order in which they were sealed."""
    conditions = {
        "status = ?": query.status,
        "name = ?": query.dimension,
        "hour = ?": None if query.hour is None else to_micros(query.hour) // 1_000_000,
        "seq > ?": None if query.after is None else sequence(query.after),
    }
    given = {text: value for text, value in conditions.items() if value is not None}
    where = " AND ".join(given) or "1"
    rows = connection.execute(
        "SELECT record.*, name, product_code FROM record JOIN dimension ON dimension.id = record.dimension"
        f" WHERE {where} ORDER BY seq LIMIT ?",
        (*given.values(), query.limit + 1),
    ).fetchall()
    page = [_view(connection, row) for row in rows[: query.limit]]
    return RecordPage(page, page[-1].id if len(rows) > query.limit else None)


def progress(connection: sqlite3.Connection) -> Progress:
    """Return how far the submissions have come."""
    last = connection.execute(
        "SELECT max(settled_at) AS at FROM record WHERE status = 'accepted' AND resolved = 0"
    ).fetchone()["at"]
    oldest = connection.execute(
        "SELECT hour, min(timestamp) AS timestamp FROM record"
        " WHERE status = 'sealed' AND hour = (SELECT min(hour) FROM record WHERE status = 'sealed')"
    ).fetchone()
    opened = connection.execute("SELECT min(hour) AS hour FROM bucket WHERE sealed = 0").fetchone()["hour"]
    doubt = connection.execute(
        "SELECT count(*) FROM record WHERE status = 'unbilled' AND reason LIKE 'in-doubt%' AND resolved = 0"
    )
    other = connection.execute(
        "SELECT count(*) AS records, min(settled_at) AS since FROM record WHERE status = 'unbilled'"
        " AND reason >= 'other-product' AND reason < 'other-product~' AND resolved = 0"
    ).fetchone()
    return Progress(
        last_success_at=None if last is None else from_micros(last),
        oldest_unsent_hour=None if oldest["hour"] is None else start_of(Hour(oldest["hour"])),
        in_doubt=doubt.fetchone()[0],
        oldest_unsent_at=None if oldest["timestamp"] is None else from_micros(oldest["timestamp"]),
        oldest_open_hour=None if opened is None else start_of(Hour(opened)),
        other_product=other["records"],
        other_product_since=None if other["since"] is None else from_micros(other["since"]),
    )


def record_id(seq: int) -> str:
    """Return the name by which people and the API call a record."""
    return f"rec-{seq}"


def sequence(identifier: str) -> int:
    """Return the row of a record's name; an unknown name is after everything."""
    digits = identifier.removeprefix("rec-")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else 2**62


def _view(connection: sqlite3.Connection, row: sqlite3.Row) -> RecordView:
    shares = connection.execute(
        "SELECT quantity, tags FROM allocation JOIN tag_set ON tag_set.id = allocation.tag_set WHERE record = ?"
        " ORDER BY tags",
        (row["seq"],),
    )
    return RecordView(
        id=record_id(row["seq"]),
        dimension=row["name"],
        hour=start_of(Hour(row["hour"])),
        quantity=exact(row["quantity"]),
        status=row["status"],
        reason=row["reason"],
        client_token=row["client_token"],
        metering_record_id=row["metering_record_id"],
        attempts=row["attempts"],
        allocations=[AllocationView(exact(share["quantity"]), read_tags(share["tags"])) for share in shares],
        sealed_at=from_micros(row["sealed_at"]),
        accepted_at=from_micros(row["settled_at"]) if row["status"] == "accepted" else None,
        carried_to=None if row["carried_to"] is None else start_of(Hour(row["carried_to"])),
        kind=_KINDS.get(row["kind"], row["kind"]),
        product_code=row["product_code"],
    )
