"""What a restarted process may take from the ledger without an answer, over sockets."""

import base64
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.domain.timestamps import parse

if TYPE_CHECKING:
    from tests.support.processes import Emulator, Site, Sites

pytestmark = pytest.mark.process

POD = {"POD_UID": "pod-a"}


def die_registered(site: "Site", **changes: Any) -> Any:
    """Register a process of the pod, end it with SIGKILL, and return its entitlement."""
    sidecar = site.start(variables=POD, **changes)
    found = sidecar.await_entitlement(entitled=True, source="emulator")
    # What registered the pod is on disk a moment later; the log line follows the answer, the next write the proof.
    sidecar.report({"dimension": "requests"})
    sidecar.kill()
    return found


def test_pod_is_remembered(site: "Site", emulator: "Emulator") -> None:
    """While AWS faults after a restart, the proof of the earlier process counts until 24 hours after it was made."""
    before = die_registered(site)
    emulator.order("RegisterUsage", "internal")
    sidecar = site.start(variables=POD)
    found = sidecar.await_entitlement(entitled=True)
    assert ("remembered", "remembered") == (found["source"], found["reason"])
    same = ("registered_at", "nonce", "signature")
    assert [before[name] for name in same] == [found[name] for name in same]
    until = parse(found["until"])
    assert until is not None
    claims = json.loads(base64.urlsafe_b64decode(f"{found['signature'].split('.')[1]}=="))
    assert 24 * 3600 == until.timestamp() - claims["iat"]
    assert 200 == sidecar.probe("readyz").status
    emulator.post("clock", advance="24h")
    sidecar.await_entitlement(entitled=False, state="unavailable", signature=None)
    emulator.order("RegisterUsage", "internal", 0)
    emulator.post("clock", advance="1m")
    sidecar.await_entitlement(entitled=True, source="emulator", until=None)


def test_memory_outlives_emulator(sites: "Sites", own_emulator: "Emulator") -> None:
    """A missing listener is met by memory too, with the system's clock."""
    site = sites.make(own_emulator)
    die_registered(site)
    config = site.write()
    own_emulator.kill()
    sidecar = site.launch(config, **POD)
    sidecar.await_start()
    found = sidecar.await_entitlement(entitled=True, source="remembered")
    assert "cannot be reached" in found["detail"]


@pytest.mark.parametrize(
    ("pod", "changes", "passed"),
    [
        ("pod-b", {}, "0s"),
        ("pod-a", {"entitlement": {"remember_for": "0s"}}, "0s"),
        ("pod-a", {"entitlement": {"remember_for": "1h"}}, "61m"),
        ("pod-a", {"product": {"code": "another"}}, "0s"),
        ("pod-a", {}, "25h"),
    ],
    ids=["other-pod", "never", "too-late", "other-product", "after-a-day"],
)
def test_memory_has_bounds(site: "Site", emulator: "Emulator", pod: str, changes: dict[str, Any], passed: str) -> None:
    """Proof never counts for another pod or product, nor for longer than `remember_for`."""
    die_registered(site)
    emulator.order("RegisterUsage", "internal")
    emulator.post("clock", advance=passed)
    sidecar = site.start(variables={"POD_UID": pod}, **changes)
    found = sidecar.await_entitlement(reason="service-fault")
    assert (False, "pending", None) == (found["entitled"], found["state"], found["signature"])


def test_proof_is_renewed(site: "Site", emulator: "Emulator") -> None:
    """A pod that has lived for 26 hours is remembered after a restart without AWS: its newest proof counts."""
    sidecar = site.start_entitled(variables=POD)
    for _ in range(26):
        site.advance(sidecar, "1h")
    sidecar.await_for("a renewal", lambda: sidecar.events("registration.renewed"))
    sidecar.report({"dimension": "requests"})
    sidecar.kill()
    emulator.order("RegisterUsage", "internal")
    found = site.start(variables=POD).await_entitlement(entitled=True)
    assert "remembered" == found["source"]


