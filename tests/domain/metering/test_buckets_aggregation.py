"""What events make of a bucket, in its open hour and after it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.metering.buckets import Bucket, Elsewhere, record, record_late
from sidecar.domain.metering.events import Aggregation
from sidecar.domain.metering.quantity import MILLION

events = st.lists(st.tuples(st.integers(min_value=0, max_value=10**16 - 1), st.integers(min_value=0, max_value=50)))


def units(*pairs: tuple[float, int]) -> list[tuple[int, int]]:
    """Return events of so many units at such times."""
    return [(int(quantity * MILLION), at) for quantity, at in pairs]


@pytest.mark.parametrize(
    ("aggregation", "arrived", "own", "last_at"),
    [
        (Aggregation.SUM, units((1, 5), (0.5, 3), (2, 9)), 3_500_000, None),
        (Aggregation.SUM, [], 0, None),
        (Aggregation.MAX, units((1, 5), (4, 3), (2, 9)), 4 * MILLION, None),
        (Aggregation.MAX, [], 0, None),
        (Aggregation.LAST, units((1, 5), (4, 3), (2, 9)), 2 * MILLION, 9),
        (Aggregation.LAST, units((1, 9), (4, 3)), 1 * MILLION, 9),
        (Aggregation.LAST, units((1, 9), (4, 9)), 4 * MILLION, 9),
        (Aggregation.LAST, units((4, 9), (1, 9)), 1 * MILLION, 9),
        (Aggregation.LAST, units((4, 9), (0, 10)), 0, 10),
        (Aggregation.LAST, [], 0, None),
    ],
)
def test_events_aggregate(
    aggregation: Aggregation, arrived: list[tuple[int, int]], own: int, last_at: int | None
) -> None:
    """A sum adds, max keeps the largest, last keeps the latest by its own time, then by arrival."""
    assert Bucket(own=own, events=len(arrived), last_at=last_at) == record(Bucket(), aggregation, arrived)


def test_distinct_values_counted() -> None:
    """A `unique` bucket grows by the values that were not in it, whatever the events' quantity."""
    after = record(Bucket(own=2 * MILLION, events=7), Aggregation.UNIQUE, units((1, 1), (1, 2), (1, 3)), distinct=2)
    assert Bucket(own=4 * MILLION, events=10) == after
    assert Bucket(own=0, events=1) == record(Bucket(), Aggregation.UNIQUE, units((5, 1)), distinct=0)


def test_carried_stays_apart() -> None:
    """What was carried in joins the quantity but no event overwrites it."""
    after = record(Bucket(carried=7 * MILLION), Aggregation.LAST, units((1, 5), (2, 6)))
    assert Bucket(own=2 * MILLION, carried=7 * MILLION, events=2, last_at=6) == after
    assert 9 * MILLION == after.quantity


@given(st.sampled_from(list(Aggregation)), events, st.integers(min_value=0))
def test_batching_changes_nothing(aggregation: Aggregation, arrived: list[tuple[int, int]], cut: int) -> None:
    """How the same events are parted into batches makes no difference."""
    cut %= len(arrived) + 1
    whole = record(Bucket(), aggregation, arrived, distinct=len(arrived))
    first = record(Bucket(), aggregation, arrived[:cut], distinct=cut)
    assert whole == record(first, aggregation, arrived[cut:], distinct=len(arrived) - cut)


