"""A custom price in real processes: the gate opens by one real record of nothing, and by nothing else."""

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.processes import Site, Sites, launch_emulator

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.processes import Emulator

pytestmark = pytest.mark.process

CUSTOM: dict[str, Any] = {"product": {"pricing": "custom", "public_keys": {}}}
TEN, NINE = "2026-11-23T10:00:00Z", "2026-11-23T09:00:00Z"


def dry_runs(emulator: "Emulator") -> list[dict[str, Any]]:
    """Return the calls that check the permission only."""
    return [call for call in emulator.calls("MeterUsage") if call["requestParameters"].get("dryRun")]


def test_probe_opens_gate(site: Site, emulator: "Emulator") -> None:
    """A subscribed pod is entitled by one zero record of the previous hour; status and start name price and check."""
    sidecar = site.start_entitled(**CUSTOM)

    assert {(NINE, "requests"): "0"} == emulator.held()
    assert [] == dry_runs(emulator)
    (record,) = sidecar.get("/v1/records")["records"]
    assert ("probe", "accepted", "0") == (record["kind"], record["status"], record["quantity"])
    entitlement = sidecar.get("/v1/status")["entitlement"]
    assert ("metered", "meter", "custom") == tuple(entitlement[name] for name in ("reason", "check", "pricing"))
    assert {} == sidecar.terms()
    (started,) = sidecar.events("sidecar.started")
    assert ("custom", "meter") == (started["pricing"], started["check"])


def test_gate_stays_shut_without_subscription(site: Site, emulator: "Emulator") -> None:
    """Without a subscription the gate never opens, across restarts; it opens minutes after the buyer subscribes."""
    emulator.post("customers", action="unsubscribe")
    sidecar = site.start(**CUSTOM)
    for _ in range(3):
        sidecar.await_entitlement(state="denied", reason="customer-not-entitled")
        assert 503 == sidecar.probe("startupz").status
        sidecar.kill()
        sidecar = site.start(**CUSTOM)
    emulator.post("customers", action="entitle")
    sidecar.await_entitlement(state="entitled")

    assert {(NINE, "requests"): "0"} == emulator.held()
    assert [] == [line for each in site.running[:-1] for line in each.events("registration.entitled")]


def test_fallback_to_current_hour(sites: Sites, tmp_path: "Path") -> None:
    """Where AWS takes no hour before the first call, the probe lies in the current one, whose rest is carried."""
    emulator = launch_emulator(tmp_path / "emulator.log", "--from-first-call")
    try:
        emulator.begin()
        site = sites.make(emulator)
        sidecar = site.start_entitled(**CUSTOM)
        assert (1, 0) == sidecar.report({"dimension": "requests", "quantity": "7"})
        assert {(TEN, "requests"): "0"} == emulator.held()
        site.advance(sidecar, "1h")
        site.advance(sidecar, "1h")
        sidecar.await_records(2)

        assert {(TEN, "requests"): "0", ("2026-11-23T11:00:00Z", "requests"): "7"} == emulator.held()
        site.close()
    finally:
        emulator.kill()


def test_restart_asks_nothing(site: Site, emulator: "Emulator") -> None:
    """A restarted container of the same pod is entitled from the ledger; a new pod on it asks for itself."""
    first, second = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
    site.start_entitled(variables={"POD_UID": first}, **CUSTOM).kill()
    asked = len(emulator.calls("MeterUsage"))
    again = site.start_entitled(variables={"POD_UID": first}, **CUSTOM)
    assert (asked, "remembered") == (len(emulator.calls("MeterUsage")), again.get("/v1/entitlement")["source"])
    again.kill()
    other = site.start(variables={"POD_UID": second}, **CUSTOM)
    other.await_entitlement(entitled=True, reason="metered")

    assert ["probe"] * 2 == [record["kind"] for record in other.get("/v1/records")["records"]]


@pytest.mark.ending
def test_short_job_reports_lost_usage(site: Site, emulator: "Emulator") -> None:
    """A pod that ends in the hour of its probe keeps its usage as unbilled, and reports it."""
    sidecar = site.start_entitled(**CUSTOM, entitlement={"probe_hour": "current"})
    sidecar.report({"dimension": "requests", "quantity": "7"})
    sidecar.signal()

    assert 0 == sidecar.await_end()
    (lost,) = sidecar.events("metering.probe_slot")
    assert ("requests", "7") == (lost["dimension"], lost["quantity"])
    assert {(TEN, "requests"): "0"} == emulator.held()


def test_dry_run_says_what_it_does_not_check(site: Site, emulator: "Emulator") -> None:
    """With probe: dry-run the gate opens as before, and the state says what is not known."""
    emulator.post("customers", action="unsubscribe")
    sidecar = site.start_entitled(**CUSTOM, entitlement={"probe": "dry-run"})

    assert "checks the permission only" in sidecar.get("/v1/entitlement")["detail"]
    assert {} == emulator.held()


def test_unnamed_price_is_logged(site: Site) -> None:
    """A pod that registers and has dimensions works as before, and its start names what the price leaves open."""
    sidecar = site.start_entitled()

    (line,) = sidecar.events("product.price_in_doubt")
    assert "does not state what RegisterUsage answers" in line["cure"]
    assert "registered" == sidecar.get("/v1/entitlement")["reason"]
