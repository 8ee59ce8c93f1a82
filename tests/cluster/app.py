"""The seller's app in the cluster tests: reports usage at a steady pace and keeps its own books.

Runs in a container of its own on nothing but the standard library. Every event that the sidecar has acknowledged stands
as one line in a file of the node, which outlives the pod: what the file holds is what AWS must be told, no more and no
less. An unanswered event is sent again under its id until it is acknowledged.

Variables: MARKETPLACE_SIDECAR_URL; APP_BOOKS, the folder of the files; APP_EVENTS, after how many events it reports no
more; APP_PACE, seconds between two; APP_LINGER, seconds that it continues after SIGTERM. Listens on port 8080: GET
/ask/PATH answers what the local API answers at /PATH, and GET /metrics is a page for Prometheus, whose counter has the
events of this process. A second file has a line for each page: the process, the counter, and whether the app ends.
"""

import http.client
import http.server
import json
import os
import signal
import socket
import threading
import time
import urllib.parse

SIDECAR = urllib.parse.urlsplit(os.environ["MARKETPLACE_SIDECAR_URL"]).netloc
EVENTS = int(os.environ.get("APP_EVENTS", "1000000000"))
PACE = float(os.environ.get("APP_PACE", "0.2"))
LINGER = float(os.environ.get("APP_LINGER", "0"))
PERIOD = 0.1

BOOKS = f"{os.environ['APP_BOOKS']}/{socket.gethostname()}"
STARTED = time.time_ns()

ending = threading.Event()
counted = 0
"""Events of this process."""


def ask(method: str, path: str, document: object = None) -> tuple[int, bytes]:
    """Ask the sidecar's local API."""
    connection = http.client.HTTPConnection(SIDECAR, timeout=10)
    try:
        body = None if document is None else json.dumps(document)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Window(http.server.BaseHTTPRequestHandler):
    """Lets a test look at the local API, which only this pod can reach."""

    def do_GET(self) -> None:
        """Pass a question on, or answer with the page."""
        if self.path == "/metrics":
            self.show_page()
            return
        try:
            status, body = ask("GET", self.path.removeprefix("/ask"))
        except OSError as error:
            status, body = 502, str(error).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def show_page(self) -> None:
        """Show the counter, and note what was shown."""
        shown, ends = counted, ending.is_set()
        start = f"process_start_time_seconds {STARTED / 1e9}\n"
        body = f"# TYPE app_events counter\napp_events_total {shown}\n{start}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        with open(f"{BOOKS}.pages", "a", encoding="utf-8") as pages:  # noqa: PTH123 - pathlib costs start-up time
            pages.write(f"{STARTED} {shown} {int(ends)}\n")

    def log_message(self, *_: object) -> None:
        """Say nothing about each question."""


def report(number: int) -> None:
    """Report one event until it is acknowledged."""
    event = {"id": f"{socket.gethostname()}-{os.getpid()}-{STARTED}-{number}", "dimension": "requests", "quantity": "1"}
    while True:
        try:
            status, body = ask("POST", "/v1/usage", event)
        except (OSError, http.client.HTTPException) as error:
            status, body = 0, str(error).encode()
        if status == 202:
            return
        print(f"event {number} is not taken yet: {status} {body!r}", flush=True)  # noqa: T201 - the container's log
        time.sleep(PERIOD)


def work(books: int) -> None:
    """Report until told to end, linger, and leave."""
    global counted  # noqa: PLW0603 - the page's thread reads it
    leave_at: float | None = None
    number = 0
    while leave_at is None or time.monotonic() < leave_at:
        if leave_at is None and ending.is_set():
            leave_at = time.monotonic() + LINGER
            continue
        if number == EVENTS:
            time.sleep(PERIOD)
            continue
        number += 1
        report(number)
        os.write(books, b"1\n")
        counted += 1
        time.sleep(PACE)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    server = http.server.ThreadingHTTPServer(("", 8080), Window)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    work(os.open(BOOKS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644))
