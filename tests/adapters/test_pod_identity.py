"""Which pod this is."""

import base64
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import create_server
from threading import Thread

import pytest

from sidecar.adapters.pod import PodIdentity, PodRefused, PodSource, PodUnknown, pod_identity
from sidecar.adapters.task_metadata import Pace

ARN = "arn:aws:ecs:us-east-1:111122223333:task/cluster/0123456789abcdef"


class Time:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self.pace = Pace(monotonic=lambda: self.now, rest=self.rest, random=lambda: 0.5)

    def rest(self, wait: float) -> None:
        """Let the time pass."""
        self.waits.append(wait)
        self.now += wait


class Metadata:
    """An ECS metadata endpoint."""

    def __init__(self) -> None:
        self.status = 200
        self.failures: int | None = None
        """How many answers have `status` before the good ones; None for all."""
        self.body = json.dumps({"Cluster": "c", "TaskARN": ARN, "Containers": [{}] * 50}).encode()
        self.asked: list[str] = []
        self.url = ""

    def serve(self, port: int = 0) -> ThreadingHTTPServer:
        """Start to listen, on any free port if none is given."""
        server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        return server

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        metadata = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                metadata.asked.append(self.path)
                failing = metadata.failures is None or len(metadata.asked) <= metadata.failures
                self.send_response(metadata.status if failing else 200)
                self.end_headers()
                self.wfile.write(metadata.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
                """Stay silent."""

        return Handler


@pytest.fixture(name="metadata")
def _metadata() -> Iterator[Metadata]:
    """Serve the endpoint."""
    metadata = Metadata()
    with metadata.serve() as server:
        metadata.url = f"http://127.0.0.1:{server.server_port}/v4/id"
        yield metadata
        server.shutdown()


def test_downward_api_comes_first(metadata: Metadata) -> None:
    """POD_UID is the identity, whatever else the environment says."""
    environ = {"POD_UID": " 6f1c-uid\n", "ECS_CONTAINER_METADATA_URI_V4": metadata.url}
    assert PodIdentity("6f1c-uid", PodSource.DOWNWARD_API) == pod_identity(environ)
    assert [] == metadata.asked


@pytest.mark.parametrize("uid", [None, "", "  "])
def test_task_comes_second(metadata: Metadata, uid: str | None) -> None:
    """Without POD_UID, or with an empty one, the ECS task's ARN is the identity."""
    environ = {"ECS_CONTAINER_METADATA_URI_V4": metadata.url} | ({} if uid is None else {"POD_UID": uid})
    assert PodIdentity(ARN, PodSource.ECS_TASK) == pod_identity(environ)
    assert ["/v4/id/task"] == metadata.asked


@pytest.mark.parametrize("environ", [{}, {"POD_UID": ""}, {"ECS_CONTAINER_METADATA_URI_V4": ""}])
def test_neither_leaves_it_to_ledger(environ: dict[str, str]) -> None:
    """A process that is neither pod nor task has no identity here."""
    assert pod_identity(environ) is None


IN_CLUSTER = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}


WEB_IDENTITY = "AWS_WEB_IDENTITY_TOKEN_FILE"
POD_IDENTITY = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
TOKENS = [(WEB_IDENTITY, PodSource.WEB_IDENTITY), (POD_IDENTITY, PodSource.POD_IDENTITY)]


def project(folder: Path, claims: object, variable: str = WEB_IDENTITY) -> dict[str, str]:
    """Write a service account's token with such claims; what names it."""
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    (folder / "token").write_text(f"e30.{body}.c2ln\n", encoding="ascii")
    return {variable: str(folder / "token")}


def pod_claims(uid: object) -> object:
    """Return the claims of a token for a pod."""
    return {"sub": "system:serviceaccount:shop:app", "kubernetes.io": {"pod": {"name": "app-0", "uid": uid}}}


