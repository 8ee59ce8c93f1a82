"""What is kept of an event: nothing without an id, the whole of it while its hour is open, then digests."""

import os
import sqlite3
import uuid
from contextlib import closing
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from sidecar.adapters.ledger import compaction, digests, integrity, queries
from sidecar.adapters.ledger.file import prepare
from sidecar.adapters.ledger.schema import APPLICATION_ID, MIGRATIONS
from sidecar.domain.metering.events import IdReused, Receipt, UsageEvent
from tests.support.books import HOUR, NOW, RED, Books, event


def seal_and_prune(books: Books) -> None:
    """Let the hour end, seal it and do everything that there is to tidy."""
    books.pass_time(HOUR)
    books.seal_ended()
    books.prune()


def test_event_without_id_has_no_row(books: Books) -> None:
    """An event without an id is in its bucket and in the bucket's tally, and nowhere else; the proof holds."""
    for _ in range(3):
        books.take(event("1.5"), event("2", tags=RED), event(dimension="users", value="ann"))
    assert (0, 0) == (books.count("event"), books.count("event_digest"))
    assert {"accepted": "10.5", "open": "10.5"} == books.shown()
    assert 3 == books.count("dropped_events")
    assert [] == books.breaches()


def test_open_hour_keeps_events_whole(books: Books) -> None:
    """Until its hour is sealed an event is listed, and a reused id is refused by the field that differs."""
    books.take(event("1", id="a"))
    books.prune()
    assert (1, 0) == (books.count("event"), books.count("event_digest"))
    with pytest.raises(IdReused) as refused:
        books.take(event("2", id="a"))
    assert ["quantity"] == [fault.field for fault in refused.value.faults]


def test_sealed_hour_leaves_digests(books: Books) -> None:
    """Once its hour is sealed an event is a row of digests, its id still counts once, and `id-reused` names the id."""
    books.take(event("1", id="a", tags=RED, at=NOW), event(dimension="users", value="ann", id="u"))
    seal_and_prune(books)
    assert (0, 2) == (books.count("event"), books.count("event_digest"))
    assert 2 == digests.count(books.store.connection)
    assert Receipt(0, 2) == books.take(
        event("1.0", id="a", tags=RED, at=NOW), event(dimension="users", value="ann", id="u")
    )
    for other in (
        event("2", id="a", tags=RED, at=NOW),
        event("1", id="a", at=NOW),
        event("1", id="a", tags=RED),
        event(dimension="users", value="bob", id="u"),
        event(dimension="peak", id="a", tags=RED, at=NOW),
    ):
        with pytest.raises(IdReused) as refused:
            books.take(event("1", id="new"), other)
        assert [(1, "id")] == [(fault.index, fault.field) for fault in refused.value.faults]
    assert {"accepted": "1", "sealed": "1"} == books.shown()
    assert [] == list(integrity.integrity_errors(books.store.connection))


def test_digest_and_new_share_a_batch(books: Books) -> None:
    """A batch of known and new ids counts the new ones only, and its neighbors in the commit are not touched."""
    books.take(event("1", id="a"))
    seal_and_prune(books)
    assert Receipt(1, 2) == books.take(event("1", id="a"), event("1", id="b"), event("1", id="a"))
    assert Receipt(0, 2) == books.take(event("1", id="a"), event("1", id="b"))


def test_ids_outlive_restart_and_pod(books: Books) -> None:
    """Digests are the ledger's, so neither a restart nor another pod counts an id again."""
    books.take(event("1", id="a"))
    seal_and_prune(books)
    books.restart()
    assert Receipt(0, 1) == books.take(event("1", id="a"))
    books.restart("pod-2")
    assert Receipt(0, 1) == books.take(event("1", id="a"))


@pytest.mark.parametrize(("hours", "known"), [(24, True), (25, True), (28, False)])
def test_digest_lives_as_long_as_the_window(books: Books, hours: int, known: bool) -> None:  # noqa: FBT001 - a table
    """An id is known for 26 hours at least and dropped in the hour after them, whether or not its hour was sealed."""
    books.take(event("1", id="a"))
    seal_and_prune(books)
    books.take(event("1", id="b"))
    books.pass_time(timedelta(hours=hours))
    books.prune()
    assert Receipt(0, 1) == books.take(event("1", id="a")) if known else Receipt(1, 0) == books.take(event("1", id="a"))
    assert [] == list(integrity.integrity_errors(books.store.connection))


