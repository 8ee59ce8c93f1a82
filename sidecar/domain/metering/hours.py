"""UTC hours and instants as whole numbers, which the ledger stores and compares exactly.

An `Hour` is the epoch second at which it starts; an instant in a row is a count of epoch microseconds.
"""

from datetime import UTC, datetime, timedelta
from typing import NewType

Hour = NewType("Hour", int)
"""The epoch second at which a UTC hour starts."""

SECONDS = 3600
_WEEK = 7 * 24 * SECONDS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(instant: datetime) -> int:
    """Return the epoch microseconds of an aware instant, exactly."""
    return (instant - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the aware instant in UTC of a count of epoch microseconds."""
    return _EPOCH + timedelta(microseconds=micros)


def hour_of(instant: datetime) -> Hour:
    """Return the hour that holds `instant`."""
    return hour_of_micros(to_micros(instant))


def hour_of_micros(micros: int) -> Hour:
    """Return the hour that holds an instant given in epoch microseconds."""
    seconds = micros // 1_000_000
    return Hour(seconds - seconds % SECONDS)


def start_of(hour: Hour) -> datetime:
    """Return the first instant of `hour`."""
    return _EPOCH + timedelta(seconds=hour)


def end_of(hour: Hour) -> datetime:
    """Return the instant at which `hour` has ended: the start of the next one."""
    return _EPOCH + timedelta(seconds=hour + SECONDS)


def previous_hour(hour: Hour) -> Hour:
    """Return the hour before `hour`."""
    return Hour(hour - SECONDS)


def next_hour(hour: Hour) -> Hour:
    """Return the hour after `hour`."""
    return Hour(hour + SECONDS)


def bound_hour(hour: Hour, this_hour: Hour) -> Hour:
    """Return the hour that usage is dated in: not after `this_hour`, at most a week before it, as for events."""
    return Hour(min(max(hour, this_hour - _WEEK), this_hour))
