"""Gauges across pods of one ledger: max, last and unique are billed once for an hour and tag set."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from sidecar.domain.metering.events import UsageEvent
from sidecar.domain.metering.hours import hour_of
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.metering.rules import MeteringRules
from tests.support.books import BLUE, HOUR, MINUTE, NOW, RED, RULES, UNBILLED_LATE, WHOLE, Books, event

OpenBooks = Callable[[MeteringRules], Books]


def seats(text: str, *, minutes: int = 0) -> UsageEvent:
    """Return a level of seats in the hour of ten."""
    return event(text, dimension="peak", at=NOW + minutes * MINUTE)


def level(text: str, *, minutes: int = 0) -> UsageEvent:
    """Return a last value in the hour of ten."""
    return event(text, dimension="level", at=NOW + minutes * MINUTE)


def users(*names: str) -> list[UsageEvent]:
    """Return users of the hour of ten."""
    return [event(dimension="users", value=name, at=NOW) for name in names]


def report(books: Books, count: int = 10) -> None:
    """Report that many seats, of a peak and of a last value, and that many users."""
    books.take(seats(str(count)), level(str(count)), *users(*(f"user-{number}" for number in range(count))))


def drain(books: Books) -> None:
    """End the pod: its open hour is sealed and taken by AWS."""
    books.seal_ended(before=hour_of(books.now + HOUR))
    books.submit_all()


def totals(books: Books, term: str = "accepted") -> list[str | None]:
    """Return one term of the three gauges."""
    return [books.shown(name).get(term) for name in ("peak", "level", "users")]


def finish(books: Books) -> None:
    """Let two hours end, and have AWS take everything."""
    for _ in range(2):
        books.pass_time(HOUR)
        books.seal_ended()
        books.submit_all()


@pytest.mark.parametrize("drained", [False, True], ids=["adopted", "drained"])
@pytest.mark.parametrize("rules", [RULES, UNBILLED_LATE, WHOLE], ids=["carry", "unbilled", "whole"])
def test_replaced_pod_counts_once(open_books: OpenBooks, rules: MeteringRules, drained: bool) -> None:  # noqa: FBT001
    """The same seats and users in a pod and its successor are billed once, also after a drain."""
    books = open_books(rules)
    report(books)
    if drained:
        drain(books)
    books.restart("pod-2")
    report(books)
    assert ["10"] * 3 == totals(books)
    finish(books)
    assert ["10"] * 3 == totals(books, "submitted")
    assert [] == books.breaches()


@pytest.mark.parametrize("drained", [False, True], ids=["adopted", "drained"])
def test_successor_adds_the_excess(books: Books, drained: bool) -> None:  # noqa: FBT001 - a table's column
    """What a successor sees above its predecessors is added, through as many pods as there are."""
    for number, count in enumerate((10, 12, 11, 15)):
        books.restart(f"pod-{number + 2}")
        report(books, count)
        if drained:
            drain(books)
    assert ["15"] * 3 == totals(books)
    finish(books)
    assert ["15"] * 3 == totals(books, "submitted")


def test_doubt_counts_as_billed(books: Books) -> None:
    """What AWS may hold of another pod is not billed again."""
    report(books)
    books.seal_ended(before=hour_of(books.now + HOUR))
    books.submit_all(Outcome.UNKNOWN)
    books.restart("pod-2")
    report(books, 11)
    assert ["10"] * 3 == totals(books, "unbilled")
    assert ["1"] * 3 == totals(books, "open")


def test_late_excess_of_another_pod(books: Books) -> None:
    """A late event adds to an hour that another pod has billed only what exceeds that."""
    report(books)
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all()
    books.restart("pod-2")
    report(books, 11)
    assert ["11"] * 3 == totals(books)
    books.pass_time(7 * HOUR)
    report(books, 12)
    assert ["12"] * 3 == totals(books)
    finish(books)
    assert ["12"] * 3 == totals(books, "submitted")


def test_tag_sets_are_compared_alone(books: Books) -> None:
    """Another tag set is another quantity."""
    books.take(event("10", dimension="peak", tags=RED))
    drain(books)
    books.restart("pod-2")
    books.take(event("10", dimension="peak", tags=BLUE), event("12", dimension="peak", tags=RED))
    assert {("peak", 10, BLUE): "10", ("peak", 10, RED): "2"} == books.buckets()


def test_hours_are_compared_alone(books: Books) -> None:
    """The next hour is another quantity."""
    report(books)
    drain(books)
    books.pass_time(HOUR)
    books.restart("pod-2")
    books.take(event("10", dimension="peak"))
    assert {("peak", 11, ()): "10"} == books.buckets()


@pytest.mark.parametrize(
    ("drained", "after", "accepted"),
    [
        (False, [level("4", minutes=1)], "4"),
        (False, [level("4", minutes=-1)], "10"),
        (False, [level("4", minutes=1), level("12", minutes=2), level("3", minutes=3)], "3"),
        (True, [level("4", minutes=1)], "10"),
        (True, [level("4", minutes=1), level("12", minutes=2)], "12"),
        (True, [level("12", minutes=-1)], "10"),
    ],
)
def test_last_value_across_pods(books: Books, drained: bool, after: list[UsageEvent], accepted: str) -> None:  # noqa: FBT001
    """The latest value by its own time counts whichever pod saw it; below what was billed it takes nothing back."""
    books.take(level("10"))
    if drained:
        drain(books)
    books.restart("pod-2")
    for each in after:
        books.take(each)
    books.restart("pod-3")
    assert accepted == books.shown("level")["accepted"]
    finish(books)
    assert {"accepted": accepted, "submitted": accepted} == books.shown("level")


def test_lower_last_spares_carried(books: Books) -> None:
    """A last value below what was billed does not eat what was carried into its hour."""
    books.take(event("7", dimension="level", at=NOW - 7 * HOUR), level("10"))
    drain(books)
    books.restart("pod-2")
    books.take(event("5", dimension="level", at=NOW - 8 * HOUR), level("4", minutes=1))
    finish(books)
    assert {"accepted": "22", "submitted": "22"} == books.shown("level")


def test_sum_adds(books: Books) -> None:
    """What two pods report of a sum is two quantities."""
    books.take(event("10"))
    drain(books)
    books.restart("pod-2")
    books.take(event("10"))
    finish(books)
    assert {"accepted": "20", "submitted": "20"} == books.shown()


def test_predecessor_returns(books: Books) -> None:
    """A pod that comes back after its successor is compared with it in turn."""
    report(books)
    books.restart("pod-2")
    report(books, 12)
    drain(books)
    books.restart("pod-1")
    report(books, 13)
    assert ["13"] * 3 == totals(books)
    finish(books)
    assert ["13"] * 3 == totals(books, "submitted")


def test_old_values_not_billed(books: Books) -> None:
    """Values are compared across pods for 26 hours; older ones could count twice, and are kept unbilled `late`."""
    books.take(*users("ann"))
    finish(books)
    books.pass_time(26 * HOUR)
    books.restart("pod-2")
    books.take(*users("ann", "bob"))
    (kept,) = books.records(status="unbilled", dimension="users")
    assert "late" == (kept.reason or "").partition(":")[0]
    assert "1" == books.shown("users")["submitted"]


@pytest.mark.parametrize("pod", ["pod-1", "pod-2"])
@pytest.mark.parametrize("leap", [timedelta(hours=30), timedelta(days=11)])
def test_leap_bills_no_gauge_twice(books: Books, pod: str, leap: timedelta) -> None:
    """A clock that leaps, forgets and comes back makes no seat and no user count twice."""
    report(books)
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all()
    books.pass_time(leap)
    books.seal_ended()
    books.expire()
    books.prune()
    books.pass_time(-leap)
    books.restart(pod)
    report(books)
    books.rebook_future_hours()
    finish(books)
    assert ["10"] * 3 == totals(books, "submitted")
    assert [] == books.breaches()


def test_open_hour_outlives_leap(books: Books) -> None:
    """Pruning spares what an open hour is compared with, at any time of the clock meanwhile."""
    report(books)
    drain(books)
    books.restart("pod-2")
    report(books, 12)
    books.pass_time(timedelta(days=11))
    books.prune()
    books.pass_time(-timedelta(days=11))
    report(books, 12)
    finish(books)
    assert ["12"] * 3 == totals(books, "submitted")
