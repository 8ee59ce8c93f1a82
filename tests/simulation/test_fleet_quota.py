"""A thousand pods with the most dimensions there can be, against the published quota of 10 calls a second."""

from datetime import timedelta

import pytest

from tests.simulation.fleet import Fleet

SETTLE = timedelta(minutes=2)
SPREAD = timedelta(minutes=20)


@pytest.mark.parametrize(
    ("pods", "most_throttled"),
    [
        pytest.param(200, 0.01, id="200 pods use a sixth of the quota"),
        pytest.param(1000, 0.10, id="1000 pods use most of the quota"),
        # 26,400 calls need 44 minutes of quota, and have 48: what chance brings together is refused and comes again.
        pytest.param(1100, 0.25, id="1100 pods are about all that fits"),
    ],
)
def test_fleet_submits_within_hour(pods: int, most_throttled: float, capsys: pytest.CaptureFixture[str]) -> None:
    """Every record of every pod is taken within the hour after its own; only what exceeds the quota is throttled."""
    fleet = Fleet(pods, dimensions=24, settle=SETTLE, spread=SPREAD)
    fleet.submit()
    with capsys.disabled():
        print(  # noqa: T201 - the share is what one runs it for
            f"\n{pods} pods x 24 dimensions: {fleet.calls} calls, {fleet.share_throttled:.1%} throttled,"
            f" last record taken {fleet.lasted.total_seconds() / 60:.1f} min after the hour's end"
        )
    assert pods * 24 == len(fleet.taken_at)
    assert fleet.lasted < timedelta(hours=1)
    assert fleet.share_throttled <= most_throttled
