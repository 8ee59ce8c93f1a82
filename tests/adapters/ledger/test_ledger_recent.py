"""Ids in memory and their merge into the index: each id counts once, whenever a merge, an end or a fault comes."""

import hashlib
import json
import random
import sqlite3
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.adapters.ledger import compaction, conservation, digests, integrity, queries, recent, taking
from sidecar.adapters.ledger.digests import Fields
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.adapters.ledger.recent import RecentIds
from sidecar.adapters.ledger.space import Space
from sidecar.domain.metering.events import IdReused, LedgerUnavailable, Receipt, UsageBatch, UsageEvent
from sidecar.domain.metering.hours import Hour, hour_of
from tests.support.books import HOUR, NOW, RED, RULES, Books, event, make_schema_4

MERGED_FROM = 20


@pytest.fixture(autouse=True)
def _small_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MERGED_FROM": MERGED_FROM, "MERGED_PER_STEP": 6, "IDS_PER_STEP": 3}.items():
        monkeypatch.setattr(recent, name, value)
    monkeypatch.setattr(compaction, "MERGED_FIRST_FROM", 10)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    """A ledger in use."""
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    yield ledger
    await ledger.close()


def identified(count: int) -> list[UsageEvent]:
    """Return events with ids in random order."""
    dice = random.Random(11)
    return [event("1", id=str(uuid.UUID(int=dice.getrandbits(128)))) for _ in range(count)]


def merge_step(books: Books) -> bool:
    """Do one step of a merge, as intake does."""
    with books.store.transaction():
        books.store.recent.load(books.store.connection)
        return books.store.recent.merge(books.store.connection)


def in_memory(books: Books) -> int:
    """Return how many digests lie in memory."""
    return books.count("temp.recent_id")


