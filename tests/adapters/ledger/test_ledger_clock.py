"""Clocks that jump: each step has a defined outcome and loses nothing."""

from datetime import timedelta

from sidecar.domain.metering.hours import hour_of
from sidecar.domain.metering.outcomes import Outcome
from tests.support.books import HOUR, MINUTE, NOW, RED, Books, event

DAYS = timedelta(days=3)


def test_hours_ahead_come_back(books: Books) -> None:
    """What was counted while the clock was ahead moves into the current hour once the clock is right again."""
    books.pass_time(DAYS)
    books.take(event("5", tags=RED), event("2", dimension="level", at=books.now))
    books.pass_time(-DAYS)
    assert 2 == books.rebook_future_hours()
    assert {("requests", 10, RED): "5", ("level", 10, ()): "2"} == books.buckets()
    assert 0 == books.rebook_future_hours()
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all()
    assert {"accepted": "5", "submitted": "5"} == books.shown()


def test_allowed_future_stays(books: Books) -> None:
    """An event that is dated ahead as far as the rules allow keeps its hour."""
    books.pass_time(39 * MINUTE)
    books.take(event("5", at=books.now + 14 * MINUTE))
    assert 0 == books.rebook_future_hours()
    assert {("requests", 11, ()): "5"} == books.buckets()


def test_only_nearer_hours_take(books: Books) -> None:
    """What lies ahead stays there while the current hour is frozen: it moves to an earlier hour or not at all."""
    books.take(event("5"))
    books.seal()
    books.take(event("2"))
    assert 0 == books.rebook_future_hours(ahead=timedelta())
    assert {("requests", 11, ()): "2"} == books.buckets()
    assert 0 == books.count("carry")


def test_time_comes_again(books: Books) -> None:
    """When the hour that was ahead comes at last, it takes usage as any other, next to what has moved out."""
    for dimension, quantity in (("requests", "5"), ("peak", "5"), ("level", "5")):
        books.pass_time(3 * HOUR)
        books.take(event(quantity, dimension=dimension))
        books.pass_time(-3 * HOUR)
    books.rebook_future_hours()
    books.pass_time(3 * HOUR)
    books.take(event("2"), event("7", dimension="peak"), event("1", dimension="level", at=books.now + MINUTE))
    assert ("2", "2", "0") == tuple(books.buckets()[name, 13, ()] for name in ("requests", "peak", "level"))
    assert [] == books.breaches()
    books.seal_ended()
    assert {"accepted": "7", "open": "2", "sealed": "5"} == books.shown()


def test_sealed_ahead_waits(books: Books) -> None:
    """A record sealed while the clock was ahead is neither lost nor sealed again when its hour comes."""
    books.pass_time(3 * HOUR)
    books.take(event("5"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.pass_time(-4 * HOUR)
    books.take(event("1"))
    books.expire()
    assert {"accepted": "6", "open": "1", "sealed": "5"} == books.shown()
    books.pass_time(3 * HOUR)
    books.take(event("2"))
    assert {("requests", 10, ()): "1", ("requests", 14, ()): "2"} == books.buckets()
    assert 1 == books.count(f"record WHERE hour = {hour_of(books.now)}")


def test_leap_ahead_expires(books: Books) -> None:
    """After a leap of days what could not be sent goes by the policy, once, and new usage is counted as ever."""
    books.take(event("5"))
    books.pass_time(DAYS)
    books.seal_ended()
    books.expire()
    books.expire()
    assert {"accepted": "5", "open": "5"} == books.shown()
    books.take(event("1"))
    assert {("requests", 10, ()): "6"} == books.buckets()


def test_back_and_forth_counts_once(books: Books) -> None:
    """However the clock goes back and forth, each event is counted once and no slot gets a second quantity."""
    steps = [3, -5, 20, -19, 1, 1, -10, 10, 2, -2, 12, -9]
    for number, hours in enumerate(steps):
        books.take(event("1", id=f"a{number}"), event("2", dimension="peak"), event("3", at=books.now - HOUR))
        books.pass_time(hours * HOUR)
        books.rebook_future_hours()
        books.seal_ended()
        books.expire()
        books.submit_all(Outcome.ACCEPTED if number % 3 else Outcome.UNKNOWN)
        books.prune()
        assert [] == books.breaches()
        books.take(*(event("1", id=f"a{earlier}") for earlier in range(number + 1)))
    assert str(4 * len(steps)) == books.shown()["accepted"]
    slots = books.store.rows("SELECT count(*) AS n FROM record WHERE kind = 'slot' GROUP BY pod, dimension, hour")
    assert {1} == {row["n"] for row in slots}


def test_month_edge(books: Books) -> None:
    """The last hour of a month is an hour like any other."""
    books.pass_time(timedelta(days=7, hours=13, minutes=39, seconds=59, microseconds=999_999))
    assert (11, 30, 23) == (books.now.month, books.now.day, books.now.hour)
    books.take(event("1"))
    books.pass_time(timedelta(microseconds=1))
    books.take(event("2"))
    assert {("requests", 23, ()): "1", ("requests", 0, ()): "2"} == books.buckets()


def test_future_pod_start(books: Books) -> None:
    """A pod first seen by a clock that was ahead does not date its records into the future."""
    books.pass_time(HOUR)
    books.restart("pod-2")
    books.pass_time(-HOUR)
    books.take(event("1", at=NOW + 45 * MINUTE))
    books.seal(hour_of(NOW + HOUR))
    assert [(NOW + HOUR).replace(minute=0)] == [record.timestamp for record in books.waiting()]


def test_attempt_before_the_seal_is_kept(books: Books) -> None:
    """An attempt of a clock that was set back behind the seal shows, whatever the later attempts are dated."""
    books.take(event("5"))
    books.pass_time(HOUR)
    books.seal_ended()
    (record,) = books.waiting()
    books.pass_time(-2 * HOUR)
    books.submit(record, Outcome.UNKNOWN)
    books.pass_time(3 * HOUR)
    books.submit(record, Outcome.UNKNOWN)
    (row,) = books.store.rows("SELECT attempted_at, sealed_at FROM record")
    assert row["attempted_at"] < row["sealed_at"]


def test_open_bucket_of_a_forgotten_hour_stays_open(books: Books) -> None:
    """What was carried into an hour that cannot be compared any more is still submitted with it."""
    books.take(event("5", dimension="peak"))
    books.seal(dimension="peak")
    (record,) = books.waiting()
    books.pass_time(2 * HOUR)
    books.take(event("1"))
    books.seal()
    books.submit(books.waiting()[1])
    books.pass_time(4 * DAYS)
    books.prune()
    books.pass_time(-4 * DAYS - HOUR)
    books.submit(record, Outcome.EXPIRED)
    books.take(event("3", dimension="peak", at=books.now))
    assert {"accepted": "8", "open": "5", "unbilled": "3"} == books.shown("peak")
