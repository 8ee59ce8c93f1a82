"""What a restarted process may take from the ledger when nobody answers, over sockets."""

from typing import TYPE_CHECKING, Any

import pytest

from sidecar.domain.timestamps import parse

if TYPE_CHECKING:
    from tests.process.processes import Emulator, Site, Sites

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
    registered_at, until = parse(found["registered_at"]), parse(found["until"])
    assert registered_at is not None
    assert until is not None
    assert (until - registered_at).total_seconds() == 24 * 3600
    assert sidecar.probe("readyz").status == 200
    emulator.post("clock", advance="24h")
    sidecar.await_entitlement(entitled=False, state="unavailable", signature=None)
    emulator.order("RegisterUsage", "internal", 0)
    emulator.post("clock", advance="1m")
    sidecar.await_entitlement(entitled=True, source="emulator", until=None)


def test_memory_outlives_emulator(sites: "Sites", own_emulator: "Emulator") -> None:
    """Nobody listening at all is met by memory too, with the system's clock."""
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


def test_refusal_voids_memory(site: "Site", emulator: "Emulator") -> None:
    """After an explicit refusal no restart gets in by memory."""
    die_registered(site)
    emulator.order("RegisterUsage", "CustomerNotEntitled", 1)
    sidecar = site.start(variables=POD)
    sidecar.await_entitlement(state="denied")
    assert sidecar.probe("readyz").status == 503
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
    assert sidecar.get("/v1/entitlement")["state"] == "suspended"
    assert (503, 503) == (sidecar.probe("readyz").status, sidecar.probe("startupz").status)