def test_key_leaves_a_digest(books: Books) -> None:
    """An Idempotency-Key costs a row of digests; the same batch counts once, and another one under it is refused."""
    books.take(event("1"), key="k")
    assert (0, 1) == (books.count("batch"), books.count("key_digest"))
    assert Receipt(0, 1) == books.take(event("1"), key="k")
    with pytest.raises(IdReused) as refused:
        books.take(event("2"), key="k")
    assert ["Idempotency-Key"] == [fault.field for fault in refused.value.faults]


def test_late_event_is_compacted_too(books: Books) -> None:
    """An event that comes after its hour was sealed is kept whole until the next hour is, then as digests."""
    seal_and_prune(books)
    books.take(event("1", dimension="peak"))
    books.pass_time(2 * HOUR)
    books.seal_ended()
    books.take(event("3", id="late", dimension="peak", at=books.now - 2 * HOUR))
    books.pass_time(HOUR)
    books.seal_ended()
    books.prune()
    assert (0, 1) == (books.count("event"), books.count("event_digest"))
    assert [] == books.breaches()


def test_compaction_is_small_steps(books: Books) -> None:
    """A step takes a bounded number of events, so usage never waits long; the pass ends with all of them."""
    for start in range(0, 1000, 500):
        books.take(*(event("1", id=str(start + number)) for number in range(500)))
    books.pass_time(HOUR)
    books.seal_ended()
    left = [books.count("event")]
    more = True
    while more:
        with books.store.transaction():
            more = compaction.compact(books.store, now=now(books), before=0)
        left.append(books.count("event"))
    assert {compaction.COMPACTED_PER_STEP, 0} >= {before - after for before, after in pairwise(left)}
    assert (0, 1000) == (books.count("event"), books.count("event_digest"))


def now(books: Books) -> int:
    """Return the present instant in epoch microseconds."""
    return int(books.now.timestamp()) * 1_000_000


def test_undone_step_is_done_again(books: Books) -> None:
    """A step that the disk did not take leaves no gap: the next pass finds its events."""
    books.take(*(event("1", id=str(number)) for number in range(300)))
    books.pass_time(HOUR)
    books.seal_ended()
    with pytest.raises(RuntimeError), books.store.transaction():  # noqa: PT012 - the transaction is what is undone
        compaction.compact(books.store, now=now(books), before=0)
        raise RuntimeError
    books.prune()
    assert (0, 300) == (books.count("event"), books.count("event_digest"))


def test_lost_digest_is_named(books: Books) -> None:
    """`ledger verify` names a digest that was removed, and one that is damaged."""
    books.take(event("1", id="a"), event("1", id="b"))
    seal_and_prune(books)
    books.store.connection.execute("DELETE FROM event_digest WHERE id = (SELECT min(id) FROM event_digest)")
    books.store.connection.execute("UPDATE event_digest SET content = x'00'")
    found = list(integrity.integrity_errors(books.store.connection))
    assert [True, True] == [found[0].endswith(" is damaged"), found[1].endswith("but 2 were written")]