def test_copied_signature_opens_no_other_pod(site: "Site", emulator: "Emulator") -> None:
    """With the other pod's name written next to it in the ledger, a kept signature does not let that pod in."""
    die_registered(site)
    with sqlite3.connect(site.ledger) as ledger:
        (kept,) = ledger.execute("SELECT value FROM meta WHERE key = 'evidence'").fetchone()
        ledger.execute("UPDATE meta SET value = ? WHERE key = 'evidence'", (kept.replace("pod-a", "pod-b"),))
    ledger.close()
    emulator.order("RegisterUsage", "internal")
    sidecar = site.start(variables={"POD_UID": "pod-b"})
    found = sidecar.await_entitlement(reason="service-fault")
    assert (False, "pending") == (found["entitled"], found["state"])
    assert "pod-binding" == sidecar.await_event("registration.evidence_refused")["rule"]


def test_live_process_outlives_network(site: "Site", emulator: "Emulator") -> None:
    """A live process stays entitled without AWS for longer than it would be remembered; its metering fails."""
    sidecar = site.start_entitled(variables=POD)
    for operation in ("RegisterUsage", "MeterUsage"):
        emulator.order(operation, "internal")
    sidecar.report({"dimension": "requests"})
    for _ in range(30):
        site.advance(sidecar, "1h")
    sidecar.await_for("failing", lambda: sidecar.get("/v1/status")["metering"]["state"] == "failing")
    found = sidecar.get("/v1/entitlement")
    assert ("entitled", "emulator") == (found["state"], found["source"])
    assert 200 == sidecar.probe("readyz").status


def test_lost_ledger_forgets_suspension(site: "Site", emulator: "Emulator") -> None:
    """A suspended pod that loses its ledger is entitled again, until AWS refuses its next record."""
    sidecar = site.start_entitled(variables=POD)
    emulator.post("customers", action="unsubscribe")
    site.advance(sidecar, "1h")
    sidecar.await_entitlement(state="suspended")
    sidecar.kill()
    for part in site.folder.glob("ledger.db*"):
        part.unlink()
    sidecar = site.start_entitled(variables=POD)
    sidecar.report({"dimension": "requests"})
    site.advance(sidecar, "1h")
    assert not sidecar.await_entitlement(state="suspended")["entitled"]


def test_refusal_voids_memory(site: "Site", emulator: "Emulator") -> None:
    """After an explicit refusal no restart gets in by memory."""
    die_registered(site)
    emulator.order("RegisterUsage", "CustomerNotEntitled", 1)
    sidecar = site.start(variables=POD)
    sidecar.await_entitlement(state="denied")
    assert 503 == sidecar.probe("readyz").status
    sidecar.get("/v1/records")  # answered after the ledger has stored the refusal: steps are done in order
    sidecar.kill()
    emulator.order("RegisterUsage", "internal")
    sidecar = site.start(variables=POD)
    found = sidecar.await_entitlement(reason="service-fault")
    assert (False, "pending") == (found["entitled"], found["state"])


def test_suspension_survives_restart(site: "Site", emulator: "Emulator") -> None:
    """What MeterUsage refused, RegisterUsage of a restarted process does not lift."""
    sidecar = site.start_entitled(variables=POD)
    emulator.post("customers", action="unsubscribe")
    site.advance(sidecar, "1h")
    sidecar.await_entitlement(state="suspended")
    sidecar.report({"dimension": "requests"})
    sidecar.kill()
    sidecar = site.start(variables=POD)
    sidecar.await_entitlement(state="suspended")
    sidecar.await_for("the answer", lambda: len(emulator.calls("RegisterUsage")) == 2)
    assert [None, None] == [call.get("errorCode") for call in emulator.calls("RegisterUsage")]
    assert "suspended" == sidecar.get("/v1/entitlement")["state"]
    assert (503, 503) == (sidecar.probe("readyz").status, sidecar.probe("startupz").status)
