"""What the check of the cluster says, against a server that plays its API."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sidecar.domain.diagnosis import Diagnosis, Result
from sidecar.domain.podview import PodView
from sidecar.operator.checks.cluster import check_kubernetes
from sidecar.operator.checks.running import RunningSidecar
from sidecar.settings import KubernetesSettings, KubernetesUse
from tests.adapters.apiserver import POD, ApiServer, pod

AUTO = KubernetesSettings()
GATED = KubernetesSettings(readiness_gate="example.com/entitled")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    """An API server that knows the pod."""
    server = ApiServer(tmp_path / "account")
    yield server
    server.close()


def look(
    server: ApiServer, kubernetes: KubernetesSettings = AUTO, running: Any = None, **variables: str
) -> tuple[Diagnosis, PodView | None]:
    """Check as that pod."""
    return check_kubernetes(kubernetes, {**server.environ, **variables}, running, server.account)


def test_readable_pod_is_right(server: ApiServer) -> None:
    """A pod that may read itself is right, tells its grace period, and was only read."""
    server.pod["spec"]["terminationGracePeriodSeconds"] = 60
    diagnosis, found = look(server)
    assert (Result.OK, "pod shop/app-0 is readable") == (diagnosis.status, diagnosis.found)
    assert found is not None
    assert found.grace == timedelta(seconds=60)
    assert ["GET"] == [request.method for request in server.requests]


@pytest.mark.parametrize(
    ("fault", "words", "cure"),
    [
        (403, "HTTP 403", 'resources: ["pods"], verbs: ["get"]'),
        (401, "HTTP 401", "valid token"),
        (404, "HTTP 404", "POD_NAME"),
        (500, "HTTP 500", "words"),
    ],
)
def test_refusal_names_rule(server: ApiServer, fault: int, words: str, cure: str) -> None:
    """A pod that may not read itself is told which rule to add; other refusals have their own cures."""
    server.faults[POD] = fault
    diagnosis, found = look(server)
    assert (Result.WARN, None) == (diagnosis.status, found)
    assert words in diagnosis.found
    assert cure in diagnosis.cure


def test_unreachable_api_is_told(server: ApiServer) -> None:
    """Where the API server does not answer the network is to be looked at."""
    diagnosis, _ = look(server, KUBERNETES_SERVICE_PORT="1")
    assert (Result.WARN, True) == (diagnosis.status, "network policies" in diagnosis.cure)


def test_other_pod_is_told(server: ApiServer) -> None:
    """A pod of the same name with another UID is not this one."""
    server.pod = pod(metadata={"name": "app-0", "namespace": "shop", "uid": "another"})
    assert look(server)[0].status is Result.WARN
    assert look(server, POD_UID="")[0].status is Result.WARN


def test_unset_gate_is_told(server: ApiServer) -> None:
    """A readiness gate whose condition was never set keeps the pod from being ready; the rule for it is named."""
    diagnosis, _ = look(server, GATED)
    assert (Result.WARN, True) == (diagnosis.status, "pods/status" in diagnosis.cure)
    server.pod["status"]["conditions"].append({"type": "example.com/entitled", "status": "False"})
    assert look(server, GATED)[0].status is Result.OK


def test_running_sidecar_tells_more(server: ApiServer) -> None:
    """What the running sidecar was refused is told with its cure."""
    fault = {"code": "kubernetes-forbidden", "detail": "cannot create events", "cure": "Add a rule.", "since": ""}
    diagnosis, _ = look(server, running=RunningSidecar({"faults": [fault]}))
    assert (Result.WARN, "cannot create events", "Add a rule.") == (diagnosis.status, diagnosis.found, diagnosis.cure)


@pytest.mark.parametrize(
    ("use", "missing", "status"),
    [
        (KubernetesUse.NEVER, (), Result.SKIPPED),
        (KubernetesUse.AUTO, ("KUBERNETES_SERVICE_HOST",), Result.SKIPPED),
        (KubernetesUse.ALWAYS, ("KUBERNETES_SERVICE_HOST",), Result.WARN),
        (KubernetesUse.AUTO, ("POD_NAME",), Result.WARN),
    ],
)
def test_outside_of_pod(server: ApiServer, use: KubernetesUse, missing: tuple[str, ...], status: Result) -> None:
    """Where there is no pod nothing is judged, unless it was asked for or forgotten."""
    environ = {name: value for name, value in server.environ.items() if name not in missing}
    diagnosis, found = check_kubernetes(KubernetesSettings(enabled=use), environ, None, server.account)
    assert (status, None) == (diagnosis.status, found)
    assert not server.requests
