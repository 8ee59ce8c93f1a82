"""What comes for an hour that is already closed: carried or kept unbilled, and always visible."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from sidecar.domain.metering.events import Receipt, UsageEvent
from sidecar.domain.metering.hours import hour_of
from sidecar.domain.metering.rules import MeteringRules
from tests.support.books import BLUE, HOUR, MINUTE, NOW, RED, RULES, UNBILLED_LATE, WHOLE, Books, event

OpenBooks = Callable[[MeteringRules], Books]


def sealed_hour(books: Books, *events: UsageEvent) -> Books:
    """Take events in the hour of ten, and seal it after eleven."""
    books.take(*events)
    books.pass_time(HOUR)
    books.seal_ended()
    return books


@pytest.mark.parametrize(
    ("dimension", "early", "late", "added"),
    [
        ("requests", [("5", 0)], [("2", 1)], "2"),
        ("requests", [("5", 0)], [("0", 1)], None),
        ("peak", [("5", 0)], [("4", 1)], None),
        ("peak", [("5", 0)], [("7", 1)], "2"),
        ("peak", [("5", 0)], [("7", 1), ("9", 2), ("8", 3)], "4"),
        ("level", [("5", 5)], [("9", 4)], None),
        ("level", [("5", 5)], [("9", 6)], "4"),
        ("level", [("5", 5)], [("3", 6)], None),
        ("level", [("5", 5)], [("9", 5)], "4"),
        ("level", [("5", 5)], [("9", 6), ("3", 7)], None),
    ],
)
@pytest.mark.parametrize("rules", [RULES, UNBILLED_LATE], ids=["carry", "unbilled"])
def test_late_adds_what_it_would_have(
    open_books: OpenBooks,
    rules: MeteringRules,
    dimension: str,
    early: list[tuple[str, int]],
    late: list[tuple[str, int]],
    added: str | None,
) -> None:
    """A late batch adds to its sealed hour what its aggregation would have added, never less than nothing."""
    books = open_books(rules)
    sealed_hour(books, *(event(text, dimension=dimension, at=NOW + at * MINUTE) for text, at in early))
    assert Receipt(len(late), 0) == books.take(
        *(event(text, dimension=dimension, at=NOW + at * MINUTE) for text, at in late)
    )
    term = "open" if rules is RULES else "unbilled"
    found = books.shown(dimension)
    assert ("5", added) == (found["sealed"], found.get(term))


def test_late_distinct_values(books: Books) -> None:
    """A late value counts only if its own hour has not seen it, and in the hour it is carried to it counts apart."""
    sealed_hour(books, event(dimension="users", value="ann"), event(dimension="users", value="bob"))
    books.take(
        event(dimension="users", value="ann", at=NOW),
        event(dimension="users", value="cid", at=NOW),
        event(dimension="users", value="cid", at=NOW),
    )
    books.take(event(dimension="users", value="cid"))
    assert {("users", 11, ()): "2"} == books.buckets()
    assert {"accepted": "4", "open": "2", "sealed": "2"} == books.shown("users")


def test_late_steps_add_up(books: Books) -> None:
    """Late values that come one by one add no more than they would have added together."""
    sealed_hour(books, event("5", dimension="peak"))
    for text in ("7", "6", "9", "8", "9"):
        books.take(event(text, dimension="peak", at=NOW))
    assert {"accepted": "9", "open": "4", "sealed": "5"} == books.shown("peak")


def test_carry_keeps_tags_and_is_visible(books: Books) -> None:
    """A carried quantity keeps its tag set, and stands in the ledger as its own entry."""
    sealed_hour(books, event("5", tags=RED))
    books.take(event("2", tags=RED, at=NOW), event("3", tags=BLUE, at=NOW))
    books.take(event("4", tags=BLUE))
    assert {("requests", 11, RED): "2", ("requests", 11, BLUE): "7"} == books.buckets()
    entries = books.store.rows("SELECT cause, from_hour, to_hour, quantity FROM carry ORDER BY seq")
    ten, eleven = hour_of(NOW), hour_of(books.now)
    assert [("late", ten, eleven, "2"), ("late", ten, eleven, "3")] == [tuple(entry) for entry in entries]


def test_carried_is_added_not_compared(books: Books) -> None:
    """What is carried into an hour is added to its maximum or last value, which it does not take part in."""
    sealed_hour(books, event("5", dimension="peak"), event("5", dimension="level"))
    books.take(event("8", dimension="peak", at=NOW), event("8", dimension="level", at=NOW + MINUTE))
    books.take(event("2", dimension="peak"), event("2", dimension="level"))
    assert {("peak", 11, ()): "5", ("level", 11, ()): "5"} == books.buckets()


def test_unbilled_says_why(open_books: OpenBooks) -> None:
    """By policy late usage is kept with its reason as one record an hour that grows, and takes up no slot."""
    books = sealed_hour(open_books(UNBILLED_LATE), event("5"))
    books.take(event("2", at=NOW))
    books.take(event("1", at=NOW, tags=RED))
    late = books.records(status="unbilled")
    assert [("3", "late: came after the hour was closed")] == [(str(r.quantity // 10**6), r.reason) for r in late]
    assert 1 == len(books.waiting())
    assert {"accepted": "8", "sealed": "5", "unbilled": "3"} == books.shown()


@pytest.mark.parametrize(("rules", "term"), [(RULES, "open"), (UNBILLED_LATE, "unbilled")])
def test_older_than_window(open_books: OpenBooks, rules: MeteringRules, term: str) -> None:
    """Usage older than the window is taken and goes by the policy, also for an hour that was never sealed."""
    books = open_books(rules)
    books.take(event("2", at=NOW - 3 * 24 * HOUR))
    assert {"accepted": "2", term: "2"} == books.shown()


def test_own_early_seal_is_carried(open_books: OpenBooks) -> None:
    """What comes for an hour that was sealed before it ended is carried whatever the policy: the app was on time."""
    books = open_books(UNBILLED_LATE)
    books.take(event("5"))
    books.seal()
    books.take(event("2", at=NOW), event("3"))
    assert {"accepted": "10", "open": "5", "sealed": "5"} == books.shown()


def test_values_beyond_memory_not_billed(open_books: OpenBooks) -> None:
    """A distinct value for an hour whose values are forgotten could count twice: it is kept unbilled."""
    books = open_books(RULES)
    books.take(event(dimension="users", value="ann"))
    books.pass_time(timedelta(hours=1))
    books.seal_ended()
    books.submit_all()
    books.pass_time(timedelta(hours=28))
    books.prune()
    assert 0 == books.count("distinct_value")
    books.take(event(dimension="users", value="ann", at=NOW))
    assert {"accepted": "2", "submitted": "1", "unbilled": "1"} == books.shown("users")


def test_last_with_equal_times(books: Books) -> None:
    """Of two `last` values of one instant the one that came later counts, over batches and restarts."""
    books.take(event("5", dimension="level", at=NOW))
    books.restart()
    books.take(event("3", dimension="level", at=NOW))
    books.take(event("9", dimension="level", at=NOW - MINUTE))
    assert {("level", 10, ()): "3"} == books.buckets()
    assert {"accepted": "3", "open": "3"} == books.shown("level")


def test_late_fraction_in_whole_numbers(open_books: OpenBooks) -> None:
    """Late fractions are carried exactly, and wait with the others for a whole unit."""
    books = sealed_hour(open_books(WHOLE), event("1.6"))
    books.take(event("0.3", at=NOW))
    books.take(event("0.2"))
    books.pass_time(HOUR)
    books.seal_ended()
    assert {"accepted": "2.1", "sealed": "2", "remainder": "0.1"} == books.shown()
