"""The way of counters into the ledger: their samples, and what these bill, in one durable commit.

The ledger notes once when this pod began to count, before the first sample: a counter that starts later counts from
zero.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from sidecar.domain.entitlement.states import Entitlement, State
from sidecar.domain.metering.denial import Right
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.metering.hours import to_micros
from sidecar.domain.metering.series import SeriesBatch, SeriesReceipt
from sidecar.domain.ports import Clock


class SeriesStore(Protocol):
    """What counting needs of the ledger."""

    async def begin_series(self, origins: Mapping[str, str], at: datetime) -> None:
        """Note the sources of this process, before their first sample."""

    async def take_series(self, batches: Sequence[SeriesBatch], now: datetime) -> list[SeriesReceipt]:
        """Judge samples, and store the new states and the usage in one durable commit."""


class SystemTime(Clock, Protocol):
    """The clock of the pod."""

    def booted_at(self) -> datetime:
        """Return when the machine started, by the present clock: it moves only when the clock is set."""


def right_of(entitlement: Entitlement) -> Right:
    """Return what AWS has answered, as counters are judged by it."""
    match entitlement.state:
        case State.ENTITLED:
            return Right.ENTITLED
        case State.DENIED:
            return Right.DENIED
        case State.PENDING | State.UNAVAILABLE | State.SUSPENDED:
            return Right.UNDECIDED


class Counters:
    """The counters of one process."""

    def __init__(self, *, origins: Mapping[str, str], store: SeriesStore, clock: Clock, system: SystemTime) -> None:
        """Make the way.

        Args:
            origins: Where the counters of each dimension come from; of all sources that count.
            store: The ledger.
            clock: Decides the hour.
            system: The clock of the pod, which dates counters and their starts. It differs only with an emulator.
        """
        self._origins = origins
        self._store = store
        self._clock = clock
        self._system = system
        self._since: datetime | None = None
        """When counting was first to begin, also if the ledger could not note it then."""
        self._begun = False

    @property
    def instant(self) -> int:
        """The present instant by the system clock, in epoch microseconds."""
        return to_micros(self._system.now())

    @property
    def shift(self) -> int:
        """Microseconds from the system clock to the clock that decides the hour."""
        return to_micros(self._clock.now()) - self.instant

    @property
    def booted_at(self) -> int:
        """When the machine started by the present clock, in epoch microseconds."""
        return to_micros(self._system.booted_at())

    async def begin(self) -> None:
        """Note that counting begins; if the ledger refuses, the first samples do it."""
        with suppress(LedgerUnavailable):
            await self._begin()

    async def take(self, batches: Sequence[SeriesBatch]) -> list[SeriesReceipt]:
        """Return once the batches are on disk.

        Raises:
            LedgerUnavailable: Nothing is stored; the same samples may be given again.
        """
        await self._begin()
        return await self._store.take_series(batches, self._clock.now())

    async def _begin(self) -> None:
        if not self._begun:
            self._since = self._since or self._system.now()
            await self._store.begin_series(self._origins, self._since)
            self._begun = True
