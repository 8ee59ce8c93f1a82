"""A contract price on a real kubelet: gated, started by a grant, two replicas on one seat, expiry while running."""

from typing import Any

from tests.cluster.asking import ask, await_for
from tests.cluster.emulator import Emulator
from tests.cluster.product import APP, PROBES, SELECTOR, SIDECAR_CONTAINER, Product
from tests.cluster.stage import Stage, is_running, status_of

SKU = "prod-abcdefghijklm"
ASK_AGAIN = "6m"
"""Longer than the sidecar waits after a refusal."""
ENTITLEMENTS = [
    {"Name": "seats", "Unit": "Count", "MaxCount": 1, "Overage": False, "AllowCheckIn": True},
    {"Name": "AWS::Marketplace::Usage", "Unit": "None"},
]


def contract(**license_: object) -> dict[str, Any]:
    """Return the values of a product with a contract price that holds a seat for each pod."""
    return {
        "sidecar": {
            "config": {
                "product": {"pricing": "contract", "id": SKU},
                "license": {"require": [{"name": "seats", "hold": 1}], **license_},
                "metering": {"dimensions": []},
            }
        }
    }


def grant(emulator: Emulator) -> None:
    """Grant the contract."""
    emulator.post("licenses", action="grant", sku=SKU, entitlements=ENTITLEMENTS)


def held(emulator: Emulator) -> int:
    """Return how many seats AWS holds."""
    checkouts = emulator.get("checkouts")["checkouts"]
    return sum(each["Held"] and each["EntitlementsAllowed"][0]["Name"] == "seats" for each in checkouts)


def readiness(pod: Any) -> tuple[int, str]:
    """Return status and code of the readiness probe."""
    reply = ask(f"http://{pod.status.pod_ip}:{PROBES}/readyz")
    return reply.status, reply.document["code"]


def test_grant_starts_app(product: Product, stage: Stage) -> None:
    """Without a license the app's container is not made; a grant starts it, without a change of the pod."""
    product.install(contract())
    (pod,) = stage.await_pods(SELECTOR, "running the sidecar", lambda pod: is_running(pod, SIDECAR_CONTAINER))
    await_for("the refusal", lambda: readiness(stage.read(pod)) == (503, "denied"))
    assert not is_running(stage.read(pod), APP)
    await_for("the Event", lambda: [event for event in stage.events(pod) if "license" in event.message])
    grant(product.emulator)
    product.emulator.advance(ASK_AGAIN)
    (started,) = product.await_ready()
    assert pod.metadata.uid == started.metadata.uid
    assert 0 == status_of(started, SIDECAR_CONTAINER).restart_count
    assert 1 == held(product.emulator)


def test_two_replicas_on_one_seat(product: Product, stage: Stage) -> None:
    """Two replicas of a rolling update both run on one seat, and the seat returns with the last pod."""
    grant(product.emulator)
    product.install({**contract(), "replicas": 2})
    product.await_ready(2)
    assert 1 == held(product.emulator)
    product.upgrade({"replicas": 0})
    await_for("the end of the pods", lambda: not stage.pods(SELECTOR))
    await_for("the seat's return", lambda: held(product.emulator) == 0)


def test_expiry_while_running(product: Product, stage: Stage) -> None:
    """A pod that runs stays ready after the contract has ended; the pod that replaces it is denied."""
    grant(product.emulator)
    product.install(contract())
    (pod,) = product.await_ready()
    product.emulator.post("licenses", action="expire", sku=SKU)
    product.emulator.advance("16m")
    await_for("the fault", lambda: _faults(product, pod) >= {"license-expired"})
    assert (200, "licensed") == readiness(stage.read(pod))
    stage.delete(pod)
    (replaced,) = stage.await_pods(
        SELECTOR,
        "of another pod, running the sidecar",
        lambda each: each.metadata.uid != pod.metadata.uid and is_running(each, SIDECAR_CONTAINER),
    )
    await_for("the refusal", lambda: readiness(stage.read(replaced)) == (503, "denied"))


def _faults(product: Product, pod: Any) -> set[str]:
    return {fault["code"] for fault in product.ask(pod, "/v1/status")["faults"]}
