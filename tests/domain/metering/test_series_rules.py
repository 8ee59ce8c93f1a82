"""What a sample of a counter means: increases, resets, faults, deltas, hours and rests."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.metering.denial import NEVER_DENIED, Denial
from sidecar.domain.metering.hours import Hour, bound_hour, hour_of, hour_of_micros, to_micros
from sidecar.domain.metering.plain import FirstSamples, is_same_start, judge_plain
from sidecar.domain.metering.quantity import LARGEST, MILLION
from sidecar.domain.metering.series import (
    JITTER,
    MOST_RESETS,
    MOST_SEEN,
    RENDERED_WITHIN,
    Judgement,
    SampleOutcome,
    SeriesSample,
    SeriesState,
    SourceTerms,
    Temporality,
    judge,
    shortest,
)

NOW = to_micros(datetime(2026, 11, 23, 10, 20, tzinfo=UTC))
SECOND = 1_000_000
MINUTE = 60 * SECOND
TERMS = SourceTerms(Decimal(1), since=NOW - 60 * MINUTE)
BOOT = NOW - 30 * MINUTE
"""A start after the pod's."""


def sample(value: str, minute: float = 0, started: int | None = BOOT) -> SeriesSample:
    """Return a cumulative sample, so many minutes from now."""
    return SeriesSample(b"key", (), Decimal(value), started, NOW + round(minute * MINUTE))


def delta(value: str, start: float, end: float) -> SeriesSample:
    """Return the sum of an interval, in minutes from now."""
    at, started = NOW + round(end * MINUTE), NOW + round(start * MINUTE)
    return SeriesSample(b"key", (), Decimal(value), started, at, Temporality.DELTA)


