"""Usage is counted once, and a batch is stored whole or not at all."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from sidecar.domain.metering.events import (
    IdReused,
    LedgerUnavailable,
    Receipt,
    UsageBatch,
    UsageEvent,
)
from tests.support.books import BLUE, HOUR, NOW, RED, Books, event

FIVE = UsageEvent("evt-1", "requests", 5_000_000, None, NOW, RED)


def faults(refused: object) -> list[tuple[int, str]]:
    """Return the items and fields that a refusal names."""
    assert isinstance(refused, IdReused)
    return [(fault.index, fault.field) for fault in refused.faults]


def test_id_counts_once(books: Books) -> None:
    """The same event counts once: inside a batch, in the next batch, and after a restart."""
    assert Receipt(1, 1) == books.take(FIVE, FIVE)
    assert Receipt(0, 1) == books.take(FIVE)
    books.restart()
    assert Receipt(0, 2) == books.take(FIVE, FIVE)
    assert {"accepted": "5", "open": "5"} == books.shown()


def test_id_counts_once_in_one_commit(books: Books) -> None:
    """Two callers that send the same event at the same moment share one commit and one count."""
    fates = books.take_together(UsageBatch([FIVE]), UsageBatch([FIVE, event("2", id="evt-2")]))
    assert [Receipt(1, 0), Receipt(1, 1)] == fates
    assert {"accepted": "7", "open": "7"} == books.shown()


def test_id_counts_once_across_pods(books: Books) -> None:
    """A successor on the same ledger knows the ids that its predecessor took."""
    books.take(FIVE)
    books.restart("pod-2")
    assert Receipt(0, 1) == books.take(FIVE)
    assert "5" == books.shown()["accepted"]


def test_id_counts_once_after_seal(books: Books) -> None:
    """A repeat that comes after its hour was sealed or submitted is still a repeat, not late usage."""
    books.take(FIVE)
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all()
    assert Receipt(0, 1) == books.take(FIVE)
    assert {"accepted": "5", "submitted": "5"} == books.shown()


def test_id_remembered_for_a_day(books: Books) -> None:
    """Pruning forgets no id within 24 h of its arrival, and in the end forgets it, so the file stays bounded."""
    event_now = replace_time(FIVE, None)
    books.take(event_now)
    books.pass_time(timedelta(hours=24))
    books.prune()
    assert Receipt(0, 1) == books.take(event_now)
    books.pass_time(timedelta(hours=3))
    books.prune()
    assert 0 == books.count("event")


def replace_time(given: UsageEvent, at: datetime | None) -> UsageEvent:
    """Return the event dated otherwise."""
    return given._replace(timestamp=at)


def test_quantities_compare_by_value(books: Books) -> None:
    """`1.5` and `1.50` are one quantity, and one instant is one in every offset."""
    books.take(event("1.5", id="a", at=NOW))
    later_zone = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert Receipt(0, 1) == books.take(event("1.50", id="a", at=later_zone))


def test_without_id_new_each_time(books: Books) -> None:
    """Events without an id are new each time, however alike."""
    assert Receipt(2, 0) == books.take(event("1"), event("1"))
    assert Receipt(1, 0) == books.take(event("1"))
    assert "3" == books.shown()["accepted"]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        (FIVE._replace(dimension="peak"), "dimension"),
        (FIVE._replace(quantity=5_000_001), "quantity"),
        (FIVE._replace(timestamp=NOW + timedelta(microseconds=1)), "timestamp"),
        (FIVE._replace(timestamp=None), "timestamp"),
        (FIVE._replace(tags=BLUE), "tags"),
        (FIVE._replace(tags=()), "tags"),
        (FIVE._replace(tags=(*RED, ("Unit", "1"))), "tags"),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_changed_event_refused(books: Books, changed: UsageEvent, field: str, together: bool) -> None:  # noqa: FBT001 - a table's column
    """The same id with any other field is refused and the field named, in one batch and across restarts."""
    good = event("1", id="other")
    if together:
        fate = books.take_together(UsageBatch([FIVE, good, changed]))[0]
        assert [(2, field)] == faults(fate)
        assert {} == books.shown()
        return
    books.take(FIVE)
    books.restart()
    fate = books.take_together(UsageBatch([good, changed]))[0]
    assert [(1, field)] == faults(fate)
    assert {"accepted": "5", "open": "5"} == books.shown()
    assert Receipt(1, 0) == books.take(good)


def test_changed_value_refused(books: Books) -> None:
    """On a `unique` dimension the value is the field that may not change."""
    books.take(event(id="u", dimension="users", value="ann"))
    fate = books.take_together(UsageBatch([event(id="u", dimension="users", value="bob")]))[0]
    assert [(0, "value")] == faults(fate)
    assert "1" == books.shown("users")["accepted"]


def test_every_reuse_named(books: Books) -> None:
    """All reused ids of a batch are listed together, each with its first field that differs."""
    books.take(event("1", id="a"), event("1", id="b"), event("1", id="c"))
    batch = UsageBatch([event("2", id="a"), event("1", id="b"), event("1", id="c", tags=RED), event("1", id="d")])
    assert [(0, "quantity"), (2, "tags")] == faults(books.take_together(batch)[0])


def test_bad_batch_leaves_neighbors(books: Books) -> None:
    """Of a hundred batches in one commit the one that reuses an id is refused alone, and nothing of it is stored."""
    books.take(event("1", id="known"))
    batches = [UsageBatch([event("2", id=f"{number}-{part}") for part in range(3)]) for number in range(100)]
    new_tags = (("Only", "here"),)
    batches[57] = UsageBatch([event("9", id="57-0", tags=new_tags), event("7", id="known")])
    fates = books.take_together(*batches)
    assert [(1, "quantity")] == faults(fates.pop(57))
    assert [Receipt(3, 0)] * 99 == fates
    assert str(1 + 99 * 6) == books.shown()["accepted"]
    assert 1 + 99 * 3 == books.count("event")
    assert Receipt(1, 0) == books.take(event("9", id="57-0", tags=new_tags))
    assert {("requests", 10, ()): "595", ("requests", 10, new_tags): "9"} == books.buckets()


def test_key_replay_counts_nothing(books: Books) -> None:
    """An Idempotency-Key stands for the ids of its batch, also after a restart."""
    batch = (event("1"), event("1"), event("2", tags=RED))
    assert Receipt(3, 0) == books.take(*batch, key="k-1")
    assert Receipt(0, 3) == books.take(*batch, key="k-1")
    books.restart()
    assert Receipt(0, 3) == books.take(*batch, key="k-1")
    assert Receipt(3, 0) == books.take(*batch, key="k-2")
    assert "8" == books.shown()["accepted"]


@pytest.mark.parametrize(
    "changed",
    [
        (event("1"),),
        (event("1"), event("1"), event("1")),
        (event("1"), event("1.1")),
        (event("1"), event("1", tags=RED)),
        (event("1"), event("1", at=NOW)),
        (event("1"), event("1", id="a")),
        (event("1"), event("1", dimension="peak")),
    ],
)
def test_changed_key_refused(books: Books, changed: tuple[UsageEvent, ...]) -> None:
    """A key that comes with another batch is refused, and the key named."""
    books.take(event("1"), event("1"), key="k")
    fate = books.take_together(UsageBatch(changed, "k"))[0]
    assert [(0, "Idempotency-Key")] == faults(fate)
    assert "2" == books.shown()["accepted"]


def test_refused_batch_keeps_no_key(books: Books) -> None:
    """A refused batch leaves its key free for the batch that corrects it."""
    books.take(event("1", id="a"))
    with pytest.raises(IdReused):
        books.take(event("2", id="a"), key="k")
    assert Receipt(1, 0) == books.take(event("2", id="b"), key="k")


def test_key_beside_ids(books: Books) -> None:
    """A batch under a key may carry ids too; they are recognized without the key as well."""
    assert Receipt(2, 0) == books.take(event("1", id="a"), event("1"), key="k")
    assert Receipt(0, 1) == books.take(event("1", id="a"))


def test_more_ids_than_one_statement(books: Books) -> None:
    """Repeats are found in a batch of any length."""
    events = [event("1", id=f"e{number}") for number in range(1203)]
    assert Receipt(1203, 0) == books.take(*events)
    assert Receipt(1, 1203) == books.take(*events, event("1", id="new"))
    changed = [*events[:1100], event("2", id="e1100"), *events[1101:]]
    assert [(1100, "quantity")] == faults(books.take_together(UsageBatch(changed))[0])


def test_full_disk_stores_nothing(books: Books) -> None:
    """A commit that the disk does not take is refused whole, and the same batches go in once there is room."""
    connection = books.store.connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    batch = UsageBatch([event("1", id=f"{'x' * 200}{number}", tags=RED) for number in range(500)])
    with pytest.raises(LedgerUnavailable, match="full"):
        books.take_together(UsageBatch([event("1", id="a")]), batch)
    assert {} == books.shown()
    connection.execute("PRAGMA max_page_count = 1000000")
    assert [Receipt(1, 0), Receipt(500, 0)] == books.take_together(UsageBatch([event("1", id="a")]), batch)
    assert "501" == books.shown()["accepted"]


def test_sums_pass_64_bits(books: Books) -> None:
    """Sums stay exact where a 64-bit integer or a float would not."""
    largest = "9999999999.999999"
    books.take(*(event(largest) for _ in range(1000)), event("0.000001"))
    assert "9999999999999.999001" == books.shown()["accepted"]
    for _ in range(99):
        books.take(*(event(largest) for _ in range(1000)))
    assert "999999999999999.900001" == books.shown()["open"]


def test_hours_and_tags_apart(books: Books) -> None:
    """Each dimension, hour and tag set has a bucket of its own; hours are UTC whatever the offset."""
    oslo = timezone(timedelta(hours=1))
    books.take(
        event("1"),
        event("2", at=datetime(2026, 11, 23, 10, 59, 59, 999_999, tzinfo=oslo)),
        event("4", at=datetime(2026, 11, 23, 10, 0, tzinfo=UTC)),
        event("8", tags=RED),
        event("16", dimension="peak"),
    )
    expected = {
        ("requests", 9, ()): "2",
        ("requests", 10, ()): "5",
        ("requests", 10, RED): "8",
        ("peak", 10, ()): "16",
    }
    assert expected == books.buckets()


def test_commit_of_one_event_stays_small(books: Books) -> None:
    """The next event for an open bucket does not ask for its slot, or write the indexes over open buckets."""
    books.take(event("1", id="evt-1"))
    statements: list[str] = []
    books.store.connection.set_trace_callback(statements.append)
    books.take(event("1", id="evt-2"))
    books.store.connection.set_trace_callback(None)
    assert [] == [each for each in statements if "FROM record" in each]
    assert 1 == sum(each.startswith("UPDATE bucket SET own") for each in statements)
    assert [] == [each for each in statements if each.startswith("INSERT INTO bucket")]
