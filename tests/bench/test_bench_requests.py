"""Requests next to aiohttp alone, from 32 connections and from one: rate, latency, and processor time of each.

The baseline is a handler that parses JSON and returns a `web.Response`. Ids are random unless a test says otherwise.
"""

import os
import sqlite3
import statistics
import threading
import time
from pathlib import Path

import pytest

from sidecar.commands.demo.environment import request
from tests.bench.conftest import Bench
from tests.bench.measuring import (
    Target,
    alternate,
    at_least,
    at_most,
    compare,
    compare_costs,
    cpu_seconds,
    judge,
    tell,
)

pytestmark = pytest.mark.timeout(900)

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "15"))
SECONDS = os.environ.get("BENCH_SECONDS", "1")
"""Of a round: the speed of a shared machine changes within a few, so many short rounds tell more than few long ones."""
_COMMIT_BYTES = 5 * 4096
"""What the commit of one event writes."""
STALL = 1.0
"""Seconds for which the ledger is held up."""


class _Side:
    """One of the two servers: its rate, and the processor time that a request costs it."""

    def __init__(self, bench: Bench, port: int, pid: int, *options: str) -> None:
        self._bench = bench
        self._port = port
        self._pid = pid
        self._options = options
        self.costs: list[float] = []
        self.latencies: list[dict[str, float]] = []

    def rate(self) -> float:
        """Return the requests a second of one round."""
        before = cpu_seconds(self._pid)
        figures = self._bench.drive(self._port, *self._options, "--seconds", SECONDS)
        self.costs.append((cpu_seconds(self._pid) - before) / figures["requests"] * 1e6)
        self.latencies.append(figures)
        return float(figures["rate"])

    def tell(self, name: str) -> None:
        """Print latencies and cost, the medians of the rounds; the worst is the worst of all."""
        middle = {key: statistics.median(figures[key] for figures in self.latencies) for key in ("p50", "p99")}
        worst = max(figures["worst"] for figures in self.latencies)
        tell(
            f"  {name:<8} p50 {middle['p50']:.2f} ms, p99 {middle['p99']:.2f} ms, worst {worst:.1f} ms; "
            f"processor {statistics.median(self.costs):.0f} us a request ({min(self.costs):.0f} at best)"
        )


def _race(bench: Bench, name: str, rate: Target, cost: Target, *options: str) -> None:
    ours = _Side(bench, bench.environment.api, bench.pid, *options)
    bare = _Side(bench, bench.bare_port, bench.bare_pid, *options)
    compare(name, "/s", rate, alternate(ours.rate, bare.rate, ROUNDS))
    compare_costs(ours.costs, bare.costs, cost)
    ours.tell("ours")
    bare.tell("baseline")


def test_entitlement_rate(bench: Bench) -> None:
    """The gate is asked by apps on each of their own requests."""
    _race(bench, "GET /v1/entitlement", at_least(1.2), at_most(0.85), "--get", "/v1/entitlement")


@pytest.mark.parametrize("ids", ["random", "ordered"])
def test_durable_event_rate(bench: Bench, ids: str) -> None:
    """One event per request, on disk before the answer; the ledger on a memory file system, so without the disk."""
    _race(bench, f"one durable event, {ids} ids", at_least(0.85), at_most(1.15), "--ids", ids)


@pytest.mark.parametrize("header", ["X-Request-ID", "Referer"])
def test_durable_event_with_its_own_head(bench: Bench, header: str) -> None:
    """No two heads are alike: by a header that is left out before the parser, and by one for which each is parsed."""
    _race(bench, f"one durable event, an own {header}", at_least(0.85), at_most(1.15), "--header", header)


def test_durable_event_from_one_connection(bench: Bench) -> None:
    """One connection: nothing is gathered, so each event has a commit of its own."""
    _race(bench, "one durable event, one connection", at_least(0.25), at_most(2.5), "--clients", "1")


