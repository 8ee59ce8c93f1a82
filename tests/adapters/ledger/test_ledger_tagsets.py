"""Tag sets: dropped once nothing refers to them, kept while anything does, and never a burden on a status."""

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from sidecar.adapters.ledger import conservation, integrity, queries, tagsweep, taking
from sidecar.adapters.ledger.file import open_for_writing
from sidecar.domain.metering.events import IdReused, LedgerUnavailable, Tags, UsageBatch
from sidecar.domain.metering.hours import to_micros
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.metering.rules import MeteringRules
from tests.support.books import HOUR, RED, UNBILLED_LATE, WHOLE, Books, event


def tenant(number: int) -> Tags:
    """Return a tag set."""
    return (("Tenant", f"tenant-{number}"),)


def test_unused_tag_sets_go(books: Books) -> None:
    """Tag sets go with the last bucket, record and movement that refers to them; the untagged one stays."""
    for number in range(30):
        books.take(event("1", tags=tenant(number)))
        books.pass_time(HOUR)
        books.seal_ended()
        books.submit_all()
    books.prune()
    assert 31 == books.count("tag_set")
    books.pass_time(timedelta(days=150))
    books.prune()
    books.prune()
    assert 1 == books.count("tag_set")
    assert [] == list(integrity.integrity_errors(books.store.connection))


def test_used_tag_sets_stay(open_books: Callable[[MeteringRules], Books]) -> None:
    """An unbilled record and an open bucket keep their tag sets, however old; a set that comes back is usable."""
    books = open_books(UNBILLED_LATE)
    books.take(event("1", tags=tenant(1)), event("1", tags=tenant(2)))
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all(Outcome.DUPLICATE)
    books.take(event("1", tags=tenant(3)))
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all()
    books.pass_time(timedelta(days=150))
    books.prune()
    books.prune()
    assert 3 == books.count("tag_set")
    books.take(event("1", tags=tenant(3)), event("1", tags=tenant(1)))
    assert [] == list(integrity.integrity_errors(books.store.connection))
    assert {tenant(1), tenant(3)} == {view.tags for view in queries.open_buckets(books.store.connection)}


def test_movement_between_terms_keeps_its_tag_set(tmp_path: Path) -> None:
    """A tag set stays while a movement into other terms names it, as it does for any other movement."""
    books = Books(tmp_path / "ledger.db")
    books.take(event("1", tags=tenant(1)))
    books.rules = WHOLE
    assert 1 == books.count("crossing")
    with books.store.transaction():
        for table in ("bucket", "event", "dropped_events"):
            books.store.connection.execute(f"DELETE FROM {table}")
    books.prune()
    assert 2 == books.count("tag_set")
    books.close()


def test_set_used_during_the_walk_stays(books: Books) -> None:
    """A tag set that is used while the walk is under way is not dropped, whether its id was remembered or not."""
    books.take(event("1", tags=tenant(1)))
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all()
    books.pass_time(timedelta(days=150))
    books.prune()
    books.store.sweep.is_due = True
    for _ in range(20):
        with books.store.transaction():
            more = books.store.sweep.step(books.store)
        # The walk has passed the open buckets by then, or comes to them.
        books.take(event("1", tags=tenant(1), at=books.now))
        if not more:
            break
    assert 2 == books.count("tag_set")
    assert [] == list(integrity.integrity_errors(books.store.connection))


