# ruff: noqa: INP001 - a program by itself, not part of a package
"""A product in miniature: asks the sidecar whether it may run, and reports what is used.

Environment: MARKETPLACE_SIDECAR_URL, INTERVAL (seconds between events), EVENTS (end after so many; 0 is never), LINGER
(seconds to go on after SIGTERM), PORT (8080). Answers GET / with what it has reported. An event is never given up: it
is sent again under its own id until the sidecar has taken it, so that it counts once.
"""

import http.client
import json
import os
import signal
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

SIDECAR = urlsplit(os.environ["MARKETPLACE_SIDECAR_URL"]).netloc
INTERVAL = float(os.environ.get("INTERVAL", "10"))
EVENTS = int(os.environ.get("EVENTS", "0"))
LINGER = float(os.environ.get("LINGER", "0"))
PORT = int(os.environ.get("PORT", "8080"))
RETRY = 0.5
"""Seconds before an event is sent again."""


def say(words: str) -> None:
    """Write a line of the log."""
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def ask(method: str, path: str, document: object = None) -> tuple[int, bytes]:
    """Ask the sidecar's local API; raises OSError or HTTPException when it does not answer."""
    connection = http.client.HTTPConnection(SIDECAR, timeout=5)
    try:
        body = None if document is None else json.dumps(document)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def is_entitled() -> bool:
    """Ask whether the buyer may use the product; without an answer, nothing is known to be allowed."""
    try:
        status, body = ask("GET", "/v1/entitlement")
    except (OSError, http.client.HTTPException):
        return False
    return status == http.HTTPStatus.OK and json.loads(body)["entitled"] is True


def report(dimension: str, quantity: str) -> bool:
    """Return whether the sidecar has the event on disk; a fault of the moment is tried again."""
    event = {"id": str(uuid.uuid4()), "dimension": dimension, "quantity": quantity}
    while True:
        try:
            status, body = ask("POST", "/v1/usage", event)
        except (OSError, http.client.HTTPException) as error:
            say(f"not answered: {error}")
        else:
            if status == http.HTTPStatus.ACCEPTED:
                return True
            say(f"refused: {status} {body.decode()}")
            if status != http.HTTPStatus.SERVICE_UNAVAILABLE:
                return False
        time.sleep(RETRY)


class App:
    """What the product does between its start and its end."""

    def __init__(self) -> None:
        self.reported = 0
        self._ending = threading.Event()
        self._ends_at: float | None = None

    def end(self, *_: object) -> None:
        """Go on for LINGER seconds, then end."""
        self._ends_at = time.monotonic() + LINGER
        self._ending.set()

    def run(self) -> None:
        """Wait for the entitlement, then report until there is no more to do."""
        while not self._ending.is_set() and not is_entitled():
            say("waiting for the entitlement")
            self._ending.wait(1)
        while self._goes_on():
            if report("requests", "1"):
                self.reported += 1
                say(f"reported {self.reported}")
            # Told to end it lingers: then it has to be the clock that wakes it.
            if self._ends_at is None:
                self._ending.wait(INTERVAL)
            else:
                time.sleep(min(INTERVAL, max(0.0, self._ends_at - time.monotonic())))
        say(f"ended after {self.reported}")

    def _goes_on(self) -> bool:
        if EVENTS and self.reported >= EVENTS:
            return False
        return self._ends_at is None or time.monotonic() < self._ends_at


def serve(app: App) -> None:
    """Show on a port of its own how much was reported."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"reported": app.reported, "entitled": is_entitled()}).encode()
            self.send_response(http.HTTPStatus.OK)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the log for what is reported."""

    server = ThreadingHTTPServer(("", PORT), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main() -> None:
    """Run the app until it has ended."""
    app = App()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, app.end)
    serve(app)
    app.run()


if __name__ == "__main__":
    main()
