"""What each step on the ledger's thread takes at AWS's own limits: 24 dimensions with 2,500 tag sets, and a past.

A step keeps usage and every answer waiting. The baseline of pruning is SQLite alone, which deletes as many of the same
rows by their key.
"""

import os
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from sidecar.adapters.ledger import conservation, pruning, queries
from sidecar.domain.metering.events import Aggregation, Dimension
from sidecar.domain.metering.hours import SECONDS, hour_of, to_micros
from sidecar.domain.metering.outcomes import Outcome
from tests.bench.measuring import ROUNDS, alternate, at_most, compare, judge, seconds
from tests.support.books import HOUR, NOW, RULES, Books, event

Result = TypeVar("Result")

pytestmark = pytest.mark.timeout(60 * 60)

TAG_SETS = 2500
KEPT_HOURS = int(os.environ.get("BENCH_KEPT_HOURS", "20"))
"""Closed hours in the ledger; nine days of them are 216."""
VALUES = int(os.environ.get("BENCH_VALUES", "1000000"))
"""Unique values of an hour that is to be pruned."""
STEP = 2000
STEPS = 20
LONGEST_MS = 25
COUNTED = "users"
DIMENSIONS = (*(f"d{number}" for number in range(23)), COUNTED)
_KINDS = {name: Dimension(name, Aggregation.UNIQUE if name == COUNTED else Aggregation.SUM) for name in DIMENSIONS}
_DELETE = "DELETE FROM distinct_value WHERE hour = ? AND pod = ? AND dimension = ? AND tag_set = ? AND digest = ?"


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """A ledger with all tag sets open, as many in each kept hour, and unique values that have served their time."""
    books = Books(tmp_path / "ledger.db", replace(RULES, dimensions=_KINDS), durable=False)
    store = books.store
    store.totals.attach(store.connection)
    _take_every_tag_set(books, DIMENSIONS)
    with store.transaction():
        for hours in range(1, KEPT_HOURS + 1):
            store.connection.execute(
                "INSERT INTO bucket SELECT pod, dimension, hour - ?, tag_set, own, '0', '0', events, last_at, 1, NULL"
                " FROM bucket WHERE hour = ?",
                (hours * SECONDS, hour_of(NOW)),
            )
        _insert_values(store.connection, store.dimension(COUNTED))
    yield books
    books.close()


def _take_every_tag_set(books: Books, names: Sequence[str]) -> None:
    for start in range(0, TAG_SETS, 100):
        books.take(
            *(
                event("1", dimension=name, value="v" if name == COUNTED else None, tags=(("Tenant", f"t{number}"),))
                for name in names
                for number in range(start, start + 100)
            )
        )


def _insert_values(connection: sqlite3.Connection, dimension: int) -> None:
    rows = ((hour_of(NOW) - 40 * SECONDS, 1, dimension, number % TAG_SETS, os.urandom(16)) for number in range(VALUES))
    connection.executemany("INSERT INTO distinct_value VALUES (?, ?, ?, ?, ?)", rows)


def test_steps_at_limits(books: Books) -> None:
    """Status, metrics, a page of open buckets, the search for ended hours and one event cost what they return."""
    connection, totals = books.store.connection, books.store.totals
    steps: dict[str, Callable[[], object]] = {
        "terms of a status": lambda: conservation.terms(connection, totals.quantities(connection)),
        "progress of a status": lambda: queries.progress(connection),
        "page of open buckets": lambda: queries.open_buckets(connection, limit=1001),
        "hours to seal, none": books.sealable,
        "hours to come, none": books.rebook_future_hours,
        "one event": lambda: books.take(event("1", dimension="d0", tags=(("Tenant", "t7"),))),
    }
    totals.quantities(connection)
    for name, step in steps.items():
        taken = statistics.median(seconds(step) for _ in range(ROUNDS)) * 1000
        judge(f"{name}, 60,000 open tag sets", "ms", taken, at_most(LONGEST_MS))
    books.pass_time(HOUR + timedelta(minutes=5))
    judge("hours to seal, 24 dimensions", "ms", seconds(books.sealable) * 1000, at_most(LONGEST_MS))
    _judge_each("seal of 2,500 tag sets", [partial(books.seal, hour_of(NOW), name) for name in DIMENSIONS])
    records = books.waiting()
    begun = _judge_each("attempt with 2,500 tag sets", [partial(books.begin, each) for each in records])
    expired = [partial(books.answer, *each, Outcome.EXPIRED) for each in zip(records, filter(None, begun), strict=True)]
    _judge_each("carry of 2,500 tag sets", expired[::2])
    _take_every_tag_set(books, [record.dimension for record in records[1::2]])
    _judge_each("carry of 2,500 tag sets to the same ones", expired[1::2])
    assert {"carried"} == {record.status for record in books.records()}


def _judge_each(name: str, steps: Sequence[Callable[[], Result]]) -> list[Result]:
    """Print the median processor time of steps that can run only once each; return their results."""
    results: list[Result] = []
    taken: list[float] = []
    for step in steps:
        began = time.thread_time()
        results.append(step())
        taken.append(time.thread_time() - began)
    judge(name, "ms", statistics.median(taken) * 1000, at_most(LONGEST_MS))
    return results


def test_pruning_unique_values(books: Books, tmp_path: Path) -> None:
    """A step of pruning takes as long as SQLite needs to delete as many of the same rows by their key."""
    raw = sqlite3.connect(tmp_path / "raw.db", isolation_level=None)
    raw.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")
    (table,) = books.store.rows("SELECT sql FROM sqlite_schema WHERE name = 'distinct_value'")
    raw.execute(table["sql"])
    raw.execute("BEGIN")
    _insert_values(raw, 1)
    raw.execute("COMMIT")

    def ours() -> None:
        for _ in range(STEPS):
            with books.store.transaction():
                pruning.prune(books.store, to_micros(books.now))

    def alone() -> None:
        for _ in range(STEPS):
            raw.execute("BEGIN")
            raw.executemany(_DELETE, raw.execute(f"SELECT * FROM distinct_value LIMIT {STEP}").fetchall())
            raw.execute("COMMIT")

    measured = alternate(lambda: seconds(ours) / STEPS * 1000, lambda: seconds(alone) / STEPS * 1000)
    compare(f"step of pruning {STEP:,} unique values", "ms", at_most(3), measured)
    judge("step of pruning unique values", "ms", statistics.median(measured[0]), at_most(LONGEST_MS))
    raw.close()