@pytest.mark.parametrize(("variable", "source"), TOKENS)
@pytest.mark.parametrize("uid", [None, "", " "])
def test_token_names_the_pod(
    tmp_path: Path, metadata: Metadata, uid: str | None, variable: str, source: PodSource
) -> None:
    """Without POD_UID the pod is that of its token, in a cluster and elsewhere, before any ECS task."""
    given = {} if uid is None else {"POD_UID": uid}
    token = project(tmp_path, pod_claims("u-1"), variable)
    environ = {**token, **given, "ECS_CONTAINER_METADATA_URI_V4": metadata.url}
    assert PodIdentity("u-1", source) == pod_identity(environ)
    assert PodIdentity("u-1", source) == pod_identity({**environ, **IN_CLUSTER})
    assert [] == metadata.asked


@pytest.mark.parametrize(
    "claims", [{}, pod_claims(None), pod_claims(7), pod_claims(""), {"kubernetes.io": []}, [], "x"]
)
def test_token_without_pod_contradicts_nothing(tmp_path: Path, claims: object) -> None:
    """A token without pod claims leaves POD_UID as it is, and names no pod by itself."""
    environ = project(tmp_path, claims)
    assert PodIdentity("u-1", PodSource.DOWNWARD_API) == pod_identity({**environ, "POD_UID": "u-1"})
    assert pod_identity(environ) is None


@pytest.mark.parametrize("content", [None, b"", b"no token", b"a.b.c", b"\xff\xfe.x.y"])
def test_unreadable_token_names_nobody(tmp_path: Path, content: bytes | None) -> None:
    """A token file that is missing or holds no token changes nothing: the calls to AWS will say so."""
    token = tmp_path / "token"
    if content is not None:
        token.write_bytes(content)
    environ = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token)}
    assert pod_identity(environ) is None
    assert PodIdentity("u-1", PodSource.DOWNWARD_API) == pod_identity({**environ, **IN_CLUSTER, "POD_UID": "u-1"})


@pytest.mark.parametrize(("variable", "_"), TOKENS)
def test_contradiction_is_refused(tmp_path: Path, variable: str, _: PodSource) -> None:
    """A POD_UID that differs from the UID in a token is refused with both; the same one in both is the pod."""
    environ = project(tmp_path, pod_claims("u-1"), variable)
    assert PodIdentity("u-1", PodSource.DOWNWARD_API) == pod_identity({**environ, "POD_UID": "u-1"})
    with pytest.raises(PodRefused, match=r"POD_UID is u-2, .*/token is of pod u-1; .* fieldPath metadata\.uid\.$"):
        pod_identity({**environ, "POD_UID": "u-2"})


def test_tokens_of_two_pods_are_refused(tmp_path: Path) -> None:
    """Without POD_UID, too, tokens of two pods name none of them."""
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    environ = project(folders[0], pod_claims("u-1"))
    other = project(folders[1], pod_claims("u-2"), POD_IDENTITY)
    with pytest.raises(PodRefused, match=r"^the token in .*/one/token is of pod u-1, but .* is of pod u-2; "):
        pod_identity({**environ, **other})


@pytest.mark.parametrize("given", [{}, {"POD_UID": ""}, {"POD_UID": "  "}])
def test_nameless_pod_is_refused(given: dict[str, str]) -> None:
    """In a cluster the ledger keeps no identity: the refusal names the downward API and the web-identity token."""
    state = "empty" if given else "not set"
    with pytest.raises(PodRefused, match=rf"^POD_UID is {state} .*metadata\.uid.*web-identity token"):
        pod_identity({**IN_CLUSTER, **given})


@pytest.mark.parametrize(
    "uid",
    [
        "u 1",
        "u\n1",
        "$(POD_UID)",
        "${POD_UID}",
        "metadata.uid",
        "fieldRef",
        "{{ .uid }}",
        "<uid>",
        "\u00fc",
        "-u",
        "u" * 256,
    ],
)
def test_unresolved_uid_is_refused(uid: str) -> None:
    """A POD_UID with white space inside, or the text of a reference, is refused with its value, also on ECS."""
    with pytest.raises(PodRefused, match=r"^POD_UID is '.*', which is not a UID") as refused:
        pod_identity({"POD_UID": uid, "ECS_CONTAINER_METADATA_URI_V4": "http://127.0.0.1:1"})
    assert repr(uid[:80]) in str(refused.value)


