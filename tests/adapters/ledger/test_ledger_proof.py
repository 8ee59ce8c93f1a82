"""The proof finds every row and total that is not what its parts make it."""

import sqlite3
import tracemalloc
from collections import Counter
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.adapters.ledger import conservation, integrity, windows
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.policy import LatePolicy
from tests.support.books import HOUR, NOW, RED, RULES, UNBILLED_LATE, Books, event


@pytest.fixture
def told(tmp_path_factory: pytest.TempPathFactory) -> Books:
    """Make a ledger in which every kind of row is there."""
    books = Books(tmp_path_factory.mktemp("proof") / "ledger.db", durable=False)
    books.take(event("1", tags=RED), event("9999999999.999999"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all()
    books.take(event("3", at=NOW), event("2", dimension="peak"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all(Outcome.EXPIRED)
    books.take(event("4"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all(Outcome.DUPLICATE)
    books.rules = UNBILLED_LATE
    books.take(event("6", at=NOW), event("1"))
    assert LatePolicy.CARRY is RULES.late
    assert [] == books.breaches()
    return books


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE bucket SET own = '7' WHERE sealed = 0", "accepted is"),
        ("UPDATE bucket SET own = '7' WHERE hour = {ten} AND tag_set = 0", "gathered"),
        ("UPDATE bucket SET carried = '1' WHERE sealed = 0", "carried in 1 but the entries make"),
        ("UPDATE bucket SET moved = '1' WHERE sealed = 0", "moved out"),
        ("UPDATE bucket SET moved = '2' WHERE sealed = 0", "is negative"),
        ("DELETE FROM bucket WHERE sealed = 0", "accepted is"),
        ("UPDATE record SET quantity = '8' WHERE status = 'accepted'", "what became of it differ"),
        ("UPDATE record SET quantity = '8' WHERE kind = 'late'", "what became of it differ"),
        ("UPDATE record SET gathered = '8' WHERE kind = 'late'", "moved out"),
        ("UPDATE record SET gathered = '8' WHERE status = 'carried'", "gathered 8 but its buckets make"),
        ("UPDATE record SET excess = '0' WHERE excess <> '0'", "excess 0"),
        ("UPDATE record SET remainder_after = '1' WHERE status = 'carried'", "what became of it differ"),
        ("UPDATE record SET status = 'accepted' WHERE status = 'unbilled' AND kind = 'slot'", "without a metering"),
        ("UPDATE record SET status = 'sealed' WHERE status = 'carried'", "sealed, but"),
        ("UPDATE record SET metering_record_id = NULL WHERE status = 'accepted'", "without a metering record id"),
        ("DELETE FROM record WHERE status = 'unbilled'", "unbilled is"),
        ("DELETE FROM record WHERE status = 'accepted'", "submitted is"),
        ("UPDATE allocation SET quantity = '2' WHERE tag_set <> 0", "its allocations make"),
        ("UPDATE carry SET quantity = '2' WHERE cause = 'over-limit'", "was carried on"),
        ("DELETE FROM carry WHERE cause = 'expired'", "of it was carried on"),
        ("DELETE FROM carry WHERE cause = 'late'", "the entries make"),
        ("UPDATE dimension SET accepted = '1' WHERE name = 'requests'", "accepted is 1"),
        ("UPDATE dimension SET submitted = '1' WHERE name = 'requests'", "submitted is 1"),
        ("UPDATE dimension SET unbilled = '1' WHERE name = 'requests'", "unbilled is 1"),
        ("UPDATE dimension SET remainder = '1' WHERE name = 'requests'", "its parts make"),
    ],
)
def test_damage_found(told: Books, damage: str, words: str) -> None:
    """Each change of one value by another hand than the ledger's is named by the proof."""
    hour = told.store.one("SELECT min(hour) AS hour FROM record")["hour"]
    changed = told.store.connection.execute(damage.format(ten=hour)).rowcount
    found = told.breaches()
    told.close()
    assert changed
    assert any(words in sentence for sentence in found), found


def test_windows_find_the_same(told: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Window by window the proof names what it names in one transaction, however few rows a window has."""
    told.store.connection.executescript(
        "UPDATE bucket SET own = '7', carried = '1', moved = '1'; UPDATE event SET hour = hour + 3600;"
        "UPDATE record SET quantity = '8', excess = '3'; UPDATE allocation SET quantity = '2'"
    )

    def found() -> Counter[str]:
        return Counter([*told.breaches(), *conservation.event_breaches(told.store.connection)])

    with told.store.transaction():
        at_one_instant = found()
    monkeypatch.setattr(windows, "MOST_ROWS", 1)
    by_windows = found()
    told.close()
    assert at_one_instant == by_windows
    assert len(by_windows) > 20


def test_windows_cover_every_key() -> None:
    """Windows are in order, without a gap that has a key, and none has more than its rows."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE row (key INTEGER)")
        assert [] == list(windows.windows(connection, "SELECT key FROM row"))
        keys = [*range(0, 3 * windows.MOST_ROWS, 3), 10**12, *[10**15] * (windows.MOST_ROWS + 1)]
        connection.executemany("INSERT INTO row VALUES (?)", [(key,) for key in keys])
        found = list(windows.windows(connection, "SELECT key FROM row"))
    sizes = [sum(low <= key < high for key in keys) for low, high in found]
    assert sorted(found) == found
    assert len(keys) == sum(sizes)
    assert windows.MOST_ROWS + 1 == sizes[-1]
    assert all(0 < size <= windows.MOST_ROWS for size in sizes[:-1])


def test_proof_holds_no_rows(books: Books) -> None:
    """The proof reads rows next to each other: its memory does not grow with them."""
    store = books.store
    peaks = []
    for hours in (100, 2000):
        with store.transaction():
            _add_hours(books, hours)
        tracemalloc.start()
        assert [] == [*books.breaches(), *conservation.event_breaches(store.connection)]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]


def _add_hours(books: Books, hours: int) -> None:
    """Add accepted records with bucket, tally and allocation, and the totals that they make."""
    store = books.store
    dimension = store.dimension("requests")
    first = store.one("SELECT ifnull(max(hour), 0) AS hour FROM record")["hour"] + 3600
    for hour in range(first, first + hours * 3600, 3600):
        cursor = store.connection.execute(
            "INSERT INTO record (pod, dimension, hour, kind, status, quantity, whole, gathered, remainder_before,"
            " remainder_after, excess, client_token, timestamp, metering_record_id, sealed_at, settled_at)"
            " VALUES (?, ?, ?, 'slot', 'accepted', '1.5', 0, '1.5', '0', '0', '0', ?, 1, 'mr', 1, 1)",
            (store.pod, dimension, hour, str(hour)),
        )
        slot = (store.pod, dimension, hour)
        bucket = "INSERT INTO bucket VALUES (?, ?, ?, 0, '1.5', '0', '0', 1, 1, 1, ?)"
        store.connection.execute(bucket, (*slot, cursor.lastrowid))
        store.connection.execute("INSERT INTO dropped_events VALUES (?, ?, ?, 0, 1, '1.5')", slot)
        store.connection.execute("INSERT INTO allocation VALUES (?, 0, '1.5')", (cursor.lastrowid,))
    for term in ("accepted", "submitted"):
        store.add_to(dimension, term, hours * 1_500_000)


@given(st.text("0123456789.-e \0\u0661", max_size=12) | st.from_regex(r"-?[0-9]{1,12}(\.[0-9]{0,8})?", fullmatch=True))
def test_sqlite_finds_what_is_a_quantity(text: str) -> None:
    """What SQLite passes as a quantity is one, and it passes each one without a sign."""
    with closing(sqlite3.connect(":memory:")) as connection:
        statement = f"SELECT {integrity._PLAIN.format('text')} FROM (SELECT ? AS text)"
        (passed,) = connection.execute(statement, (text,)).fetchone()
    right = integrity._QUANTITY.fullmatch(text) is not None
    assert bool(passed) is (right and not text.startswith("-"))
