"""Whether AWS's log covers the whole time in which a record may have been taken: only then an absence has a meaning.

A log proves no absence by itself: a file may be missing. It counts as covering a record when it has write events of
the account and Region before the record was frozen and after its last attempt, by more than AWS takes to deliver and
clocks differ, and when no hour in between is without a management event there, of whatever service.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sidecar.domain import timestamps
from sidecar.domain.audit.slots import Submission, UndescribedCall
from sidecar.domain.metering.hours import Hour, hour_of, next_hour, start_of

DELIVERY = timedelta(minutes=15)
"""How long AWS takes to deliver an event, as a rule."""
SKEW = timedelta(minutes=5)
"""How much the pod's clock may differ from AWS's."""


@dataclass(slots=True)
class Activity:
    """When the log has events of one account and Region that prove its files complete, of whatever service."""

    first_at: datetime
    last_at: datetime
    """Write events only."""
    hours: set[datetime] = field(default_factory=set)
    """The starts of the UTC hours with a write event, or with another one between two of these."""

    @classmethod
    def at(cls, instant: datetime) -> "Activity":
        """Return what one write event shows."""
        return cls(instant, instant, {start_of(hour_of(instant))})

    def add(self, instant: datetime) -> None:
        """Know of one more write event."""
        self.first_at, self.last_at = min(self.first_at, instant), max(self.last_at, instant)
        self.hours.add(start_of(hour_of(instant)))

    def joined(self, other: "Activity") -> "Activity":
        """Return what this one and other files show."""
        first_at, last_at = min(self.first_at, other.first_at), max(self.last_at, other.last_at)
        return Activity(first_at, last_at, self.hours | other.hours)


Log = Mapping[str, Activity]
"""The activity by place, as `Charge.account_region` names it."""


def gap(
    submission: Submission,
    activity: Activity,
    undescribed: Collection[UndescribedCall],
    unseen: Iterable[Submission],
) -> str | None:
    """Return why the log does not cover the time in which AWS may have taken a record; None when it does.

    Any of the `undescribed` calls may be the record's, if it was made in that time. A log that lacks the charge of an
    `unseen` record of the pod, which AWS has accepted, is incomplete: it may lack the record's, too.
    """
    if submission.sealed_at is None or submission.attempted_at is None:
        return "the ledger does not know when it was tried"
    begins_at, ends_at = submission.sealed_at - SKEW, submission.attempted_at + SKEW + DELIVERY
    if submission.attempted_at < submission.sealed_at:
        return "the pod's clock was set between its seal and an attempt"
    lost = next((accepted for accepted in unseen if _lacks(activity, accepted)), None)
    if lost is not None:
        return f"the files lack {lost.metering_record_id}, which AWS took in their time"
    first, last = map(timestamps.render, (activity.first_at, activity.last_at))
    if activity.first_at > begins_at:
        return f"their first write event is of {first}, after {timestamps.render(begins_at)}"
    if activity.last_at < ends_at:
        return f"their last write event is of {last}, before {timestamps.render(ends_at)}"
    return _gap_in_hours(hour_of(begins_at), hour_of(ends_at), activity, {call.hour: call for call in undescribed})


def _lacks(activity: Activity, accepted: Submission) -> bool:
    """Return whether a log that does not show an accepted record's charge has events of before and after it."""
    if accepted.sealed_at is None:
        return False
    return activity.first_at <= accepted.sealed_at and (accepted.attempted_at or accepted.sealed_at) <= activity.last_at


def _gap_in_hours(
    hour: Hour, last: Hour, activity: Activity, undescribed: Mapping[datetime, UndescribedCall]
) -> str | None:
    while hour <= last:
        start = start_of(hour)
        if start not in activity.hours:
            return f"they have no management event in the hour {timestamps.render(start)}"
        if start in undescribed:
            receipt = undescribed[start].metering_record_id
            named = "" if receipt is None else f" (metering record {receipt})"
            return f"in the hour {timestamps.render(start)} they have a call that they do not describe{named}"
        hour = next_hour(hour)
    return None
