"""Sources on a real node: a container's resources, and an app's counter; what AWS holds of them at the pod's end."""

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


def _pages(stage: Stage, pod: Any) -> list[tuple[int, int, bool]]:
    """Return the pages that the app has shown: its process, the counter, and whether it was to end."""
    lines = (stage.books / f"{pod.metadata.name}.pages").read_text(encoding="utf-8").splitlines()
    return [(int(process), int(shown), ends == "1") for process, shown, ends in map(str.split, lines)]


def test_counter_is_billed(product: Product, stage: Stage) -> None:
    """A counter of an app that is killed, and whose pod is deleted, is billed as the last page of each process had it.

    The sidecar sees the deletion while the app still runs, so the last page is one of the app's end.
    """
    page = {"url": "http://127.0.0.1:8080/metrics", "metric": "app_events_total", "every": "5s"}
    dimensions = [{"name": "requests"}, {"name": "served", "source": {"prometheus": page}}]
    product.install({"sidecar": {"config": {"metering": {"dimensions": dimensions}}}}, linger=20)
    (pod,) = product.await_ready()
    # A sample has just been taken, so none is on its way while a process is killed.
    _await_sample(product, pod)
    stage.signal(pod, APP, "SIGKILL")
    await_for("the restart of the app", lambda: status_of(stage.read(pod), APP).restart_count == 1)
    product.await_ready()
    _await_sample(product, pod)
    stage.signal(pod, SIDECAR_CONTAINER, "SIGKILL")
    await_for("the restart", lambda: status_of(stage.read(pod), SIDECAR_CONTAINER).restart_count == 1)
    product.await_ready()
    _await_sample(product, pod)
    stage.delete(pod)
    stage.await_gone(pod)
    pages = _pages(stage, pod)
    last = {process: shown for process, shown, _ in pages}
    assert 2 == len(last)
    assert pages[-1][2]
    records = [record for record in product.emulator.records() if record["UsageDimension"] == "served"]
    assert Decimal(sum(last.values())) == sum(Decimal(record["UsageQuantity"]) for record in records)
    assert sum(last.values()) <= stage.booked(pod)


def _await_sample(product: Product, pod: Any) -> None:
    """Wait for a new sample of a counter that has something."""
    before = _samples(product, pod)["served"]
    await_for("a sample", lambda: _samples(product, pod)["served"] != before)
