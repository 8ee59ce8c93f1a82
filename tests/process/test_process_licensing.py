"""A contract price over sockets: gated, started by a grant, seats of two pods, expiry, kills, checkouts of the app."""

import json
import subprocess
import sys
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.processes import environment

if TYPE_CHECKING:
    from tests.support.processes import Ask, Emulator, Sidecar, Site, Sites

pytestmark = pytest.mark.process

SKU = "prod-abcdefghijklm"
USAGE = {"Name": "AWS::Marketplace::Usage", "Unit": "None"}
SEATS = {"Name": "seats", "Unit": "Count", "MaxCount": 1, "Overage": False, "AllowCheckIn": True}
USERS = {"Name": "users", "Unit": "Count", "MaxCount": 5, "Overage": False, "AllowCheckIn": True}
REPORTS = {"Name": "reports", "Unit": "Count", "MaxCount": 3, "Overage": False, "AllowCheckIn": False}
CONTRACT: dict[str, Any] = {
    "product": {"pricing": "contract", "id": SKU, "public_keys": {}},
    "metering": {"dimensions": []},
    "license": {"require": [{"name": "seats"}]},
}
HOLD: dict[str, Any] = {**CONTRACT, "license": {"require": [{"name": "seats", "hold": 1}]}}


def grant(emulator: "Emulator", **members: object) -> Any:
    """Grant a license of the product."""
    standard: Mapping[str, object] = {"sku": SKU, "entitlements": [SEATS, USERS, REPORTS, USAGE]}
    return emulator.post("licenses", action="grant", **{**standard, **members})


def change(emulator: "Emulator", action: str, **members: object) -> None:
    """Change the license of the product."""
    emulator.post("licenses", action=action, sku=SKU, **members)


def held(emulator: "Emulator", entitlement: str) -> int:
    """Return how many of an entitlement AWS's side holds now."""
    checkouts = emulator.get("checkouts")["checkouts"]
    return sum(
        int(part.get("Value", 0))
        for each in checkouts
        if each["Held"]
        for part in each["EntitlementsAllowed"]
        if part["Name"] == entitlement
    )


def start(site: "Site", pod: str = "pod-1", **changes: Any) -> "Sidecar":
    """Start a pod."""
    return site.start(variables={"POD_UID": pod}, **changes)


def test_other_prices_load_no_license_manager() -> None:
    """The client of License Manager costs memory, so it is loaded for contract prices alone."""
    program = "import sys, sidecar.commands.run; print([name for name in sys.modules if 'license_manager' in name])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "[]\n" == done.stdout


def test_gated_then_started_by_a_grant(sites: "Sites", emulator: "Emulator") -> None:
    """Without a license the pod is denied with the cure; a grant lets it in without a restart, and holds nothing."""
    sidecar = start(sites.make(emulator, **CONTRACT))
    sidecar.await_entitlement(state="denied", reason="no-license")
    ready = sidecar.probe("readyz")
    assert (503, "denied") == (ready.status, ready.document["code"])
    faults = {fault["code"]: fault for fault in sidecar.get("/v1/status")["faults"]}
    assert "product.id" in faults["entitlement-denied"]["cure"]
    granted = grant(emulator)
    emulator.post("clock", advance="5m")
    found = sidecar.await_entitlement(entitled=True, reason="licensed", source="emulator")
    assert granted["LicenseArn"] == found["license"]["arn"]
    assert ("AVAILABLE", None) == (found["license"]["status"], found["license"]["tier"])
    assert {"name": "seats", "unit": "Count", "max": 1, "held": 0} in found["license"]["entitlements"]
    assert [200, 200, 200] == [sidecar.probe(name).status for name in ("livez", "startupz", "readyz")]
    assert 0 == held(emulator, "seats")


@pytest.mark.parametrize(
    "members",
    [
        {"received": "PENDING_ACCEPT"},
        {"received": "REJECTED"},
        {"grant_type": "DelegateGrant"},
        {"issuer": "aws:111122223333:Own issuer:issuer-fingerprint"},
    ],
)
def test_false_grant_never_opens(sites: "Sites", emulator: "Emulator", members: dict[str, object]) -> None:
    """A pending, rejected, delegated or self-issued license shows in the list and opens nothing."""
    grant(emulator, **members)
    sidecar = start(sites.make(emulator, **CONTRACT))
    sidecar.await_entitlement(state="denied")
    emulator.post("clock", advance="20m")
    assert "denied" == sidecar.get("/v1/entitlement")["state"]
    assert [] == emulator.get("checkouts")["checkouts"]


@pytest.mark.ending
def test_seat_survives_kill_and_returns_at_the_end(sites: "Sites", emulator: "Emulator") -> None:
    """A killed process leaves its seat to the next one of the pod; an orderly end gives it back."""
    grant(emulator)
    site = sites.make(emulator, **HOLD)
    sidecar = start(site)
    sidecar.await_entitlement(entitled=True, reason="licensed")
    sidecar.kill()
    sidecar = start(site)
    found = sidecar.await_entitlement(entitled=True, reason="licensed")
    assert {"name": "seats", "unit": "Count", "max": 1, "held": 1} in found["license"]["entitlements"]
    assert (1, 1) == (len(emulator.calls("CheckoutLicense")), held(emulator, "seats"))
    sidecar.signal()
    assert 0 == sidecar.await_end()
    assert 0 == held(emulator, "seats")


