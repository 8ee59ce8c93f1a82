"""The healthcheck command against a real listener."""

import argparse
import errno
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from sidecar import cli
from sidecar.commands import healthcheck
from sidecar.http_client import Listener as Address


@dataclass
class Listener:
    """A probe listener whose answer a test chooses."""

    port: int
    status: int = 200
    body: bytes = b'{"status": "ok"}'
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(name="listener")
def _listener() -> Iterator[Listener]:
    """Start a listener on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            listener.asked.append(self.path)
            self.send_response(listener.status)
            self.end_headers()
            self.wfile.write(listener.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        listener = Listener(server.server_port)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield listener
        server.shutdown()
        thread.join()


Configure = Callable[[str], str]


@pytest.fixture(name="configure")
def _configure(tmp_path: Path) -> Configure:
    """Write a configuration with the given probes and return its path."""

    def configure(probes: str) -> str:
        path = tmp_path / "config.yaml"
        path.write_text(f"product: {{code: a, public_keys: {{1: /a.pem}}}}\nprobes: {probes}\n")
        return str(path)

    return configure


@pytest.mark.parametrize(("status", "code"), [(200, 0), (204, 0), (302, 0), (399, 0), (400, 1), (404, 1), (503, 1)])
def test_status_decides(listener: Listener, status: int, code: int) -> None:
    """200..399 is a success, as the kubelet has it, and no redirect is followed."""
    listener.status = status
    assert cli.main(["healthcheck", "--url", listener.url]) == code
    assert 1 == len(listener.asked)


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ([], "/startupz"),
        (["--probe", "livez"], "/livez"),
        (["--probe", "readyz"], "/readyz"),
    ],
)
def test_probe_is_asked(listener: Listener, configure: Configure, arguments: list[str], path: str) -> None:
    """The named probe is asked, by address as well as by configuration; startupz if none is named."""
    assert 0 == cli.main(["healthcheck", "--url", f"{listener.url}/", *arguments])
    config = configure(f"{{host: 0.0.0.0, port: {listener.port}}}")
    assert 0 == cli.main(["healthcheck", "--config", config, *arguments])
    assert [path, path] == listener.asked


def test_path_in_url_wins(listener: Listener) -> None:
    """An address with a path is asked as it stands."""
    assert 0 == cli.main(["healthcheck", "--url", f"{listener.url}/some/path?deep=1"])
    assert ["/some/path?deep=1"] == listener.asked


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (json.dumps({"status": "fail", "code": "pending", "reason": "AWS has not answered."}).encode(), None),
        (b'{"reason": "AWS has not answered."}', None),
        (b"<html>", "answered 503"),
        (b"[1]", "answered 503"),
        (b"\xff", "answered 503"),
        (b"[" * 60000, "answered 503"),
        (b"", "answered 503"),
    ],
)
def test_reason_is_said(listener: Listener, capsys: pytest.CaptureFixture[str], body: bytes, said: str | None) -> None:
    """The probe's own sentence goes to standard error, else the status."""
    listener.status, listener.body = 503, body
    assert 1 == cli.main(["healthcheck", "--url", listener.url])
    expected = "AWS has not answered." if said is None else f"{listener.url}/startupz {said}"
    assert capsys.readouterr().err == f"{expected}\n"


def test_silence_is_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """A missing listener is a failed check that names the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        assert 1 == cli.main(["healthcheck", "--url", f"http://127.0.0.1:{port}"])
    told = capsys.readouterr().err
    assert f"no answer from http://127.0.0.1:{port}/startupz: connection refused. Start the sidecar with" in told
    assert "Errno" not in told


def test_other_protocol_is_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """Something that does not speak HTTP is a failed check."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=_answer_nonsense, args=(server,))
        thread.start()
        assert 1 == cli.main(["healthcheck", "--url", f"http://127.0.0.1:{server.getsockname()[1]}"])
        thread.join()
    assert "no answer from" in capsys.readouterr().err


def _answer_nonsense(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1024)
        connection.sendall(b"SSH-2.0-x\r\n")


def test_proxies_are_ignored(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment is not asked about the pod's own probes."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert 0 == cli.main(["healthcheck", "--url", listener.url])


@pytest.mark.parametrize("url", ["", "127.0.0.1:8788", "https://127.0.0.1", "http://", "http://h:port", "http://[::1"])
def test_bad_url_is_two(capsys: pytest.CaptureFixture[str], url: str) -> None:
    """An address that is none is a bad command line."""
    assert 2 == cli.main(["healthcheck", "--url", url])
    assert "--url" in capsys.readouterr().err


def test_any_port_is_refused(configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    """Port 0 names no port to ask."""
    assert 2 == cli.main(["healthcheck", "--config", configure("{port: 0}")])
    assert "probes.port = 0" in capsys.readouterr().err


def test_probe_is_one_of_three() -> None:
    """The options know the three probes."""
    parser = argparse.ArgumentParser()
    healthcheck.add_arguments(parser)
    assert "readyz" == parser.parse_args(["--probe", "readyz"]).probe


def test_loopback_of_the_other_family(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pod without IPv6 a check of ::1 asks 127.0.0.1; the listener of `::` is there."""
    make = socket.socket

    def lacking(family: int = -1, *rest: int, **named: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return make(family, *rest, **named)

    monkeypatch.setattr("sidecar.commands.healthcheck.socket.socket", lacking)
    assert healthcheck.check(Address("::1", listener.port), "/livez") is None
    assert ["/livez"] == listener.asked
