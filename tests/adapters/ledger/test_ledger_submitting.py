"""Attempts and answers on disk: nothing is moved on that AWS may hold, and nothing vanishes."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.metering.quantity import parse_signed
from sidecar.domain.metering.rules import MeteringRules
from tests.support.books import BLUE, HOUR, MINUTE, NOW, RED, RULES, UNBILLED_LATE, WHOLE, Books, event

OpenBooks = Callable[[MeteringRules], Books]


def waiting_record(books: Books) -> None:
    """Leave one record of 5 for the hour of ten."""
    books.take(event("3", tags=RED), event("2"))
    books.pass_time(HOUR)
    books.seal_ended()


@pytest.mark.parametrize(
    ("outcome", "rules", "status", "reason", "term"),
    [
        (Outcome.ACCEPTED, RULES, "accepted", None, "submitted"),
        (Outcome.UNKNOWN, RULES, "sealed", None, "sealed"),
        (Outcome.RETRY, RULES, "sealed", None, "sealed"),
        (Outcome.SETUP, RULES, "sealed", None, "sealed"),
        (Outcome.NOT_ENTITLED, RULES, "sealed", None, "sealed"),
        (Outcome.DUPLICATE, RULES, "unbilled", "duplicate", "unbilled"),
        (Outcome.CONFLICT, RULES, "unbilled", "in-doubt", "unbilled"),
        (Outcome.REJECTED, RULES, "unbilled", "rejected", "unbilled"),
        (Outcome.EXPIRED, RULES, "carried", None, "open"),
        (Outcome.EXPIRED, UNBILLED_LATE, "unbilled", "expired", "unbilled"),
    ],
)
def test_answer_finds_its_term(
    open_books: OpenBooks, outcome: Outcome, rules: MeteringRules, status: str, reason: str | None, term: str
) -> None:
    """After any answer the quantity is in exactly one term, and an unbilled record shows why in its first word."""
    books = open_books(rules)
    waiting_record(books)
    books.submit_all(outcome)
    (record,) = books.records()
    assert (status, 1) == (record.status, record.attempts)
    assert reason == (None if record.reason is None else record.reason.partition(":")[0])
    assert {"accepted": "5", term: "5"} == books.shown()


def test_attempt_counted_before_answer(books: Books) -> None:
    """A process that dies after the send leaves the attempt on disk, so the next one knows AWS may hold it."""
    waiting_record(books)
    (record,) = books.waiting()
    books.begin(record)
    books.restart()
    (after,) = books.waiting()
    assert (1, 1) == (after.attempts, after.unanswered)


@pytest.mark.parametrize(
    ("answers", "unanswered"),
    [
        ([Outcome.RETRY], 0),
        ([Outcome.RETRY, Outcome.RETRY], 0),
        ([Outcome.UNKNOWN], 1),
        ([Outcome.UNKNOWN, Outcome.RETRY], 1),
        ([Outcome.UNKNOWN, Outcome.UNKNOWN, Outcome.NOT_ENTITLED], 2),
        ([Outcome.SETUP, Outcome.UNKNOWN], 1),
    ],
)
def test_answers_settle_their_own(books: Books, answers: list[Outcome], unanswered: int) -> None:
    """An answer settles its own attempt; one that was never answered stays so."""
    waiting_record(books)
    for outcome in answers:
        books.submit_all(outcome)
    (record,) = books.waiting()
    assert (len(answers), unanswered) == (record.attempts, record.unanswered)


@pytest.mark.parametrize(
    ("before", "status", "term"),
    [
        ([], "carried", "open"),
        ([Outcome.RETRY], "carried", "open"),
        ([Outcome.UNKNOWN], "unbilled", "unbilled"),
        ([Outcome.UNKNOWN, Outcome.RETRY], "unbilled", "unbilled"),
    ],
)
def test_window_end_in_doubt(books: Books, before: list[Outcome], status: str, term: str) -> None:
    """When the window closes, what may have been taken is in doubt and stays; the rest is carried once."""
    waiting_record(books)
    for outcome in before:
        books.submit_all(outcome)
    books.pass_time(timedelta(hours=5))
    books.expire()
    assert "sealed" == books.records()[0].status
    books.pass_time(timedelta(microseconds=1))
    books.expire()
    books.expire()
    (record,) = books.records()
    assert status == record.status
    assert {"accepted": "5", term: "5"} == books.shown()


def test_carry_keeps_shares(books: Books) -> None:
    """A carried record arrives in the current hour share by share, and shows where it went."""
    waiting_record(books)
    books.pass_time(timedelta(hours=6))
    books.expire()
    assert {("requests", 17, RED): "3", ("requests", 17, ()): "2"} == books.buckets()
    (record,) = books.records()
    assert record.carried_to == (NOW + timedelta(hours=7)).replace(minute=0)


def test_carry_goes_on_and_on(books: Books) -> None:
    """Through an outage of days the quantity moves from window to window, never twice, and is billed in the end."""
    waiting_record(books)
    for _ in range(30):
        books.pass_time(timedelta(hours=7))
        books.expire()
        books.seal_ended()
        assert [] == books.breaches()
        assert "5" == books.shown()["accepted"]
    books.submit_all()
    assert {"accepted": "5", "submitted": "5"} == books.shown()


@pytest.mark.parametrize(("quantity", "rules"), [("1.25", RULES), ("0.25", WHOLE)])
def test_many_tag_sets_are_carried(open_books: OpenBooks, quantity: str, rules: MeteringRules) -> None:
    """More tag sets than one statement takes are carried each to its own, twice over, and running totals follow."""
    books = open_books(rules)
    connection, totals = books.store.connection, books.store.totals
    totals.attach(connection)
    assert {} == totals.quantities(connection)
    sets = [(("Tenant", f"t{number}"),) for number in range(1100)]
    for hours in (1, 2):
        for start in range(0, 1100, 100):
            books.take(*(event(quantity, tags=tags) for tags in sets[start : start + 100]))
        books.pass_time(HOUR)
        books.seal_ended()
        books.submit_all(Outcome.EXPIRED)
        carried = sum(parse_signed(each) for each in books.buckets().values())
        assert hours * 1100 * parse_signed(quantity) == carried + books.terms().remainder
        assert [] == books.breaches()
        assert books.terms().open == sum(totals.quantities(connection).values())
        assert totals.buckets(connection) == len(books.buckets())
    if rules is RULES:
        assert {(("requests", 12, tags), "2.5") for tags in sets} == set(books.buckets().items())


def test_settled_record_stays(books: Books) -> None:
    """An answer that comes after the record was settled changes nothing, and it is never begun again."""
    waiting_record(books)
    (record,) = books.waiting()
    frozen = books.begin(record)
    assert frozen is not None
    books.answer(record, frozen, Outcome.ACCEPTED)
    books.answer(record, frozen, Outcome.REJECTED)
    books.answer(record, frozen, Outcome.ACCEPTED)
    assert books.begin(record) is None
    assert {"accepted": "5", "submitted": "5"} == books.shown()
    assert ("accepted", 1) == (books.records()[0].status, books.records()[0].attempts)


def test_refused_quantity_stays(books: Books) -> None:
    """What AWS refused is never carried by itself, however late it gets."""
    waiting_record(books)
    books.submit_all(Outcome.DUPLICATE)
    books.pass_time(timedelta(days=30))
    books.expire()
    books.seal_ended()
    books.prune()
    assert {"accepted": "5", "unbilled": "5"} == books.shown()
    assert {} == books.buckets()


def test_answer_kept_for_the_accountant(books: Books) -> None:
    """An accepted record holds AWS's id and the time of its answer."""
    waiting_record(books)
    books.pass_time(MINUTE)
    books.submit_all()
    (record,) = books.records()
    assert ("mr-1", books.now, None) == (record.metering_record_id, record.accepted_at, record.reason)


def test_whole_records_stay_whole(open_books: OpenBooks) -> None:
    """A record sealed in whole numbers is sent so, also after the seller has switched to decimals."""
    books = open_books(WHOLE)
    books.take(event("2.5", tags=RED), event("1", tags=BLUE))
    books.pass_time(HOUR)
    books.seal_ended()
    books.restart(rules=RULES)
    (record,) = books.waiting()
    frozen = books.begin(record)
    assert frozen is not None
    assert (True, {RED: 2_000_000, BLUE: 1_000_000}) == (frozen.whole, dict(frozen.allocations))