def follow(*samples: SeriesSample, terms: SourceTerms = TERMS) -> list[tuple[str, int]]:
    """Return the outcome and the whole units billed of each sample."""
    state: SeriesState | None = None
    found = []
    for each in samples:
        judgement = judge(state, each, terms)
        state = judgement.state
        found.append((judgement.outcome.value, judgement.millionths // MILLION))
    return found


def last(*samples: SeriesSample, terms: SourceTerms = TERMS) -> Judgement:
    """Return the judgement of the last sample."""
    state: SeriesState | None = None
    for each in samples[:-1]:
        state = judge(state, each, terms).state
    return judge(state, samples[-1], terms)


@pytest.mark.parametrize(
    ("started", "terms", "expected"),
    [
        (BOOT, TERMS, ("began", 7)),
        (None, TERMS, ("base-line", 0)),
        (TERMS.since - JITTER, TERMS, ("base-line", 0)),
        (TERMS.since - JITTER + 1, TERMS, ("began", 7)),
        (NOW + RENDERED_WITHIN, TERMS, ("began", 7)),
        (NOW + RENDERED_WITHIN + 1, TERMS, ("base-line", 0)),
        (BOOT, replace(TERMS, forgotten_at=BOOT), ("base-line", 0)),
        (BOOT, replace(TERMS, forgotten_at=BOOT - 1), ("began", 7)),
    ],
)
def test_first_sample(started: int | None, terms: SourceTerms, expected: tuple[str, int]) -> None:
    """A new series counts from zero if it started after the pod, and after the last series that was dropped."""
    assert [expected] == follow(sample("7", started=started), terms=terms)


NEWER = NOW + 2 * MINUTE
CASES = {
    "increase": ([sample("7"), sample("7", 1), sample("9", 2)], [("began", 7), ("increased", 0), ("increased", 2)]),
    "restart with a start time": ([sample("7"), sample("9", 3, NEWER)], [("began", 7), ("reset", 9)]),
    "restart to a lower value": ([sample("7"), sample("3", 3, NEWER)], [("began", 7), ("reset", 3)]),
    "restart that goes on": (
        [sample("7"), sample("3", 3, NEWER), sample("5", 4, NEWER)],
        [("began", 7), ("reset", 3), ("increased", 2)],
    ),
    "lower with the same start": (
        [sample("100"), sample("40", 1), sample("50", 2)],
        [("began", 100), ("inconsistent", 0), ("increased", 10)],
    ),
    "beyond the highest value after a fault": (
        [sample("100"), sample("40", 1), sample("104", 2), sample("105", 3)],
        [("began", 100), ("inconsistent", 0), ("increased", 4), ("increased", 1)],
    ),
    "start goes back": ([sample("7"), sample("9", 1, BOOT - 9 * SECOND)], [("began", 7), ("inconsistent", 0)]),
    "newer start before the last sample": (
        [sample("7"), sample("9", 1, NOW - MINUTE)],
        [("began", 7), ("inconsistent", 0)],
    ),
    "start that jitters": (
        [sample("7"), sample("9", 1, BOOT - SECOND), sample("10", 2, BOOT + SECOND), sample("8", 3, BOOT + SECOND)],
        [("began", 7), ("increased", 2), ("increased", 1), ("inconsistent", 0)],
    ),
    "two workers behind one page": (
        [sample(str(100 if minute % 2 else 5 + minute), minute) for minute in range(6)],
        [("began", 5), ("increased", 95), ("inconsistent", 0), ("increased", 0), ("inconsistent", 0), ("held", 0)],
    ),
    "billed again an hour after the last fault": (
        [sample("9"), sample("5", 1), sample("4", 2), sample("8", 61), sample("20", 62)],
        [("began", 9), ("inconsistent", 0), ("inconsistent", 0), ("held", 0), ("increased", 11)],
    ),
    "lower without a start": (
        [sample("7", 0, None), sample("9", 1, None), sample("3", 2, None), sample("4", 3, None)],
        [("base-line", 0), ("increased", 2), ("reset", 3), ("increased", 1)],
    ),
    "a start appears": ([sample("7", 0, None), sample("9", 1)], [("base-line", 0), ("increased", 2)]),
    "a start appears with a lower value": (
        [sample("7", 0, None), sample("3", 1)],
        [("base-line", 0), ("inconsistent", 0)],
    ),
    "a later start appears": ([sample("7", 0, None), sample("9", 3, NEWER)], [("base-line", 0), ("reset", 9)]),
    "a start disappears": (
        [sample("7"), sample("9", 1, None), sample("3", 2, None)],
        [("began", 7), ("increased", 2), ("reset", 3)],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_samples(case: str) -> None:
    """Each course of a counter has one outcome, and bills what it proves."""
    samples, expected = CASES[case]
    assert expected == follow(*samples)


def test_resets_without_start_are_limited() -> None:
    """More than ten resets within an hour are no restarts of one counter: nothing counts for an hour."""
    samples = [sample(str(9 - each % 2), each / 10, None) for each in range(2 * MOST_RESETS + 4)]
    found = [outcome for outcome, _ in follow(*samples)]
    assert MOST_RESETS == found.count("reset")
    assert ["inconsistent", "held", "inconsistent"] == found[2 * MOST_RESETS + 1 :]


def test_ten_resets_an_hour() -> None:
    """Ten resets within an hour are believed, hour after hour."""
    samples = [sample(str(9 - each % 2), each * 3.01, None) for each in range(100)]
    assert {"base-line", "reset", "increased"} == {outcome for outcome, _ in follow(*samples)}


@pytest.mark.parametrize("minutes", [3, 10])
def test_two_workers_of_a_page_that_is_read_seldom(minutes: int) -> None:
    """A page that has few samples in an hour needs more hours to be judged, and is."""
    terms = replace(TERMS, every=minutes * MINUTE)
    samples = [sample(str(1000 - each % 2), minutes * each, None) for each in range(100)]
    found = [outcome for outcome, _ in follow(*samples, terms=terms)]
    assert MOST_RESETS == found.count("reset")
    assert {"inconsistent", "held"} == set(found[2 * MOST_RESETS + 1 :])


@pytest.mark.parametrize("step", [8 * 60 * MINUTE, -20 * MINUTE])
def test_start_that_moves_with_the_clock(step: int) -> None:
    """A start time that is derived from the system clock moves when the clock is set; the counter has not restarted."""
    terms = replace(TERMS, clock_step=step)
    before = judge(None, sample("1000"), TERMS).state
    set_by = step / MINUTE
    found = judge(before, sample("1002", 1 + set_by, BOOT + step), terms)
    assert ("increased", 2) == (found.outcome, found.millionths // MILLION)
    after = judge(found.state, sample("1003", 2 + set_by, BOOT + step), TERMS)
    assert ("increased", 1) == (after.outcome, after.millionths // MILLION)
    lower = judge(before, sample("999", 1 + set_by, BOOT + step), terms)
    assert ("inconsistent", 0) == (lower.outcome, lower.millionths)


def test_sender_that_does_not_know_the_start() -> None:
    """A collector that does not know the start writes the instant of its first point: it is no start from zero."""
    terms = replace(TERMS, in_order=False)
    samples = [
        sample("1000", 0, NOW),
        sample("1010", 1, NOW),
        sample("1011", 2, NOW + 2 * MINUTE),  # the collector restarts
        sample("1013", 3, NOW + 2 * MINUTE),
        sample("5", 4, NOW + 4 * MINUTE),  # the app restarts
        sample("9", 6, NOW + 5 * MINUTE),  # the collector restarts, and its first point is lost
        sample("9", 8, NOW + 7 * MINUTE),
        sample("6", 9, NOW + 7 * MINUTE),  # two counters in one series
        sample("2", 11, NOW + 10 * MINUTE),  # the app and the collector restart
        sample("7", 13, NOW + 12 * MINUTE),
    ]
    expected = [
        *(("base-line", 0), ("increased", 10), ("increased", 1), ("increased", 2), ("reset", 5)),
        *(("increased", 4), ("increased", 0), ("inconsistent", 0), ("reset", 2), ("increased", 5)),
    ]
    assert expected == follow(*samples, terms=terms)


def test_step_belongs_to_earlier_hour() -> None:
    """A step, and a reset, belong to the hour of the sample before."""
    assert hour_of_micros(NOW) == last(sample("1"), sample("2", 45)).hour
    assert hour_of_micros(NOW) == last(sample("5"), sample("2", 45, NOW + 41 * MINUTE)).hour
    assert hour_of_micros(NOW + 45 * MINUTE) == last(sample("1"), sample("2", 45), sample("3", 46)).hour


@pytest.mark.parametrize(("page", "start", "expected"), [(None, -25, 9), (-30, -40, 9), (-5, -25, 10), (-30, -10, 10)])
def test_first_increment_hour(page: int | None, start: int, expected: int) -> None:
    """The first increment of a series belongs to the page before, or to its own start, if that is later."""
    at = None if page is None else NOW + page * MINUTE
    terms = replace(TERMS, last_at=at, last_hour=None if at is None else hour_of_micros(at))
    assert (
        hour_of(datetime(2026, 11, 23, expected, tzinfo=UTC))
        == last(sample("1", started=NOW + start * MINUTE), terms=terms).hour
    )


def test_shifted_clock() -> None:
    """With an emulator the sidecar's own clock decides the hour, and the system's clock judges start times."""
    terms = replace(TERMS, shift=5 * 60 * MINUTE)
    found = last(sample("1"), sample("2", 1), terms=terms)
    assert hour_of_micros(NOW) + 5 * 3600 == found.hour


def test_delta_counts_once() -> None:
    """The same start and time count once, in whatever order the points come."""
    points = [
        delta("1", 0, 1),
        delta("2", 1, 2),
        delta("1", 0, 1),
        delta("4", 3, 4),
        delta("8", 2, 3),
        delta("8", 2, 3),
    ]
    expected = [
        ("increased", 1),
        ("increased", 2),
        ("duplicate", 0),
        ("increased", 4),
        ("increased", 8),
        ("duplicate", 0),
    ]
    assert expected == follow(*points)


def test_old_delta_is_not_counted() -> None:
    """A point that is older than all that are remembered cannot be recognized."""
    points = [delta("1", each, each + 1) for each in range(MOST_SEEN + 1)]
    assert ("stale", 0) == follow(*points, delta("1", 0, 1))[-1]


def test_late_delta_forgets_no_newer_one() -> None:
    """A late point takes no newer one out of memory, whose repetition would count again."""
    points = [delta("1", each, each + 1) for each in range(1, MOST_SEEN)]
    found = follow(*points, delta("1", 0, 1), delta("1", MOST_SEEN, MOST_SEEN + 1), *points)
    assert {("increased", 1)} == set(found[: MOST_SEEN + 1])
    assert {("duplicate", 0)} == set(found[MOST_SEEN + 1 :])


def test_deltas_before_a_gap_of_the_source() -> None:
    """No interval that began while the source was not measured counts, however many come."""
    terms = replace(TERMS, forgotten_at=NOW + 3 * MINUTE)
    found = follow(*(delta("1", each, each + 1) for each in range(5)), terms=terms)
    assert [("base-line", 0)] * 3 + [("increased", 1)] * 2 == found


def test_delta_hour() -> None:
    """An interval belongs to the hour in which it began."""
    assert hour_of_micros(NOW) == last(delta("1", 30, 41)).hour


def test_delta_across_a_clock_that_is_set_back() -> None:
    """An interval that ends before its start counts once, in the hour of its end, if nothing demands its beginning."""
    across = delta("7", 50, 30)
    assert [("increased", 7), ("duplicate", 0), ("increased", 1)] == follow(across, across, delta("1", 30, 31))
    assert hour_of_micros(NOW + 30 * MINUTE) == last(across).hour
    assert ("base-line", 0) == follow(across, terms=replace(TERMS, forgotten_at=NOW))[0]
    assert ("base-line", 0) == follow(sample("9"), across)[1]
    assert ("base-line", 0) == follow(sample("9"), delta("1", 0, 1), across)[2]
    assert [("increased", 0)] == follow(across, terms=replace(TERMS, denial=Denial(NOW - 2, NOW - 1)))
    seen = [delta("1", each, each + 1) for each in range(100, 100 + MOST_SEEN)]
    assert ("stale", 0) == follow(*seen, across)[-1]


def test_change_of_temporality() -> None:
    """A series that changes its kind counts nothing twice."""
    assert [("began", 7), ("base-line", 0), ("increased", 2)] == follow(
        sample("7"), delta("9", -1, 1), delta("2", 1, 2)
    )
    assert [("increased", 9), ("base-line", 0), ("increased", 1)] == follow(
        delta("9", -1, 1), sample("9", 2), sample("10", 3)
    )


def test_both_temporalities_of_one_counter() -> None:
    """Two exporters of one counter: what one of them has counted is not counted by the other, in whatever order."""
    terms = replace(TERMS, in_order=False)
    late = [sample("70"), delta("60", -1, -0.5), delta("60", -0.5, 0.5), delta("9", 1, 2), delta("60", -0.5, 0.5)]
    expected = [("began", 70), ("base-line", 0), ("base-line", 0), ("increased", 9), ("base-line", 0)]
    assert expected == follow(*late, terms=terms)
    before = [delta("60", 0, 1), sample("30", 0.5), sample("90", 2), delta("60", 0, 1), sample("91", 3)]
    expected = [("increased", 60), ("stale", 0), ("base-line", 0), ("base-line", 0), ("increased", 1)]
    assert expected == follow(*before, terms=terms)


def test_repeated_sample_of_a_sender() -> None:
    """A cumulative sample that is not newer than the last one is ignored, or a late one would look like a reset."""
    terms = replace(TERMS, in_order=False)
    samples = [sample("7"), sample("9", 2), sample("8", 1), sample("9", 2), sample("10", 3)]
    outcomes = ["began", "increased", "stale", "stale", "increased"]
    assert outcomes == [outcome for outcome, _ in follow(*samples, terms=terms)]


def test_incredible_step() -> None:
    """A step that no record can hold is a fault, and bills nothing."""
    assert [("began", 1), ("inconsistent", 0), ("reset", 3)] == follow(
        sample("1"), sample("1e300", 1), sample("3", 3, NEWER)
    )


@pytest.mark.parametrize(
    ("number", "text"), [(0.1, "0.1"), (1e22, "1E+22"), (1234567.0, "1234567.0"), (5e-324, "5E-324")]
)
def test_shortest_decimal(number: float, text: str) -> None:
    """A float counts as the shortest decimal that stands for it."""
    assert Decimal(text) == shortest(number)


@given(
    st.lists(st.floats(0, 1e6, allow_nan=False, allow_subnormal=True), min_size=1, max_size=30),
    st.decimals("0.000001", 1000, places=6),
)
def test_floor_of_the_total(values: list[float], scale: Decimal) -> None:
    """Billed is the floor of scale times total, whatever the steps were."""
    terms, state, billed = replace(TERMS, scale=scale), None, 0
    values.sort()
    for minute, value in enumerate(values):
        found = judge(state, sample("0", minute)._replace(value=shortest(value)), terms)
        state, billed = found.state, billed + found.millionths
        assert int(Fraction(shortest(value)) * Fraction(scale) * MILLION) == billed
        assert 0 <= found.millionths <= LARGEST


def test_bounded_hour() -> None:
    """Usage is dated in no hour to come, and in none that is older than an event may be."""
    week = timedelta(days=7) // timedelta(seconds=1)
    this_hour = hour_of_micros(NOW)
    assert this_hour == bound_hour(Hour(this_hour + 3600), this_hour)
    assert this_hour - week == bound_hour(Hour(0), this_hour)


@given(
    before=st.decimals(0, 10**13, places=1) | st.integers(0, 10**13).map(Decimal),
    more=st.integers(-3, 10**6) | st.decimals(0, 10, places=2),
    scale=st.sampled_from(["1", "0.001", "0.000001", "0.0000001", "0.333333", "12.5", "1000000"]).map(Decimal),
    moved=st.integers(-2, 2).map(lambda each: each * JITTER // 2),
    known=st.booleans(),
)
@settings(max_examples=500)
def test_simple_case_is_judged_alike(
    before: Decimal, more: Decimal, scale: Decimal, moved: int, *, known: bool
) -> None:
    """What the fast way bills, and keeps, is what the judge bills and keeps."""
    terms = replace(TERMS, scale=scale)
    state = SeriesState(before, NOW if known else None, NOW + 1, hour_of_micros(NOW + 1))
    shown = max(before + more, Decimal(0))
    factor = terms.factor
    found = judge(state, sample(str(shown), 1, NOW + moved if known else None), terms)
    fast = None if factor is None else judge_plain(str(before), str(shown), factor)
    if fast is None or not is_same_start(state.started_at, NOW + moved if known else None):
        return
    kept = state._replace(value=shown, at=found.state.at, hour=found.state.hour)
    assert (SampleOutcome.INCREASED, fast, kept) == (found.outcome, found.millionths, found.state)


@given(
    shown=st.one_of(
        st.sampled_from(["0", "1", "7", "7.5", "1E+4", str(LARGEST), str(10**30)]), st.integers(0).map(str)
    ),
    started=st.none() | st.integers(-3, 3).map(lambda each: NOW + each * JITTER // 2),
    scale=st.sampled_from(["1", "0.000001", "0.333333", "12.5", str(10**20)]).map(Decimal),
    last=st.none() | st.integers(-1, 1),
    denial=st.sampled_from([NEVER_DENIED, Denial(NOW - JITTER), Denial(ended_at=NOW), Denial(NOW, NOW + 1)]),
    forgotten=st.none() | st.just(NOW + 1),
)
@settings(max_examples=500)
def test_first_sample_is_judged_alike(
    shown: str, started: int | None, scale: Decimal, last: int | None, denial: Denial, forgotten: int | None
) -> None:
    """What the fast way says of a series that begins is what the judge says, also after another series of its start."""
    at = NOW + JITTER
    terms = replace(
        TERMS,
        scale=scale,
        denial=denial,
        forgotten_at=forgotten,
        last_at=None if last is None else NOW + last,
        last_hour=None if last is None else hour_of_micros(NOW - last * MINUTE),
    )
    assert terms.factor is not None
    first = FirstSamples(terms, terms.factor)
    for text in ("3", shown):
        each = SeriesSample(b"", (), Decimal(text), started, at)
        found, fast = judge(None, each, terms), first.judge(each, text)
        if fast is None:
            continue
        unit, millionths = fast
        kept = unit.state._replace(value=each.value)
        hour = unit.hour if millionths else None
        assert (found.outcome, found.state, found.millionths, found.hour) == (unit.outcome, kept, millionths, hour)


@pytest.mark.parametrize("started", [NOW + 1, NOW - JITTER, None])
def test_first_samples_are_simple(started: int | None) -> None:
    """A whole number at the beginning of a series is judged the fast way."""
    assert FirstSamples(TERMS, MILLION).judge(sample("7", 1, started), "7") is not None


GRANTED = NOW + 5 * MINUTE
AFTER_DENIAL = replace(TERMS, denial=Denial(ended_at=GRANTED))


@pytest.mark.parametrize(("page", "billed"), [(4, 0), (6, 7)])
def test_new_series_after_a_denial(page: int, billed: int) -> None:
    """What a new series shows was counted since the last page, on which it was not, though its process began denied."""
    terms = replace(AFTER_DENIAL, last_at=NOW + page * MINUTE, last_hour=hour_of_micros(NOW))
    assert ("began", billed) == follow(sample("7", 60), terms=terms)[0]


@pytest.mark.parametrize(("started", "billed"), [(4, 0), (6, 7)])
def test_reset_after_a_denial(started: int, billed: int) -> None:
    """A counter that began anew after the grant is billed, though its last sample was of the denied pod."""
    begun = sample("7", 60, NOW + started * MINUTE)
    assert ("reset", billed) == follow(sample("100", 3), begun, terms=AFTER_DENIAL)[1]


def test_delta_across_a_grant() -> None:
    """An interval that begins before the grant is not billed."""
    terms = replace(AFTER_DENIAL, in_order=False)
    assert [0, 7] == [billed for _, billed in follow(delta("7", 4, 6), delta("7", 6, 7), terms=terms)]


def test_fault_of_a_clock_that_was_ahead() -> None:
    """A fault that lies in the future by a clock that was set back is no recent one: what follows is billed."""
    ahead = 24 * 60
    held = follow(sample("9"), sample("5", ahead), sample("4", ahead + 1), sample("6", 1), sample("8", 2))
    assert [("increased", 2), ("increased", 2)] == held[3:]


def test_restart_within_the_jitter_of_the_last_sample() -> None:
    """A start time is exact to a second: one just before the last sample is a restart, and all of it counts."""
    assert [("began", 7), ("reset", 3)] == follow(sample("7"), sample("3", 1, NOW - JITTER + 1))
    assert [("began", 7), ("inconsistent", 0)] == follow(sample("7"), sample("3", 1, NOW - JITTER))


def test_restart_forgets_the_highest_value() -> None:
    """A counter that began anew is not measured by the highest value that it had before a fault."""
    samples = [sample("100"), sample("40", 1), sample("30", 3, NEWER), sample("130", 4, NEWER)]
    assert [("inconsistent", 0), ("reset", 30), ("increased", 100)] == follow(*samples)[1:]


def test_deltas_that_follow_a_sum() -> None:
    """The interval that begins at the last cumulative sample counts, and so does each one of the same beginning."""
    samples = [sample("7"), delta("2", 0, 1), delta("3", 0, 2)]
    assert [("began", 7), ("increased", 2), ("increased", 3)] == follow(*samples)


def test_point_as_old_as_the_oldest_that_is_remembered() -> None:
    """Of points that end together the memory may have lost one: none of them counts any more."""
    points = [delta("1", -2, 0), delta("1", -1, 0), *(delta("1", each, each + 1) for each in range(MOST_SEEN - 1))]
    assert ("stale", 0) == follow(*points, delta("1", -2, 0))[-1]