async def test_every_id_counts_once(ledger: Ledger) -> None:
    """Through many merges each id is recognized; memory holds at most one and a half times what begins one."""
    events = identified(200)
    memory: list[int] = []
    for number, each in enumerate(events):
        assert [Receipt(1, 0)] == await ledger.take([UsageBatch([each])], NOW)
        assert [Receipt(0, 2)] == await ledger.take([UsageBatch([each, events[number // 2]])], NOW)
        memory.append(await look(ledger, "SELECT count(*) FROM temp.recent_id"))
    assert MERGED_FROM - 1 <= max(memory) <= MERGED_FROM * 3 // 2 + 3
    assert await look(ledger, "SELECT count(*) FROM event_digest") > 150
    assert [Receipt(0, 200)] == await ledger.take([UsageBatch(events)], NOW)
    assert 200_000_000 == (await ledger.terms())["requests"].accepted


async def look(ledger: Ledger, question: str) -> int:
    """Return the answer of the ledger's own connection."""
    return int(await ledger._read(lambda connection: connection.execute(question).fetchone()[0]))


@pytest.mark.parametrize("steps", range(6))
def test_restart_within_a_merge(books: Books, steps: int) -> None:
    """Whichever step of a merge was the last, the next process knows every id, and ends the merge."""
    events = identified(24)
    books.take(*events)
    assert [True] * min(steps, 4) + [False] * (steps - 4) == [merge_step(books) for _ in range(steps)]
    books.restart()
    assert Receipt(0, 24) == books.take(*events)
    assert Receipt(1, 0) == books.take(event("1", id="new"))
    while merge_step(books):
        pass
    assert (0, 25, 25) == (in_memory(books), books.count("event_digest"), books.count("event"))
    assert Receipt(0, 24) == books.take(*events)
    assert [] == list(integrity.integrity_errors(books.store.connection))


def test_restart_reads_what_was_not_merged(books: Books) -> None:
    """A process that opens the ledger reads only the digests that are not in the index."""
    books.take(*identified(24))
    while merge_step(books):
        pass
    books.take(event("1", id="new"))
    books.restart()
    assert Receipt(0, 1) == books.take(event("1", id="new"))
    assert 1 == in_memory(books)


def test_differing_field_is_named(books: Books) -> None:
    """While its digest is in memory a reused id is refused by the field that differs, after a restart as well."""
    books.take(event("1", id="a", tags=RED), event("1", id="b"))
    books.restart()
    with pytest.raises(IdReused) as refused:
        books.take(event("1", id="new"), event("2", id="a", tags=RED), event("1", id="b", tags=RED))
    assert [(1, "quantity"), (2, "tags")] == [(fault.index, fault.field) for fault in refused.value.faults]
    assert Receipt(1, 0) == books.take(event("1", id="new"))


def test_merged_id_is_named(books: Books) -> None:
    """Once its digest is merged a reused id is refused by the id: no other event of the hour is read for it."""
    books.take(event("1", id="a"), event("1", id="b"))
    while merge_step(books):
        pass
    with pytest.raises(IdReused) as refused:
        books.take(event("2", id="a"), event("1", id="b"))
    assert [(0, "id")] == [(fault.index, fault.field) for fault in refused.value.faults]


def test_refusal_reads_by_keys(books: Books) -> None:
    """A refused id costs a search by key, however many events the hour has: all usage waits for it."""
    books.take(event("1", id="a"))
    statement = f"SELECT event.id FROM {taking._RECENT_EVENTS} IN (?)"
    plan = [row["detail"] for row in books.store.rows(f"EXPLAIN QUERY PLAN {statement}", b"")]
    assert ["SEARCH", "SEARCH"] == [step.split()[0] for step in plan][:2]
    assert not any("SCAN" in step for step in plan)


def test_reuse_within_a_batch(books: Books) -> None:
    """One batch with one id for two events is refused by the field, and leaves nothing."""
    with pytest.raises(IdReused) as refused:
        books.take(event("1", id="a"), event("2", id="a"))
    assert [(1, "quantity")] == [(fault.index, fault.field) for fault in refused.value.faults]
    assert (0, 0) == (books.count("event"), in_memory(books))
    assert Receipt(1, 1) == books.take(event("2", id="a"), event("2", id="a"))


def test_undone_commit_leaves_no_digest(books: Books) -> None:
    """What a failed commit had taken is not recognized afterwards, and what was taken before is."""
    books.take(event("1", id="a"))
    with pytest.raises(LedgerUnavailable), books.store.transaction():  # noqa: PT012 - what is undone
        books.store.recent.load(books.store.connection)
        books.store.connection.execute("INSERT INTO temp.recent_id VALUES (x'00', x'00', 0, 9)")
        raise sqlite3.ProgrammingError
    assert Receipt(1, 1) == books.take(event("1", id="a"), event("1", id="b"))
    assert 2 == in_memory(books)


@pytest.mark.parametrize(
    "refused",
    [
        (sqlite3.SQLITE_TRANSACTION, "BEGIN"),
        (sqlite3.SQLITE_INSERT, "event"),
        (sqlite3.SQLITE_INSERT, "recent_id"),
        (sqlite3.SQLITE_TRANSACTION, "COMMIT"),
    ],
)
def test_failed_commit_reads_nothing_again(books: Books, refused: tuple[int, str]) -> None:
    """On a disk that fails a commit costs the same however many digests wait, and what was taken stays known."""
    events = identified(18)
    books.take(*events[:9])
    connection = books.store.connection
    connection.set_authorizer(
        lambda action, name, *_: sqlite3.SQLITE_DENY if (action, name) == refused else sqlite3.SQLITE_OK
    )
    with pytest.raises(LedgerUnavailable):
        books.take(*events[9:])
    connection.set_authorizer(None)
    executed: list[str] = []
    connection.set_trace_callback(executed.append)
    assert Receipt(9, 9) == books.take(*events)
    connection.set_trace_callback(None)
    assert [] == [each for each in executed if "FROM event WHERE seq" in each]
    assert list(range(1, 19)) == [row["seq"] for row in books.store.rows("SELECT seq FROM event ORDER BY seq")]
    assert 18 == in_memory(books)


def test_numbers_are_not_given_twice(books: Books) -> None:
    """When all rows are gone, after a restart as well, the next event has a new number: numbers tell what is merged."""
    books.take(*identified(24))
    books.pass_time(HOUR)
    books.seal_ended()
    books.prune()
    assert (0, 24) == (books.count("event"), books.count("event_digest"))
    books.restart()
    books.take(event("1", id="new"))
    assert 25 == books.store.one("SELECT max(seq) AS seq FROM event")["seq"]
    assert 1 == in_memory(books)


async def test_merge_that_fails_costs_no_usage(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Usage is durable before the merge: a disk that fails then does not fail the batch, and a later merge ends."""
    events = identified(60)

    def fail(self: RecentIds, connection: sqlite3.Connection) -> bool:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(RecentIds, "merge", fail)
        for start in range(0, 40, 10):
            assert [Receipt(10, 0)] == await ledger.take([UsageBatch(events[start : start + 10])], NOW)
    assert 0 == await look(ledger, "SELECT count(*) FROM event_digest")
    assert [Receipt(20, 40)] == await ledger.take([UsageBatch(events)], NOW)
    assert await look(ledger, "SELECT count(*) FROM event_digest") > 0


async def test_merge_needs_room(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room digests wait, and a sealed hour is dropped all the same: each event for its digests."""
    monkeypatch.setattr(Space, "has_room_for_pages", lambda *_: False)
    events = identified(60)
    for start in range(0, 60, 10):
        await ledger.take([UsageBatch(events[start : start + 10])], NOW)
    assert (0, 60) == (
        await look(ledger, "SELECT count(*) FROM event_digest"),
        await look(ledger, "SELECT count(*) FROM temp.recent_id"),
    )
    later = NOW + HOUR
    for hour, dimension in await ledger.sealable(before=hour_after(), zero_from=hour_after(), now=later):
        await ledger.seal(hour, dimension, lambda: later, None)
    while await ledger.prune(later):
        pass
    assert (60, 0, 0) == (
        await look(ledger, "SELECT count(*) FROM event_digest"),
        await look(ledger, "SELECT count(*) FROM temp.recent_id"),
        await look(ledger, "SELECT count(*) FROM event"),
    )
    assert [Receipt(0, 60)] == await ledger.take([UsageBatch(events)], later)


def hour_after() -> Hour:
    """Return the hour that follows the test's."""
    return hour_of(NOW + HOUR)


def test_pass_merges_first(books: Books) -> None:
    """A pass over many events begins with a merge; events of the open hour stay whole and are recognized."""
    events = identified(40)
    books.take(*events[:30])
    books.pass_time(HOUR)
    books.take(*events[30:])
    books.seal_ended()
    books.prune()
    assert (10, 40, 0) == (books.count("event"), books.count("event_digest"), in_memory(books))
    assert Receipt(0, 40) == books.take(*events)
    assert 40 == queries.overview(books.store.connection).events
    assert [] == books.breaches()


@pytest.fixture
def older(tmp_path: Path) -> Iterator[Books]:
    """A ledger of schema 4 with whole events of every kind, opened by this version."""
    books = Books(tmp_path / "older.db", durable=False)
    books.take(
        event("1", id="a", tags=RED),
        event(dimension="users", value="x\ny", id="ü", at=NOW),
        event("0.000001", id="c", tags=(("A", '"'), ("B", "ü"))),
    )
    make_schema_4(books.store.connection)
    books.restart()
    yield books
    assert [] == [*integrity.integrity_errors(books.store.connection), *books.breaches()]
    books.close()


def test_events_of_the_version_before(older: Books) -> None:
    """Whole events of the version before are recognized, compared, listed and compacted as they lie."""
    assert (3, 0) == (older.count("event_by_id"), older.count("event"))
    assert Receipt(1, 2) == older.take(event("1", id="a", tags=RED), event("1", id="a", tags=RED), event("2", id="d"))
    with pytest.raises(IdReused) as refused:
        older.take(event("1", id="a"))
    assert ["tags"] == [fault.field for fault in refused.value.faults]
    connection = older.store.connection
    assert ["a", "ü", "c", "d"] == [each.id for each in queries.events(connection, queries.EventQuery())]
    assert ["a", "ü"] == [each.id for each in queries.events(connection, queries.EventQuery(limit=2))]
    assert 4 == queries.overview(connection).events
    assert [] == list(conservation.event_breaches(connection))
    older.pass_time(HOUR)
    older.seal_ended()
    older.prune()
    assert (0, 0, 4) == (older.count("event_by_id"), older.count("event"), older.count("event_digest"))
    assert not older.store.recent.has_old
    same = (
        event(dimension="users", value="x\ny", id="ü", at=NOW),
        event("0.000001", id="c", tags=(("A", '"'), ("B", "ü"))),
    )
    assert Receipt(0, 2) == older.take(*same)
    with pytest.raises(IdReused):
        older.take(event("0.000002", id="c", tags=(("A", '"'), ("B", "ü"))))


@pytest.mark.parametrize("merged", [False, True])
def test_old_events_are_digested(tmp_path: Path, *, merged: bool) -> None:
    """Ids of the version before are known after their hour was sealed, though a merge has ended before: each once."""
    books = Books(tmp_path / "older.db", durable=False)
    events = identified(40)
    books.take(*events)
    make_schema_4(books.store.connection)
    books.restart()
    books.take(event("1", id="new"))
    while merged and merge_step(books):
        pass
    books.pass_time(HOUR)
    books.seal_ended()
    books.prune()
    assert (0, 0, 41) == (books.count("event_by_id"), books.count("event"), books.count("event_digest"))
    assert Receipt(0, 41) == books.take(*events, event("1", id="new"))
    assert [] == books.breaches()
    books.close()


async def test_unreadable_room_is_no_room(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume that does not answer after a commit does not fail the batch that was committed."""
    measure, calls = Space.measure, 0

    def second_fails(self: Space, connection: sqlite3.Connection, open_buckets: int) -> object:
        nonlocal calls
        calls += 1
        if calls % 2 == 0:
            raise OSError
        return measure(self, connection, open_buckets)

    monkeypatch.setattr(Space, "measure", second_fails)
    assert [Receipt(30, 0)] == await ledger.take([UsageBatch(identified(30))], NOW)


texts = st.text(st.characters(codec="utf-8"), max_size=8)


@given(
    st.tuples(
        texts,
        st.integers(0, 10**16),
        st.none() | texts,
        st.none() | st.integers(0, 2**53),
        st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
    )
)
def test_content_is_as_json(fields: Fields) -> None:
    """The digest of a content is that of the text that `json.dumps` makes of its fields: digests outlive a version."""
    text = json.dumps(fields)
    assert hashlib.blake2b(text.encode(), digest_size=6).digest() == digests.digest_content(fields)


def test_digests_stay_as_they_were() -> None:
    """Digests that an older version wrote are found."""
    assert bytes.fromhex("5e44d03316b2") == digests.digest_content(("x", 0, "v", 5, ()))
