"""A sealed hour is frozen: one quantity, one token, whatever comes after."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from sidecar.domain.metering.events import Aggregation, Dimension
from sidecar.domain.metering.hours import Hour, hour_of, next_hour, start_of
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.metering.quantity import LARGEST, MILLION, render
from sidecar.domain.metering.rules import MeteringRules
from tests.support.books import BLUE, HOUR, MINUTE, NOW, RED, RULES, WHOLE, Books, event

TEN = hour_of(NOW)
ELEVEN = next_hour(TEN)


def test_frozen_against_everything(books: Books) -> None:
    """No event, repeat, answer, restart or other rule changes what a sealed record sends."""
    books.take(event("5", tags=RED), event("2"), event("9", dimension="peak"))
    books.pass_time(HOUR)
    books.seal_ended()
    record = next(record for record in books.waiting() if record.dimension == "requests")
    first = books.begin(record)
    assert first is not None
    books.answer(record, first, Outcome.UNKNOWN)
    books.take(event("100", at=NOW), event("100", at=NOW, tags=RED), event("100", at=NOW, tags=BLUE))
    books.restart(rules=replace(WHOLE, dimensions={"requests": Dimension("requests", Aggregation.LAST)}))
    again = next(record for record in books.waiting() if record.dimension == "requests")
    second = books.begin(again)
    assert second is not None
    assert (record.quantity, record.timestamp, record.hour) == (again.quantity, again.timestamp, again.hour)
    assert (first.client_token, first.allocations, first.whole) == (
        second.client_token,
        second.allocations,
        second.whole,
    )
    assert {(): 2 * MILLION, RED: 5 * MILLION} == dict(first.allocations)
    assert (1, 2) == (first.unanswered, second.unanswered)


def test_slot_frozen_once(books: Books) -> None:
    """A (pod, dimension, hour) never has a second record; what comes later goes to the next hour that is open."""
    books.take(event("5"))
    assert books.seal() is not None
    books.take(event("3"), event("2", at=NOW))
    assert {("requests", 11, ()): "5"} == books.buckets()
    assert [] == books.sealable(before=ELEVEN)
    assert books.seal(ELEVEN) is not None
    books.take(event("1"))
    assert {("requests", 12, ()): "1"} == books.buckets()
    assert [TEN, ELEVEN] == [record.hour for record in books.waiting()]
    assert 2 == books.count("record WHERE kind = 'slot'")


def test_only_finished_hours(books: Books) -> None:
    """An hour is named for sealing once it has ended and settled, not before."""
    books.take(event("5"), event("1", at=NOW - HOUR))
    assert [(TEN - 3600, "requests")] == books.sealable()
    books.pass_time(41 * MINUTE)
    assert [(TEN - 3600, "requests")] == books.sealable()
    books.pass_time(MINUTE)
    assert [(TEN - 3600, "requests"), (TEN, "requests")] == books.sealable()


def test_oldest_hour_first(books: Books) -> None:
    """Records wait in the order of their hours, however they were sealed."""
    for hours in (1, 4, 2):
        books.take(event("1", at=NOW - hours * HOUR))
        books.seal(hour_of(NOW - hours * HOUR))
    assert [4, 2, 1] == [(NOW - start_of(record.hour)) // HOUR for record in books.waiting()]


def test_tokens_differ(books: Books) -> None:
    """Each record has a client token of its own."""
    books.take(event("1"), event("1", at=NOW - HOUR), event("1", dimension="peak"))
    books.pass_time(2 * HOUR)
    books.seal_ended()
    frozen = [books.begin(record) for record in books.waiting()]
    assert 3 == len({record.client_token for record in frozen if record is not None})


def test_excess_goes_on(books: Books) -> None:
    """What is over AWS's limit of one record goes to the next hour, under its own tags, and nothing is lost."""
    books.take(*(event("9999999999.999999", tags=RED) for _ in range(2)), event("7"))
    books.pass_time(HOUR)
    sealed = books.seal_ended()
    assert [LARGEST] == [made.seal.quantity for made in sealed]
    assert {("requests", 11, RED): "10000000006.999999"} == books.buckets()
    books.pass_time(HOUR)
    books.seal_ended()
    books.pass_time(HOUR)
    books.seal_ended()
    assert ["9999999999.999999", "9999999999.999999", "7"] == [render(record.quantity) for record in books.waiting()]
    books.submit_all()
    assert {"accepted": "20000000006.999998", "submitted": "20000000006.999998"} == books.shown()


def test_whole_numbers_keep_remainder(open_books: Callable[[MeteringRules], Books]) -> None:
    """In whole numbers the fraction waits in the remainder until it makes a unit, over any number of hours."""
    books = open_books(WHOLE)
    sent = []
    for _ in range(5):
        books.take(event("1.3"), event("0.5", tags=RED))
        books.pass_time(HOUR)
        sent += [render(made.seal.quantity) for made in books.seal_ended()]
    assert ["1", "2", "2", "2", "2"] == sent
    assert {"accepted": "9", "sealed": "9"} == books.shown()
    books.take(event("1.3"))
    books.pass_time(HOUR)
    books.seal_ended()
    assert {"accepted": "10.3", "sealed": "10", "remainder": "0.3"} == books.shown()
    books.restart(rules=RULES)
    books.take(event("1"))
    books.pass_time(HOUR)
    books.seal_ended()
    assert {"accepted": "11.3", "sealed": "11.3"} == books.shown()