@pytest.mark.parametrize(
    "uid", ["6f1d7c1e-0000-4000-8000-00000000000a", "0123456789abcdef0123456789abcdef", "pod-1", ARN]
)
def test_uids_as_they_come(uid: str) -> None:
    """A UID of the API server, of a static pod, of a test and an ARN are identities."""
    assert PodIdentity(uid, PodSource.DOWNWARD_API) == pod_identity({"POD_UID": uid})


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"{}"),
        (500, json.dumps({"TaskARN": ARN}).encode()),
        (200, b"{}"),
        (200, b'{"TaskARN": ""}'),
        (200, b'{"TaskARN": 5}'),
        (200, b"[]"),
        (200, b"not json"),
        (200, b"[" * 100000),
    ],
)
def test_broken_promise_is_an_error(metadata: Metadata, status: int, body: bytes) -> None:
    """Where ECS is and gives no ARN, no other identity is taken: it would change with the next start."""
    metadata.status, metadata.body = status, body
    with pytest.raises(PodUnknown, match=r"^ECS_CONTAINER_METADATA_URI_V4: http://127\.0\.0\.1:.*/v4/id/task "):
        pod_identity({"ECS_CONTAINER_METADATA_URI_V4": metadata.url}, Time().pace)
    assert len(metadata.asked) > 5


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/v4", "http://127.0.0.1:port/v4", "http://127.0.0.1:1/a b", "x", "https://h"]
)
def test_unreachable_endpoint_is_an_error(url: str) -> None:
    """An endpoint that cannot be reached is named with the reason."""
    with pytest.raises(PodUnknown, match="cannot be read"):
        pod_identity({"ECS_CONTAINER_METADATA_URI_V4": url}, Time().pace)


@pytest.mark.parametrize("status", [429, 500, 503, 404])
def test_endpoint_is_asked_again(metadata: Metadata, status: int) -> None:
    """An endpoint that fails in the first seconds of a task is asked again, and its answer is the identity."""
    metadata.status, metadata.failures = status, 3
    time = Time()
    environ = {"ECS_CONTAINER_METADATA_URI_V4": metadata.url}
    assert PodIdentity(ARN, PodSource.ECS_TASK) == pod_identity(environ, time.pace)
    assert (["/v4/id/task"] * 4, 3) == (metadata.asked, len(time.waits))


def test_endpoint_may_listen_late(metadata: Metadata) -> None:
    """A connection that is refused is tried again until something listens."""
    with create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    time = Time()
    late: list[ThreadingHTTPServer] = []

    def start_listening(wait: float) -> None:
        time.rest(wait)
        if len(time.waits) == 2:
            late.append(metadata.serve(port))

    pace = Pace(monotonic=lambda: time.now, rest=start_listening, random=lambda: 0.5)
    environ = {"ECS_CONTAINER_METADATA_URI_V4": f"http://127.0.0.1:{port}/v4/id"}
    try:
        assert PodIdentity(ARN, PodSource.ECS_TASK) == pod_identity(environ, pace)
    finally:
        for server in late:
            server.shutdown()
            server.server_close()
    assert 2 == len(time.waits)


def test_endpoint_is_given_up(metadata: Metadata) -> None:
    """After 20 seconds the task is unknown; the waits double up to two seconds and never pass the deadline."""
    metadata.status = 500
    time = Time()
    with pytest.raises(PodUnknown, match=r"gave status 500 and no TaskARN; asked \d+ times within 20 s$"):
        pod_identity({"ECS_CONTAINER_METADATA_URI_V4": metadata.url}, time.pace)
    assert [0.125, 0.25, 0.5, 1.0, 1.0] == time.waits[:5]
    assert 18 < time.now <= 20


@pytest.mark.parametrize("url", ["http://127.0.0.1:port/v4", "x", "https://h"])
def test_wrong_address_is_not_tried_again(url: str) -> None:
    """An address that no answer can come from is an error without a wait."""
    time = Time()
    with pytest.raises(PodUnknown, match="cannot be read"):
        pod_identity({"ECS_CONTAINER_METADATA_URI_V4": url}, time.pace)
    assert [] == time.waits
