"""What the sidecar sees of a container's resources on a real node, and what of that AWS holds at the pod's end."""

from decimal import Decimal
from typing import Any

import pytest

from tests.cluster.asking import await_for
from tests.cluster.product import APP, SIDECAR_CONTAINER, Product
from tests.cluster.stage import Stage, status_of

HOURS = "pod_hours"
DIMENSIONS = [
    {"name": "requests"},
    {"name": HOURS, "source": {"pod_time": {"while": "entitled"}}},
    {"name": "vcpu_hours", "source": {"resource": {"what": "cpu", "by": "limit", "container": APP}}},
    {"name": "gib_hours", "source": {"resource": {"what": "memory", "by": "request", "container": APP}}},
]
SHARES = {"vcpu_hours": Decimal("0.25"), "gib_hours": Decimal("0.0625")}
"""What an hour of the pod has of each: 250m, and 64Mi."""


def _install(product: Product) -> Any:
    app = {**product.values["containers"][0], "resources": {"limits": {"cpu": "250m"}, "requests": {"memory": "64Mi"}}}
    product.install({"containers": [app], "sidecar": {"config": {"metering": {"dimensions": DIMENSIONS}}}})
    (pod,) = product.await_ready()
    return pod


def _sources(product: Product, pod: Any) -> dict[str, Any]:
    return {each["dimension"]: each for each in product.ask(pod, "/v1/status")["sources"]}


def _billed(product: Product) -> dict[str, Decimal]:
    """Return what AWS's side holds of each measured dimension."""
    sums = dict.fromkeys((HOURS, *SHARES), Decimal())
    for record in product.emulator.records():
        if record["UsageDimension"] in sums:
            sums[record["UsageDimension"]] += Decimal(record["UsageQuantity"])
    return sums


@pytest.mark.parametrize("killed", [False, True], ids=["deleted", "killed before"])
def test_resources_are_billed(product: Product, stage: Stage, *, killed: bool) -> None:
    """The sidecar reads limit and request from the downward API, and bills them by the time of the pod."""
    pod = _install(product)
    await_for("measured time", lambda: all(each["state"] == "measuring" for each in _sources(product, pod).values()))
    seen = _samples(product, pod)
    product.emulator.advance("1h")
    await_for("a later sample", lambda: all(at > seen[name] for name, at in _samples(product, pod).items()))
    if killed:
        stage.signal(pod, SIDECAR_CONTAINER, "SIGKILL")
        await_for("the restart", lambda: status_of(stage.read(pod), SIDECAR_CONTAINER).restart_count == 1)
        product.await_ready()
    stage.delete(pod)
    stage.await_gone(pod)
    billed = _billed(product)
    assert 1 <= billed[HOURS] < Decimal("1.5")
    for name, share in SHARES.items():
        assert share <= billed[name] < share * Decimal("1.5")


def _samples(product: Product, pod: Any) -> dict[str, str]:
    return {name: each["last_sample_at"] for name, each in _sources(product, pod).items()}