@pytest.mark.parametrize(
    ("aggregation", "before", "arrived", "distinct", "own", "added"),
    [
        (Aggregation.SUM, Bucket(own=5, sealed=True), [(3, 1)], None, 8, 3),
        (Aggregation.MAX, Bucket(own=5, sealed=True), [(3, 1)], None, 5, 0),
        (Aggregation.MAX, Bucket(own=5, sealed=True), [(9, 1), (7, 2)], None, 9, 4),
        (Aggregation.LAST, Bucket(own=5, last_at=1, sealed=True), [(9, 2)], None, 9, 4),
        (Aggregation.LAST, Bucket(own=5, last_at=1, sealed=True), [(3, 2)], None, 5, 0),
        (Aggregation.LAST, Bucket(own=5, last_at=3, sealed=True), [(9, 2)], None, 5, 0),
        (Aggregation.UNIQUE, Bucket(own=MILLION, sealed=True), [(MILLION, 1)], 1, 2 * MILLION, MILLION),
        (Aggregation.UNIQUE, Bucket(own=MILLION, sealed=True), [(MILLION, 1)], 0, MILLION, 0),
    ],
)
def test_late_adds_difference(
    aggregation: Aggregation,
    before: Bucket,
    arrived: list[tuple[int, int]],
    distinct: int | None,
    own: int,
    added: int,
) -> None:
    """Late events add what they would have added to their hour, never less than zero, and it moves out in that step."""
    after, difference = record_late(before, aggregation, arrived, distinct=distinct)
    assert added == difference
    assert (own, added, before.quantity) == (after.own, after.moved, after.quantity)
    assert after.events == before.events + len(arrived)


def test_late_alone_is_closed() -> None:
    """A bucket that only late events have made is closed: nothing of it is left to seal."""
    after, added = record_late(Bucket(), Aggregation.SUM, [(4, 1)])
    assert (Bucket(own=4, moved=4, events=1, sealed=True), 4) == (after, added)


@given(st.sampled_from(list(Aggregation)), events, events)
def test_late_never_touches_frozen(
    aggregation: Aggregation, early: list[tuple[int, int]], late: list[tuple[int, int]]
) -> None:
    """Whatever comes late, the quantity that was frozen stays; what it adds is counted and gone."""
    sealed = replace(record(Bucket(carried=3), aggregation, early, distinct=len(early)), sealed=True)
    after, added = record_late(sealed, aggregation, late, distinct=len(late))
    again, more = record_late(after, aggregation, late, distinct=0)
    assert sealed.quantity == after.quantity == again.quantity
    assert min(added, more) >= 0
    assert added + more == again.own - sealed.own == again.moved


@given(st.sampled_from(list(Aggregation)), events, events)
def test_reopened_never_negative(
    aggregation: Aggregation, early: list[tuple[int, int]], later: list[tuple[int, int]]
) -> None:
    """A bucket whose quantity has gone elsewhere and that takes more never owes what has gone."""
    before = record(Bucket(), aggregation, early, distinct=len(early))
    gone = replace(before, moved=before.quantity)
    assert record(gone, aggregation, later, distinct=len(later)).quantity >= 0


@pytest.mark.parametrize(
    ("aggregation", "elsewhere", "arrived", "distinct", "own"),
    [
        (Aggregation.SUM, Elsewhere(10), [(4, 1)], None, 4),
        (Aggregation.MAX, Elsewhere(10), [(4, 1)], None, 0),
        (Aggregation.MAX, Elsewhere(10), [(14, 1)], None, 4),
        (Aggregation.LAST, Elsewhere(10, 5), [(14, 6)], None, 4),
        (Aggregation.LAST, Elsewhere(10, 5), [(14, 4)], None, 0),
        (Aggregation.LAST, Elsewhere(10, 5), [(4, 6)], None, 0),
        (Aggregation.LAST, Elsewhere(10, 5), [(14, 6), (4, 7)], None, 0),
        (Aggregation.UNIQUE, Elsewhere(), [(1, 1)], 2, 2 * MILLION),
        (Aggregation.UNIQUE, Elsewhere(MILLION), [(1, 1)], 3, 2 * MILLION),
        (Aggregation.UNIQUE, Elsewhere(5 * MILLION), [(1, 1)], 3, 0),
    ],
)
def test_excess_over_elsewhere(
    aggregation: Aggregation, elsewhere: Elsewhere, arrived: list[tuple[int, int]], distinct: int | None, own: int
) -> None:
    """A gauge counts only what exceeds what other buckets of its hour and tag set count; a sum counts everything."""
    assert own == record(Bucket(), aggregation, arrived, distinct=distinct, elsewhere=elsewhere).own
    after, added = record_late(Bucket(), aggregation, arrived, distinct=distinct, elsewhere=elsewhere)
    assert (own, own) == (after.own, added)
