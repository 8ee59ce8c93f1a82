"""AWS as a pod in live mode meets it: its names, its certificate and its clock, in front of an emulator's service."""

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from cryptography.hazmat.primitives.asymmetric import ec

from tests.support import certificates
from tests.support.tools import PATIENCE

REGION = "eu-west-1"
HOSTS = (
    f"metering.marketplace.{REGION}.amazonaws.com",
    f"sts.{REGION}.amazonaws.com",
    f"license-manager.{REGION}.amazonaws.com",
    "license-manager.us-east-1.amazonaws.com",
)
_FULL = 4
_LIVE_POD = Path(__file__).with_name("live_pod.py")


class Aws:
    """AWS's services in one Region, in `folder`; what goes wrong is set on it and may be put right again.

    Args:
        folder: Takes the certificates and the table of names.
        emulator: The port of the emulator that answers.
    """

    program = (str(_LIVE_POD),)
    """What a process runs to live in a pod next to it, in place of the product's module."""

    def __init__(self, folder: Path, emulator: int) -> None:
        folder.mkdir()
        self.skew = timedelta()
        """How far its clock is ahead of this machine's."""
        self._swallowing: list[socket.socket] = []
        self._bundle, self._names = folder / "bundle.pem", folder / "names.json"
        key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = certificates.self_signed(key, *HOSTS)
        (folder / "server.pem").write_bytes(certificates.with_key(key, self._certificate))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(emulator))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem")
        # The handshake belongs to the connection's thread, or a client that goes away would stop the server.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.trust()
        self.name()

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment of a pod that meets this AWS."""
        return {"AWS_REGION": REGION, "AWS_CA_BUNDLE": str(self._bundle), "NAMES": str(self._names)}

    def trust(self, *, known: bool = True) -> None:
        """Let the pod's bundle hold this AWS's certificate, or another one."""
        other = certificates.self_signed(ec.generate_private_key(ec.SECP256R1()), *HOSTS)
        self._bundle.write_bytes(self._certificate if known else other)

    def name(self, *, known: bool = True) -> None:
        """Let the pod's table of names hold this AWS's hosts, or none."""
        table = dict.fromkeys(HOSTS, self._server.server_port) if known else {}
        self._names.write_text(json.dumps(table), encoding="utf-8")

    def hang(self) -> None:
        """Let the lookup of this AWS's hosts never end."""
        self._names.write_text(json.dumps(dict.fromkeys(HOSTS)), encoding="utf-8")

    def swallow(self) -> None:
        """Let this AWS's hosts have an address where a connection gets neither an answer nor a refusal."""
        hole = socket.socket()
        self._swallowing.append(hole)
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for _ in range(_FULL):
            # The kernel drops what comes once so many wait.
            waiting = socket.socket()
            self._swallowing.append(waiting)
            waiting.settimeout(0)
            waiting.connect_ex(hole.getsockname())
        self._names.write_text(json.dumps(dict.fromkeys(HOSTS, hole.getsockname()[1])), encoding="utf-8")

    @property
    def hanging(self) -> bool:
        """A lookup hangs."""
        return self._names.with_suffix(".hanging").exists()

    def close(self) -> None:
        """End."""
        for held in self._swallowing:
            held.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self, emulator: int) -> type[BaseHTTPRequestHandler]:
        aws = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                connection = http.client.HTTPConnection("127.0.0.1", emulator, timeout=PATIENCE)
                try:
                    connection.request(self.command, self.path, body, dict(self.headers))
                    answer = connection.getresponse()
                    content = answer.read()
                finally:
                    connection.close()
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in {"date", "content-length", "transfer-encoding", "connection"}:
                        self.send_header(name, value)
                self.send_header("Date", format_datetime(datetime.now(UTC) + aws.skew, usegmt=True))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST  # noqa: N815 - the name that http.server looks for

            def handle(self) -> None:
                try:
                    super().handle()
                except (OSError, http.client.HTTPException):
                    # One side has gone: its time was over, or it refused the certificate.
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                return

        return Handler
