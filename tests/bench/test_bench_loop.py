"""How long a real sidecar's loop and metrics wait at AWS's own limits, while it seals, submits and prunes.

24 dimensions with 2,500 tag sets each are open, and as many in an hour that has settled; a million unique values are to
be pruned. A client asks `/livez` again and again, which needs nothing but the loop: its longest answer is the longest
block. The baseline is the same question of the same process while it is idle.
"""

import os
import socket
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sidecar.commands.demo.environment import Environment, wait_for
from sidecar.domain.metering.events import Aggregation, Dimension
from sidecar.domain.metering.hours import SECONDS, hour_of
from tests.bench.conftest import until_ready
from tests.bench.measuring import at_most, judge, tell
from tests.support.books import RULES, Books, event

pytestmark = pytest.mark.timeout(15 * 60)

TAG_SETS = 2500
VALUES = int(os.environ.get("BENCH_VALUES", "1000000"))
"""Unique values of an hour that is to be pruned."""
DIMENSIONS = [f"d{number}" for number in range(24)]
LONGEST_BLOCK_MS = 50
LONGEST_METRICS_MS = 10
_EVERY = 0.002
"""Seconds between an answer of `/livez` and the next question."""


def _configure(environment: Environment) -> None:
    """Meter the dimensions; the emulator takes any."""
    path = environment.write_configuration()
    text = path.read_text(encoding="utf-8")
    first, last = text.index("    - {name: requests"), text.index("  settle:")
    listed = "".join(f"    - {{name: {name}, aggregation: sum}}\n" for name in DIMENSIONS)
    path.write_text(f"{text[:first]}{listed}{text[last:]}".replace("spread: 5m", "spread: 0s"), encoding="utf-8")


def _fill(environment: Environment) -> None:
    """Leave a ledger of the pod's own, as if the process had been restarted."""
    rules = replace(RULES, dimensions={name: Dimension(name, Aggregation.SUM) for name in DIMENSIONS})
    books = Books(
        environment.folder / "ledger.db", rules, pod="demo-pod", now=datetime.now(UTC), durable=False, followed=True
    )
    store, hour = books.store, hour_of(books.now)
    for start in range(0, TAG_SETS, 100):
        tags = [(("Tenant", f"t{number}"),) for number in range(start, start + 100)]
        books.take(*(event("1", dimension=name, tags=each) for name in DIMENSIONS for each in tags))
    with store.transaction():
        store.connection.execute(
            "INSERT INTO bucket SELECT pod, dimension, hour - ?, tag_set, own, carried, moved, events, last_at, sealed,"
            " record FROM bucket WHERE hour = ?",
            (2 * SECONDS, hour),
        )
        for name in DIMENSIONS:
            store.add_to(store.dimension(name), "accepted", TAG_SETS * 1_000_000)
        rows = ((hour - 40 * SECONDS, 1, 1, number % TAG_SETS, os.urandom(16)) for number in range(VALUES))
        store.connection.executemany("INSERT INTO distinct_value VALUES (?, ?, ?, ?, ?)", rows)
    books.close()


class _Questions:
    """Asks one path of a listener again and again on one connection, on a thread of its own."""

    def __init__(self, port: int, path: str, pause: float) -> None:
        self._port = port
        self._request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        self._pause = pause
        self._ended = threading.Event()
        self.taken: list[float] = []
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        while not self._ended.is_set():
            # The listener closes a connection from time to time.
            with suppress(ConnectionError), socket.create_connection(("127.0.0.1", self._port), timeout=30) as asked:
                self._ask_by(asked)

    def _ask_by(self, connection: socket.socket) -> None:
        """Ask until the end, or until the listener closes the connection."""
        while not self._ended.wait(self._pause):
            began = time.perf_counter()
            connection.sendall(self._request)
            answer = b""
            while (head := answer.find(b"\r\n\r\n")) < 0 or len(answer) < head + 4 + _length(answer):
                part = connection.recv(65536)
                if not part:
                    return
                answer += part
            self.taken.append((time.perf_counter() - began) * 1000)

    def end(self) -> list[float]:
        """Return the milliseconds that each answer took."""
        self._ended.set()
        self._thread.join()
        return self.taken


def _length(answer: bytes) -> int:
    named = answer.index(b"Content-Length: ") + 16
    return int(answer[named : answer.index(b"\r", named)])


def _while(environment: Environment, what: str, done: Callable[[], bool]) -> None:
    """Measure until something is done, and print the longest and the middle answers."""
    loop = _Questions(environment.probes, "/livez", _EVERY)
    looks = {
        "/metrics": _Questions(environment.probes, "/metrics", 0.1),
        "/v1/status": _Questions(environment.api, "/v1/status", 0.1),
    }
    began = time.perf_counter()
    wait_for(what, done)
    elapsed = time.perf_counter() - began
    answers = sorted(loop.end())
    judge(f"longest block of the loop while {what}", "ms", answers[-1], at_most(LONGEST_BLOCK_MS))
    tell(f"  of {len(answers):,} answers in {elapsed:.1f} s half took {answers[len(answers) // 2]:.2f} ms,")
    tell(f"  99 % at most {answers[len(answers) * 99 // 100]:.1f} ms, and the longest {answers[-5:]}")
    for path, asked in looks.items():
        taken = asked.end()
        judge(f"{path} while {what}", "ms", statistics.median(taken), at_most(LONGEST_METRICS_MS))
        tell(f"  the longest of {len(taken)} took {max(taken):.0f} ms")


def test_loop_at_limits(environment: Environment) -> None:
    """The loop, the metrics and the status while the ledger's thread seals and submits, and while it prunes."""
    _configure(environment)
    _fill(environment)
    environment.write_configuration = lambda: environment.folder / "config.yaml"  # type: ignore[method-assign]
    environment.start_sidecar()
    until_ready(environment)
    with closing(sqlite3.connect(environment.folder / "ledger.db")) as connection:

        def found(rows: str) -> bool:
            return bool(connection.execute(f"SELECT EXISTS (SELECT 1 FROM {rows})").fetchone()[0])

        def sent() -> bool:
            rows = connection.execute("SELECT count(*) FROM record WHERE status = 'accepted'")
            return int(rows.fetchone()[0]) >= len(DIMENSIONS)

        _while(environment, "24 hours are sealed and sent", sent)
        _while(environment, f"{VALUES:,} values are pruned", lambda: not found("distinct_value"))
    idle = _Questions(environment.probes, "/livez", _EVERY)
    time.sleep(3)
    answers = idle.end()
    tell(f"idle: the longest of {len(answers):,} answers took {max(answers):.1f} ms")
