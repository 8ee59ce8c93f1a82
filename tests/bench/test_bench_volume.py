"""Many events: batches of 1,000 next to SQLite alone, then as many as BENCH_EVENTS says, and a restart after them."""

import itertools
import os
import sqlite3
import time
import uuid
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.commands.demo.environment import Environment, request, wait_for
from tests.bench.conftest import Bench, process_of
from tests.bench.measuring import alternate, at_least, at_most, compare, judge, memory, tell
from tests.bench.starting import first_answer

pytestmark = pytest.mark.timeout(3 * 60 * 60)

EVENTS = int(os.environ.get("BENCH_EVENTS", "300000"))
"""How many events the long run takes; 10,000,000 is what is asked for, and takes its time."""
SECONDS = os.environ.get("BENCH_SECONDS", "3")
BATCH = 1000
BASELINE_BATCHES = 100
WINDOWS = 5
MOST_IN_WINDOW = 200_000
"""Events of each window in the comparison of file sizes."""


def _sqlite_rate(folder: Path, number: int) -> float:
    """Return the rows a second of executemany with a commit per 1,000, into the columns of an event, id unique.

    The ids are random, as those of the load are.
    """
    path = folder / f"raw-{number}.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE event (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, dimension INTEGER, tag_set INTEGER,"
        " millionths INTEGER, value TEXT, given_at INTEGER, counted_at INTEGER, hour INTEGER, pod INTEGER,"
        " taken_at INTEGER) STRICT"
    )
    ids = [str(uuid.uuid4()) for _ in range(BASELINE_BATCHES * BATCH)]
    began = time.perf_counter()
    for start in range(0, len(ids), BATCH):
        rows = [(each, 1, 0, 1_500_000, None, None, 7, 3600, 1, 7) for each in ids[start : start + BATCH]]
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO event (id, dimension, tag_set, millionths, value, given_at, counted_at, hour, pod, taken_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        connection.execute("COMMIT")
    elapsed = time.perf_counter() - began
    connection.close()
    for part in folder.glob(path.name + "*"):
        part.unlink()
    return BASELINE_BATCHES * BATCH / elapsed


@pytest.mark.parametrize("environment", ["memory", "disk"], indirect=True)
def test_batch_rate(bench: Bench, request: pytest.FixtureRequest) -> None:
    """Batches of 1,000 events over HTTP from 4 connections, checked, de-duplicated, summed and durable."""
    numbers = itertools.count()

    def ours() -> float:
        figures = bench.drive(bench.environment.api, "--batch", str(BATCH), "--clients", "4", "--seconds", SECONDS)
        return float(figures["rate"]) * BATCH

    measured = alternate(ours, lambda: _sqlite_rate(bench.environment.folder, next(numbers)))
    place = request.node.callspec.params["environment"]
    compare(f"batches of 1,000, ledger in {place}", "events/s", at_least(0.35), measured)


def test_long_run(bench: Bench) -> None:
    """Memory stays flat over many events, and the start does not read what they left."""
    step = EVENTS // 10
    resident: list[float] = []
    began = time.perf_counter()
    for _ in range(10):
        figures = bench.drive(
            bench.environment.api, "--batch", str(BATCH), "--clients", "4", "--seconds", "3600", "--events", str(step)
        )
        assert figures["requests"] == step // BATCH
        resident.append(memory(bench.pid)["Rss"])
    elapsed = time.perf_counter() - began
    tell(f"{EVENTS:,} events in {elapsed:.0f} s; resident MiB by tenth: {' '.join(f'{size:.1f}' for size in resident)}")
    judge("memory, last tenth over the second", "x", resident[9] / resident[1], at_most(1.05))
    status = request(bench.environment.api, "GET", "/v1/status").document()
    assert status["conservation"]["balanced"] is True
    tell(f"  ledger {status['ledger']['bytes'] / 1e6:.1f} MB, {status['ledger']['bytes'] / EVENTS:.0f} bytes an event")
    _compare_restart(bench.environment)


def test_random_ids(bench: Bench) -> None:
    """Random ids beside ordered ones on one ledger that grows; the last tenth is what counts."""
    step = str(EVENTS // 20)
    rates: dict[str, list[float]] = {"random": [], "ordered": []}
    for _ in range(10):
        for ids, found in rates.items():
            options = ("--ids", ids, "--batch", str(BATCH), "--clients", "4", "--seconds", "3600", "--events", step)
            found.append(float(bench.drive(bench.environment.api, *options)["rate"]) * BATCH)
    for ids, found in rates.items():
        tell(f"  {ids} ids, events/s by tenth: {' '.join(f'{rate:,.0f}' for rate in found)}")
    last = [each[-3:] for each in rates.values()]
    compare(f"random over ordered ids at {EVENTS:,} events", "events/s", at_least(0.5), (last[0], last[1]))


def test_window_size(bench: Bench) -> None:
    """The file is bounded by the de-duplication window: as many events again, a window later, find their room."""
    count = str(min(EVENTS, MOST_IN_WINDOW))
    sizes: list[float] = []
    for _ in range(WINDOWS):
        bench.drive(
            bench.environment.api, "--batch", str(BATCH), "--clients", "4", "--seconds", "3600", "--events", count
        )
        sizes.append(request(bench.environment.api, "GET", "/v1/status").document()["ledger"]["bytes"] / 1e6)
        bench.environment.control("/_emulator/clock", {"advance": "27h"})
        wait_for("the old ids to be dropped", lambda: _kept_events(bench.environment.folder / "ledger.db") == 0)
    tell(f"ledger after each of {WINDOWS} windows of {count} events, MB: {' '.join(f'{size:.1f}' for size in sizes)}")
    judge("file size, last window over the second", "x", sizes[-1] / sizes[1], at_most(1.05))


def _kept_events(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        kept: int = connection.execute("SELECT count(*) FROM event").fetchone()[0]
    return kept


def _compare_restart(environment: Environment) -> None:
    """Compare the start on the full ledger with the start on a new one."""
    process = process_of(environment)
    process.kill()
    process.wait()
    ledger = environment.folder / "ledger.db"
    first_answer(environment)  # takes in the write-ahead log that the kill left

    def empty() -> float:
        parked = environment.folder / "parked"
        parked.mkdir()
        for part in environment.folder.glob(ledger.name + "*"):
            part.rename(parked / part.name)
        try:
            return first_answer(environment) * 1000
        finally:
            for part in environment.folder.glob(ledger.name + "*"):
                part.unlink()
            for part in parked.iterdir():
                part.rename(environment.folder / part.name)
            parked.rmdir()

    measured = alternate(lambda: first_answer(environment) * 1000, empty)
    compare("restart after it, over a start on nothing", "ms", at_most(1.2), measured)
    tell(f"  on the full ledger {min(measured[0]):.0f} ms at best, on none {min(measured[1]):.0f} ms")
