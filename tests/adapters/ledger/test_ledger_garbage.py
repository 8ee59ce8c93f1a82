"""What refused usage leaves in memory: nothing that waits for the garbage collector, whose full runs are rare."""

import asyncio
import gc
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar.adapters.ledger.ledger import Ledger
from sidecar.domain.metering.events import IdReused, LedgerUnavailable, UsageBatch, UsageEvent
from sidecar.services.intake import UsageIntake
from tests.services.fakes import OpenGate
from tests.support.books import NOW, RULES, event

if TYPE_CHECKING:
    from tests.conftest import ManualClock

MANY = 500


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    """Return a ledger that has taken the id `used`."""
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    await ledger.take([UsageBatch((event("5", id="used"),))], NOW)
    yield ledger
    await ledger.close()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Let the garbage collector free nothing."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def batch(name: str, *more: UsageEvent) -> UsageBatch:
    """Return a batch of many events."""
    return UsageBatch((*(event("1", id=f"{name}-{number}") for number in range(MANY)), *more))


def alive(name: str) -> int:
    """Return how many events of a batch are in memory."""
    found = (each for each in gc.get_objects() if type(each) is UsageEvent)
    return sum(each.id is not None and each.id.startswith(f"{name}-") for each in found)


@pytest.mark.usefixtures("uncollected")
async def test_refused_batch_is_freed(ledger: Ledger) -> None:
    """A batch with an id that was used for another event is freed with its refusal."""
    (fate,) = await ledger.take([batch("refused", event("7", id="used"))], NOW)
    assert isinstance(fate, IdReused)
    await ledger.waiting()  # the thread has left the step before
    assert 0 == alive("refused")


@pytest.mark.usefixtures("uncollected")
async def test_batch_that_is_not_stored_is_freed(ledger: Ledger, clock: "ManualClock", tmp_path: Path) -> None:
    """A batch that the disk did not take is freed once its caller has the reason."""
    assert ledger._store is not None
    ledger._store.connection.execute("PRAGMA busy_timeout = 0")
    intake = UsageIntake(store=ledger, gate=OpenGate(), clock=clock)
    writer = asyncio.create_task(intake.run())
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "locked" in await refusal_of(intake, "unstored")
        other.execute("ROLLBACK")
    intake.close()
    await writer
    await ledger.waiting()
    assert 0 == alive("unstored")


async def refusal_of(intake: UsageIntake, name: str) -> str:
    """Return why a batch was not stored."""
    try:
        await intake.take(batch(name))
    except LedgerUnavailable as error:
        return str(error)
    raise AssertionError("it was stored")
