"""What one sidecar costs: processor time of 1,000 events or questions, and memory. docs/performance.md shows it."""

import os
import statistics
import time

import pytest

from tests.bench.conftest import Bench
from tests.bench.measuring import ROUNDS, cpu_seconds, memory, tell

pytestmark = pytest.mark.timeout(900)

SECONDS = os.environ.get("BENCH_SECONDS", "3")
WORK = {
    "GET /v1/entitlement, 32 connections": ("--get", "/v1/entitlement"),
    "one by one, 1 connection": ("--clients", "1"),
    "one by one, 32 connections": (),
    "batches of 10, 4 connections": ("--batch", "10", "--clients", "4"),
    "batches of 100, 4 connections": ("--batch", "100", "--clients", "4"),
    "batches of 1,000, 4 connections": ("--batch", "1000", "--clients", "4"),
}


@pytest.mark.parametrize("environment", ["disk"], indirect=True)
def test_cost(bench: Bench) -> None:
    """Each kind of work in turn, with random ids and the ledger on disk."""
    costs: dict[str, list[float]] = {name: [] for name in WORK}
    rates: dict[str, list[float]] = {name: [] for name in WORK}
    idle = memory(bench.pid)["Rss"]
    for _ in range(ROUNDS):
        for name, options in WORK.items():
            size = int(options[1]) if "--batch" in options else 1
            before = cpu_seconds(bench.pid)
            figures = bench.drive(bench.environment.api, *options, "--seconds", SECONDS)
            done = figures["requests"] * size
            costs[name].append((cpu_seconds(bench.pid) - before) / done * 1_000_000)
            rates[name].append(figures["rate"] * size)
    for name in WORK:
        rate = statistics.median(rates[name])
        tell(f"{name:<40} {_spread(costs[name])} ms of processor for 1,000, at {rate:>8,.0f} /s")
    time.sleep(1)
    tell(f"memory: {idle:.1f} MiB idle, {memory(bench.pid)['Rss']:.1f} MiB after it")


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):>8,.1f} ({min(values):,.1f}..{max(values):,.1f})"
