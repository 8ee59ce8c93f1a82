"""Hours begin on the hour in UTC, at every edge."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.metering.hours import (
    SECONDS,
    end_of,
    from_micros,
    hour_of,
    hour_of_micros,
    next_hour,
    start_of,
    to_micros,
)

instants = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("instant", "start"),
    [
        (datetime(2026, 11, 23, 10, tzinfo=UTC), datetime(2026, 11, 23, 10, tzinfo=UTC)),
        (datetime(2026, 11, 23, 10, 59, 59, 999_999, tzinfo=UTC), datetime(2026, 11, 23, 10, tzinfo=UTC)),
        (datetime(2026, 11, 30, 23, 59, 59, 999_999, tzinfo=UTC), datetime(2026, 11, 30, 23, tzinfo=UTC)),
        (datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime(2028, 2, 29, 23, 30, tzinfo=UTC), datetime(2028, 2, 29, 23, tzinfo=UTC)),
        (
            datetime(2026, 11, 23, 15, 50, tzinfo=timezone(timedelta(hours=5, minutes=45))),
            datetime(2026, 11, 23, 10, tzinfo=UTC),
        ),
        (datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(1969, 12, 31, 23, tzinfo=UTC)),
    ],
)
def test_instant_has_hour(instant: datetime, start: datetime) -> None:
    """An instant belongs to the UTC hour it lies in: the first microsecond is in, the next hour's first is not."""
    assert start == start_of(hour_of(instant))


@given(instants)
def test_hour_holds_instant(instant: datetime) -> None:
    """Every instant lies in its hour, and an hour lasts exactly until the next one."""
    hour = hour_of(instant)
    assert start_of(hour) <= instant < end_of(hour)
    assert end_of(hour) == start_of(next_hour(hour))
    assert 0 == hour % SECONDS
    assert next_hour(hour) == hour_of(end_of(hour))
    assert hour == hour_of(end_of(hour) - TICK)


@given(instants)
def test_instants_survive_storage(instant: datetime) -> None:
    """An instant is stored to the microsecond and read back as it was."""
    micros = to_micros(instant)
    assert instant == from_micros(micros)
    assert hour_of(instant) == hour_of_micros(micros)
