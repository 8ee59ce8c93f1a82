"""What the last usage left in memory serves the next one, and only while nothing else was written."""

from contextlib import closing

import pytest

from sidecar.adapters.ledger import conservation, taking
from sidecar.adapters.ledger.file import open_for_writing
from sidecar.domain.metering.events import IdReused, UsageBatch
from sidecar.domain.metering.hours import to_micros
from tests.support.books import HOUR, Books, event

MILLION = 1_000_000


def looks(books: Books) -> list[str]:
    """Return what one event reads of its bucket, of the total, and of frozen slots."""
    statements: list[str] = []
    books.store.connection.set_trace_callback(statements.append)
    books.take(event("1"))
    books.store.connection.set_trace_callback(None)
    tables = ("FROM bucket", "FROM record", "FROM dimension")
    return [each for each in statements if each.startswith("SELECT") and any(table in each for table in tables)]


def bucket(books: Books) -> tuple[str, str]:
    """Return what the one bucket holds of its own, and what was carried into it."""
    (row,) = books.store.rows("SELECT own, carried FROM bucket")
    return row["own"], row["carried"]


def test_next_event_reads_nothing_again(books: Books) -> None:
    """The event after another one reads neither its bucket nor the total; after another step it does."""
    assert looks(books)
    assert [] == looks(books)
    with books.store.transaction():
        books.store.remember("a", "step")
    assert 3 == len(looks(books))
    assert ("3", "0") == bucket(books)


def test_another_process_is_noticed(books: Books) -> None:
    """What another process carries into the bucket stays."""
    books.take(event("1"))
    with closing(open_for_writing(books.path)) as other:
        other.execute("UPDATE bucket SET carried = '5'")
    books.take(event("1"))
    assert ("2", "5") == bucket(books)
    with closing(open_for_writing(books.path)) as other:
        other.execute("UPDATE bucket SET carried = '0'")


def test_rollback_is_noticed(books: Books) -> None:
    """What was rolled back after usage was stored is not in the next sums."""
    books.take(event("1"))

    def take_and_fail() -> None:
        with books.store.transaction():
            taking.take(books.store, [UsageBatch([event("4")])], books.rules, to_micros(books.now))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        take_and_fail()
    books.take(event("1"))
    assert ("2", "0") == bucket(books)
    assert 2 * MILLION == books.terms().accepted
    assert [] == list(conservation.breaches(books.store.connection))


def test_refused_batch_is_noticed(books: Books) -> None:
    """A refused batch leaves nothing in the sums of its neighbors and of what comes after them."""
    books.take(event("1", id="a"))
    fates = books.take_together(
        UsageBatch([event("8", id="b")]), UsageBatch([event("9", id="c"), event("2", id="a")]), UsageBatch([event("4")])
    )
    assert isinstance(fates[1], IdReused)
    books.take(event("16"))
    assert ("29", "0") == bucket(books)
    assert 29 * MILLION == books.terms().accepted


def test_sealed_hour_is_noticed(books: Books) -> None:
    """Usage for an hour that was sealed meanwhile is carried, and counts once in the hour that takes it."""
    books.take(event("1", at=books.now), event("2"))
    books.take(event("1", at=books.now), event("2"))
    earlier = books.now
    books.pass_time(HOUR)
    books.seal_ended()
    books.take(event("4", at=earlier))
    books.take(event("4", at=earlier), event("8"))
    books.take(event("8"))
    assert 30 * MILLION == books.terms().accepted
    assert 24 * MILLION == books.terms().open
    assert [] == list(conservation.breaches(books.store.connection))


def test_carried_quantity_is_noticed(books: Books) -> None:
    """What a late event adds to the open bucket stays when the next event is counted there."""
    earlier = books.now
    books.take(event("1"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.take(event("2"))
    books.take(event("4", at=earlier))
    books.take(event("8"))
    assert 14 * MILLION == books.terms().open
    assert [] == list(conservation.breaches(books.store.connection))