def test_fraction_alone_moves_on(open_books: Callable[[MeteringRules], Books]) -> None:
    """An hour with less than a unit sends nothing and burns no slot; its fraction joins the next hour."""
    books = open_books(WHOLE)
    books.take(event("0.4", tags=RED), event("0.3"))
    books.pass_time(HOUR)
    assert [] == books.seal_ended()
    assert {("requests", 11, RED): "0.4", ("requests", 11, ()): "0.3"} == books.buckets()
    books.take(event("0.3", tags=RED))
    books.pass_time(HOUR)
    assert [MILLION] == [made.seal.quantity for made in books.seal_ended()]
    assert {"accepted": "1", "sealed": "1"} == books.shown()


def test_late_fraction_catches_up(open_books: Callable[[MeteringRules], Books]) -> None:
    """A fraction that is sealed hours late joins the present hour; one hour in each pass would leave it behind."""
    books = open_books(WHOLE)
    books.take(event("0.4"))
    books.pass_time(5 * HOUR)
    assert [] == books.seal_ended()
    assert {("requests", 15, ()): "0.4"} == books.buckets()


def test_late_excess_catches_up(books: Books) -> None:
    """Excess of an hour that is sealed hours late joins the present hour, too."""
    books.take(*(event("9999999999.999999") for _ in range(2)))
    books.pass_time(5 * HOUR)
    assert [LARGEST] == [made.seal.quantity for made in books.seal_ended()]
    assert {("requests", 15, ()): "9999999999.999999"} == books.buckets()


def test_smaller_last_after_fraction(open_books: Callable[[MeteringRules], Books]) -> None:
    """A later, smaller `last` value cannot call back a fraction that has moved on: no bucket is ever negative."""
    books = open_books(WHOLE)
    books.take(event("0.5", dimension="level", at=NOW))
    books.pass_time(HOUR)
    books.seal_ended()
    books.take(event("0.2", dimension="level", at=NOW + MINUTE))
    assert {("level", 10, ()): "0", ("level", 11, ()): "0.5"} == books.buckets()
    assert [] == books.breaches()


def test_zero_hours_reported(books: Books) -> None:
    """A reportable hour without usage makes a record of zero for every dimension, once it has ended."""
    books.mark_reportable()
    assert books.seal() is None
    books.pass_time(HOUR)
    made = books.seal_ended()
    assert dict.fromkeys(RULES.dimensions, 0) == {one.dimension: one.seal.quantity for one in made}
    assert [] == books.seal_ended()
    books.submit_all()
    assert ["accepted"] * 4 == [record.status for record in books.records()]


def test_zero_of_open_hour_not_burned(books: Books) -> None:
    """The open hour is never sealed for the sake of a zero, not even at the pod's end."""
    books.mark_reportable()
    assert [] == books.sealable(before=Hour(TEN + 7200))
    books.take(event("0"), event("3", dimension="peak"))
    assert ["peak"] == [made.dimension for made in books.seal_ended(before=Hour(TEN + 7200))]
    books.take(event("2"))
    assert {("requests", 10, ()): "2"} == books.buckets()


def test_old_zeros_forgotten(books: Books) -> None:
    """A zero whose window is over is not sent any more."""
    books.mark_reportable()
    books.pass_time(timedelta(hours=7))
    books.mark_reportable()
    books.pass_time(HOUR)
    assert {hour_of(NOW + timedelta(hours=7))} == {made.hour for made in books.seal_ended()}


def test_timestamp_not_before_start(books: Books) -> None:
    """The hour in which the pod began is dated at its beginning, any other at the hour's start."""
    books.take(event("1"), event("1", at=NOW - HOUR))
    books.pass_time(HOUR)
    books.take(event("1"))
    books.pass_time(HOUR)
    books.seal_ended()
    sent = [record.timestamp for record in books.waiting()]
    assert [start_of(Hour(TEN - 3600)), NOW, start_of(ELEVEN)] == sent


def test_many_tag_sets_fold(books: Books) -> None:
    """With more tag sets than AWS takes, all of the usage is still sent, and the record shows how many were folded."""
    books.take(*(event("2", tags=(("Id", str(number)),)) for number in range(2501)), event("1"))
    books.pass_time(HOUR)
    (made,) = books.seal_ended()
    (record,) = books.waiting()
    frozen = books.begin(record)
    assert frozen is not None
    assert (5003 * MILLION, 2500, 2) == (record.quantity, len(frozen.allocations), made.seal.folded)
    assert record.quantity == sum(quantity for _, quantity in frozen.allocations)


def test_six_keys_fold(books: Books) -> None:
    """Tag sets that would bring a sixth key join the untagged share; what is sent keeps to five."""
    books.take(*(event(str(9 - number), tags=((f"k{number}", "v"),)) for number in range(6)))
    books.pass_time(HOUR)
    (made,) = books.seal_ended()
    assert (1, {f"k{number}" for number in range(5)}) == (
        made.seal.folded,
        {key for tags in made.seal.allocations for key, _ in tags},
    )


def test_search_reads_no_closed_hour(books: Books) -> None:
    """The search for hours to seal, or to mend, takes about as many steps of SQLite after many hours as after few."""

    def instructions() -> int:
        counted = 0

        def count() -> None:
            nonlocal counted
            counted += 1

        books.store.connection.set_progress_handler(count, 1)
        books.sealable()
        books.rebook_future_hours()
        books.store.connection.set_progress_handler(None, 1)
        return counted

    found = []
    for _ in range(3):
        for _ in range(10):
            books.take(event("1"), event("1", tags=RED))
            books.pass_time(HOUR)
            books.seal_ended()
            books.submit_all()
        found.append(instructions())
    # Versions of SQLite differ by some; a search through the closed hours would take three times as many.
    assert max(found) < 1.3 * min(found)