def test_digest_is_at_most_64_bytes(tmp_path: Path) -> None:
    """With random ids, pages in use grow by at most 64 bytes for each event once its hour is sealed."""
    books = Books(tmp_path / "ledger.db", durable=False)
    seal_and_prune(books)
    empty = pages_in_use(books.store.connection)
    events = 6000
    for _ in range(events // 500):
        books.take(*(event("1", id=str(uuid.uuid4())) for _ in range(500)))
    seal_and_prune(books)
    used = (pages_in_use(books.store.connection) - empty) * 4096
    books.close()
    assert used / events <= 64


def pages_in_use(connection: sqlite3.Connection) -> int:
    """Return the pages that hold something."""
    count, free = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
    return int(count) - int(free)


def test_room_is_bounded_by_the_window(tmp_path: Path) -> None:
    """Day after day of as many events need no more room than the first two: what is outdated makes room for the new."""
    books = Books(tmp_path / "ledger.db", durable=False)
    used = []
    for _ in range(5):
        for _ in range(8):
            books.take(*(event("1", id=os.urandom(8).hex()) for _ in range(100)))
            books.pass_time(3 * HOUR)
            books.seal_ended()
            books.submit_all()
            books.prune()
        used.append(pages_in_use(books.store.connection))
    books.close()
    assert used[4] <= used[1] * 1.1


@pytest.fixture(name="first")
def _first(tmp_path: Path) -> Path:
    """Make a ledger of version 1 with a whole event, a nameless one and a key, as that version wrote them."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(
            f"BEGIN; {MIGRATIONS[0]} PRAGMA user_version = 1; PRAGMA application_id = {APPLICATION_ID}; COMMIT;"
        )
        at, hour = int(NOW.timestamp()) * 1_000_000, int(NOW.timestamp()) // 3600 * 3600
        connection.executescript(
            f"""
            INSERT INTO pod VALUES (1, 'pod-1', 'downward-api', {at});
            INSERT INTO dimension (id, name, accepted) VALUES (1, 'requests', '3');
            INSERT INTO event VALUES (1, 'old', 1, 0, 1000000, NULL, NULL, {at}, {hour}, 1, {at});
            INSERT INTO event VALUES (2, NULL, 1, 0, 2000000, NULL, NULL, {at}, {hour}, 1, {at});
            INSERT INTO batch VALUES ('k', x'00', {at});
            INSERT INTO bucket VALUES (1, 1, {hour}, 0, '3', '0', '0', 2, NULL, 0, NULL);
            """
        )
    return path


def test_first_version_is_read_as_it_is(first: Path) -> None:
    """Opening a ledger of version 1 rewrites no row; its ids and keys are known and age out like the rest."""
    books = Books(first, durable=False)
    assert (2, 1) == (books.count("event_by_id"), books.count("batch"))
    assert Receipt(0, 1) == books.take(event("1", id="old"))
    with pytest.raises(IdReused):
        books.take(event("1"), key="k")
    seal_and_prune(books)
    assert (0, 1, 1) == (books.count("event_by_id"), books.count("event_digest"), books.count("batch"))
    assert Receipt(0, 1) == books.take(event("1", id="old"))
    assert [] == books.breaches()
    books.pass_time(timedelta(hours=28))
    books.prune()
    assert (0, 0, 0) == (books.count("event_by_id"), books.count("event_digest"), books.count("batch"))
    assert [] == books.breaches()
    books.close()


def test_opening_touches_few_pages(first: Path) -> None:
    """A ledger of version 1 becomes a current one by a few pages, however many events it holds."""
    with closing(sqlite3.connect(first, isolation_level=None)) as connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
            " INSERT INTO event SELECT i, 'e' || i, 1, 0, 1, NULL, NULL, 1, 3600, 1, 1 FROM n"
        )
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with closing(sqlite3.connect(first, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        prepare(connection, first)
        written = first.with_name("ledger.db-wal").stat().st_size
    assert written < 40 * 4096


def test_listing_counts_what_is_kept(books: Books) -> None:
    """`ledger status` counts ids whether the event is whole or digested; `ledger events` lists the whole ones."""
    books.take(event("1", id="a"))
    seal_and_prune(books)
    books.take(event("1", id="b"), event("1"))
    assert 2 == queries.overview(books.store.connection).events
    assert ["b"] == [found.id for found in queries.events(books.store.connection, queries.EventQuery())]


def test_digests_agree(books: Books) -> None:
    """Whole events and events as they come give one content digest, for every kind of field."""
    given: list[UsageEvent] = [
        event("0.000001", id="ä" * 255, tags=(("A", "1"), ("B", "ü"))),
        event(dimension="users", value="x\ny", id="2", at=NOW),
        event("9999999999.999999", id="3", at=NOW - HOUR),
    ]
    books.take(*given)
    books.pass_time(2 * HOUR)
    books.seal_ended()
    books.prune()
    assert 3 == books.count("event_digest")
    assert Receipt(0, 3) == books.take(*given)
