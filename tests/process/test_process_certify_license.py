"""`certify` of a product with a contract price, as a real process."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.processes import environment
from tests.support.tools import PATIENCE

if TYPE_CHECKING:
    from tests.support.processes import Emulator, Site

pytestmark = pytest.mark.process

USERS = {"Name": "users", "Unit": "Count", "MaxCount": 1, "AllowCheckIn": True}
USAGE = {"Name": "AWS::Marketplace::Usage", "Unit": "None"}
TIER = {"Name": "pro", "Unit": "None", "Value": "Enabled"}
GRANT = {"action": "grant", "sku": "prod-1"}
CONTRACT = {"product": {"code": "0abc123example", "pricing": "contract", "id": "prod-1"}}


@dataclass
class Certification:
    """The command on a product with a contract, with a report of its own."""

    site: "Site"
    report: Path

    def run(self, *arguments: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        config = self.site.write("certify.yaml", **{**CONTRACT, "metering": {"dimensions": []}, **changes})
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "sidecar",
                "certify",
                "--config",
                str(config),
                "--report",
                str(self.report),
                *arguments,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=environment(AWS_ACCESS_KEY_ID="seller", AWS_SECRET_ACCESS_KEY="any"),
            timeout=PATIENCE,
        )

    @property
    def document(self) -> Any:
        """The report as it stands."""
        return json.loads(self.report.read_text())


@pytest.fixture(name="certification")
def _certification(site: "Site", tmp_path: Path) -> Certification:
    """A certification that has not begun."""
    return Certification(site, tmp_path / "certify.json")


@pytest.mark.parametrize(
    ("entitlements", "carries", "entitlement"),
    [([USERS, TIER, USAGE], True, USAGE["Name"]), ([USERS, TIER], False, "pro")],
)
def test_findings_are_in_the_report(
    certification: Certification, emulator: "Emulator", entitlements: list[Any], entitlement: str, *, carries: bool
) -> None:
    """The report says whether the license carries the usage entitlement, and that a repeat is the same checkout."""
    emulator.post("licenses", **GRANT, entitlements=entitlements)
    done = certification.run("--yes")

    found = certification.document["license"]
    assert (0, "passed", "accepted") == (done.returncode, certification.document["verdict"], found["outcome"])
    assert (carries, entitlement, True) == (
        found["carries_usage"],
        found["entitlement"],
        found["same_consumption_token"],
    )
    assert "A repeated client token gives the same consumption token." in done.stdout
    (checkout,) = emulator.get("checkouts")["checkouts"]
    assert not checkout["Held"]
    assert checkout["LicenseConsumptionToken"] not in certification.report.read_text()


def test_seats_are_not_touched(certification: Certification, emulator: "Emulator") -> None:
    """A license with counted entitlements alone is read, and no seat of it is taken."""
    emulator.post("licenses", **GRANT, entitlements=[USERS])
    done = certification.run("--yes")

    assert 0 == done.returncode
    assert certification.document["license"]["same_consumption_token"] is None
    assert [] == emulator.calls("CheckoutLicense")
    assert "no entitlement without a count" in done.stdout


def test_license_without_a_right_is_named(certification: Certification, emulator: "Emulator") -> None:
    """A grant that waits leaves the certification open, with the reason; after the acceptance it passes."""
    emulator.post("licenses", **GRANT, entitlements=[USAGE], received="PENDING_ACCEPT")
    done = certification.run("--yes")
    assert (1, "incomplete") == (done.returncode, certification.document["verdict"])
    assert "its grant is PENDING_ACCEPT" in done.stdout
    assert "Accept the grant" in done.stdout

    emulator.post("licenses", action="amend", received="ACTIVE")
    assert 0 == certification.run("--yes").returncode


def test_dry_run_asks_nothing(certification: Certification, emulator: "Emulator") -> None:
    """Without a confirmation License Manager is not called."""
    emulator.post("licenses", **GRANT, entitlements=[USAGE])
    certification.run("--dry-run")
    assert [] == [each for each in emulator.get("events")["Records"] if each["eventSource"].startswith("license")]


def test_denied_permission_is_a_refusal(certification: Certification, emulator: "Emulator") -> None:
    """A role without License Manager's permissions fails the certification, with the permissions to add."""
    emulator.order("ListReceivedLicenses", "access-denied")
    done = certification.run("--yes")
    assert (1, "failed") == (done.returncode, certification.document["verdict"])
    assert "license-manager:CheckoutLicense" in done.stdout


def test_overage_is_certified_as_well(certification: Certification, emulator: "Emulator") -> None:
    """A contract with metered overage has its license examined and its dimensions recorded."""
    emulator.post("licenses", **GRANT, entitlements=[USAGE])
    done = certification.run("--yes", metering={"dimensions": [{"name": "requests"}]})
    assert 0 == done.returncode
    assert ["accepted"] == [record["outcome"] for record in certification.document["records"]]
    assert "accepted" == certification.document["license"]["outcome"]
