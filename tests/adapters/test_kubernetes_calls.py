"""The calls on the pod's object, over TLS to a real server."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import pytest_asyncio
from urllib3 import PoolManager
from urllib3.connection import HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context

from sidecar.adapters.kubernetes import trust
from sidecar.adapters.kubernetes.address import locate_pod
from sidecar.adapters.kubernetes.pod import KubernetesPod
from sidecar.domain.pod.lifecycle import Access, ClusterFailed, ConditionView, ContainerView, Fault, RestartPolicy
from sidecar.domain.pod.reports import Condition, EventReason, PodEvent
from tests.support.apiserver import EVENTS, HANG, POD, REVIEWS, STATUS, UID, ApiServer, pod
from tests.support.tools import PATIENCE

NOON = datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=UTC)
GATE = Condition("example.com/entitled", status=False, reason="Denied", message="No subscription.")
DENIED = PodEvent(EventReason.DENIED, "No subscription.", NOON, NOON + timedelta(minutes=3), 2)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    """An API server that knows the pod."""
    server = ApiServer(tmp_path / "account")
    yield server
    server.close()


@pytest_asyncio.fixture
async def own(server: ApiServer) -> AsyncIterator[KubernetesPod]:
    """The pod's own object there."""
    own = KubernetesPod(locate_pod(server.environ, server.account), timedelta(seconds=PATIENCE))
    yield own
    own.close()


async def failure_of(call: Any) -> ClusterFailed:
    """Return how a call fails."""
    with pytest.raises(ClusterFailed) as caught:
        await call
    return caught.value


async def test_pod_is_read(server: ApiServer, own: KubernetesPod) -> None:
    """The view has what matters of the document, whatever else a newer API server adds."""
    server.pod = pod(
        spec={
            "restartPolicy": "OnFailure",
            "activeDeadlineSeconds": 90,
            "initContainers": [{"name": "migrate"}, {"name": "sidecar", "restartPolicy": "Always"}],
            "containers": [{"name": "app"}, {"name": "proxy", "restartPolicy": "Never"}, {"name": "late"}],
        },
        status={
            "phase": "Running",
            "startTime": "2026-11-23T11:58:00Z",
            "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-23T12:00:00Z"},
                {"type": "example.com/entitled", "status": "Unknown", "lastTransitionTime": None},
            ],
            "containerStatuses": [
                {"name": "app", "state": {"terminated": {"exitCode": 3, "finishedAt": "2026-11-23T12:00:00Z"}}},
                {"name": "proxy", "state": {"running": {"startedAt": "2026-11-23T11:58:00Z"}}},
            ],
        },
    )
    view = await own.get_pod()
    noon = NOON.replace(microsecond=0)
    assert (UID, "Running", False) == (view.uid, view.phase, view.deleted)
    assert noon - timedelta(seconds=30) == view.deadline
    assert (RestartPolicy.ON_FAILURE, True) == (view.restart_policy, view.native_sidecars)
    assert [
        ContainerView(RestartPolicy.ON_FAILURE, 3, noon),
        ContainerView(RestartPolicy.NEVER, None),
        ContainerView(RestartPolicy.ON_FAILURE, None),
    ] == view.containers
    assert {
        "Ready": ConditionView("True", noon),
        "example.com/entitled": ConditionView("Unknown", None),
    } == view.conditions
    assert [("GET", POD, "Bearer first-token")] == [(got.method, got.path, got.token) for got in server.requests]


