"""The load of the benchmarks: many keep-alive connections, one request under way on each, from a process of its own.

Blocking-free sockets and one epoll instance, because the server under test shares two cores with this. What an answer
says is judged by its status alone. Prints one JSON object: requests a second, and latencies in milliseconds.
"""

import argparse
import json
import select
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from itertools import count, islice

CONNECTIONS = 32


class Client:
    """One connection with one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self._sent_at = 0.0

    def send(self, request: bytes) -> None:
        """Send the next request."""
        self._sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self, status: bytes) -> float | None:
        """Take what has come; the seconds since the request once its answer is whole, else None.

        Raises:
            SystemExit: The answer has another status, or the server has hung up.
        """
        part = self.socket.recv(65536)
        received = self._received + part
        if not part:
            sys.exit("the server hung up")
        head = received.find(b"\r\n\r\n")
        if head < 0:
            self._received = received
            return None
        if received[9:12] != status:
            sys.exit(received.decode(errors="replace"))
        named = received.index(b"Content-Length: ") + 16
        if len(received) < head + 4 + int(received[named : received.index(b"\r", named)]):
            self._received = received
            return None
        self._received = b""
        return time.perf_counter() - self._sent_at


def drive(port: int, requests: Iterator[bytes], status: int, seconds: float, clients: int) -> dict[str, float]:
    """Keep `clients` requests under way for `seconds`, or until there are no more; the figures."""
    wanted = b"%d" % status
    idle = {client.socket.fileno(): client for client in (Client(port) for _ in range(clients))}
    poll = select.epoll()
    for number in idle:
        poll.register(number, select.EPOLLIN)
    latencies: list[float] = []
    began = time.perf_counter()
    until = began + seconds
    under_way = 0
    for client in idle.values():
        client.send(next(requests))
        under_way += 1
    while under_way:
        for number, _ in poll.poll():
            client = idle[number]
            latency = client.receive(wanted)
            if latency is None:
                continue
            latencies.append(latency)
            request = next(requests, None) if time.perf_counter() < until else None
            if request is None:
                under_way -= 1
            else:
                client.send(request)
    elapsed = time.perf_counter() - began
    latencies.sort()
    return {
        "requests": len(latencies),
        "rate": len(latencies) / elapsed,
        "p50": latencies[len(latencies) // 2] * 1000,
        "p99": latencies[len(latencies) * 99 // 100] * 1000,
        "worst": latencies[-1] * 1000,
    }


def questions(path: str) -> Iterator[bytes]:
    """Yield one GET without end."""
    request = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % path.encode()
    while True:
        yield request


def ordered_ids(prefix: str) -> Iterator[str]:
    """Yield ids of which each follows on the one before: an index takes them at its end."""
    return (f"{prefix}-{number:012d}" for number in count())


def random_ids() -> Iterator[str]:
    """Yield UUIDs of version 4, which fall anywhere in an index; most apps send such ids."""
    while True:
        yield str(uuid.uuid4())


def reports(batch: int, ids: Iterator[str], header: str | None = None) -> Iterator[bytes]:
    """Yield POSTs of usage without end: `batch` events each, every one with an id of its own.

    With a `header` each has a value of its own for it: no two heads are alike.
    """
    for number in count():
        own = f"{header}: {number}\r\n".encode() if header else b""
        events = [
            '{"id": "%s", "dimension": "requests", "quantity": "1.5"}' % id_  # noqa: UP031
            for id_ in islice(ids, batch)
        ]
        body = (events[0] if batch == 1 else f"[{', '.join(events)}]").encode()
        yield (
            b"POST /v1/usage HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"%sContent-Length: %d\r\n\r\n%s" % (own, len(body), body)
        )


def main() -> None:
    """Drive one server and print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--get", metavar="PATH")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--ids", choices=["ordered", "random"], default="random")
    parser.add_argument("--header", help="a header that has another value in each report")
    parser.add_argument("--prefix", default="load", help="what ordered ids begin with")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--events", type=int)
    parser.add_argument("--clients", type=int, default=CONNECTIONS)
    given = parser.parse_args()
    if given.get is not None:
        figures = drive(given.port, questions(given.get), 200, given.seconds, given.clients)
    else:
        ids = random_ids() if given.ids == "random" else ordered_ids(given.prefix)
        sent = reports(given.batch, ids, given.header)
        if given.events is not None:
            sent = islice(sent, given.events // given.batch)
        figures = drive(given.port, sent, 202, given.seconds, given.clients)
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main()
