"""Waits for a change of the entitlement, and logs each one that an operator wants to see."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from structlog.typing import FilteringBoundLogger

from sidecar.domain.entitlement.states import Entitlement, EntitlementSource, State
from sidecar.domain.ports import Clock

ASK_AGAIN: Final = timedelta(minutes=5)
"""Between the calls of a pod that was refused; for a contract price, unless `license.refresh` is shorter."""
LOG_AGAIN: Final = timedelta(minutes=1)
"""Between two lines about calls that fail for the same reason."""


class GateChanges:
    """The changes of one entitlement.

    `next_change` returns the next instant at which time alone may change it; `name` is how the names of the events
    begin.
    """

    def __init__(
        self,
        *,
        read: Callable[[], Entitlement],
        next_change: Callable[[datetime], datetime | None],
        clock: Clock,
        log: FilteringBoundLogger,
        name: str,
    ) -> None:
        self._read = read
        self._next_change = next_change
        self._clock = clock
        self._log = log
        self._name = name
        self._moved = asyncio.Event()
        self._reported = _report(read())

    def note(self) -> None:
        """Something has moved: wake who waits, and log a change."""
        self.wake()
        entitlement = self._read()
        report = _report(entitlement)
        if report == self._reported:
            return
        self._reported = report
        self._log.log(
            _level(entitlement),
            f"{self._name}.{entitlement.state}",
            reason=entitlement.reason,
            detail=entitlement.detail,
            source=entitlement.source,
            until=None if entitlement.until is None else entitlement.until.isoformat(),
        )

    def wake(self) -> None:
        """End the running waits."""
        self._moved.set()
        self._moved = asyncio.Event()

    async def wait_while(self, state: State, timeout: timedelta) -> Entitlement:
        """Return the entitlement as soon as its state differs from `state`, or after `timeout` of real time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout.total_seconds()
        while True:
            entitlement = self._read()
            left = deadline - loop.time()
            if entitlement.state is not state or left <= 0:
                return entitlement
            await self.pause(self._next_change(self._clock.now()), left)

    async def pause(self, until: datetime | None, timeout: float | None = None) -> None:
        """Return when the clock has reached `until`, something has moved, or `timeout` real seconds are over."""
        waits: list[asyncio.Task[object]] = [asyncio.create_task(self._moved.wait())]
        if until is not None:
            waits.append(asyncio.create_task(self._clock.sleep_until(until)))
        try:
            done, _ = await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            for wait in done:
                wait.result()
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.wait(waits)


def _level(entitlement: Entitlement) -> int:
    if entitlement.state in {State.DENIED, State.SUSPENDED}:
        return logging.ERROR
    if entitlement.entitled and entitlement.source is not EntitlementSource.REMEMBERED:
        return logging.INFO
    return logging.WARNING


def _report(entitlement: Entitlement) -> tuple[State, EntitlementSource, str]:
    """Return what makes a change worth a line; reasons of waiting have lines of their own."""
    reason = entitlement.reason if entitlement.state is State.DENIED else ""
    return entitlement.state, entitlement.source, reason
