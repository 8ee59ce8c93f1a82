"""How far the clock is off, by an answer's date."""

from datetime import UTC, datetime, timedelta

import pytest

from sidecar.domain.skew import describe, measure

ASKED = datetime(2026, 11, 23, 10, 20, 0, 500_000, tzinfo=UTC)
ANSWERED = ASKED + timedelta(seconds=1)
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("shown", "skew"),
    [
        (ASKED.replace(microsecond=0), 0),
        (ASKED.replace(microsecond=0) + timedelta(seconds=1), 0),
        (ASKED.replace(microsecond=0) + timedelta(seconds=2), -0.5),
        (ASKED.replace(microsecond=0) - timedelta(seconds=1), 0.5),
        (ASKED.replace(microsecond=0) + timedelta(minutes=10), -598.5),
        (ASKED.replace(microsecond=0) - timedelta(minutes=10), 599.5),
        (LAST, (ANSWERED - LAST).total_seconds()),
    ],
)
def test_answer_bounds_skew(shown: datetime, skew: float) -> None:
    """Only what the whole second of the date and the length of the call cannot explain is skew; ahead is positive."""
    assert timedelta(seconds=skew) == measure(shown, ASKED, ANSWERED)


@pytest.mark.parametrize(
    ("skew", "words"), [(0, "agrees with"), (-90, "is 90s behind"), (120, "is 2m ahead of"), (0.4, "is 0s ahead of")]
)
def test_skew_has_words(skew: float, words: str) -> None:
    """The direction is stated from the point of view of this clock."""
    assert f"the clock {words} the service's" == describe(timedelta(seconds=skew))
