"""What the apps have reported is what AWS holds, however containers and pods come to their end."""

from typing import Any

from tests.cluster.asking import await_for
from tests.cluster.product import APP, SELECTOR, SIDECAR_CONTAINER, Product
from tests.cluster.stage import Stage, is_running, status_of
from tests.cluster.volumes import provide_volume

HOUR = "2026-11-23T10:00:00Z"
"""The hour in which every test begins."""


def test_killed_sidecar_burns_no_hour(product: Product, stage: Stage) -> None:
    """SIGKILL of the sidecar's container in a living pod loses nothing, and the hour continues in the next process."""
    product.install()
    (pod,) = product.await_ready()
    await_for("usage", lambda: stage.booked() > 10)
    app = status_of(stage.read(pod), APP).container_id
    stage.signal(pod, SIDECAR_CONTAINER, "SIGKILL")
    await_for("the restart", lambda: status_of(stage.read(pod), SIDECAR_CONTAINER).restart_count == 1)
    product.await_ready()
    known = stage.booked()
    await_for("usage after the restart", lambda: stage.booked() > known + 10)
    assert [] == product.emulator.records()
    assert (app, 0) == _life(stage, pod, APP)
    product.emulator.advance("1h")
    (record,) = _await_records(product, 1)
    assert (HOUR, pod.metadata.uid) == (record["Timestamp"], record["Identity"])
    # The rest lies in the hour that is open now; the pod's end brings it in.
    stage.delete(pod)
    stage.await_gone(pod)
    assert stage.booked(pod) == _submitted(product, pod)


def test_deleted_pod_submits_open_hour(product: Product, stage: Stage) -> None:
    """The end of a pod submits its open hour before the pod is gone."""
    product.install()
    (pod,) = product.await_ready()
    await_for("usage", lambda: stage.booked() > 10)
    stage.delete(pod)
    stage.await_gone(pod)
    (record,) = _records_of(product, pod)
    assert HOUR == record["Timestamp"]
    # The Deployment's next pod has books of its own.
    assert stage.booked(pod) == int(record["UsageQuantity"])


def test_lingering_app_keeps_its_usage(product: Product, stage: Stage) -> None:
    """An app that works through most of the grace period still has all of its usage submitted."""
    sidecar = {"terminationGracePeriodSeconds": 60, "config": {"shutdown": {"timeout": "55s"}}}
    product.install({"sidecar": sidecar}, linger=35, pace=0.1)
    (pod,) = product.await_ready()
    await_for("usage", lambda: stage.booked() > 3)
    before = stage.booked()
    stage.delete(pod)
    stage.await_gone(pod)
    (record,) = _records_of(product, pod)
    booked = stage.booked(pod)
    assert booked > before + 50
    assert booked == int(record["UsageQuantity"])


def test_rolling_upgrade_conserves_usage(product: Product, stage: Stage) -> None:
    """A rolling upgrade of three replicas under load leaves AWS with exactly what the six apps have sent."""
    product.install({"replicas": 3})
    first = {pod.metadata.uid for pod in product.await_ready(3)}
    await_for("usage of all", lambda: len(list(stage.books.iterdir())) == 3 and stage.booked() > 30)
    product.upgrade({"podAnnotations": {"example.com/revision": "2"}})
    stage.await_pods(
        SELECTOR,
        "of the new revision",
        lambda pod: pod.metadata.annotations.get("example.com/revision") == "2",
        3,
    )
    second = {pod.metadata.uid for pod in product.await_ready(3)}
    await_for("usage of the new pods", lambda: len(list(stage.books.iterdir())) == 6)
    await_for("the end of the old pods", lambda: second == {pod.metadata.uid for pod in stage.pods(SELECTOR)})
    product.upgrade({"replicas": 0})
    await_for("the end of all pods", lambda: not stage.pods(SELECTOR))
    records = product.emulator.records()
    assert first | second == {record["Identity"] for record in records}
    assert 6 == len(records)
    assert stage.booked() == sum(int(record["UsageQuantity"]) for record in records)


def test_successor_adopts_ledger(product: Product, stage: Stage) -> None:
    """What a pod killed by force left on its volume is submitted by the next pod, in its own name."""
    provide_volume(stage)
    changes = {
        "kind": "StatefulSet",
        "sidecar": {"ledger": {"volume": "claimTemplate", "claimTemplate": {"storageClassName": stage.namespace}}},
    }
    product.install(changes, events=25)
    (killed,) = product.await_ready()
    await_for("usage", lambda: stage.booked() == 25)
    # Stopped, the sidecar sees no SIGTERM; what ends it is SIGKILL alone.
    stage.signal(killed, SIDECAR_CONTAINER, "SIGSTOP")
    stage.delete(killed, grace=0)
    stage.await_gone(killed)
    (successor,) = product.await_ready()
    assert killed.metadata.uid != successor.metadata.uid
    await_for("usage of the successor", lambda: stage.booked() == 50)
    stage.delete(successor)
    stage.await_gone(successor)
    assert [] == _records_of(product, killed)
    assert 50 == _submitted(product, successor)


def _life(stage: Stage, pod: Any, container: str) -> tuple[str, int]:
    status = status_of(stage.read(pod), container)
    assert is_running(stage.read(pod), container)
    return status.container_id, status.restart_count


def _await_records(product: Product, count: int) -> list[dict[str, Any]]:
    def look() -> list[dict[str, Any]] | None:
        records = product.emulator.records()
        return records if len(records) == count else None

    return await_for(f"{count} records", look)


def _records_of(product: Product, pod: Any) -> list[dict[str, Any]]:
    return [record for record in product.emulator.records() if record["Identity"] == pod.metadata.uid]


def _submitted(product: Product, pod: Any) -> int:
    return sum(int(record["UsageQuantity"]) for record in _records_of(product, pod))
