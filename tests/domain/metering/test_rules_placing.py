"""Where an event's quantity goes."""

from datetime import UTC, datetime, timedelta

import pytest

from sidecar.domain.metering.buckets import Bucket
from sidecar.domain.metering.events import Dimension
from sidecar.domain.metering.hours import hour_of, to_micros
from sidecar.domain.metering.rules import MeteringRules, Placement, placement
from sidecar.domain.policy import LatePolicy, QuantityKind

NOW = datetime(2026, 11, 23, 16, 20, tzinfo=UTC)
OPEN, CARRIED, UNBILLED = Placement.OPEN, Placement.CARRIED, Placement.UNBILLED


def rules(late: LatePolicy) -> MeteringRules:
    """Return the rules of a product with one dimension."""
    return MeteringRules(
        product_code="0abc123example",
        dimensions={"requests": Dimension("requests")},
        quantity=QuantityKind.DECIMAL,
        late=late,
        settle=timedelta(minutes=2),
        spread=timedelta(minutes=20),
        window=timedelta(hours=6),
        report_zero=True,
        failing_after=timedelta(hours=2),
    )


@pytest.mark.parametrize(
    ("hours_ago", "bucket", "sealed", "countable", "carry", "unbilled"),
    [
        (0, None, False, True, OPEN, OPEN),
        (0, Bucket(), False, True, OPEN, OPEN),
        (-1, None, False, True, OPEN, OPEN),
        (5, None, False, True, OPEN, OPEN),
        (6, None, False, True, CARRIED, UNBILLED),
        (7, Bucket(), False, True, OPEN, OPEN),
        (7, Bucket(sealed=True), False, True, CARRIED, UNBILLED),
        (3, Bucket(sealed=True), False, True, OPEN, OPEN),
        (3, Bucket(sealed=True), True, True, CARRIED, UNBILLED),
        (3, None, True, True, CARRIED, UNBILLED),
        (0, None, True, True, CARRIED, CARRIED),
        (-1, Bucket(sealed=True), True, True, CARRIED, CARRIED),
        (50, None, False, False, UNBILLED, UNBILLED),
        (50, Bucket(sealed=True), False, False, UNBILLED, UNBILLED),
        (50, Bucket(), False, False, UNBILLED, UNBILLED),
    ],
)
def test_event_finds_place(
    hours_ago: int,
    bucket: Bucket | None,
    sealed: bool,  # noqa: FBT001 - a table's column
    countable: bool,  # noqa: FBT001 - a table's column
    carry: Placement,
    unbilled: Placement,
) -> None:
    """An hour that can still be sent takes its event; a closed one gives it to the policy, our own closing excepted."""
    for late, expected in ((LatePolicy.CARRY, carry), (LatePolicy.UNBILLED, unbilled)):
        found = placement(
            hour_of(NOW - timedelta(hours=hours_ago)),
            bucket,
            now_micros=to_micros(NOW),
            current=hour_of(NOW),
            sealed=sealed,
            countable=countable,
            rules=rules(late),
        )
        assert expected == found


@pytest.mark.parametrize(("early", "expected"), [(timedelta(microseconds=1), OPEN), (timedelta(), CARRIED)])
def test_window_ends_exactly(early: timedelta, expected: Placement) -> None:
    """An hour is closed from the instant at which its window ends, not a microsecond before."""
    now = datetime(2026, 11, 23, 16, tzinfo=UTC) - early
    found = placement(
        hour_of(datetime(2026, 11, 23, 10, tzinfo=UTC)),
        None,
        now_micros=to_micros(now),
        current=hour_of(now),
        sealed=False,
        countable=True,
        rules=rules(LatePolicy.CARRY),
    )
    assert expected == found
