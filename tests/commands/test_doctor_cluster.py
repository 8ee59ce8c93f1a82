"""The check of the cluster, against a server that plays its API."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sidecar.checks.cluster import check_kubernetes, judge_role
from sidecar.checks.running import RunningSidecar
from sidecar.domain.check_result import CheckResult, CheckStatus
from sidecar.domain.pod.lifecycle import Access, PodView
from sidecar.settings import KubernetesSettings, KubernetesUse
from tests.support.apiserver import HANG, POD, REVIEWS, ApiServer, pod

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
) -> tuple[CheckResult, PodView | None]:
    """Check as that pod; what is reported of the cluster, and the pod."""
    tie, _, found = check_kubernetes(kubernetes, {**server.environ, **variables}, running, server.account)
    return tie, found


def ask_role(server: ApiServer, kubernetes: KubernetesSettings) -> CheckResult:
    """Check as that pod; what is reported of its Role."""
    return check_kubernetes(kubernetes, server.environ, None, server.account)[1]


def test_readable_pod_is_right(server: ApiServer) -> None:
    """A pod that may read itself is right, shows its grace period, and neither it nor anything else is changed."""
    server.pod["spec"]["terminationGracePeriodSeconds"] = 60
    diagnosis, found = look(server)
    assert (CheckStatus.OK, "pod shop/app-0 is readable") == (diagnosis.status, diagnosis.found)
    assert found is not None
    assert timedelta(seconds=60) == found.grace
    assert [("GET", POD), *[("POST", REVIEWS)] * 2] == [(asked.method, asked.path) for asked in server.requests]
    assert {} == server.events


@pytest.mark.parametrize(
    ("kubernetes", "refused", "status", "rules"),
    [
        (GATED, [], CheckStatus.OK, []),
        (GATED, ["patch pods/status"], CheckStatus.FAIL, [Access.PATCH_STATUS]),
        (GATED, ["get pods"], CheckStatus.WARN, [Access.GET_POD]),
        (GATED, ["create events"], CheckStatus.WARN, [Access.CREATE_EVENT]),
        (GATED, ["create events", "patch pods/status", "get pods"], CheckStatus.FAIL, list(Access)),
        (AUTO, ["patch pods/status"], CheckStatus.OK, []),
        (KubernetesSettings(events=False), ["create events"], CheckStatus.OK, []),
    ],
)
def test_role_is_reviewed(
    server: ApiServer, kubernetes: KubernetesSettings, refused: list[str], status: CheckStatus, rules: list[Access]
) -> None:
    """Each rule that the configuration needs and no Role has is named word by word; what is not needed is not asked."""
    server.refused = set(refused)
    diagnosis = ask_role(server, kubernetes)
    assert status is diagnosis.status
    assert rules == [access for access in Access if access.rule in diagnosis.cure]
    assert all(access in diagnosis.found for access in rules)


def test_role_is_reviewed_of_unreadable_pod(server: ApiServer) -> None:
    """A pod that may not even read itself is told of every rule together."""
    server.faults[POD], server.refused = 403, {"get pods", "create events"}
    diagnosis = ask_role(server, AUTO)
    assert (CheckStatus.WARN, True) == (diagnosis.status, Access.CREATE_EVENT.rule in diagnosis.cure)


@pytest.mark.parametrize(("path", "fault"), [(REVIEWS, 403), (REVIEWS, HANG), (POD, 401), (POD, HANG)])
def test_unanswered_review_claims_nothing(server: ApiServer, path: str, fault: int) -> None:
    """Where the API server does not say what is allowed nothing is claimed of the Role."""
    server.faults[path] = fault
    assert ask_role(server, GATED).status is CheckStatus.SKIPPED


def test_role_knows_every_access() -> None:
    """The rules in the cure are those of the accesses, so none is asked for and not named."""
    assert all(access.rule in judge_role({access: False}).cure for access in Access)


@pytest.mark.parametrize(
    ("fault", "words", "cure"),
    [
        (403, "HTTP 403", 'resources: ["pods"], verbs: ["get"]'),
        (401, "HTTP 401", "valid token"),
        (404, "HTTP 404", "POD_NAME"),
        (500, "HTTP 500", "message"),
    ],
)
def test_refusal_names_rule(server: ApiServer, fault: int, words: str, cure: str) -> None:
    """A pod that may not read itself is told which rule to add; other refusals have their own cures."""
    server.faults[POD] = fault
    diagnosis, found = look(server)
    assert (CheckStatus.WARN, None) == (diagnosis.status, found)
    assert words in diagnosis.found
    assert cure in diagnosis.cure


def test_unreachable_api_is_told(server: ApiServer) -> None:
    """Where the API server does not answer the network is to be looked at."""
    diagnosis, _ = look(server, KUBERNETES_SERVICE_PORT="1")
    assert (CheckStatus.WARN, True) == (diagnosis.status, "network policies" in diagnosis.cure)


def test_other_pod_is_told(server: ApiServer) -> None:
    """A pod of the same name with another UID is not this one."""
    server.pod = pod(metadata={"name": "app-0", "namespace": "shop", "uid": "another"})
    assert look(server)[0].status is CheckStatus.WARN
    assert look(server, POD_UID="")[0].status is CheckStatus.WARN


def test_unset_gate_is_told(server: ApiServer) -> None:
    """A readiness gate whose condition was never set keeps the pod from being ready."""
    diagnosis, _ = look(server, GATED)
    assert (CheckStatus.WARN, True) == (diagnosis.status, "never set" in diagnosis.found)
    server.pod["status"]["conditions"].append({"type": "example.com/entitled", "status": "False"})
    assert look(server, GATED)[0].status is CheckStatus.OK


def test_running_sidecar_tells_more(server: ApiServer) -> None:
    """What the running sidecar was refused is reported with its cure."""
    fault = {"code": "kubernetes-forbidden", "detail": "cannot create events", "cure": "Add a rule.", "since": ""}
    diagnosis, _ = look(server, running=RunningSidecar({"faults": [fault]}))
    assert (CheckStatus.WARN, "cannot create events", "Add a rule.") == (
        diagnosis.status,
        diagnosis.found,
        diagnosis.cure,
    )


@pytest.mark.parametrize(
    ("use", "missing", "status"),
    [
        (KubernetesUse.NEVER, (), CheckStatus.SKIPPED),
        (KubernetesUse.AUTO, ("KUBERNETES_SERVICE_HOST",), CheckStatus.SKIPPED),
        (KubernetesUse.ALWAYS, ("KUBERNETES_SERVICE_HOST",), CheckStatus.WARN),
        (KubernetesUse.AUTO, ("POD_NAME",), CheckStatus.WARN),
    ],
)
def test_outside_of_pod(server: ApiServer, use: KubernetesUse, missing: tuple[str, ...], status: CheckStatus) -> None:
    """Where there is no pod nothing is judged, unless it was asked for or forgotten."""
    environ = {name: value for name, value in server.environ.items() if name not in missing}
    diagnosis, role, found = check_kubernetes(KubernetesSettings(enabled=use), environ, None, server.account)
    assert (status, CheckStatus.SKIPPED, None) == (diagnosis.status, role.status, found)
    assert not server.requests
