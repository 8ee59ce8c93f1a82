"""The ledger as its readers see it: open buckets, records page by page, what an operator asks first."""

import sqlite3

from sidecar.adapters.ledger.store import read_bucket, read_tags
from sidecar.domain.hours import Hour, from_micros, start_of, to_micros
from sidecar.domain.quantity import exact
from sidecar.domain.status import AllocationView, BucketView, Progress, RecordPage, RecordQuery, RecordView

_KINDS = {"slot": "usage", "unsent": "usage"}
"""What readers call the kinds of a record's row; the other kinds go by their own name."""


def open_buckets(connection: sqlite3.Connection) -> list[BucketView]:
    """Return the open buckets, oldest hour first; what one hour has under several terms is one quantity."""
    found: dict[tuple[int, str, str], list[sqlite3.Row]] = {}
    for row in connection.execute(
        "SELECT bucket.*, name, tags FROM bucket JOIN dimension ON dimension.id = bucket.dimension"
        " JOIN tag_set ON tag_set.id = bucket.tag_set WHERE sealed = 0 ORDER BY hour, name, tags"
    ):
        found.setdefault((row["hour"], row["name"], row["tags"]), []).append(row)
    return [
        BucketView(
            dimension=name,
            hour=start_of(Hour(hour)),
            quantity=sum(read_bucket(row).quantity for row in rows),
            tags=read_tags(tags),
            events=sum(row["events"] for row in rows),
        )
        for (hour, name, tags), rows in found.items()
    ]


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
