"""What an event costs the ledger over its whole life, by the order of the ids: intake, merges, and its hour's end.

Processor time of the ledger alone: no request, and a ledger in memory where there is such a place.
"""

import os
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.adapters.ledger.ledger import Ledger
from sidecar.domain.metering.events import UsageBatch
from sidecar.domain.metering.hours import hour_of
from tests.bench.conftest import MEMORY
from tests.bench.measuring import at_least, compare
from tests.support.books import HOUR, NOW, RULES, event

pytestmark = pytest.mark.timeout(0)

EVENTS = int(os.environ.get("BENCH_EVENTS", "300000"))
"""Of one hour; the figures in the documents are of 10,000,000."""
BATCH = 500


def growing(number: int) -> str:
    """Return an id that grows with its number, as UUIDv7 do."""
    return f"018f3c5e-0000-7000-8000-{number:012x}"


def in_random_order(_number: int) -> str:
    """Return a UUIDv4."""
    return str(uuid.uuid4())


async def live(path: Path, name: Callable[[int], str]) -> float:
    """Take the events of an hour, seal it and drop what has served its time; events in a second of processor time."""
    ledger = Ledger(path, RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    spent = 0.0
    for start in range(0, EVENTS, BATCH):
        batch = UsageBatch([event(id=name(number)) for number in range(start, start + BATCH)])
        began = time.process_time()
        await ledger.take([batch], NOW)
        spent += time.process_time() - began
    later, began = NOW + HOUR, time.process_time()
    await ledger.seal(hour_of(NOW), "requests", lambda: later, None)
    while await ledger.prune(later):
        pass
    spent += time.process_time() - began
    await ledger.close()
    return EVENTS / spent


async def test_order_of_ids(tmp_path: Path) -> None:
    """Ids in random order cost at most twice what ids cost that grow."""
    rates: tuple[list[float], list[float]] = ([], [])
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path) as folder:
        for turn in range(3):
            for each, name in zip(rates, (in_random_order, growing), strict=True):
                each.append(await live(Path(folder, f"{turn}-{name.__name__}.db"), name))
    compare(f"random over growing ids, {EVENTS:,} events of an hour", "events/s", at_least(0.5), rates)
