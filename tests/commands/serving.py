"""A local API that plays a script, over TCP or a unix socket, for the commands that ask it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import ThreadingUnixStreamServer
from threading import Event, Thread

from sidecar.settings import ApiSettings

UNAUTHORIZED: object = {"detail": "send the token"}


class Api:
    """A local API that gives one scripted answer after the other, the last one again and again."""

    def __init__(self, *answers: object, token: str | None = None) -> None:
        self.answers = list(answers)
        self.token = token
        self.asked: list[str] = []
        self.hosts: set[str | None] = set()
        self.first = Event()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        self.asked.append(handler.path)
        self.hosts.add(handler.headers["Host"])
        self.first.set()
        if self.token is not None and handler.headers["Authorization"] != f"Bearer {self.token}":
            status, answer = 401, UNAUTHORIZED
        else:
            status, answer = 200, self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


class UnixServer(ThreadingUnixStreamServer):
    """HTTP over a unix socket."""

    daemon_threads = True


def handler_of(api: Api) -> type[BaseHTTPRequestHandler]:
    """Return a request handler that asks the script."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            api.answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
            """Stay silent."""

        def address_string(self) -> str:
            return "here"

    return Handler


@contextmanager
def serving(api: Api, port: int = 0) -> Iterator[ApiSettings]:
    """Serve the script on a port, a free one if none is named."""
    with ThreadingHTTPServer(("127.0.0.1", port), handler_of(api)) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield ApiSettings(port=server.server_port)
        finally:
            server.shutdown()
            thread.join()
