"""Who may do what: the pod in the cluster and toward AWS, neighbors toward the pod, the process in its image."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.asking import ask, await_for
from tests.cluster.emulator import Emulator
from tests.cluster.images import SIDECAR, SIDECAR_TAG
from tests.cluster.product import PROBES, SIDECAR_CONTAINER, Product
from tests.cluster.stage import Stage, is_running, status_of

GATE = "example.com/entitled"
ROLE = "arn:aws:iam::111122223333:role/acme-metering"
RULE = '- {apiGroups: [""], resources: ["events"], verbs: ["create"]}'
SOMEBODY = 1000660000
"""A user that no image knows, as OpenShift gives them out."""


def test_chart_role_suffices(product: Product, stage: Stage) -> None:
    """With the Role of the chart alone the gate opens, the Event is written, and a restart is not taken for the end."""
    product.install({"sidecar": {"config": {"kubernetes": {"readiness_gate": GATE}}}})
    (pod,) = product.await_ready()
    assert "True" == _condition(pod, GATE).status
    await_for("the Event", lambda: "Entitled" in _told(stage, pod))
    role = _examined(stage, pod, "kubernetes role")
    assert ("ok", "the service account may get pods, patch pods/status, create events") == (
        role["status"],
        role["found"],
    )
    await_for("usage", lambda: stage.booked() > 5)
    # The container ends by itself, the pod lives on: the sidecar must see that and leave the open hour open.
    stage.signal(pod, SIDECAR_CONTAINER, "SIGTERM")
    await_for("the restart", lambda: status_of(stage.read(pod), SIDECAR_CONTAINER).restart_count == 1)
    known = stage.booked()
    await_for("usage after the restart", lambda: stage.booked() > known + 3)
    await_for("the gate", lambda: _condition(stage.read(pod), GATE).status == "True")
    assert [] == product.emulator.records()
    for log in (stage.logs(pod, SIDECAR_CONTAINER, previous=True), stage.logs(pod, SIDECAR_CONTAINER)):
        assert "forbidden" not in log.lower()


def test_missing_role_stops_nothing(product: Product, stage: Stage) -> None:
    """Without a Role the pod is admitted and metered as with it; the rule to add is named, only Events are missing."""
    product.install({"sidecar": {"rbac": {"create": False}}})
    (pod,) = product.await_ready()
    await_for("usage", lambda: stage.booked() > 5)
    await_for("the rule", lambda: any(RULE in finding["cure"] for finding in product.ask(pod, "/v1/status")["faults"]))
    assert [] == _told(stage, pod)
    role = _examined(stage, pod, "kubernetes role")
    assert ("warn", True) == (role["status"], RULE in role["cure"])
    stage.delete(pod)
    stage.await_gone(pod)
    (record,) = product.emulator.records()
    assert pod.metadata.uid == record["Identity"]
    assert stage.booked(pod) == int(record["UsageQuantity"])


@pytest.fixture(scope="module")
def irsa_emulator(aws: Stage) -> Emulator:
    """AWS's side as it is: it takes roles for service accounts and nothing else."""
    return Emulator.launch(aws, "irsa", f"{SIDECAR}:{SIDECAR_TAG}", "--identity", "irsa-only")


@pytest.fixture
def irsa_product(irsa_emulator: Emulator, stage: Stage, bin_folder: Path) -> Product:
    """A product next to that."""
    irsa_emulator.begin()
    return Product(stage, irsa_emulator, bin_folder / "helm")


def test_pods_meter_in_their_own_names(irsa_product: Product, stage: Stage) -> None:
    """Two replicas that show AWS their projected tokens are two pods to it, known by their UIDs, with a slot each."""
    irsa_product.install(
        {"replicas": 2, "sidecar": {"serviceAccount": {"roleArn": ROLE, "webIdentity": "chart"}}}, events=10
    )
    pods = irsa_product.await_ready(2)
    uids = sorted(pod.metadata.uid for pod in pods)
    assert uids == sorted(irsa_product.emulator.registered())
    await_for("usage", lambda: stage.booked() == 20)
    irsa_product.emulator.advance("1h")
    await_for("the records", lambda: len(irsa_product.emulator.records()) == 2)
    records = irsa_product.emulator.records()
    assert uids == sorted(record["Identity"] for record in records)
    callers = {call["userIdentity"]["arn"].rpartition("/")[2] for call in irsa_product.emulator.calls("MeterUsage")}
    assert uids == sorted(callers)
    assert {("2026-11-23T10:00:00Z", "requests", "10")} == {
        (record["Timestamp"], record["UsageDimension"], record["UsageQuantity"]) for record in records
    }