@pytest.mark.ending
def test_rolling_update_on_one_seat(sites: "Sites", emulator: "Emulator") -> None:
    """With MaxCount 1 the new pod runs without a seat while the old one has it, and then gets it."""
    grant(emulator)
    old, new = (
        start(sites.make(emulator, **HOLD), "old"),
        start(sites.make(emulator, **HOLD), "new"),
    )
    for pod in (old, new):
        pod.await_entitlement(entitled=True, reason="licensed")
    assert 1 == held(emulator, "seats")
    pods = {fault["code"] for pod in (old, new) for fault in pod.get("/v1/status")["faults"]}
    assert {"seats-taken"} == pods
    first, second = (old, new) if old.get("/v1/entitlement")["license"]["entitlements"][0]["held"] else (new, old)
    first.signal()
    assert 0 == first.await_end()
    emulator.post("clock", advance="2m")
    second.await_for("the seat", lambda: held(emulator, "seats") == 1)
    assert 200 == second.probe("readyz").status


@pytest.mark.ending
def test_waiting_pod_is_pending(sites: "Sites", emulator: "Emulator") -> None:
    """With `on_taken: wait` the second pod is pending with the reason, never denied."""
    grant(emulator)
    wait = {**HOLD, "license": {**HOLD["license"], "on_taken": "wait"}}
    old = start(sites.make(emulator, **wait), "old")
    old.await_entitlement(entitled=True)
    new = start(sites.make(emulator, **wait), "new")
    new.await_entitlement(state="pending", reason="seats-taken")
    old.signal()
    assert 0 == old.await_end()
    emulator.post("clock", advance="2m")
    new.await_entitlement(entitled=True)


def test_expiry_while_running(sites: "Sites", emulator: "Emulator") -> None:
    """Expiry leaves the pod entitled, also after a container restart; a new pod is denied; a renewal lets it in."""
    grant(emulator)
    site = sites.make(emulator, **CONTRACT)
    sidecar = start(site)
    sidecar.await_entitlement(entitled=True)
    change(emulator, "expire")
    emulator.post("clock", advance="16m")
    sidecar.await_for("the fault", lambda: "license-expired" in sidecar.log)
    assert (True, "EXPIRED") == (
        (found := sidecar.get("/v1/entitlement"))["entitled"],
        found["license"]["status"],
    )
    sidecar.kill()
    sidecar = start(site)
    sidecar.await_entitlement(entitled=True, reason="licensed")
    other = start(sites.make(emulator, **CONTRACT), "pod-2")
    other.await_entitlement(state="denied", reason="license-expired")
    change(emulator, "renew", end="2027-11-23T00:00:00Z")
    emulator.post("clock", advance="16m")
    other.await_entitlement(entitled=True)


def test_suspension_closes_the_gate(sites: "Sites", emulator: "Emulator") -> None:
    """A license that is stopped suspends the pod, and usage is refused like after any explicit answer."""
    grant(emulator)
    sidecar = start(sites.make(emulator, **CONTRACT))
    sidecar.await_entitlement(entitled=True)
    change(emulator, "suspend")
    emulator.post("clock", advance="16m")
    sidecar.await_entitlement(state="suspended", reason="license-suspended")
    assert 503 == sidecar.probe("readyz").status


def test_overage_beside_the_contract(sites: "Sites", emulator: "Emulator") -> None:
    """Metered dimensions work beside the contract, and CustomerNotEntitled for them never touches the gate."""
    grant(emulator)
    metering = {"dimensions": [{"name": "requests", "aggregation": "sum"}], "on_failing": "gate", "failing_after": "1s"}
    metered = {**CONTRACT, "metering": metering}
    sidecar = start(sites.make(emulator, **metered))
    sidecar.await_entitlement(entitled=True)
    emulator.order("MeterUsage", "CustomerNotEntitledException")
    assert (1, 0) == sidecar.report({"dimension": "requests", "quantity": "3"})
    emulator.post("clock", advance="1h")
    expected = {"CustomerNotEntitledException", "metering-failing"}
    sidecar.await_for(
        "the faults", lambda: expected <= {fault["code"] for fault in sidecar.get("/v1/status")["faults"]}
    )
    assert ("entitled", 200) == (sidecar.get("/v1/entitlement")["state"], sidecar.probe("readyz").status)
    emulator.order("MeterUsage", "CustomerNotEntitledException", 0)
    emulator.post("clock", advance="30m")
    sidecar.await_records(1)


