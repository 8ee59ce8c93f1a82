"""RFC 3339 in and out."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain import timestamps

OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-23T10:00:00Z", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("2026-11-23t10:00:00z", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("2026-11-23T10:00:00+00:00", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("2026-11-23T10:00:00-00:00", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("2026-11-23T10:00:00+05:30", datetime(2026, 11, 23, 4, 30, tzinfo=UTC)),
        ("2026-11-23T10:00:00-23:59", datetime(2026, 11, 24, 9, 59, tzinfo=UTC)),
        ("2026-11-23T10:00:00.5Z", datetime(2026, 11, 23, 10, 0, 0, 500000, tzinfo=UTC)),
        ("2026-11-23T10:59:59.9999999Z", datetime(2026, 11, 23, 10, 59, 59, 999999, tzinfo=UTC)),
        ("2026-11-23T10:00:00." + "1" * 60 + "Z", datetime(2026, 11, 23, 10, 0, 0, 111111, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2026-12-31T23:59:60Z", datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2026-12-31T23:59:60.25Z", datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2027-01-01T05:29:60+05:30", datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        ("0001-01-01T00:00:00+23:59", datetime.min.replace(tzinfo=UTC)),
        ("9999-12-31T23:59:59-23:59", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_names_an_instant(text: str, instant: datetime) -> None:
    """Every form of RFC 3339 names one instant in UTC; a leap second stays in its hour."""
    assert instant == timestamps.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-23",
        "2026-11-23T10:00Z",
        "2026-11-23T10:00:00",
        "2026-11-23 10:00:00Z",
        "2026-11-23T10:00:00 Z",
        " 2026-11-23T10:00:00Z",
        "2026-11-23T10:00:00Z\n",
        "2026-11-23T10:00:00.Z",
        "2026-11-23T10:00:00,5Z",
        "2026-11-23T10:00:00+0530",
        "2026-11-23T10:00:00+05",
        "2026-11-23T10:00:00+24:00",
        "2026-11-23T10:00:00+05:60",
        "2026-11-23T24:00:00Z",
        "2026-11-23T10:60:00Z",
        "2026-11-23T10:00:61Z",
        "2026-11-23T10:59:60Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "26-11-23T10:00:00Z",
        "20261123T100000Z",
        "2026-W48-1T10:00:00Z",
        "2026-11-23T10:00:00UTC",
        "٢٠٢٦-11-23T10:00:00Z",
        "1795428000",
    ],
)
def test_refuses_anything_else(text: str) -> None:
    """What is not RFC 3339 with an offset, or no day of the calendar, names nothing."""
    assert timestamps.parse(text) is None


@given(st.datetimes(timezones=OFFSETS, min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29)))  # noqa: DTZ001
def test_agrees_with_datetime(instant: datetime) -> None:
    """An instant written by datetime is read back exactly."""
    assert instant == timestamps.parse(instant.isoformat())


@given(st.datetimes(timezones=st.just(UTC)))
def test_renders_what_it_reads(instant: datetime) -> None:
    """Rendering loses nothing and ends in Z."""
    text = timestamps.render(instant)
    assert text.endswith("Z")
    assert instant == timestamps.parse(text)


def test_renders_in_utc() -> None:
    """An instant with another offset is rendered in UTC, without an empty fraction."""
    instant = datetime(2026, 11, 23, 10, tzinfo=timezone(timedelta(hours=1)))
    assert "2026-11-23T09:00:00Z" == timestamps.render(instant)


@given(st.text() | st.from_regex(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)?"))
def test_never_raises(text: str) -> None:
    """Any text gives an aware instant or nothing."""
    instant = timestamps.parse(text)
    assert instant is None or timedelta() == instant.utcoffset()
