"""The alert rules over what a real sidecar exposed in hours of health and in hours of trouble."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.monitoring.recording import record
from tests.monitoring.rules import judge
from tests.support.processes import Emulator, Sidecar, Sites, parse


class Hours:
    """A pod on an emulator whose clock is about to be stepped."""

    def __init__(self, sites: Sites, emulator: Emulator, folder: Path) -> None:
        self.emulator = emulator
        self.folder = folder
        self.sidecar: Sidecar = sites.make(emulator, metering={"settle": "2m", "spread": "20m"}).start_entitled()
        self.began = parse(emulator.get("clock")["now"])

    def use(self) -> None:
        """Let the app use something."""
        assert (1, 0) == self.sidecar.report({"dimension": "requests", "quantity": "1"})

    def rest(self) -> None:
        """Let the app use nothing."""

    def pass_by(self, hours: float, each_time: Callable[[], object]) -> dict[str, str]:
        """Record so many hours."""
        series = record(self.emulator, self.sidecar, self.began + timedelta(hours=hours), each_time)
        self.emulator.post("clock", speed=1)
        return series

    def verdict(self, series: dict[str, str], minutes: int, *firing: str) -> str:
        """Return what promtool has against exactly these alerts firing so many minutes after the beginning."""
        return judge(self.folder, series, f"{minutes}m", firing)


@pytest.fixture
def hours(sites: Sites, emulator: Emulator, tmp_path: Path) -> Hours:
    """A pod that is entitled."""
    return Hours(sites, emulator, tmp_path)


@pytest.mark.parametrize("habit", ["use", "rest"])
def test_health_is_quiet(hours: Hours, habit: str) -> None:
    """No alert fires for a healthy pod, whether its app uses something or not, from its start on."""
    series = hours.pass_by(3.2, getattr(hours, habit))
    assert {""} == {hours.verdict(series, minutes) for minutes in range(5, 190, 20)}
    assert any("last_submission_success" in name for name in series)


def test_long_throttling_is_told(hours: Hours) -> None:
    """A pod whose records AWS throttles for hours: first that, then that none is taken, then that time runs out."""
    hours.emulator.order("MeterUsage", "throttle")
    series = hours.pass_by(4.5, hours.use)
    assert "" == hours.verdict(series, 60)
    # The first hour ended after 40 minutes, and was due within 22 more.
    assert "" == hours.verdict(series, 160, "MarketplaceThrottled")
    told = ("MarketplaceThrottled", "MarketplaceNoSubmissionSuccess", "MarketplaceMeteringFailing")
    # Dated 10:20, when the pod started, the record can be sent until 16:20; 2 hours before that the alert fires.
    assert "" == hours.verdict(series, 235, *told)
    assert "" == hours.verdict(series, 265, *told, "MarketplaceSubmissionWindowClosing")


def test_throttling_without_usage_loses_nothing(hours: Hours) -> None:
    """Where nothing is used metering is reported as broken all the same, but not that units are at stake."""
    hours.emulator.order("MeterUsage", "throttle")
    series = hours.pass_by(4.5, hours.rest)
    told = ("MarketplaceThrottled", "MarketplaceNoSubmissionSuccess", "MarketplaceMeteringFailing")
    assert "" == hours.verdict(series, 265, *told)


def test_end_of_subscription_is_told(hours: Hours) -> None:
    """A pod whose subscription ends is reported as soon as AWS has refused its usage, and nothing else is."""
    hours.emulator.post("customers", action="unsubscribe")
    series = hours.pass_by(2, hours.use)
    assert "" == hours.verdict(series, 35)
    assert "" == hours.verdict(series, 115, "MarketplaceEntitlementRefused")
