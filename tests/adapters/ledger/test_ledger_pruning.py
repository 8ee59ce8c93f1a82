"""Pruning bounds the file and moves no total; start-up does not grow with history."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from sidecar.adapters.ledger import conservation, generations, handover, pruning, queries
from sidecar.domain.metering.events import Receipt
from sidecar.domain.metering.hours import SECONDS, hour_of, to_micros
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.metering.rules import MeteringRules
from tests.support.books import HOUR, NOW, RED, UNBILLED_LATE, WHOLE, Books, event


def hours_of_usage(books: Books, hours: int, events: int = 3) -> None:
    """Meter so many hours, all taken by AWS but every tenth, which AWS refuses."""
    for number in range(hours):
        books.take(
            *(event("1.5", id=f"{number}-{part}", tags=RED if part % 2 else ()) for part in range(events)),
            event(dimension="users", value=f"{number}"),
        )
        books.pass_time(HOUR)
        books.seal_ended()
        books.submit_all(Outcome.ACCEPTED if number % 10 else Outcome.DUPLICATE)


def test_totals_survive(books: Books) -> None:
    """Dropping events, buckets and records moves no total, and the proof from the rows still holds."""
    hours_of_usage(books, 30)
    before = books.shown(), books.shown("users")
    for days in (2, 8, 10, 95, 300):
        books.pass_time(timedelta(days=days))
        books.prune()
        assert before == (books.shown(), books.shown("users"))
        assert [] == books.breaches()
    rows = {table: books.count(table) for table in ("event", "bucket", "distinct_value", "carry")}
    assert {"event": 0, "bucket": 0, "distinct_value": 0, "carry": 0} == rows
    assert {"unbilled"} == {record.status for record in books.records()}
    assert 6 == books.count("record")


def test_unbilled_never_dropped(open_books: Callable[[MeteringRules], Books]) -> None:
    """Unbilled usage stays in the ledger with its reason, however old."""
    books = open_books(UNBILLED_LATE)
    hours_of_usage(books, 1)
    books.take(event("4", at=NOW))
    books.pass_time(timedelta(days=1000))
    books.prune()
    reasons = {(record.reason or "").partition(":")[0] for record in books.records(status="unbilled")}
    assert {"duplicate", "late"} == reasons


def test_waiting_never_dropped(books: Books) -> None:
    """A record that still waits keeps its buckets and allocations, however long nothing could be settled."""
    books.take(event("5", tags=RED), event("1"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.take(event("2"))
    books.pass_time(timedelta(days=200))
    books.prune()
    (record,) = books.waiting()
    frozen = books.begin(record)
    assert frozen is not None
    assert {RED: 5_000_000, (): 1_000_000} == dict(frozen.allocations)
    assert 2 == books.count("bucket WHERE record IS NOT NULL")
    assert {"accepted": "8", "open": "2", "sealed": "6"} == books.shown()
    assert [] == books.breaches()


def test_late_after_pruning(books: Books) -> None:
    """An event as late as may be still meets what was counted for its hour, and pays only the difference."""
    books.take(event("5", dimension="peak"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all()
    books.pass_time(timedelta(days=6, hours=22))
    books.prune()
    books.take(event("7", dimension="peak", at=NOW))
    assert {"accepted": "7", "open": "2", "submitted": "5"} == books.shown("peak")


def test_steps_are_small(books: Books) -> None:
    """Pruning comes to its end in steps, however much there is, and then finds nothing more."""
    for start in range(0, 4500, 1500):
        books.take(*(event("1", id=str(start + number)) for number in range(1500)))
    books.pass_time(timedelta(hours=27))
    books.prune()
    assert 0 == books.count("event")
    assert {"accepted": "4500", "open": "4500"} == books.shown()


def test_allocations_bound_a_step(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of pruning counts the allocations of the records that it drops: one record may have 2,500."""
    monkeypatch.setattr(pruning, "_STEP", 5)
    for _ in range(3):
        books.take(*(event("1", tags=(("Tenant", f"t{number}"),)) for number in range(4)))
        books.pass_time(HOUR)
        books.seal_ended()
        books.submit_all()
    books.pass_time(timedelta(days=101))
    left = []
    while books.count("record"):
        with books.store.transaction():
            pruning.prune(books.store, to_micros(books.now))
        left.append((books.count("record"), books.count("allocation")))
    assert [(2, 8), (1, 4), (0, 0)] == left
    books.prune()
    assert {"accepted": "12", "submitted": "12"} == books.shown()
    assert [] == books.breaches()


