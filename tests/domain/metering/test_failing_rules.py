"""When metering fails: tables of the rule, and its properties over any course of answers."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.metering.failing import DUPLICATES, WITHIN, Cause, Course, describe, find_failures

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
AFTER = 2 * HOUR


def causes(course: Course, now: datetime, *judged: str, refusing_since: datetime | None = None) -> list[Cause]:
    """Return why metering with one dimension fails."""
    names = judged or ("requests",)
    found = find_failures({"requests": course}, names, refusing_since=refusing_since, failing_after=AFTER, now=now)
    return [failure.cause for failure in found]


@pytest.mark.parametrize(
    ("course", "expected"),
    [
        (Course(), []),
        (Course(last_success_at=NOON - 90 * HOUR), []),
        (Course(due_since=NOON - AFTER), []),
        (Course(due_since=NOON - AFTER - timedelta(microseconds=1)), [Cause.SILENCE]),
        (Course(due_since=NOON + HOUR), []),
        (Course(disputed_since=NOON - 90 * HOUR), [Cause.DUPLICATES]),
        (Course(duplicates=(NOON, NOON, NOON)), []),
        (Course(due_since=NOON - 3 * HOUR, disputed_since=NOON), [Cause.DUPLICATES, Cause.SILENCE]),
    ],
    ids=["nothing yet", "idle", "just within", "just over", "clock went back", "disputed", "ended", "both"],
)
def test_failing_table(course: Course, expected: list[Cause]) -> None:
    """A dimension fails by silence since its first due record, or by duplicates, until a success."""
    assert expected == causes(course, NOON)


def test_removed_dimension_is_not_judged() -> None:
    """A dimension that is not configured and has no record left can never succeed, so it fails nothing."""
    failing = Course(due_since=NOON - 9 * HOUR)
    assert [] == causes(failing, NOON, "peak")
    assert [Cause.SILENCE] == causes(failing, NOON, "peak", "requests")


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ([0, 1], False),
        ([0, 1, 2], True),
        ([0, 12, 24], True),
        ([0, 12, 25], False),
        ([0, 12, 25, 26], True),
        ([0, 2, 4, 30, 60], True),
    ],
)
def test_three_duplicates_in_a_day(hours: list[int], expected: bool) -> None:  # noqa: FBT001 - a table's column
    """Three DuplicateRequest answers within 24 hours make a dimension fail, and it stays so without a success."""
    course = Course()
    for hour in hours:
        course = course.duplicated(NOON + hour * HOUR)
    assert expected == (course.disputed_since is not None)


def test_next_duplicate_fails_again() -> None:
    """A success ends the dispute; while three duplicates lie within 24 hours the next one begins it again."""
    course = Course()
    judged = []
    for hour in range(0, 10, 2):
        course = course.duplicated(NOON + hour * HOUR)
        judged.append(course.disputed_since is not None)
        course = course.succeeded(NOON + (hour + 1) * HOUR)
        assert course.disputed_since is None
    assert [False, False, True, True, True] == judged
    assert course.duplicated(NOON + 60 * HOUR).disputed_since is None


def test_clock_back_ages_no_duplicate_into_the_future() -> None:
    """Duplicates that a clock noted ahead of time count as of now once it has gone back."""
    course = Course().duplicated(NOON + 90 * HOUR).duplicated(NOON + 91 * HOUR).duplicated(NOON)
    assert NOON == course.disputed_since
    assert NOON == max(course.duplicates)


def test_due_counts_after_success() -> None:
    """What was due before the last success counts from that success; a success of a clock ahead counts for nothing."""
    assert NOON - HOUR == Course(last_success_at=NOON - HOUR).due(NOON - 3 * HOUR, NOON).due_since
    assert NOON - 3 * HOUR == Course(last_success_at=NOON + HOUR).due(NOON - 3 * HOUR, NOON).due_since


@given(
    st.lists(
        st.tuples(st.sampled_from(["due", "success", "duplicate"]), st.integers(1, 60 * 24)), min_size=1, max_size=40
    )
)
def test_only_success_ends_failing(steps: list[tuple[str, int]]) -> None:
    """Whatever comes, time and answers other than a success never end a failure; a success always does."""
    course, now, was_failing = Course(), NOON, False
    for step, minutes in steps:
        now += timedelta(minutes=minutes)
        match step:
            case "due":
                course = course.due(now, now)
            case "duplicate":
                course = course.due(now, now).duplicated(now)
            case _:
                course = course.succeeded(now)
        failing = bool(causes(course, now))
        assert failing == (step != "success" and (failing or was_failing))
        was_failing = bool(causes(course, now))
        assert len(course.duplicates) <= DUPLICATES
        assert all(now - at <= WITHIN for at in course.recent_duplicates(now))


def test_room_fails_after_long_refusal() -> None:
    """Refused usage fails after `failing_after`, counted from the first refusal, and ends with room."""
    assert [Cause.NO_ROOM] == causes(Course(), NOON, refusing_since=NOON - 3 * HOUR)
    assert [] == causes(Course(), NOON, refusing_since=NOON - HOUR)
    assert [] == causes(Course(), NOON, refusing_since=None)


def test_reasons_are_sentences() -> None:
    """Each cause names the dimension and its beginning; a long list is cut with the number of the others."""
    course = Course(due_since=NOON - 9 * HOUR, disputed_since=NOON)
    found = find_failures(
        {"requests": course}, ["requests"], refusing_since=NOON - 9 * HOUR, failing_after=AFTER, now=NOON
    )
    assert ["requests", "DuplicateRequest", "2026-11-23T03:00:00Z", "lack of room"] == [
        word
        for word in ("requests", "DuplicateRequest", "2026-11-23T03:00:00Z", "lack of room")
        if word in describe(found)
    ]
    assert describe(found, 1).endswith("And 2 more.")
