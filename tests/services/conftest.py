"""A pod that meters: the real submitter over a real ledger file, a scripted service, and a clock that does not move."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar.adapters.ledger.courses import read_courses
from sidecar.domain.entitlement.states import State
from sidecar.domain.metering.events import UsageEvent
from sidecar.domain.metering.rules import MeteringRules
from sidecar.services.faults import FaultRegister
from sidecar.services.submitter import LONGEST_SLEEP, Submitter
from tests.services.fakes import Marketplace, OpenGate, Shelf
from tests.services.probing import Pod
from tests.support.books import RULES, Books

if TYPE_CHECKING:
    from tests.conftest import ManualClock


class Metering:
    """One pod whose submitter may be started, killed and started again."""

    def __init__(self, clock: "ManualClock", path: Path) -> None:
        self.clock = clock
        self.books = Books(path, RULES, now=clock.now(), durable=False)
        self.shelf = Shelf(self.books)
        self.marketplace = Marketplace(clock.now)
        self.gate = OpenGate(State.PENDING)
        self.refusing_since: datetime | None = None
        """Since when usage is refused for lack of room."""
        self.submitter = self.make()
        self.process: asyncio.Task[None] | None = None

    def make(self, rules: MeteringRules = RULES, longest_sleep: timedelta = LONGEST_SLEEP) -> Submitter:
        """Make the submitter of a new process."""
        self.books.rules = rules
        self.faults = FaultRegister()
        self.submitter = Submitter(
            store=self.shelf,
            client=self.marketplace,
            gate=self.gate,
            clock=self.clock,
            rules=rules,
            pod="pod-1",
            random=lambda: 0.5,
            faults=self.faults,
            courses=read_courses(self.books.store.connection),
            refusing_since=lambda: self.refusing_since,
            longest_sleep=longest_sleep,
        )
        return self.submitter

    async def start(self, rules: MeteringRules = RULES) -> Submitter:
        """Start a new process in place of the running one."""
        await self.kill()
        submitter = self.make(rules)
        self.process = asyncio.create_task(submitter.run())
        await self.clock.settle()
        return submitter

    async def kill(self) -> None:
        """Let the running process go as it stands."""
        if self.process is not None:
            self.process.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.process
            self.process = None

    def use(self, *events: UsageEvent) -> None:
        """Take usage now."""
        self.books.now = self.clock.now()
        self.books.take(*events)

    async def until(self, hour: int, minute: int = 0, second: int = 0) -> None:
        """Let time pass to an instant of the same day."""
        target = self.clock.now().replace(hour=hour, minute=minute, second=second, microsecond=0)
        await self.clock.advance(target - self.clock.now())

    @property
    def sent(self) -> list[tuple[str, int, str | None]]:
        """Every attempt: dimension, hour of the day, quantity."""
        return [
            (request.usage_dimension, request.timestamp.hour, request.usage_quantity_as_decimal)
            for request in self.marketplace.requests
        ]

    def statuses(self) -> list[tuple[str, str | None]]:
        """Every record: status and the first word of its reason."""
        return [
            (record.status, None if record.reason is None else record.reason.partition(":")[0])
            for record in self.books.records()
        ]

    def waits(self) -> list[float]:
        """Return the seconds between the attempts."""
        times: list[datetime] = self.marketplace.called_at
        return [(after - before) / timedelta(seconds=1) for before, after in pairwise(times)]


@pytest.fixture
async def metering(clock: "ManualClock", tmp_path: Path) -> AsyncIterator[Metering]:
    """Set up a pod at 10:20 whose books must balance when the test is over."""
    metering = Metering(clock, tmp_path / "ledger.db")
    yield metering
    await metering.kill()
    breaches = metering.books.breaches()
    metering.books.close()
    assert [] == breaches


@pytest.fixture
async def pod(clock: "ManualClock", tmp_path: Path) -> AsyncIterator[Pod]:
    """A pod of a subscribed account, not started yet."""
    pod = Pod(clock, tmp_path / "ledger.db")
    yield pod
    await pod.kill()
    pod.close()
