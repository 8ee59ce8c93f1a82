"""AWS as a sidecar in live mode reaches it: a proxy that opens TLS for every host and hands the calls to an emulator.

Its certificates come from an authority of its own, which the caller must trust. The dates of its answers may be off, as
they look to a pod whose clock is wrong.
"""

import http.client
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Self

from cryptography.hazmat.primitives.asymmetric import ec

from tests.support import certificates
from tests.support.tools import PATIENCE

HOST = "metering.marketplace.us-east-1.amazonaws.com"


class Gateway(ThreadingHTTPServer):
    """The proxy, for as long as the context lasts.

    Attributes:
        off: By how much its dates are ahead of this machine's clock.
        bundle: The file with its authority, for AWS_CA_BUNDLE.
    """

    daemon_threads = True

    def __init__(self, folder: Path, emulator_port: int, off: timedelta) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.emulator_port = emulator_port
        self.off = off
        self.bundle = folder / "authority.pem"
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(_write_certificate(folder, self.bundle))
        self._thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        """Its address, for HTTPS_PROXY."""
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Connection(BaseHTTPRequestHandler):
    """A connection to the proxy, which becomes one to the service."""

    server: Gateway

    def do_CONNECT(self) -> None:
        """Stand in for the host that is asked for; each tunnel carries one call."""
        self.send_response_only(200)
        self.end_headers()
        try:
            inside = self.server.tls.wrap_socket(self.connection, server_side=True)
        except (OSError, ssl.SSLError):
            return
        self.connection = inside
        self.rfile, self.wfile = inside.makefile("rb"), inside.makefile("wb")
        self.close_connection = False
        self.handle_one_request()
        self.close_connection = True

    def finish(self) -> None:
        """Close what the server does not know of."""
        super().finish()
        self.connection.close()

    def do_POST(self) -> None:
        """Ask the emulator, and date its answer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.emulator_port, timeout=PATIENCE)
        upstream.putrequest("POST", self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            upstream.putheader(name, value)
        upstream.endheaders(body)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"date", "connection", "transfer-encoding"}:
                self.send_header(name, value)
        self.send_header("Date", format_datetime(datetime.now(UTC) + self.server.off, usegmt=True))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        return


def _write_certificate(folder: Path, bundle: Path) -> Path:
    """Write a certificate for `HOST` that is its own authority, and return the file of it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = certificates.self_signed(key, HOST)
    bundle.write_bytes(certificate)
    private = folder / "gateway.pem"
    private.write_bytes(certificates.with_key(key, certificate))
    return private