def test_static_keys_are_refused_where_roles_rule(irsa_product: Product, stage: Stage) -> None:
    """The same pods without a role stay out, so the test above cannot pass by chance."""
    irsa_product.install()
    (pod,) = stage.await_pods("", "running the sidecar", lambda pod: is_running(pod, SIDECAR_CONTAINER))
    await_for("a refused call", lambda: irsa_product.emulator.calls("RegisterUsage"))
    assert 503 == ask(f"http://{pod.status.pod_ip}:{PROBES}/readyz").status
    assert [] == irsa_product.emulator.registered()


def test_neighbor_cannot_reach_usage_api(product: Product, stage: Stage) -> None:
    """Another pod, with no policy in its way, reaches the probes but is refused at the port of the usage API."""
    product.install()
    (pod,) = product.await_ready()
    image = f"{SIDECAR}:{SIDECAR_TAG}"
    container = {"name": "shell", "image": image, "imagePullPolicy": "Never", "command": ["sleep", "infinity"]}
    metadata = {"name": "neighbor", "labels": {"app": "neighbor"}}
    stage.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}})
    (neighbor,) = stage.await_ready("app=neighbor")

    def reach(port: int, path: str) -> tuple[int, str]:
        url = f"http://{pod.status.pod_ip}:{port}{path}"
        code = f"import urllib.request; print(urllib.request.urlopen({url!r}, timeout=10).status)"
        return stage.execute(neighbor, "shell", "python", "-c", code)

    assert (0, "200\n") == reach(PROBES, "/readyz")
    failed, said = reach(8787, "/v1/status")
    assert 1 == failed
    assert "Connection refused" in said


def test_any_user_on_read_only_root(product: Product, stage: Stage) -> None:
    """Under a user that the image does not know, on a root that is not writable, everything works."""
    user = {"runAsUser": SOMEBODY, "runAsGroup": 0, "fsGroup": SOMEBODY}
    product.install({"sidecar": {"podSecurityContext": user}})
    (pod,) = product.await_ready()
    code = "import os; print(os.getuid()); open('/opt/probe', 'w')"
    failed, said = stage.execute(pod, SIDECAR_CONTAINER, "python", "-c", code)
    assert (1, str(SOMEBODY)) == (failed, said.split()[0])
    assert "Read-only file system" in said
    await_for("usage", lambda: stage.booked() > 3)
    stage.delete(pod)
    stage.await_gone(pod)
    (record,) = product.emulator.records()
    assert (pod.metadata.uid, str(stage.booked(pod))) == (record["Identity"], record["UsageQuantity"])


def _condition(pod: Any, kind: str) -> Any:
    return next(condition for condition in pod.status.conditions if condition.type == kind)


def _examined(stage: Stage, pod: Any, name: str) -> Any:
    """Return one check of `doctor`, run next to the sidecar, once the API server has answered it."""

    def examine() -> Any:
        _, said = stage.execute(pod, SIDECAR_CONTAINER, "python", "-m", "sidecar", "doctor", "--json")
        (document,) = [json.loads(line) for line in said.splitlines() if line.startswith('{"ok"')]
        check = next(check for check in document["checks"] if check["name"] == name)
        # On a busy machine the API server can take longer than `doctor` waits.
        return None if check["status"] == "skipped" else check

    return await_for(f"the check {name}", examine)


def _told(stage: Stage, pod: Any) -> list[str]:
    """Return the reasons of the Events that the sidecar wrote on a pod."""
    return [event.reason for event in stage.events(pod) if event.source.component == "marketplace-sidecar"]
