"""From the first moment to the open gate and back, over sockets."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.processes import Emulator, Site

pytestmark = pytest.mark.process


def test_probes_answer_first(site: "Site", emulator: "Emulator") -> None:
    """While RegisterUsage hangs, the process is alive, not ready, shows why, and already takes usage."""
    emulator.order("RegisterUsage", "timeout")
    sidecar = site.start()
    assert 200 == sidecar.probe("livez").status
    for name in ("startupz", "readyz"):
        reply = sidecar.probe(name)
        assert (503, "pending") == (reply.status, reply.document["code"])
        assert "has not answered yet" in reply.document["reason"]
    assert (1, 0) == sidecar.report({"dimension": "requests"})
    assert b"marketplace_" in sidecar.probe("metrics").body


def test_gate_opens(site: "Site") -> None:
    """Once AWS has signed, the probes are good and the app finds the proof, which no log line holds."""
    sidecar = site.start()
    found = sidecar.await_entitlement(entitled=True)
    assert ("entitled", "registered", "emulator") == (found["state"], found["reason"], found["source"])
    assert [200, 200, 200] == [sidecar.probe(name).status for name in ("livez", "startupz", "readyz")]
    for secret in (found["signature"], found["signature"].split(".")[2], found["nonce"]):
        assert secret
        assert secret not in sidecar.log


def test_subscribing_opens_gate(site: "Site", emulator: "Emulator") -> None:
    """A buyer who subscribes is admitted by the question that follows within 5 minutes, without a restart."""
    emulator.post("customers", action="unsubscribe")
    sidecar = site.start()
    sidecar.await_entitlement(state="denied", reason="customer-not-entitled")
    ready = sidecar.probe("readyz")
    assert (503, "denied") == (ready.status, ready.document["code"])
    assert "subscription" in ready.document["reason"]
    refused = sidecar.post("/v1/usage", {"dimension": "requests"})
    assert (403, True) == (refused.status, refused.document["type"].endswith("not-entitled"))
    emulator.post("customers", action="entitle")
    emulator.post("clock", advance="5m")
    sidecar.await_entitlement(entitled=True)
    assert 200 == sidecar.probe("readyz").status
    assert sidecar.process.poll() is None


def test_denied_exit_is_3(site: "Site", emulator: "Emulator") -> None:
    """With `on_denied: exit` a refusal ends the process with 3 and the reason."""
    emulator.post("customers", action="unsubscribe")
    code, said = site.refuse(site.write(entitlement={"on_denied": "exit"}))
    assert 3 == code
    assert "customer-not-entitled" in said


def test_throttling_is_outlived(site: "Site", emulator: "Emulator") -> None:
    """Throttling is no refusal: the sidecar asks again until it is admitted."""
    emulator.order("RegisterUsage", "throttle", 4)
    sidecar = site.start()
    sidecar.await_entitlement(state="pending", reason="throttled")
    emulator.post("clock", speed=60)
    sidecar.await_entitlement(entitled=True)
    assert [True] * 4 + [False] == ["errorCode" in call for call in emulator.calls("RegisterUsage")]
    assert [] == sidecar.events("registration.denied")


def test_silence_becomes_unavailable(site: "Site", emulator: "Emulator") -> None:
    """After `retry_for` without an answer the state is `unavailable`, and the sidecar continues asking."""
    emulator.order("RegisterUsage", "internal")
    sidecar = site.start()
    sidecar.await_entitlement(state="pending", reason="service-fault")
    emulator.post("clock", advance="29m")
    assert "pending" == sidecar.get("/v1/entitlement")["state"]
    emulator.post("clock", advance="2m")
    sidecar.await_entitlement(state="unavailable")
    assert (503, "unavailable") == (sidecar.probe("readyz").status, sidecar.probe("readyz").document["code"])
    emulator.order("RegisterUsage", "internal", 0)
    emulator.post("clock", advance="1m")
    sidecar.await_entitlement(entitled=True)


@pytest.mark.parametrize("fault", ["wrong-signature", "wrong-nonce", "wrong-product", "old-iat", "alg-none", "hs256"])
def test_wrong_token_is_refused(site: "Site", emulator: "Emulator", fault: str) -> None:
    """A token that is wrong in any way denies the pod; the reason is logged, the token never."""
    emulator.order("RegisterUsage", fault, 1)
    sidecar = site.start()
    found = sidecar.await_entitlement(state="denied", reason="signature-invalid")
    assert (None, None) == (found["nonce"], found["signature"])
    ready = sidecar.probe("readyz")
    assert (503, True) == (ready.status, "not AWS Marketplace's" in ready.document["reason"])
    assert "signature-invalid" == sidecar.events("registration.denied")[0]["reason"]
    assert "eyJ" not in sidecar.log
    assert 1 == len(emulator.calls("RegisterUsage"))


def test_unsubscribing_suspends(site: "Site", emulator: "Emulator") -> None:
    """An explicit refusal of usage closes the gate, loses none of it, and the next record taken opens the gate."""
    sidecar = site.start_entitled()
    assert (1, 0) == sidecar.report({"dimension": "requests", "quantity": "2.5"})
    emulator.post("customers", action="unsubscribe")
    site.advance(sidecar, "1h")
    sidecar.await_entitlement(state="suspended", entitled=False)
    assert 503 == sidecar.probe("readyz").status
    assert 200 == sidecar.probe("startupz").status
    assert (1, 0) == sidecar.report({"dimension": "requests", "quantity": "4"})
    assert {} == emulator.held()
    emulator.post("customers", action="entitle")
    site.advance(sidecar, "5m")
    sidecar.await_entitlement(state="entitled")
    # The gate does not wait for the ledger, which stores the answer a moment later.
    sidecar.await_records(1)
    assert {("2026-11-23T10:00:00Z", "requests"): "2.5"} == emulator.held()
    assert {"accepted": "6.5", "open": "4", "submitted": "2.5"} == sidecar.terms()
