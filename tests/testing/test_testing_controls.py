"""The control API of the fixtures, against a listener with answers of its own."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from sidecar.testing.controls import ControlApi, ControlRefused


@contextmanager
def answering(status: int, body: bytes) -> Iterator[ControlApi]:
    """Run a listener that gives one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the name that the base class calls

        def log_message(self, *args: object) -> None:
            """Write nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield ControlApi(f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()


def test_long_answer_is_read_whole() -> None:
    """The records of a long test are more than 4 MiB."""
    records = {"records": ["x" * 1000] * 6000}
    with answering(200, json.dumps(records).encode()) as api:
        assert records == api.get("records")


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, b'{"detail": "speed: -1: must be a number"}', "400: speed: -1: must be a number"),
        (500, b"500 Internal Server Error", "500: 500 Internal Server Error"),
        (500, b"[1]", "500: [1]"),
    ],
)
def test_refusal_names_request_and_reason(status: int, body: bytes, reason: str) -> None:
    """A refusal has the method, the address, the status and the emulator's words, whatever form they have."""
    with answering(status, body) as api:
        with pytest.raises(ControlRefused) as read:
            api.get("clock")
        with pytest.raises(ControlRefused) as changed:
            api.post("clock", {})
    assert f"GET /_emulator/clock: {reason}" == str(read.value)
    assert f"POST /_emulator/clock: {reason}" == str(changed.value)
