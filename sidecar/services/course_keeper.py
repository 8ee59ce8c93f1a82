"""Keeps how the submissions of each dimension have gone in this process, and judges by it whether metering fails.

A course changes here only once it is in the ledger, because a restart would not know it either. The exception is a
record that is due and has no answer yet: the next process finds that out by itself.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from sidecar.domain import timestamps
from sidecar.domain.metering.failing import Course, Failure, find_failures
from sidecar.domain.metering.outcomes import Outcome
from sidecar.services.faults import FaultRegister

DUPLICATE_CURE = (
    "Find the process that reports usage with this pod's identity, by the pod's calls in CloudTrail, and stop it. AWS "
    "keeps what it has for the hour; this record stays unbilled, see docs/accountant.md."
)


class CourseKeeper:
    """The courses of one process.

    `courses` is what the ledger held at the start. `refusing_since` returns since when usage is refused for lack of
    room, None while it is taken.
    """

    def __init__(
        self,
        dimensions: Iterable[str],
        failing_after: timedelta,
        courses: Mapping[str, Course],
        refusing_since: Callable[[], datetime | None],
    ) -> None:
        self._dimensions = frozenset(dimensions)
        self._failing_after = failing_after
        self._courses = dict(courses)
        self._waiting: frozenset[str] = frozenset()
        self._refusing_since = refusing_since

    @property
    def last_success_at(self) -> datetime | None:
        """When AWS last took a record of any dimension."""
        successes = (course.last_success_at for course in self._courses.values())
        return max((instant for instant in successes if instant is not None), default=None)

    def failures(self, now: datetime) -> list[Failure]:
        """Return why metering fails; nothing while it does not."""
        return find_failures(
            self._courses,
            self._dimensions | self._waiting,
            refusing_since=self._refusing_since(),
            failing_after=self._failing_after,
            now=now,
        )

    def register_duplicates(self, faults: FaultRegister, now: datetime) -> None:
        """Register each dimension of which AWS has refused a record as a duplicate in the last 24 hours."""
        for name, course in sorted(self._courses.items()):
            about = f"duplicates of {name}"
            recent = course.recent_duplicates(now)
            if not recent:
                faults.clear(about, now)
                continue
            detail = (
                f"dimension {name}: AWS last answered DuplicateRequest at {timestamps.render(recent[-1])}; the hour "
                "already held another quantity for this pod"
            )
            faults.observe("duplicate-reporter", detail, DUPLICATE_CURE, now, about=about, since=recent[0])

    def due(self, dimension: str, at: datetime, now: datetime) -> Course:
        """Return the course of a dimension of which a record is due since `at`, at the latest since `now`."""
        return self._courses.get(dimension, Course()).due(min(at, now), now)

    def answered(self, dimension: str, outcome: Outcome, at: datetime, now: datetime) -> Course:
        """Return the course of a dimension after an answer for a record that was due at `at`."""
        course = self.due(dimension, at, now)
        match outcome:
            case Outcome.ACCEPTED:
                return course.succeeded(now)
            case Outcome.DUPLICATE:
                return course.duplicated(now)
            case Outcome.NOT_ENTITLED:
                return course.not_entitled(now)
            case _:
                return course

    def keep(self, dimension: str, course: Course) -> None:
        """Take over a course that the ledger holds."""
        self._courses[dimension] = course

    def note_waiting(self, waiting: Mapping[str, datetime], now: datetime) -> None:
        """Take note of the dimensions with records that wait, each with the instant at which its first one is due."""
        self._waiting = frozenset(waiting)
        for dimension, at in waiting.items():
            if at <= now:
                self._courses[dimension] = self.due(dimension, at, now)
