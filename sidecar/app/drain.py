"""The end of the process: submits what is due, then the open hour if the pod terminates, within the time that is left.

Seats of a contract price return together with the open hour, if the pod terminates.

The drain rests on the two deadlines of `pod_end`; the first one leaves the open hour its reserve. The open hour shares
the reserve with late usage, which the submitter sends before it for a few seconds at most, and with the last sample,
which has LAST_SAMPLE from the start in any case: it is usage of the open hour.

Whatever a deadline cuts off is in the ledger, and the next start on it submits it, unless the ledger cannot be used.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog

from sidecar.app.pod_end import KnownEnd
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.pod.lifecycle import PodEnd

QUIET_PERIOD = timedelta(seconds=2)
"""How long no usage must have come before the intake closes: the app may still be finishing its own requests."""
LAST_SAMPLE = timedelta(seconds=5)
"""What the last sample may take of the reserve: an app that shuts down may accept the question and never answer."""
LATE_STATUS = timedelta(seconds=5)
"""What a status that may lag behind the pod's end may take of the reserve."""

log = structlog.get_logger()


class Draining(Protocol):
    """What the drain needs of the submitter, and of the gate of a contract price."""

    async def drain(self, *, ending: bool) -> None:
        """Submit until nothing waits; if the pod itself is `ending`, the open hour too, and return every seat."""


class Finishing(Protocol):
    """What the drain needs of the sources."""

    async def finish(self) -> None:
        """Take the last sample, once, and store what is not in the ledger yet."""


class Closing(Protocol):
    """What the drain needs of the intake."""

    @property
    def last_taken(self) -> float:
        """When a batch last came, in the loop's time."""

    def close(self) -> None:
        """Refuse further usage; batches that wait are still stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """One drain of one process."""

    submitter: Draining
    intake: Closing
    sources: Sequence[Finishing]
    storing: asyncio.Task[None]
    """Stores what the intake holds, and ends after `intake.close()` once all of it is stored."""
    stop_api: Callable[[], Awaitable[None]]
    timeout: timedelta
    """shutdown.timeout."""
    ask_end: Callable[[], Awaitable[PodEnd | None]]
    """Asks the cluster whether the pod terminates; None without an answer. A restarted container must not seal the
    open hour."""
    ledger_fault: Callable[[], str | None]
    """Returns why the ledger could not be used the last time; None while it can."""
    seats: Draining | None = None
    """Holds seats of a contract price; None for every other price."""

    async def run(self) -> None:
        """Drain. Raises only what ended the intake."""
        known = KnownEnd(self.ask_end, self.timeout)
        following = asyncio.create_task(known.follow(), name="pod's end")
        try:
            # The whole. It holds without an answer as well: nothing here waits longer for the cluster.
            async with asyncio.timeout_at(known.at) as whole:
                await self._take_last_sample(known)
                await self._submit_ended_hours(known)
                await self._wait_for_status(known)
                # From here on no usage may come, or the open hour would be sealed without it.
                await self.stop_api()
                self.intake.close()
                await self.storing
                # The whole, shortened to the rest of the grace period. It may have passed already; then the open hour
                # is cut off at its first wait.
                await known.answered.wait()
                following.cancel()
                whole.reschedule(known.at)
                # Again, because the ledger may have refused the last sample before.
                await self._finish_sources()
                await self._end(ending=known.ending)
        except TimeoutError:
            fault = self.ledger_fault()
            if fault is None:
                log.warning("shutdown.incomplete", cure="The rest is in the ledger; the next start on it submits it.")
            else:
                _report_unavailable(fault)
        except LedgerUnavailable as error:
            _report_unavailable(str(error))
        else:
            log.info("sidecar.stopped")
        finally:
            self.intake.close()
            following.cancel()
            # A deadline that passed during `await self.storing` has cancelled it: what it still held was not
            # acknowledged. Otherwise the intake stores the rest, without a deadline, because a write ends by itself.
            await asyncio.wait([self.storing, following])

    async def _finish_sources(self) -> None:
        for sources in self.sources:
            await sources.finish()

    async def _end(self, *, ending: bool) -> None:
        """Submit the open hour, and return the seats meanwhile: neither waits for the other's service."""
        seats = asyncio.create_task(self._return_seats(ending=ending))
        try:
            await self.submitter.drain(ending=ending)
            await seats
        finally:
            seats.cancel()
            await asyncio.wait([seats])

    async def _return_seats(self, *, ending: bool) -> None:
        if self.seats is not None:
            await self.seats.drain(ending=ending)

    async def _take_last_sample(self, known: KnownEnd) -> None:
        """Finish the sources: measured time ends with the signal, for the app's containers have ended, or end now."""
        try:
            async with known.before_reserve(LAST_SAMPLE):
                await self._finish_sources()
        except TimeoutError:
            log.warning("shutdown.last_sample_missed", cure="What the app counted after its last page may be missing.")

    async def _submit_ended_hours(self, known: KnownEnd) -> None:
        """Submit the ended hours and wait until the app is quiet, at most until the first deadline."""
        try:
            async with known.before_reserve():
                await self.submitter.drain(ending=False)
                await self._wait_for_quiet()
        except TimeoutError:
            log.warning("shutdown.ended_hours_wait")

    async def _wait_for_status(self, known: KnownEnd) -> None:
        """Wait while a Job may have completed unseen. The API stays open: if this is a restart, the app still runs."""
        with suppress(TimeoutError):
            async with known.before_reserve(min(LATE_STATUS, self.timeout / 2)):
                await known.settled.wait()

    async def _wait_for_quiet(self) -> None:
        loop = asyncio.get_running_loop()
        while (left := self.intake.last_taken + QUIET_PERIOD.total_seconds() - loop.time()) > 0:  # noqa: ASYNC110 - a silence is no event
            await asyncio.sleep(left)


def _report_unavailable(detail: str) -> None:
    log.error("shutdown.ledger_unavailable", detail=detail)
