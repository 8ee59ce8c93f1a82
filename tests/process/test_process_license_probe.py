"""A custom price whose start probe asks License Manager, in real processes."""

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.processes import environment

if TYPE_CHECKING:
    from tests.support.processes import Emulator, Sidecar, Site

pytestmark = pytest.mark.process

SKU = "prod-abcdefghijklm"
USAGE = {"Name": "AWS::Marketplace::Usage", "Unit": "None"}
CUSTOM: dict[str, Any] = {
    "product": {"pricing": "custom", "id": SKU, "public_keys": {}},
    "entitlement": {"probe": "license"},
}
ASKED = ("ListReceivedLicenses", "CheckoutLicense", "CheckInLicense")


def subscribe(emulator: "Emulator", **members: object) -> None:
    """Grant the license that a subscription to a custom price brings."""
    emulator.post("licenses", action="grant", **{"sku": SKU, "entitlements": [USAGE], **members})


def start(site: "Site", pod: str = "pod-1") -> "Sidecar":
    """Start a pod."""
    return site.start(variables={"POD_UID": pod}, **CUSTOM)


def asked(emulator: "Emulator") -> list[int]:
    """Return how often License Manager was asked for each operation."""
    return [len(emulator.calls(operation)) for operation in ASKED]


def test_subscription_opens_gate(site: "Site", emulator: "Emulator") -> None:
    """A license opens the gate; the probe reports nothing and holds nothing, and usage is billed as always."""
    subscribe(emulator)
    sidecar = start(site)
    found = sidecar.await_entitlement(entitled=True, reason="metered", source="emulator")
    sidecar.await_for("the return", lambda: sidecar.events("checkout.returned"))

    assert "entitlement.probe: license" in found["detail"]
    assert "license" not in found
    assert ([1, 1, 1], []) == (asked(emulator), emulator.calls("MeterUsage"))
    assert [False] == [each["Held"] for each in emulator.get("checkouts")["checkouts"]]
    assert [200, 200] == [sidecar.probe(name).status for name in ("startupz", "readyz")]


@pytest.mark.ending
def test_short_job_bills_all_its_usage(site: "Site", emulator: "Emulator") -> None:
    """The probe takes no slot: a pod that ends within its first hour submits that hour."""
    subscribe(emulator)
    sidecar = start(site)
    sidecar.await_entitlement(entitled=True)
    assert (1, 0) == sidecar.report({"dimension": "requests", "quantity": "7"})
    sidecar.signal()

    assert 0 == sidecar.await_end()
    assert {("2026-11-23T10:00:00Z", "requests"): "7"} == emulator.held()
    assert [] == sidecar.events("metering.probe_slot")


def test_no_subscription_denies(site: "Site", emulator: "Emulator") -> None:
    """Without a license the gate never opens, across restarts; it opens minutes after the buyer subscribes."""
    sidecar = start(site)
    for _ in range(3):
        sidecar.await_entitlement(state="denied", reason="no-license")
        assert 503 == sidecar.probe("startupz").status
        sidecar.kill()
        sidecar = start(site)
    sidecar.await_entitlement(state="denied")
    (fault,) = sidecar.get("/v1/status")["faults"]
    assert ("entitlement-denied", True) == (fault["code"], "product.id" in fault["cure"])
    subscribe(emulator)
    emulator.post("clock", advance="5m")
    sidecar.await_entitlement(entitled=True, reason="metered")


@pytest.mark.parametrize(
    "members",
    [
        {"issuer": "aws:111122223333:Own issuer:issuer-fingerprint"},
        {"grant_type": "DelegateGrant"},
        {"received": "PENDING_ACCEPT"},
    ],
)
def test_false_license_never_opens(site: "Site", emulator: "Emulator", members: dict[str, object]) -> None:
    """A license that the buyer issued himself, a delegated and a pending grant are listed and open nothing."""
    subscribe(emulator, **members)
    sidecar = start(site)
    sidecar.await_entitlement(state="denied")
    emulator.post("clock", advance="20m")

    assert "denied" == sidecar.get("/v1/entitlement")["state"]
    assert [] == emulator.get("checkouts")["checkouts"]


@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        ("ListReceivedLicenses", "internal"),
        ("CheckoutLicense", "internal"),
        ("CheckoutLicense", "NoEntitlementsAllowedException"),
    ],
)
def test_no_answer_denies_nothing(site: "Site", emulator: "Emulator", operation: str, fault: str) -> None:
    """Without an answer that decides the pod is pending, then unavailable, never denied."""
    subscribe(emulator)
    emulator.order(operation, fault)
    sidecar = start(site)
    sidecar.await_entitlement(state="pending", reason="service-fault")
    emulator.post("clock", advance="31m")
    sidecar.await_entitlement(state="unavailable")
    emulator.order(operation, fault, 0)
    emulator.post("clock", advance="2m")
    sidecar.await_entitlement(entitled=True)

    assert [] == sidecar.events("registration.denied")


def test_restart_asks_nothing(site: "Site", emulator: "Emulator") -> None:
    """A restarted container of the pod runs on its proof, without License Manager; a new pod asks for itself."""
    subscribe(emulator)
    sidecar = start(site)
    sidecar.await_entitlement(entitled=True)
    sidecar.await_for("the return", lambda: sidecar.events("checkout.returned"))
    sidecar.kill()
    for operation in ASKED:
        emulator.order(operation, "internal")
    before = asked(emulator)
    sidecar = start(site)
    sidecar.await_entitlement(entitled=True, source="remembered")
    assert before == asked(emulator)
    sidecar.kill()
    other = start(site, "pod-2")
    other.await_entitlement(state="pending")
    for operation in ASKED:
        emulator.order(operation, "internal", 0)
    emulator.post("clock", advance="2m")
    other.await_entitlement(entitled=True, reason="metered")


def test_kill_between_checkout_and_answer(site: "Site", emulator: "Emulator") -> None:
    """A process that dies before the answer leaves its request to the next one, which repeats it."""
    subscribe(emulator)
    emulator.order("CheckoutLicense", "drop-response")
    sidecar = start(site)
    sidecar.await_for("the checkout", lambda: emulator.calls("CheckoutLicense"))
    sidecar.kill()
    emulator.order("CheckoutLicense", "drop-response", 0)
    sidecar = start(site)
    sidecar.await_entitlement(entitled=True)
    sidecar.await_for("the return", lambda: sidecar.events("checkout.returned"))

    assert [False] == [each["Held"] for each in emulator.get("checkouts")["checkouts"]]


def test_doctor_judges_the_license(site: "Site", emulator: "Emulator") -> None:
    """`doctor` asks for the license that the start probe needs, with the cure."""
    config = site.write(**CUSTOM)
    found = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "sidecar", "doctor", "--json", "--config", str(config)],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        checks = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
        found.append(
            (checks["license"]["status"], checks["price"]["status"], "product.id" in checks["license"]["cure"])
        )
        subscribe(emulator)

    assert [("fail", "ok", True), ("ok", "ok", False)] == found
