"""A real HTTPS server that plays the cluster's API for one pod: keeps its object, records requests, fails on demand."""

import ipaddress
import json
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from threading import Condition, Event, Thread
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.support import certificates
from tests.support.tools import PATIENCE

UID = "6f1d7c1e-0000-4000-8000-00000000000a"
POD = "/api/v1/namespaces/shop/pods/app-0"
STATUS = f"{POD}/status"
EVENTS = "/api/v1/namespaces/shop/events"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
HANG = 0
"""A fault: no answer at all."""
DRIP_SECONDS = 0.1
"""Between two bytes of an answer that comes slowly."""


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    token: str
    content_type: str
    document: Any


def pod(**members: Any) -> dict[str, Any]:
    """Return a running pod with a native sidecar, with some members replaced."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "app-0", "namespace": "shop", "uid": UID},
        "spec": {
            "restartPolicy": "Always",
            "initContainers": [{"name": "marketplace-sidecar", "restartPolicy": "Always"}],
            "containers": [{"name": "app"}],
        },
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-23T10:00:00Z"}],
            "containerStatuses": [{"name": "app", "state": {"running": {}}}],
        },
        "newMember": {"of": ["a", "later", "version"]},
        **members,
    }


class ApiServer:
    """The API server and the service account's folder of the one pod that it knows."""

    def __init__(self, account: Path, *, key_ids: bool = True) -> None:
        self.account = account
        self.account.mkdir()
        self.pod = pod()
        self.others: dict[str, Any] = {}
        """Other pods, by the path of their object."""
        self.events: dict[str, Any] = {}
        self.date: str | None = None
        """What the Date header of its answers says; None for the time it is."""
        self.requests: list[Request] = []
        self.faults: dict[str, int] = {}
        """The status with which requests to a path are answered, HANG for none."""
        self.refused: set[str] = set()
        """What no rule of a Role allows, each as `verb resource`; asked by a review, it is not allowed."""
        self.lost: set[str] = set()
        """Paths whose requests are processed and then not answered."""
        self.slow: dict[str, int] = {}
        """Paths whose answers come byte by byte, the number of bytes that come together first."""
        self._counted = Condition()
        self._released = Event()
        key = ec.generate_private_key(ec.SECP256R1())
        if key_ids:
            authority = certificate = certificates.self_signed(key, "127.0.0.1")
        else:
            authority, certificate = _old_certificates(key)
        (account / "ca.crt").write_bytes(authority)
        (account / "token").write_text("first-token\n", encoding="ascii")
        (account / "namespace").write_text("shop", encoding="ascii")
        (account / "server.pem").write_bytes(certificates.with_key(key, certificate))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(account / "server.pem")
        # The handshake belongs to the connection's thread, or a client that goes away would stop the server.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def environ(self) -> dict[str, str]:
        """The pod's environment."""
        return {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self._server.server_port),
            "POD_NAME": "app-0",
            "POD_UID": UID,
        }

    def condition(self, kind: str) -> Any:
        """Return one condition of the pod, None if it has no such."""
        return next((shown for shown in self.pod["status"]["conditions"] if shown["type"] == kind), None)

    def wait_for(self, path: str, count: int = 1) -> list[Request]:
        """Return the requests to a path once there are so many; fails after 20 s."""
        with self._counted:
            assert self._counted.wait_for(lambda: len(self.asked(path)) >= count, PATIENCE), (path, self.requests)
        return self.asked(path)

    def asked(self, path: str) -> list[Request]:
        """Return the requests to a path."""
        return [request for request in self.requests if request.path == path]

    def release(self) -> None:
        """Answer the hanging requests."""
        self._released.set()

    def close(self) -> None:
        """Let hanging requests go and end."""
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: Request) -> tuple[int, Any]:
        """Process one request."""
        fault = self.faults.get(request.path)
        if fault is not None:
            if fault == HANG:
                self._released.wait()
            return fault or 504, {"kind": "Status", "message": f"told to answer\n{fault}"}
        match request.method, request.path:
            case "GET", path if path in {POD, *self.others}:
                return 200, self.others.get(path, self.pod)
            case "PATCH", path if path == STATUS:
                return self._patch(request.document)
            case "POST", path if path == EVENTS:
                return self._write(request.document)
            case "POST", path if path == REVIEWS:
                return 201, {**request.document, "status": {"allowed": self._allowed(request.document["spec"])}}
            case _:
                return 404, {"kind": "Status", "message": "the server could not find the requested resource"}

    def _write(self, document: Any) -> tuple[int, Any]:
        name = document["metadata"]["name"]
        if name in self.events:
            return 409, {"kind": "Status", "message": f'events "{name}" already exists'}
        self.events[name] = document
        return 201, document

    def _allowed(self, spec: Any) -> bool:
        asked = spec["resourceAttributes"]
        assert ("shop", "") == (asked["namespace"], asked["group"]), asked
        assert ("create" in asked["verb"]) != ("name" in asked), asked
        resource = "/".join(asked[name] for name in ("resource", "subresource") if name in asked)
        return f"{asked['verb']} {resource}" not in self.refused

    def _patch(self, document: Any) -> tuple[int, Any]:
        uid = document.get("metadata", {}).get("uid", UID)
        if uid != self.pod["metadata"]["uid"]:
            return 409, {"kind": "Status", "message": f"Precondition failed: UID in precondition: {uid}"}
        for wanted in document["status"]["conditions"]:
            others = [shown for shown in self.pod["status"]["conditions"] if shown["type"] != wanted["type"]]
            self.pod["status"]["conditions"] = [*others, wanted]
        return 200, self.pod

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = Request(
                    self.command,
                    self.path,
                    self.headers.get("Authorization", ""),
                    self.headers.get("Content-Type", ""),
                    json.loads(body) if body else None,
                )
                status, document = api.answer_counted(request)
                if request.path in api.lost:
                    api.lost.discard(request.path)
                    self.close_connection = True
                    return
                content = json.dumps(document).encode()
                if request.path in api.slow:
                    self.close_connection = True
                    api.drip(self.wfile, content, api.slow[request.path])
                    return
                try:
                    self.send_response_only(status)
                    self.send_header("Date", self.date_time_string() if api.date is None else api.date)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    self.close_connection = True

            do_PATCH = do_POST = do_GET  # noqa: N815 - the names that http.server looks for

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    # The client has gone: its time was over, or it refused the certificate.
                    return

            def log_message(self, *_: object) -> None:
                return

        return Handler

    def drip(self, connection: BufferedIOBase, content: bytes, together: int) -> None:
        """Send an answer, byte by byte after the first ones."""
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content
        connection.write(answer[:together])
        for each in answer[together:]:
            if self._released.wait(DRIP_SECONDS):
                return
            connection.write(bytes([each]))

    def answer_counted(self, request: Request) -> tuple[int, Any]:
        """Record a request and process it."""
        with self._counted:
            self.requests.append(request)
            self._counted.notify_all()
        return self.answer(request)


def _old_certificates(key: ec.EllipticCurvePrivateKey) -> tuple[bytes, bytes]:
    """Return an authority's certificate and the server's, neither with a key identifier."""
    signer = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    server = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    now = datetime.now(UTC)
    from_to = now - timedelta(days=1), now + timedelta(days=1)
    authority = (
        x509.CertificateBuilder(issuer, issuer, signer.public_key(), 1, *from_to)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(signer, SHA256())
    )
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = (
        x509.CertificateBuilder(issuer, server, key.public_key(), 2, *from_to)
        .add_extension(address, critical=False)
        .sign(signer, SHA256())
    )
    return authority.public_bytes(Encoding.PEM), leaf.public_bytes(Encoding.PEM)
