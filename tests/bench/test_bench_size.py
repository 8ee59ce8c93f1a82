"""How many bytes an event takes on disk, in pages in use, and what usage and status cost with many tag sets."""

import os
import sqlite3
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from sidecar.adapters.ledger import conservation, queries
from tests.bench.measuring import at_most, judge, tell
from tests.support.books import HOUR, Books, event

pytestmark = pytest.mark.timeout(60 * 60)

EVENTS = int(os.environ.get("BENCH_EVENTS", "300000")) // 30
"""Events of an hour."""
BATCH = 500
TAG_SETS = 100_000


def _used(connection: sqlite3.Connection) -> int:
    pages, free = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
    return int(pages - free) * 4096


def _take_hour(books: Books) -> None:
    for _ in range(EVENTS // BATCH):
        books.take(*(event("1", id=str(uuid.uuid4())) for _ in range(BATCH)))


def test_bytes_per_event(tmp_path: Path) -> None:
    """An event with a random UUID, whole and as digests: after one hour, and in the third day of the same load."""
    books = Books(tmp_path / "ledger.db", durable=False)
    empty = _used(books.store.connection)
    _take_hour(books)
    judge("an event until its hour is sealed", "bytes", (_used(books.store.connection) - empty) / EVENTS, at_most(160))
    for hours in range(1, 61):
        books.pass_time(HOUR)
        books.seal_ended()
        books.submit_all()
        books.prune()
        if hours in (1, 60):
            kept = books.count("event_digest")
            each = (_used(books.store.connection) - empty) / kept
            judge(f"an event after {hours} hours, {kept:,} kept", "bytes", each, at_most(64))
        _take_hour(books)
    books.close()


def test_status_with_many_tag_sets(tmp_path: Path) -> None:
    """What a status, a page of open buckets and usage take on the ledger's thread with 100,000 open tag sets."""
    books = Books(tmp_path / "ledger.db", durable=False)
    books.store.totals.attach(books.store.connection)
    books.store.totals.quantities(books.store.connection)
    for start in range(0, TAG_SETS, BATCH):
        books.take(*(event("1", tags=(("Tenant", f"t{start + number}"),)) for number in range(BATCH)))
    connection, totals = books.store.connection, books.store.totals
    looks: dict[str, Callable[[], object]] = {
        "status by running totals": lambda: conservation.terms(connection, totals.quantities(connection)),
        "status by adding up": lambda: conservation.terms(connection),
        "page of open buckets": lambda: queries.open_buckets(connection, limit=1001),
        "all open buckets": lambda: queries.open_buckets(connection),
        "one event": lambda: books.take(event("1", tags=(("Tenant", "t7"),))),
    }
    for name, look in looks.items():
        began = time.perf_counter()
        look()
        tell(f"{name:<44} {(time.perf_counter() - began) * 1000:10.2f} ms with {TAG_SETS:,} tag sets")
    books.pass_time(timedelta(hours=1))
    books.close()