def test_checkouts_of_the_app(sites: "Sites", emulator: "Emulator", ask: "Ask") -> None:
    """The app takes, confirms and returns seats, draws down once for each id, and is told when none is left."""
    grant(emulator)
    site = sites.make(emulator, **CONTRACT)
    sidecar = start(site)
    sidecar.await_entitlement(entitled=True)
    seat = {"id": "session-1", "entitlement": "users", "count": 3}
    made = sidecar.post("/v1/checkouts", seat)
    assert (201, "held") == (made.status, made.document["state"])
    assert 200 == sidecar.post("/v1/checkouts", seat).status
    assert 3 == held(emulator, "users")
    assert {"name": "users", "allowed": True, "max": 5, "held": 3, "tier": None} == {
        name: value for name, value in sidecar.get("/v1/entitlements/users?requested=5").items() if name != "until"
    }
    assert False is sidecar.get("/v1/entitlements/users?requested=6")["allowed"]
    for message, status, word in (
        ({**seat, "count": 2}, 409, "id-reused"),
        ({**seat, "id": "session-2"}, 409, "seats-taken"),
        ({"id": "x", "entitlement": "gold"}, 403, "not-entitled"),
        ({"id": "", "entitlement": 7, "count": 0, "more": 1}, 422, "invalid-checkout"),
    ):
        reply = sidecar.post("/v1/checkouts", message)
        assert (status, True) == (reply.status, reply.document["type"].endswith(f":{word}")), reply.body
    faulty = sidecar.post("/v1/checkouts", {"id": "", "entitlement": 7, "count": 0, "more": 1})
    assert ["more", "id", "entitlement", "count"] == [error["field"] for error in faulty.document["errors"]]
    order = {"id": "order/1", "entitlement": "reports", "count": 2, "drawdown": True}
    assert (201, 200) == (sidecar.post("/v1/checkouts", order).status, sidecar.post("/v1/checkouts", order).status)
    assert 2 == held(emulator, "reports")
    paths = [("PUT", "session-1", 200), ("DELETE", "order/1", 409), ("DELETE", "session-1", 204), ("PUT", "none", 404)]
    for method, id_, status in paths:
        assert status == ask(sidecar.api, method, f"/v1/checkouts/{id_}").status
    assert 0 == held(emulator, "users")
    sidecar.kill()
    sidecar = start(site)
    sidecar.await_entitlement(entitled=True)
    listed = {each["id"]: each["state"] for each in sidecar.get("/v1/checkouts")["checkouts"]}
    assert {"order/1": "held", "session-1": "returned", "session-2": "refused"} == listed
    assert 200 == sidecar.post("/v1/checkouts", order).status
    assert 2 == held(emulator, "reports")
    assert 201 == sidecar.post("/v1/checkouts", seat).status


def test_lost_drawdown_waits_for_a_person(sites: "Sites", emulator: "Emulator") -> None:
    """A draw-down whose answer was lost for an hour is in doubt; a person settles it, and it is drawn once."""
    grant(emulator)
    site = sites.make(emulator, **CONTRACT)
    sidecar = start(site)
    sidecar.await_entitlement(entitled=True)
    emulator.order("CheckoutLicense", "drop-response")
    order = {"id": str(uuid.uuid4()), "entitlement": "reports", "count": 1, "drawdown": True}
    assert 503 == sidecar.post("/v1/checkouts", order).status
    emulator.post("clock", advance="61m")
    sidecar.await_for("the doubt", lambda: "checkout.in_doubt" in sidecar.log)
    emulator.order("CheckoutLicense", "drop-response", 0)
    refused = sidecar.post("/v1/checkouts", order)
    assert (409, True) == (refused.status, refused.document["type"].endswith(":in-doubt"))
    assert "checkout-in-doubt" in {fault["code"] for fault in sidecar.get("/v1/status")["faults"]}
    assert 1 == held(emulator, "reports")


def examine(site: "Site", **changes: Any) -> tuple[str, str]:
    """Return what `doctor` says of the license."""
    config = site.write(**changes)
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", "doctor", "--json", "--config", str(config)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    (check,) = (each for each in json.loads(done.stdout)["checks"] if each["name"] == "license")
    return check["status"], check["found"]


def test_doctor_judges_as_the_pod_does(site: "Site", emulator: "Emulator") -> None:
    """A Region that gives no answer is no fault while the other one has a good license."""
    grant(emulator)
    found = []
    for count in (1, 2):
        emulator.post("faults", operation="ListReceivedLicenses", fault="throttle", count=count)
        status, words = examine(site, **CONTRACT, marketplace={"region": "eu-west-1"})
        found.append((status, "is good" in words))
    assert [("ok", True), ("fail", False)] == found


def test_doctor_judges_an_expired_license(site: "Site", emulator: "Emulator") -> None:
    """With `on_expired: warn` an expired license is a warning if it granted what is required, else a fault."""
    warn: dict[str, Any] = {**CONTRACT, "license": {"require": [{"name": "seats"}], "on_expired": "warn"}}
    grant(emulator, entitlements=[USERS, USAGE])
    change(emulator, "expire")
    lesser = examine(site, **warn)
    assert ("fail", True) == (lesser[0], "has no entitlement seats" in lesser[1])
    expired = grant(emulator)["LicenseArn"]
    emulator.post("licenses", action="expire", arn=expired)
    full = examine(site, **warn)
    assert ("warn", True) == (full[0], expired in full[1])
    assert "fail" == examine(site, **CONTRACT)[0]