@pytest.mark.parametrize("environment", ["disk"], indirect=True)
def test_events_on_disk(bench: Bench) -> None:
    """The same on the disk of this folder, next to the fsyncs that it does alone."""
    ours = _Side(bench, bench.environment.api, bench.pid)
    fsyncs: list[float] = []
    rates: list[float] = []
    for _ in range(ROUNDS):
        rates.append(ours.rate())
        fsyncs.append(_fsync_rate(bench.environment.folder / "fsync"))
    rate, fsync = statistics.median(rates), statistics.median(fsyncs)
    tell(f"{'POST /v1/usage, ledger on disk':<44} ours {rate:>10,.4g} /s, the disk alone {fsync:,.4g} fsync/s")
    ours.tell("ours")


@pytest.mark.parametrize("environment", ["disk"], indirect=True)
def test_latency_over_disk(bench: Bench) -> None:
    """One connection: the median answer over the median fdatasync of as many bytes as its commit writes.

    The bare handler, which has no disk, shows what of it is the machine's and aiohttp's.
    """
    ours = _Side(bench, bench.environment.api, bench.pid, "--clients", "1")
    bare = _Side(bench, bench.bare_port, bench.bare_pid, "--clients", "1")
    over: list[float] = []
    for _ in range(ROUNDS):
        ours.rate()
        bare.rate()
        over.append(ours.latencies[-1]["p50"] - _fdatasync_median(bench.environment.folder / "fdatasync"))
    ours.tell("ours")
    bare.tell("baseline")
    judge("one durable event, median over fdatasync", "ms", statistics.median(over), at_most(0.25))


def _fdatasync_median(path: Path) -> float:
    """Return the milliseconds in which a write of five pages into an allocated file becomes durable."""
    taken: list[float] = []
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.posix_fallocate(file, 0, 4 * 2**20)
        until = time.perf_counter() + 1.0
        while time.perf_counter() < until:
            began = time.perf_counter()
            os.pwrite(file, bytes(_COMMIT_BYTES), len(taken) % 128 * _COMMIT_BYTES)
            os.fdatasync(file)
            taken.append((time.perf_counter() - began) * 1000)
    finally:
        os.close(file)
    path.unlink()
    return statistics.median(taken)


def _fsync_rate(path: Path) -> float:
    """Return how often a second a 4 KiB append can be made durable."""
    with path.open("wb") as file:
        until = time.perf_counter() + 1.0
        done = 0
        while time.perf_counter() < until:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            done += 1
    path.unlink()
    return float(done)


def test_stalled_ledger(bench: Bench) -> None:
    """While a commit cannot end, requests are read and the gate answers; then all that gathered goes in together."""
    other = sqlite3.connect(bench.environment.folder / "ledger.db", isolation_level=None)
    finished: list[float] = []

    def report(number: int) -> None:
        event = {"id": f"stalled-{number}", "dimension": "requests"}
        assert 202 == request(bench.environment.api, "POST", "/v1/usage", event).status
        finished.append(time.perf_counter())

    other.execute("BEGIN IMMEDIATE")
    threads = [threading.Thread(target=report, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    asked: list[float] = []
    until = time.perf_counter() + STALL
    while time.perf_counter() < until:
        began = time.perf_counter()
        request(bench.environment.api, "GET", "/v1/entitlement")
        asked.append((time.perf_counter() - began) * 1000)
    early = len(finished)
    other.execute("ROLLBACK")
    released = time.perf_counter()
    other.close()
    for thread in threads:
        thread.join()
    last = (max(finished) - released) * 1000
    tell(
        f"a commit held up for {STALL:g} s: GET answered in {statistics.median(asked):.1f} ms (worst {max(asked):.1f} "
        f"of {len(asked)}); {early} of 32 POSTs answered before its end, the last {last:.0f} ms after it "
        "(SQLite looks again every 100 ms)"
    )