def test_tallies_go_with_their_buckets(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """What events without a row made of a bucket is dropped with it, a step's worth at a time."""
    monkeypatch.setattr(pruning, "_STEP", 2)
    books.take(*(event("1", tags=(("Tenant", f"t{number}"),)) for number in range(5)))
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all()
    books.pass_time(timedelta(days=10))
    left = []
    while books.count("bucket"):
        with books.store.transaction():
            pruning.prune(books.store, to_micros(books.now))
        left.append((books.count("bucket"), books.count("dropped_events")))
    assert [(3, 3), (1, 1), (0, 0)] == left
    assert [] == [*books.breaches(), *conservation.event_breaches(books.store.connection)]


def test_no_tally_without_bucket(books: Books) -> None:
    """An event that outlived its bucket leaves no tally, which would never be dropped."""
    books.take(event("1", id="a"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all()
    with books.store.transaction():
        # As after a clock that has leaped: the bucket has served its time before its events were compacted.
        pruning._drop_buckets(books.store, hour_of(NOW) + SECONDS)
    books.pass_time(timedelta(days=10))
    books.prune()
    assert {"bucket": 0, "event": 0, "dropped_events": 0} == {
        table: books.count(table) for table in ("bucket", "event", "dropped_events")
    }
    assert [] == [*books.breaches(), *conservation.event_breaches(books.store.connection)]


def test_key_forgotten_with_its_events(books: Books) -> None:
    """An Idempotency-Key is remembered as long as an id."""
    books.take(event("1"), key="k")
    books.pass_time(timedelta(hours=24))
    books.prune()
    assert Receipt(0, 1) == books.take(event("1"), key="k")
    books.pass_time(timedelta(hours=3))
    books.prune()
    assert Receipt(1, 0) == books.take(event("2"), key="k")


def test_pruned_carries_still_prove(open_books: Callable[[MeteringRules], Books]) -> None:
    """Entries of old movements go with their hours; those that reach a younger hour stay."""
    books = open_books(WHOLE)
    for _ in range(12):
        books.take(event("0.7"))
        books.pass_time(timedelta(hours=20))
        books.seal_ended()
        books.expire()
        books.prune()
        assert [] == books.breaches()
    books.pass_time(timedelta(days=10))
    books.seal_ended()
    books.submit_all()
    books.prune()
    assert [] == books.breaches()
    assert "8.4" == books.shown()["accepted"]


def work_at_start(books: Books) -> int:
    """Return how much SQLite does, in hundreds of its instructions, for what a start asks of the ledger."""
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        ticks += 1

    connection = books.store.connection
    connection.set_progress_handler(tick, 100)
    with books.store.transaction():
        handover.take_identity(books.store, "pod-1", "downward-api", to_micros(books.now))
        generations.apply_terms(books.store, books.rules, to_micros(books.now))
        handover.take_over(books.store, books.rules, to_micros(books.now))
    conservation.terms(connection)
    queries.progress(connection)
    connection.set_progress_handler(None, 100)
    return ticks


def test_start_ignores_history(tmp_path: Path) -> None:
    """What a start asks of the ledger costs the same after one day of usage as after thirty."""
    work = []
    for days in (1, 30):
        books = Books(tmp_path / f"{days}.db", durable=False)
        for _ in range(days * 24):
            books.take(event("1", tags=RED), event("2"), event(dimension="peak"))
            books.pass_time(HOUR)
            books.seal_ended()
            books.submit_all()
        books.prune()
        work.append(work_at_start(books))
        books.close()
    assert work[1] <= work[0] * 1.2 + 5
