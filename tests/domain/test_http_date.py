"""Dates of answers."""

from datetime import UTC, datetime

import pytest

from sidecar.domain.http_date import read_date

NOW = datetime(2026, 11, 23, 10, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "instant"),
    [
        ("Mon, 23 Nov 2026 10:20:00 GMT", NOW),
        ("Mon, 23 Nov 2026 10:20:00", NOW),
        ("Mon, 23 Nov 2026 11:20:00 +0100", NOW),
        ("yesterday", None),
        ("", None),
        (None, None),
        ("Fri, 31 Dec 9999 23:59:59 -0100", None),
        ("Mon, 23 Nov 2026 10:20:00 +99999999999999", None),
        ("Mon, 23 Nov 99999999999999999999 10:20:00 GMT", None),
    ],
)
def test_date_is_read(header: str | None, instant: datetime | None) -> None:
    """A date is read as UTC where it names no zone; one that no datetime can hold is none."""
    assert instant == read_date(header)