async def test_deletion_shows(server: ApiServer, own: KubernetesPod) -> None:
    """A deletionTimestamp is the pod's own deletion; how far off it is goes by the API server's clock, not by ours."""
    server.pod["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:30Z"
    server.date = "Mon, 23 Nov 2026 12:00:10 GMT"
    view = await own.get_pod()
    assert (True, timedelta(seconds=20)) == (view.deleted, view.left)


@pytest.mark.parametrize("date", ["", "at noon"])
async def test_undated_answer_bounds_nothing(server: ApiServer, own: KubernetesPod, date: str) -> None:
    """Where the API server does not say its time, what is left of the grace is not known."""
    server.pod["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:30Z"
    server.date = date
    view = await own.get_pod()
    assert (True, None) == (view.deleted, view.left)


@pytest.mark.parametrize("access", Access)
async def test_access_is_reviewed(server: ApiServer, own: KubernetesPod, access: Access) -> None:
    """The API server is asked about one verb on this pod's own resource, and its answer is taken as it is."""
    assert await own.may(access)
    server.refused.add(access)
    assert not await own.may(access)
    server.faults[REVIEWS] = 403
    assert Fault.FORBIDDEN is (await failure_of(own.may(access))).fault


async def test_condition_is_merged(server: ApiServer, own: KubernetesPod) -> None:
    """The condition is patched by its type under the pod's UID, so no other condition and no other pod is hit."""
    await own.patch_condition(GATE, NOON)
    (patch,) = server.asked(STATUS)
    assert ("PATCH", "application/strategic-merge-patch+json") == (patch.method, patch.content_type)
    shown = {
        "type": "example.com/entitled",
        "status": "False",
        "reason": "Denied",
        "message": "No subscription.",
        "lastTransitionTime": "2026-11-23T12:00:00Z",
    }
    assert {"metadata": {"uid": UID}, "status": {"conditions": [shown]}} == patch.document
    await own.patch_condition(replace(GATE, status=True), NOON)
    assert "True" == server.condition("example.com/entitled")["status"]
    assert server.condition("Ready") is not None


async def test_namesake_is_spared(server: ApiServer, own: KubernetesPod) -> None:
    """A pod of the same name with another UID does not get the condition."""
    server.pod["metadata"]["uid"] = "another"
    assert Fault.CONFLICT is (await failure_of(own.patch_condition(GATE, NOON))).fault
    assert server.condition("example.com/entitled") is None


async def test_event_is_written(server: ApiServer, own: KubernetesPod) -> None:
    """The event names the pod, its reporter, and how often it happened between which instants."""
    await own.create_event(DENIED)
    (written,) = server.events.values()
    pod_reference = {"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "app-0", "uid": UID}
    name = written["metadata"].pop("name")
    assert name.startswith("app-0.")
    # The package writes the offset in its own way.
    for instant in ("firstTimestamp", "lastTimestamp"):
        written[instant] = datetime.fromisoformat(written[instant])
    noon = NOON.replace(microsecond=0)
    assert {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": "shop"},
        "involvedObject": pod_reference,
        "type": "Warning",
        "reason": "Denied",
        "message": "No subscription.",
        "firstTimestamp": noon,
        "lastTimestamp": noon + timedelta(minutes=3),
        "count": 2,
        "source": {"component": "marketplace-sidecar"},
        "reportingComponent": "marketplace-sidecar",
        "reportingInstance": "app-0",
    } == written


async def test_lost_answer_leaves_one_event(server: ApiServer, own: KubernetesPod) -> None:
    """An event whose answer was lost is found there by the next attempt, and that is success."""
    server.lost.add(EVENTS)
    assert Fault.UNREACHABLE is (await failure_of(own.create_event(DENIED))).fault
    await own.create_event(DENIED)
    assert (1, 2) == (len(server.events), len(server.asked(EVENTS)))


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (400, Fault.REFUSED),
        (401, Fault.UNAUTHORIZED),
        (403, Fault.FORBIDDEN),
        (404, Fault.NOT_FOUND),
        (409, Fault.CONFLICT),
        (422, Fault.REFUSED),
        (429, Fault.REFUSED),
        (500, Fault.REFUSED),
        (503, Fault.REFUSED),
    ],
)
async def test_answers_are_told_apart(server: ApiServer, own: KubernetesPod, status: int, fault: Fault) -> None:
    """Each answer has its fault and the API's words on one line; it was asked once."""
    server.faults[STATUS] = status
    failed = await failure_of(own.patch_condition(GATE, NOON))
    assert (fault, f"HTTP {status}: told to answer {status}") == (failed.fault, str(failed))
    assert 1 == len(server.requests)


async def test_token_is_taken_anew(server: ApiServer, own: KubernetesPod) -> None:
    """A token that the kubelet replaced is shown with the next call."""
    await own.get_pod()
    (server.account / "token").write_text("second-token", encoding="ascii")
    await own.get_pod()
    assert ["Bearer first-token", "Bearer second-token"] == [request.token for request in server.requests]


@pytest.mark.parametrize("missing", ["token", "ca.crt"])
async def test_account_may_come_late(server: ApiServer, own: KubernetesPod, missing: str) -> None:
    """Without the service account's files nothing can be asked; once they are there it continues."""
    there = server.account / missing
    content = there.read_bytes()
    there.unlink()
    assert Fault.UNREACHABLE is (await failure_of(own.get_pod())).fault
    assert [] == server.requests
    there.write_bytes(content)
    assert UID == (await own.get_pod()).uid


async def test_stranger_gets_no_token(server: ApiServer, own: KubernetesPod, tmp_path: Path) -> None:
    """A server whose certificate is not the cluster's is not asked anything, so it sees no token."""
    other = ApiServer(tmp_path / "other")
    try:
        (server.account / "ca.crt").write_bytes((other.account / "ca.crt").read_bytes())
        failed = await failure_of(own.get_pod())
        assert Fault.UNTRUSTED is failed.fault
        assert str(failed).startswith(f"the certificate of https://127.0.0.1:{port_of(server)} is refused: ")
        assert [] == server.requests
    finally:
        other.close()


def port_of(server: ApiServer) -> str:
    """Return the port of an API server."""
    return server.environ["KUBERNETES_SERVICE_PORT"]


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every new context be as strict as Python 3.13 makes it."""
    make = create_urllib3_context

    def make_strictly(**options: Any) -> ssl.SSLContext:
        context = make(**options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(trust, "create_urllib3_context", make_strictly)


@pytest.mark.usefixtures("strict")
async def test_old_cluster_is_trusted(tmp_path: Path) -> None:
    """An API server whose certificates have no key identifiers, as in older EKS clusters, is asked on every Python."""
    server = ApiServer(tmp_path / "account", key_ids=False)
    own = KubernetesPod(locate_pod(server.environ, server.account), timedelta(seconds=20))
    try:
        assert UID == (await own.get_pod()).uid
    finally:
        own.close()
        server.close()


async def test_old_cluster_is_still_verified(tmp_path: Path) -> None:
    """Without key identifiers, the host name of the API server and its authority are verified all the same."""
    server, other = ApiServer(tmp_path / "account", key_ids=False), ApiServer(tmp_path / "other", key_ids=False)
    named = locate_pod({**server.environ, "KUBERNETES_SERVICE_HOST": "localhost"}, server.account)
    foreign = replace(locate_pod(server.environ, server.account), account=other.account)
    try:
        for address in (named, foreign):
            own = KubernetesPod(address, timedelta(seconds=20))
            assert Fault.UNTRUSTED is (await failure_of(own.get_pod())).fault
            own.close()
        assert [] == server.requests
    finally:
        server.close()
        other.close()


async def test_new_authority_is_read(server: ApiServer, own: KubernetesPod, tmp_path: Path) -> None:
    """The authority's file is read for each connection, so a rotated authority needs no restart."""
    other = ApiServer(tmp_path / "other")
    right = (server.account / "ca.crt").read_bytes()
    try:
        (server.account / "ca.crt").write_bytes((other.account / "ca.crt").read_bytes())
        assert Fault.UNTRUSTED is (await failure_of(own.get_pod())).fault
        (server.account / "ca.crt").write_bytes(right)
        assert UID == (await own.get_pod()).uid
    finally:
        other.close()


async def test_only_cluster_is_lenient(own: KubernetesPod) -> None:
    """Every other user of the HTTP library in this process, such as the AWS SDK, keeps its strict certificates."""
    await own.get_pod()
    with PoolManager() as others:
        assert others.connection_from_url("https://127.0.0.1:1").ConnectionCls is HTTPSConnection


async def test_proxy_is_not_asked(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxy leads out of the cluster, so the API is asked directly."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    own = KubernetesPod(locate_pod(server.environ, server.account))
    try:
        assert UID == (await own.get_pod()).uid
    finally:
        own.close()


async def test_silence_has_an_end(server: ApiServer) -> None:
    """An API that does not answer is given up after the call's time."""
    server.faults[STATUS] = HANG
    own = KubernetesPod(locate_pod(server.environ, server.account), timedelta(seconds=1))
    try:
        assert Fault.UNREACHABLE is (await failure_of(own.patch_condition(GATE, NOON))).fault
    finally:
        own.close()


@pytest.mark.parametrize("together", [0, 20, 60])
async def test_slow_answer_has_an_end(server: ApiServer, together: int) -> None:
    """An answer that comes byte by byte is given up after the call's time, in its first line, its head and its body."""
    server.slow[POD] = together
    own = KubernetesPod(locate_pod(server.environ, server.account), timedelta(seconds=1))
    began = monotonic()
    try:
        assert Fault.UNREACHABLE is (await failure_of(own.get_pod())).fault
        assert monotonic() - began < 10
        del server.slow[POD]
        assert UID == (await own.get_pod()).uid
    finally:
        server.release()
        own.close()


async def test_hanging_call_holds_no_other_up(server: ApiServer) -> None:
    """Next to a call that hangs another one is answered."""
    server.faults[STATUS] = HANG
    own = KubernetesPod(locate_pod(server.environ, server.account), timedelta(seconds=PATIENCE))
    hanging = asyncio.create_task(failure_of(own.patch_condition(GATE, NOON)))
    try:
        assert await asyncio.to_thread(server.wait_for, STATUS)
        assert UID == (await own.get_pod()).uid
        assert not hanging.done()
    finally:
        server.release()
        await hanging
        own.close()


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"kind": "Status"},
        pod(metadata={}),
        pod(spec={"containers": [{}]}),
        pod(spec={"containers": [], "restartPolicy": "Sometimes"}),
        pod(spec={"containers": [], "activeDeadlineSeconds": "x"}, status={"startTime": "2026-11-23T12:00:00Z"}),
        pod(status={"startTime": "noon"}, spec={"containers": [], "activeDeadlineSeconds": 1}),
        pod(status={"containerStatuses": [{"state": {}}]}),
        pod(status={"conditions": [{"type": "Ready"}]}),
        pod(status=[1]),
    ],
)
async def test_nonsense_is_refused(server: ApiServer, own: KubernetesPod, document: Any) -> None:
    """What is no pod is a refusal, never an exception of another kind."""
    server.pod = document
    assert Fault.REFUSED is (await failure_of(own.get_pod())).fault
