"""Which pod this is."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from sidecar.adapters.pod import PodIdentity, PodSource, PodUnknown, pod_identity

ARN = "arn:aws:ecs:us-east-1:111122223333:task/cluster/0123456789abcdef"


class Metadata:
    """An ECS metadata endpoint."""

    def __init__(self) -> None:
        self.status = 200
        self.body = json.dumps({"Cluster": "c", "TaskARN": ARN, "Containers": [{}] * 50}).encode()
        self.asked: list[str] = []
        self.url = ""


@pytest.fixture(name="metadata")
def _metadata() -> Iterator[Metadata]:
    """Serve the endpoint."""
    metadata = Metadata()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            metadata.asked.append(self.path)
            self.send_response(metadata.status)
            self.end_headers()
            self.wfile.write(metadata.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        metadata.url = f"http://127.0.0.1:{server.server_port}/v4/id"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield metadata
        server.shutdown()
        thread.join()


def test_downward_api_comes_first(metadata: Metadata) -> None:
    """POD_UID is the identity, whatever else the environment says."""
    environ = {"POD_UID": " 6f1c-uid\n", "ECS_CONTAINER_METADATA_URI_V4": metadata.url}
    assert pod_identity(environ) == PodIdentity("6f1c-uid", PodSource.DOWNWARD_API)
    assert metadata.asked == []


@pytest.mark.parametrize("uid", [None, "", "  "])
def test_task_comes_second(metadata: Metadata, uid: str | None) -> None:
    """Without POD_UID, or with an empty one, the ECS task's ARN is the identity."""
    environ = {"ECS_CONTAINER_METADATA_URI_V4": metadata.url} | ({} if uid is None else {"POD_UID": uid})
    assert pod_identity(environ) == PodIdentity(ARN, PodSource.ECS_TASK)
    assert metadata.asked == ["/v4/id/task"]


@pytest.mark.parametrize("environ", [{}, {"POD_UID": ""}, {"ECS_CONTAINER_METADATA_URI_V4": ""}])
def test_neither_leaves_it_to_ledger(environ: dict[str, str]) -> None:
    """A process that is neither pod nor task has no identity here."""
    assert pod_identity(environ) is None


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
        pod_identity({"ECS_CONTAINER_METADATA_URI_V4": metadata.url})


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/v4", "http://127.0.0.1:port/v4", "http://127.0.0.1:1/a b", "x", "https://h"]
)
def test_unreachable_endpoint_is_an_error(url: str) -> None:
    """An endpoint that cannot be reached is named with the reason."""
    with pytest.raises(PodUnknown, match="cannot be read"):
        pod_identity({"ECS_CONTAINER_METADATA_URI_V4": url})
