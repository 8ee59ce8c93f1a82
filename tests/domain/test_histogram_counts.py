"""Durations are counted by bound, exactly as Prometheus defines a histogram."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.histogram import Distribution, Histogram


@pytest.mark.parametrize(
    ("seconds", "at_most"),
    [
        (0.0, [(0.5, 1), (2, 1)]),
        (0.5, [(0.5, 1), (2, 1)]),
        (0.500001, [(0.5, 0), (2, 1)]),
        (2.0, [(0.5, 0), (2, 1)]),
        (2.1, [(0.5, 0), (2, 0)]),
    ],
)
def test_bound_is_inclusive(seconds: float, at_most: list[tuple[float, int]]) -> None:
    """A duration counts for every bound that it does not exceed, and always in all."""
    histogram = Histogram(0.5, 2)
    histogram.observe(seconds)
    assert Distribution(tuple(at_most), 1, seconds) == histogram.distribution()


@given(st.lists(st.floats(0, 20)))
def test_counts_agree_with_definition(durations: list[float]) -> None:
    """Whatever came, each bound has the number of durations up to it, and what was reported earlier does not change."""
    histogram = Histogram(0.1, 1, 10)
    before = histogram.distribution()
    for duration in durations:
        histogram.observe(duration)
    found = histogram.distribution()
    assert [(bound, sum(each <= bound for each in durations)) for bound in (0.1, 1, 10)] == list(found.at_most)
    # From Python 3.12 on, sum() compensates for rounding, which adding one after the other does not.
    assert found.count == len(durations)
    assert found.seconds == pytest.approx(sum(durations))
    assert Distribution(((0.1, 0), (1, 0), (10, 0)), 0, 0.0) == before
