"""An attempt that a cancellation cuts off counts only if its call may have left."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar.domain.metering.records import FrozenRecord, Record
from sidecar.marketplace import MeterUsageRequest
from sidecar.marketplace.passage import mark_unsent
from tests.services.probing import Pod
from tests.support.books import HOUR, NOW, RULES, event

if TYPE_CHECKING:
    from tests.conftest import ManualClock
    from tests.services.conftest import Metering

AT_ONCE = replace(RULES, spread=timedelta())


async def connect(_: MeterUsageRequest) -> None:
    """Never get a connection."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError as cut:
        mark_unsent(cut)
        raise


async def travel(_: MeterUsageRequest) -> None:
    """Have left, and get no answer."""
    await asyncio.Event().wait()


def unanswered(metering: "Metering") -> list[int]:
    """Return the attempts without an answer of each record."""
    rows = metering.books.store.connection.execute("SELECT unanswered FROM record ORDER BY seq")
    return [row["unanswered"] for row in rows]


@pytest.mark.parametrize(("call", "left"), [(connect, {"submitted": "5"}), (travel, {"unbilled": "5"})])
async def test_end_during_outage(
    metering: "Metering", call: Callable[[MeterUsageRequest], Awaitable[None]], left: dict[str, str]
) -> None:
    """The successor carries what was cut off before it left; anything else is in doubt."""
    metering.marketplace.wait = call
    metering.use(event("5", at=NOW - HOUR))
    await metering.start(AT_ONCE)
    await metering.kill()
    drain = asyncio.create_task(metering.submitter.drain(ending=True))
    await metering.clock.settle()
    drain.cancel()
    await asyncio.wait([drain])

    metering.books.restart("pod-2")
    metering.books.pass_time(HOUR)
    metering.books.seal_ended()
    metering.books.submit_all()
    assert {"accepted": "5", **left} == metering.books.shown()


async def test_cut_while_counting(metering: "Metering", monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut while the ledger counts the attempt undoes the count."""
    begin = metering.shelf.begin

    async def begin_slowly(record: Record, now: datetime) -> FrozenRecord | None:
        frozen = await begin(record, now)
        await asyncio.Event().wait()
        return frozen

    monkeypatch.setattr(metering.shelf, "begin", begin_slowly)
    metering.use(event("5", at=NOW - HOUR))
    await metering.start(AT_ONCE)
    counted = unanswered(metering)
    await metering.kill()
    assert ([1], [0]) == (counted, unanswered(metering))


async def test_count_stays_without_ledger(metering: "Metering") -> None:
    """Where the ledger refuses to undo the count, the process ends, and the attempt stays counted."""
    metering.marketplace.wait = connect
    metering.use(event("5", at=NOW - HOUR))
    await metering.start(AT_ONCE)
    metering.shelf.failing = ["settle"]
    await metering.kill()
    assert [1] == unanswered(metering)


async def test_ledger_of_another_dimension_fails(metering: "Metering") -> None:
    """A dimension whose record cannot be written cuts the calls of the others off, and they stay uncounted."""
    metering.marketplace.wait = connect
    metering.use(event("5", at=NOW - HOUR, dimension="peak"), event("5", at=NOW - HOUR))
    await metering.start(AT_ONCE)
    await metering.kill()
    begin = metering.shelf.begin

    async def fail_second(record: Record, now: datetime) -> FrozenRecord | None:
        metering.shelf.failing = ["begin"] if record.dimension == "requests" else []
        return await begin(record, now)

    metering.shelf.begin = fail_second  # type: ignore[method-assign]
    await metering.start(AT_ONCE)
    assert [0, 0] == unanswered(metering)


async def test_probe_that_never_left(clock: "ManualClock", tmp_path: Path) -> None:
    """A start probe that was cut off before it left frees its slot at the pod's end."""
    pod = Pod(clock, tmp_path / "ledger.db")
    pod.aws.wait = connect
    await pod.start()
    frozen = [record.kind for record in pod.books.records()]
    await pod.end()
    left = pod.books.records()
    pod.close()
    assert (["probe"], []) == (frozen, left)
