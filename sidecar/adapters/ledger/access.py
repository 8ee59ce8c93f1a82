"""Access to the ledger's file: one process, one thread, one connection, and a fresh one after a failure.

Each step is one transaction. A cancelled await does not cancel the step behind it; each step is complete by itself.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from sidecar.adapters.ledger.file import LedgerLock, LedgerUnusable, cure_for
from sidecar.adapters.ledger.file_guard import FileWatch, finish_restore
from sidecar.adapters.ledger.integrity import UNREADABLE_CURE, unreadable_row
from sidecar.adapters.ledger.space import Space
from sidecar.adapters.ledger.store import Store
from sidecar.adapters.ledger.thread import LedgerThread, Outcome
from sidecar.domain.metering.events import LedgerFull, LedgerUnavailable
from sidecar.domain.status import Figures

log = structlog.get_logger()
_UNUSED_CURE = (
    "The file is a copy of a ledger that was missing from its path, and is not used. Compare both with `ledger records"
    " --ledger`; if the ledger does not have its usage, let a sidecar run on the copy."
)

Result = TypeVar("Result")


class LedgerAccess:
    """The file of a ledger, held by this process. `BoundedAccess` adds its room, `Ledger` the steps."""

    def __init__(self, path: Path, space: Space, connect: Callable[[Path], sqlite3.Connection]) -> None:
        self.path = path
        self._space = space
        self._connect = connect
        self._thread = LedgerThread()
        self._lock: LedgerLock | None = None
        self._store: Store | None = None
        self._watch: FileWatch | None = None
        self._suspect = False
        self._was_restored = False
        self._unreadable: str | None = None
        self.fault: str | None = None
        """Why the ledger could not be used the last time; None while it can."""
        self._figures: Figures | None = None
        """As the last long step left them; None where a step since may have changed them."""

    def _connect_alone(self) -> None:
        self._lock = LedgerLock(self.path)
        self._space.begin()
        try:
            unused = finish_restore(self.path)
            if unused is not None:
                log.error("ledger.copy_unused", file=str(unused), cure=_UNUSED_CURE)
            store = Store(self._connect(self.path))
        except BaseException:
            self._space.end()
            self._lock.release()
            self._lock = None
            raise
        self._store = store
        try:
            self._follow(store)
        except (sqlite3.Error, OSError) as error:
            self._close()
            raise LedgerUnusable(self.path, str(error), cure_for(error)) from error
        self._watch = FileWatch(self.path)

    def _follow(self, store: Store) -> None:
        """Watch the totals and the room of a fresh connection."""
        store.totals.attach(store.connection)
        self._space.set_up(store.connection)

    async def close(self) -> None:
        """Close the file. Committed work is safe even if this is never reached."""
        await self._perform(self._close)
        self._thread.close()

    def _close(self) -> None:
        if self._store is not None:
            self._store.connection.close()
            self._space.end()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def _write(self, step: Callable[[Store], Result]) -> Result:
        def run(store: Store) -> Result:
            with store.transaction():
                return step(store)

        return await self._run(run)

    async def _read(self, look: Callable[[sqlite3.Connection], Result]) -> Result:
        return await self._read_store(lambda store: look(store.connection))

    async def _read_store(self, look: Callable[[Store], Result]) -> Result:
        def run(store: Store) -> Result:
            # At one instant: between two statements another command may resolve a record, and sums would not agree.
            store.connection.execute("BEGIN")
            try:
                return look(store)
            finally:
                with suppress(sqlite3.Error):
                    store.connection.execute("ROLLBACK")

        return await self._look(run)

    async def _look(self, look: Callable[[Store], Result]) -> Result:
        def run(store: Store) -> Result:
            try:
                return look(store)
            except sqlite3.Error as error:
                raise LedgerUnavailable(f"the ledger cannot be read: {error}") from error

        return await self._run(run, keeps_figures=True)

    def _hand_in(self, step: Callable[[], Result], then: Callable[[Outcome[Result]], None]) -> None:
        self._thread.hand_in(step, then)

    async def _perform(self, step: Callable[[], Result]) -> Result:
        future: asyncio.Future[Outcome[Result]] = asyncio.get_running_loop().create_future()
        self._hand_in(step, partial(_deliver, future))
        return (await future)()

    async def _run(self, work: Callable[[Store], Result], *, keeps_figures: bool = False) -> Result:
        """Do one piece of work on the ledger's thread, and note whether the ledger could be used.

        Args:
            work: The work.
            keeps_figures: It changes nothing of what a status shows, or reads the figures again itself.
        """
        future: asyncio.Future[Outcome[Result]] = asyncio.get_running_loop().create_future()
        self._start(work, partial(_deliver, future), self._use if keeps_figures else None)
        return (await future)()

    def _start(
        self,
        work: Callable[[Store], Result],
        then: Callable[[Outcome[Result]], None],
        use: Callable[[Callable[[Store], Result]], Result] | None = None,
    ) -> None:
        """Do what `_run` does; `then` gets the outcome, without a task in between."""
        self._hand_in(partial(use or self._change, work), lambda outcome: then(partial(self._note, outcome)))

    def _change(self, work: Callable[[Store], Result]) -> Result:
        self._figures = None  # before the commit, or a caller could get figures from before it
        return self._use(work)

    def _note(self, outcome: Outcome[Result]) -> Result:
        try:
            result = outcome()
        except LedgerFull:
            raise  # of a sound ledger; the watch over its room logs it
        except LedgerUnavailable as error:
            if self.fault is None:
                log.error("ledger.unavailable", path=str(self.path), detail=str(error))  # noqa: TRY400 - no bug: a state
            self.fault = str(error)
            raise
        if self._was_restored:
            self._was_restored = False
            log.warning("ledger.put_back", path=str(self.path), cure="Find out what removes it; nothing was lost.")
        if self.fault is not None:
            log.warning("ledger.recovered", path=str(self.path))
            self.fault = None
        return result

    def _use(self, work: Callable[[Store], Result]) -> Result:
        store = self._whole_store()
        try:
            return work(store)
        except LedgerUnavailable as error:
            self._doubt(error)
            raise
        except (ValueError, OverflowError) as error:
            # Looked for once: it reads the whole file, and the row is still there at the next try.
            self._unreadable = self._unreadable or unreadable_row(store.connection)
            if self._unreadable is None:
                raise
            raise LedgerUnavailable(f"{self._unreadable}. {UNREADABLE_CURE}") from error

    def _doubt(self, error: LedgerUnavailable) -> None:
        """Begin the next piece of work on a fresh connection, with nothing remembered of a bad file or disk.

        Without room the connection is sound, and its log holds the room that sealing needs.
        """
        full = isinstance(error, LedgerFull) or getattr(error.__cause__, "sqlite_errorname", "") == "SQLITE_FULL"
        self._suspect = self._suspect or not full

    def _whole_store(self) -> Store:
        """Return the store, on the file that lies at the ledger's path, put back or opened anew if need be."""
        assert self._store is not None  # noqa: S101 - open() comes first
        assert self._watch is not None  # noqa: S101 - open() comes first
        if not self._watch.is_whole():
            self._was_restored = self._watch.restore(self._store.connection)
            self._suspect = True
        self._watch.sync()
        if self._suspect:
            # Until a fresh connection is ready, whatever fails on the way: each try closes the log of the one before.
            self._store.connection.close()
            self._watch.let_go()
            try:
                self._store = Store(self._connect(self.path), self._store.pod)
                self._watch.hold()
                self._follow(self._store)
            except LedgerUnavailable:
                # Its log would damage the ledger that is moved back.
                self._store.connection.close()
                raise
            except LedgerUnusable as error:
                raise LedgerUnavailable(str(error)) from error
            except (sqlite3.Error, OSError) as error:
                raise LedgerUnavailable(f"the ledger cannot be written: {error}") from error
            self._suspect = False
        return self._store


def _deliver(future: asyncio.Future[Result], result: Result) -> None:
    if not future.done():
        future.set_result(result)
