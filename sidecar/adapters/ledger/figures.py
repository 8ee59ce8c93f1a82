"""The figures of a status, kept for callers that come while a long step runs.

Sealing, submitting and pruning are steps of up to 25 ms, one after the other. Each of them ends with reading the
figures, and a caller that comes during the next one gets these: they are what the last commit of this process left.
Every other step that may change something drops them before it begins, and its caller gets its answer after that. A
change by another process is seen at the end of the step that runs. Without such a step, and where the figures are older
than a few seconds, each caller asks the ledger's thread: a step that hangs does not look healthy.
"""

import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress

from sidecar.adapters.ledger import conservation, queries
from sidecar.adapters.ledger.access import Result
from sidecar.adapters.ledger.bounded import BoundedAccess
from sidecar.adapters.ledger.store import Store
from sidecar.adapters.ledger.windows import one_instant
from sidecar.domain.status import Figures

KEPT_SECONDS = 5.0
"""How old kept figures may be; long steps follow each other much sooner, and read them anew."""


class FiguresAccess(BoundedAccess):
    """The file of a ledger, and the figures of its status. `Ledger` adds the steps."""

    _long_steps = 0
    """Long steps that were handed in and have no outcome yet."""
    _read_at = 0.0
    """When the kept figures were read, by the monotonic clock."""

    async def figures(self) -> Figures:
        """Return what a status shows of the ledger, no older than the last commit of which a caller knows.

        Raises:
            LedgerUnavailable: It cannot be read.
        """
        kept = self._figures
        is_recent = time.monotonic() - self._read_at < KEPT_SECONDS
        if self._long_steps and kept is not None and is_recent and self.fault is None:
            return kept
        return await self._read_store(self._read_figures)

    async def _run_long(self, work: Callable[[Store], Result]) -> Result:
        """Do one long piece of work on the ledger's thread, and read the figures after it."""

        def run(store: Store) -> Result:
            try:
                result = work(store)
            finally:
                self._figures = None
            # The work is done and stays done. Figures that cannot be read are the next caller's to find.
            with suppress(sqlite3.Error, ValueError, OverflowError), one_instant(store.connection):
                self._read_figures(store)
            return result

        self._long_steps += 1
        try:
            return await self._run(run, keeps_figures=True)
        finally:
            self._long_steps -= 1

    async def _write_long(self, step: Callable[[Store], Result]) -> Result:
        """Do what `_write` does, as a long step."""

        def run(store: Store) -> Result:
            with store.transaction():
                return step(store)

        return await self._run_long(run)

    def _read_figures(self, store: Store) -> Figures:
        """Read the figures and keep them: no later answer goes back behind this one."""
        self._figures = None
        connection = store.connection
        figures = Figures(
            progress=queries.progress(connection),
            terms=conservation.terms(connection, store.totals.quantities(connection)),
            size=self.size(),
        )
        self._figures, self._read_at = figures, time.monotonic()
        return figures

    def size(self) -> int | None:
        """Return the bytes of the ledger's files, None while they cannot be seen."""
        try:
            return sum(part.stat().st_size for part in self.path.parent.glob(self.path.name + "*") if part.is_file())
        except OSError:
            return None
