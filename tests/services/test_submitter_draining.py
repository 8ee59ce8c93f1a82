"""A drain in which AWS refuses a record, or does not answer: what waits behind it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from sidecar.marketplace import MeterUsageRequest
from sidecar.marketplace.errors import NoAnswer
from tests.support.books import HOUR, NOW, event
from tests.support.tools import PATIENCE

if TYPE_CHECKING:
    from tests.services.conftest import Metering


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.services.submitter.DRAIN_RETRY_SECONDS", 0.0)


async def drain_until_hour(
    metering: "Metering", hour: int, call: Callable[[MeterUsageRequest], Awaitable[object]], *, ending: bool
) -> None:
    """Drain until a record of `hour` is sent, then cut the drain off; `call` answers the others."""
    sent = asyncio.Event()

    async def answer(request: MeterUsageRequest) -> None:
        if request.timestamp.hour == hour:
            sent.set()
        else:
            await call(request)

    metering.marketplace.wait = answer
    drain = asyncio.create_task(metering.submitter.drain(ending=ending))
    async with asyncio.timeout(PATIENCE):
        await sent.wait()
        await metering.clock.settle()
    drain.cancel()
    await asyncio.wait([drain])


async def refuse_oldest(request: MeterUsageRequest) -> None:
    """Answer one record with nothing that proves anything, as a proxy does that takes no large body."""
    if request.timestamp.hour == 8:
        raise NoAnswer("413 without an error of the service")


@pytest.mark.parametrize(("ending", "hour"), [(False, 9), (True, 10)])
async def test_record_without_answer_blocks_no_hour(metering: "Metering", hour: int, *, ending: bool) -> None:
    """A record that never gets a usable answer keeps no later hour of its dimension from being sent."""
    metering.use(event("1", at=NOW - 2 * HOUR), event("5", at=NOW - HOUR), event("7"))
    await drain_until_hour(metering, hour, refuse_oldest, ending=ending)
    taken = {name: request.usage_quantity_as_decimal for (name, _), request in metering.marketplace.taken.items()}
    assert ("1", "7" if ending else "5") == (metering.books.shown()["sealed"], taken["requests"])
