"""Whether metering fails: judged for each dimension by how its submissions have gone, and by the room for usage.

A dimension fails in two ways. A record is due, and for longer than `failing_after` there was no success. The time
counts from the last success, but begins at most an hour before the first record that became due after it, because an
idle product sends nothing and does not fail. It continues when that record expires, is refused or is carried. Or AWS
has answered DuplicateRequest three times within 24 hours: another process reports for this pod. A success of the
dimension ends either, and so does a configuration that names another product or adds the dimension again. The third
cause belongs to no dimension: usage has been refused for lack of room for longer than `failing_after`.

The rules take instants and return values; the ledger keeps each `Course` over a restart.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from sidecar.domain.policy import OnFailing
from sidecar.domain.timestamps import render

DUPLICATES = 3
"""DuplicateRequest answers of one dimension that make it failing."""
WITHIN = timedelta(hours=24)
"""How close together they lie."""
_BETWEEN_RECORDS = timedelta(hours=1)
"""From one record of a dimension to the next while it is used in each hour."""


@dataclass(frozen=True, slots=True)
class Course:
    """How the submissions of one dimension have gone."""

    last_success_at: datetime | None = None
    due_since: datetime | None = None
    """When the first record became due after the last success; None while none has."""
    duplicates: tuple[datetime, ...] = ()
    """The latest DuplicateRequest answers, at most `DUPLICATES`, oldest first."""
    disputed_since: datetime | None = None
    """When so many of them came within `WITHIN`; None after the next success."""
    not_entitled_since: datetime | None = None
    """When AWS first answered CustomerNotEntitled after the last success; None while it has not."""

    def due(self, at: datetime, now: datetime) -> Self:
        """Return the course once a record is due since `at`; an earlier due time is kept.

        A success that lies in the future comes from a clock that has since gone back, and counts for nothing.
        """
        success = self.last_success_at
        since = max(at, success) if success is not None and success <= now else at
        return self if self.due_since is not None and self.due_since <= since else replace(self, due_since=since)

    def succeeded(self, now: datetime) -> Self:
        """Return the course after AWS took a record."""
        return replace(self, last_success_at=now, due_since=None, disputed_since=None, not_entitled_since=None)

    def duplicated(self, now: datetime) -> Self:
        """Return the course after AWS answered DuplicateRequest."""
        # Instants in the future come from a clock that has since gone back.
        known = tuple(min(instant, now) for instant in self.duplicates)
        latest = (*known, now)[-DUPLICATES:]
        disputed = len(latest) == DUPLICATES and now - latest[0] <= WITHIN
        return replace(self, duplicates=latest, disputed_since=self.disputed_since or (now if disputed else None))

    def not_entitled(self, now: datetime) -> Self:
        """Return the course after AWS answered CustomerNotEntitled."""
        return replace(self, not_entitled_since=self.not_entitled_since or now)

    def restarted(self) -> Self:
        """Return the course once its dimension is added to the configuration again: nothing of before is due."""
        return replace(self, due_since=None, disputed_since=None, not_entitled_since=None)

    def recent_duplicates(self, now: datetime) -> list[datetime]:
        """Return the latest DuplicateRequest answers that are not older than `WITHIN`."""
        return [instant for instant in self.duplicates if now - instant <= WITHIN]


class Cause(StrEnum):
    """Why metering fails."""

    SILENCE = "silence"  # records are due for longer than failing_after without a success
    DUPLICATES = "duplicates"  # AWS holds another quantity for this pod's slots, again and again
    NO_ROOM = "no-room"  # usage is refused for lack of room for longer than failing_after


@dataclass(frozen=True, slots=True)
class Failure:
    """One reason for which metering fails."""

    cause: Cause
    dimension: str | None
    """None where it is not about a dimension."""
    since: datetime
    not_entitled: bool = False
    """AWS has refused the dimension's usage since the last success, because the buyer is not entitled to it."""

    @property
    def sentence(self) -> str:
        """The reason for a person."""
        since = render(self.since)
        match self.cause:
            case Cause.SILENCE:
                return (
                    f"Dimension {self.dimension}: records are due, and there was no success since {since}, longer than "
                    "metering.failing_after."
                )
            case Cause.DUPLICATES:
                return (
                    f"Dimension {self.dimension}: since {since} AWS has refused {DUPLICATES} records within 24 hours "
                    "with DuplicateRequest, so another process reports for this pod."
                )
            case Cause.NO_ROOM:
                return (
                    f"Usage is refused for lack of room since {since}, longer than metering.failing_after: the ledger "
                    "is full."
                )


def find_failures(
    courses: Mapping[str, Course],
    judged: Collection[str],
    *,
    refusing_since: datetime | None,
    failing_after: timedelta,
    now: datetime,
) -> list[Failure]:
    """Return why metering fails at `now`; nothing while it does not.

    Args:
        courses: How the submissions of each dimension have gone.
        judged: The dimensions that still have something to submit: a dimension that was removed from the
            configuration and has no record left can never succeed again.
        refusing_since: Since when usage is refused for lack of room.
        failing_after: How long each may last.
        now: The present instant.
    """
    found: list[Failure] = []
    for name in sorted(judged):
        found += _of(name, courses.get(name, Course()), failing_after, now)
    if refusing_since is not None and now - refusing_since > failing_after:
        found.append(Failure(Cause.NO_ROOM, None, refusing_since))
    return found


def closes_gate(failures: Iterable[Failure], on_failing: OnFailing, *, overage: bool) -> bool:
    """Return whether failing metering closes `/readyz`.

    With `overage` MeterUsage bills what exceeds a contract. That AWS refuses it says nothing about the contract.
    """
    if on_failing is not OnFailing.GATE:
        return False
    return any(not (overage and failure.not_entitled) for failure in failures)


def _of(name: str, course: Course, failing_after: timedelta, now: datetime) -> Iterator[Failure]:
    if course.disputed_since is not None:
        yield Failure(Cause.DUPLICATES, name, course.disputed_since)
    since = _silent_since(course, failing_after)
    if since is not None and now - since > failing_after:
        yield Failure(Cause.SILENCE, name, since, not_entitled=course.not_entitled_since is not None)


def _silent_since(course: Course, failing_after: timedelta) -> datetime | None:
    """Return since when a success is missing; None while no record is due."""
    if course.due_since is None or course.last_success_at is None:
        return course.due_since
    # Half of a short limit: a record that is just due is not a failure yet.
    earliest = course.due_since - min(_BETWEEN_RECORDS, failing_after / 2)
    return min(max(course.last_success_at, earliest), course.due_since)


def describe(failures: Collection[Failure], most: int = 3) -> str:
    """Return the first `most` reasons as sentences, and how many more there are."""
    shown = [failure.sentence for failure in list(failures)[:most]]
    more = len(failures) - len(shown)
    return " ".join([*shown, *([f"And {more} more."] if more else [])])