def test_every_reference_keeps_its_tag_set(books: Books) -> None:
    """A tag set stays while a row of any table refers to it, by whichever way that row outlived the others."""
    connection = books.store.connection
    tables = [row["name"] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    referring = [
        table
        for table in tables
        if "tag_set" in {column["name"] for column in connection.execute(f"PRAGMA table_info({table})")}
    ]
    # Values of `unique` dimensions are dropped with their buckets.
    assert {name for name, _ in tagsweep.WALKS} == set(referring) - {"distinct_value"}


def test_totals_after_a_failed_begin(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that cannot begin, or is undone, leaves the totals as the rows make them."""
    followed(books)
    books.take(event("1"))
    books.take(event("2"))
    with closing(open_for_writing(books.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        books.store.connection.execute("PRAGMA busy_timeout = 0")
        with pytest.raises(LedgerUnavailable, match="locked"):
            books.take(event("4"))
    assert added_up(books) == open_totals(books)
    monkeypatch.setattr(taking, "record", lambda *_, **__: 1 / 0)
    with closing(open_for_writing(books.path)) as other:
        other.execute("UPDATE bucket SET carried = '5' WHERE sealed = 0")

    def ask_and_fail() -> None:
        with books.store.transaction():
            assert {books.store.dimension("requests"): 8_000_000} == open_totals(books)
            taking.take(books.store, [UsageBatch([event("4")])], books.rules, to_micros(books.now))

    with pytest.raises(ZeroDivisionError):
        ask_and_fail()
    assert added_up(books) == open_totals(books)
    with closing(open_for_writing(books.path)) as other:
        other.execute("UPDATE bucket SET carried = '0' WHERE sealed = 0")


def followed(books: Books) -> Books:
    """Follow the totals of a ledger as the running sidecar does."""
    books.store.totals.attach(books.store.connection)
    assert books.store.totals.quantities(books.store.connection) is not None
    return books


def open_totals(books: Books) -> dict[int, int]:
    """Return the running totals that are not nothing."""
    found = books.store.totals.quantities(books.store.connection)
    return {dimension: quantity for dimension, quantity in found.items() if quantity}


def added_up(books: Books) -> dict[int, int]:
    """Return the same from the rows."""
    sums: dict[int, int] = {}
    for name, terms in conservation.terms(books.store.connection).items():
        if terms.open:
            sums[books.store.dimension(name)] = terms.open
    return sums


def test_running_totals_follow_every_step(books: Books) -> None:
    """Taking, refusing, sealing, carrying, adopting and going back leave the totals as the rows make them."""
    followed(books)
    books.take(event("1.5", id="a"), event("2", tags=RED), event("3", dimension="peak"))
    assert added_up(books) == open_totals(books)
    fates = books.take_together(
        UsageBatch([event("7", id="b"), event("9", id="a")]), UsageBatch([event("4", id="c"), event("1.5", id="a")])
    )
    assert isinstance(fates[0], IdReused)
    assert added_up(books) == open_totals(books)
    books.pass_time(HOUR)
    books.seal_ended()
    assert {} == open_totals(books)
    books.take(event("1", at=books.now - HOUR))
    books.pass_time(10 * HOUR)
    books.expire()
    assert added_up(books) == open_totals(books) != {}
    assert 0 < books.store.totals.buckets(books.store.connection) == books.count("bucket WHERE sealed = 0")


def test_carry_of_a_record_takes_few_statements(books: Books) -> None:
    """A record with 600 shares is carried by as many statements as one with 2."""
    followed(books)
    costs = []
    for sets in (2, 600):
        books.pass_time(3 * HOUR)
        for start in range(0, sets, 100):
            books.take(*(event("1", tags=tenant(number)) for number in range(start, min(start + 100, sets))))
        books.pass_time(HOUR)
        books.seal_ended()
        (record,) = books.waiting()
        frozen = books.begin(record)
        assert frozen is not None
        noted: list[int] = []
        books.store.totals.note_tag_set = noted.append
        statements: list[str] = []
        books.store.connection.set_trace_callback(statements.append)
        books.answer(record, frozen, Outcome.EXPIRED)
        books.store.connection.set_trace_callback(None)
        assert [] == noted
        # A trigger shows its statement again, also where its condition is false.
        costs.append(len(set(statements)))
        assert added_up(books) == open_totals(books)
        books.pass_time(HOUR)
        books.seal_ended()
        books.submit_all()
    assert costs[0] == costs[1]
    assert [] == books.breaches()


def test_totals_notice_another_writer(books: Books) -> None:
    """What another process carries into an open bucket is in the next totals."""
    followed(books)
    books.take(event("1"))
    with closing(open_for_writing(books.path)) as other:
        other.execute("UPDATE bucket SET carried = '5' WHERE sealed = 0")
    assert {books.store.dimension("requests"): 6_000_000} == open_totals(books)
    with closing(open_for_writing(books.path)) as other:
        other.execute("UPDATE bucket SET carried = '0' WHERE sealed = 0")


def work(books: Books, look: Callable[[], object]) -> int:
    """Return how much SQLite does for a look, in hundreds of its instructions."""
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        ticks += 1

    books.store.connection.set_progress_handler(tick, 100)
    look()
    books.store.connection.set_progress_handler(None, 100)
    return ticks


def test_status_costs_the_same_with_many_tag_sets(open_books: Callable[[MeteringRules], Books]) -> None:
    """A status and a page of open buckets cost as much with 20,000 tag sets as with 1,100."""
    costs = []
    for sets in (1_100, 20_000):
        books = followed(open_books(UNBILLED_LATE))
        for start in range(0, sets, 1000):
            books.take(*(event("1", tags=tenant(number)) for number in range(start, min(start + 1000, sets))))
        connection, totals = books.store.connection, books.store.totals

        def status(books: Books = books) -> None:
            held = books.store.totals.quantities(books.store.connection)
            conservation.terms(books.store.connection, held)
            queries.progress(books.store.connection)

        def page(books: Books = books) -> None:
            queries.open_buckets(books.store.connection, limit=1001)

        costs.append((work(books, status), work(books, page)))
        assert sets == totals.buckets(connection)
    assert costs[1][0] <= costs[0][0] * 1.2 + 5
    assert costs[1][1] <= costs[0][1] * 1.2 + 50


def test_pages_make_the_whole(books: Books) -> None:
    """Page after page names every open bucket once, hours in order, also while a bucket comes in between."""
    for number in range(25):
        books.take(event("1", tags=tenant(number)), event("1", at=books.now - HOUR, tags=tenant(number)))
    connection = books.store.connection
    everything = {view.key for view in queries.open_buckets(connection)}
    seen: list[str] = []
    after = None
    while page := queries.open_buckets(connection, limit=7, after=after):
        keys = sorted((view.key for view in page), key=lambda key: [int(part) for part in key.split(".")])
        seen += keys
        after = keys[-1]
    assert 50 == len(seen) == len(everything)
    assert everything == set(seen)
