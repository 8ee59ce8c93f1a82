"""The figures of a status: what the last commit left, also while a long step runs."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import datetime
from pathlib import Path

import pytest

from sidecar.adapters.ledger import figures
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.domain.metering.events import LedgerUnavailable, UsageBatch
from sidecar.domain.metering.hours import Hour, hour_of
from sidecar.domain.status import Figures
from tests.support.books import HOUR, NOW, RULES, event

LATER = NOW + 2 * HOUR
TEN = hour_of(NOW)
TURNS = 20
"""Of the loop: enough for an answer that waits for no step."""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep figures as long as a busy machine needs between two steps."""
    monkeypatch.setattr(figures, "KEPT_SECONDS", float("inf"))


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    """Return a ledger with usage of two dimensions."""
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    await ledger.take([UsageBatch((event("5"), event("2", dimension="peak")))], NOW)
    yield ledger
    await ledger.close()


@asynccontextmanager
async def long_step(ledger: Ledger, hour: Hour = TEN) -> AsyncIterator[None]:
    """Hold the seal of `peak` on the ledger's thread while the block runs."""
    began, may_end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def clock() -> datetime:
        loop.call_soon_threadsafe(began.set)
        may_end.wait()
        return LATER

    step = asyncio.create_task(ledger.seal(hour, "peak", clock, None))
    try:
        await began.wait()
        yield
    finally:
        may_end.set()
        await step


async def asked(ledger: Ledger) -> tuple[asyncio.Task[Figures], bool]:
    """Ask for the figures; return the question, and whether it has its answer without a step's end."""
    question = asyncio.create_task(ledger.figures())
    for _ in range(TURNS):
        await asyncio.sleep(0)
    return question, question.done()


def open_of(found: Figures) -> dict[str, int]:
    """Return what is open by dimension, in whole numbers."""
    return {name: terms.open // 1_000_000 for name, terms in found.terms.items() if terms.open}


async def seal(ledger: Ledger, clock: Callable[[], datetime] = lambda: LATER) -> None:
    """Seal the hour of `requests`."""
    await ledger.seal(TEN, "requests", clock, None)


async def test_answer_during_a_long_step(ledger: Ledger) -> None:
    """A caller that comes during a long step gets what the long step before it left, and waits for no step."""
    await seal(ledger)
    async with long_step(ledger):
        question, answered = await asked(ledger)
        assert answered
    during, after = await question, await ledger.figures()
    assert ({"peak": 2}, {}) == (open_of(during), open_of(after))
    assert 5_000_000 == during.terms["requests"].sealed
    assert (await ledger.terms()) == after.terms


async def test_stored_usage_is_in_the_answer(ledger: Ledger) -> None:
    """Usage that was acknowledged is in each later answer, also in one that must wait for a long step."""
    await seal(ledger)
    await ledger.take([UsageBatch((event("3", at=NOW + HOUR),))], NOW + HOUR)
    async with long_step(ledger):
        question, answered = await asked(ledger)
        assert not answered
    assert 8_000_000 == (await question).terms["requests"].accepted


async def test_failed_step_leaves_no_answer(ledger: Ledger) -> None:
    """After a long step that failed, a caller waits for figures that are read anew."""

    def fail() -> datetime:
        raise LookupError("no clock")

    await seal(ledger)
    with pytest.raises(LookupError):
        await seal(ledger, fail)
    async with long_step(ledger):
        question, answered = await asked(ledger)
        assert not answered
    assert {} == open_of(await question)


async def test_fault_is_no_answer(ledger: Ledger) -> None:
    """While the ledger cannot be used, no caller gets what an earlier step left."""
    await seal(ledger)
    ledger.fault = "disk I/O error"
    async with long_step(ledger):
        _, answered = await asked(ledger)
        assert not answered


async def test_reading_keeps_the_answer(ledger: Ledger) -> None:
    """A listing or another look between two long steps changes nothing: callers still wait for no step."""
    await seal(ledger)
    assert await ledger.open_buckets()
    assert await ledger.waiting()
    async with long_step(ledger):
        _, answered = await asked(ledger)
        assert answered


async def test_unreadable_figures_end_no_step(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long step whose figures cannot be read is done all the same, and the next caller finds the reason."""
    broken = "SELECT value FROM missing"
    monkeypatch.setattr("sidecar.adapters.ledger.queries.progress", lambda connection: connection.execute(broken))
    await seal(ledger)
    assert [5_000_000] == [record.quantity for record in await ledger.waiting()]
    with pytest.raises(LedgerUnavailable, match="missing"):
        await ledger.figures()


async def test_old_figures_are_no_answer(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that hangs keeps its callers waiting: figures of a few seconds ago would look healthy."""
    await seal(ledger)
    monkeypatch.setattr(figures, "KEPT_SECONDS", 0.0)
    async with long_step(ledger):
        _, answered = await asked(ledger)
        assert not answered


async def test_no_answer_goes_back(ledger: Ledger, tmp_path: Path) -> None:
    """What another process has changed, and a caller has seen, is in the answers during the next long step."""
    await seal(ledger)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as other, other:
        other.execute("UPDATE record SET status = 'unbilled', reason = 'in-doubt: unknown'")
    before = await ledger.figures()
    async with long_step(ledger):
        question, answered = await asked(ledger)
        assert answered
    assert (1, 1) == (before.progress.in_doubt, (await question).progress.in_doubt)
