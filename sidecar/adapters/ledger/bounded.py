"""Access to the ledger that keeps it within its room: what needs room is refused while it is lacking.

Sealing, submitting and settling are never refused: the room that they need is kept free (`space`).
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from sidecar.adapters.ledger.access import LedgerAccess, Result
from sidecar.adapters.ledger.recent import MERGED_PER_STEP
from sidecar.adapters.ledger.roomwatch import RoomWatch
from sidecar.adapters.ledger.space import RETRY_AFTER, Room, Space, describe
from sidecar.adapters.ledger.store import Store
from sidecar.domain.metering.events import LedgerFull, LedgerUnavailable, UsageBatch


class BoundedAccess(LedgerAccess):
    """The file of a ledger and its room. `Ledger` adds the steps."""

    def __init__(self, path: Path, space: Space, connect: Callable[[Path], sqlite3.Connection]) -> None:
        super().__init__(path, space, connect)
        self.room_watch = RoomWatch(path)

    def _keep_reserve(self, store: Store) -> None:
        # Without it the ledger works; a full volume is then less well prepared for, and the next turn tries again.
        with suppress(OSError, sqlite3.Error):
            self._space.keep_reserve(store.connection, store.totals.buckets(store.connection))

    def _write_within_room(
        self, store: Store, usage: Sequence[UsageBatch], now: datetime, write: Callable[[], Result], states: int = 0
    ) -> Result:
        """Write usage, and the states of so many series, in one transaction if there is room for them."""
        found = self._write_if_room(store, usage, now, write, states)
        if isinstance(found, LedgerFull) and self._cut_grown_log(store):
            found = self._write_if_room(store, usage, now, write, states)
        if isinstance(found, LedgerFull):
            self.room_watch.refuse(str(found), now, found.more)
            self._keep_refusal(store)
            raise found
        self._keep_refusal(store)
        return found

    def _cut_grown_log(self, store: Store) -> bool:
        """Bring the log back to its size; whether there is more room now."""
        with _measuring():
            return self._space.cut_grown_log(store.connection, store.totals.buckets(store.connection))

    def _write_if_room(
        self, store: Store, usage: Sequence[UsageBatch], now: datetime, write: Callable[[], Result], states: int
    ) -> Result | LedgerFull:
        """Write. A refusal is returned: its transaction has written nothing that a rollback undoes."""
        with store.transaction():
            if self.room_watch.refusing_since is None and self._space.foresees_room(usage, states):
                return write()
            # Inside the transaction, because each question outside of one takes and returns the locks of a reader.
            with _measuring():
                open_buckets = store.totals.buckets(store.connection)
                room = self._space.measure(store.connection, open_buckets)
                full = self._space.refusal(store.connection, room, usage, open_buckets, states)
            if full is not None:
                return full
            self.room_watch.see(room, now)
            return write()

    def _may_merge(self, store: Store) -> bool:
        """Return whether there is room for a step of a merge; without it digests wait, and their events stay whole."""
        try:
            room = self._space.measure(store.connection, store.totals.buckets(store.connection))
        except (sqlite3.Error, OSError):
            return False
        return self._space.has_room_for_pages(room, MERGED_PER_STEP)

    def _admit_checkout(self, store: Store) -> None:
        with _measuring():
            room = self._space.measure(store.connection, store.totals.buckets(store.connection))
        if not room.takes(0):
            raise LedgerFull(describe(room), RETRY_AFTER, 0)

    def _keep_refusal(self, store: Store) -> None:
        # A disk that fails is reported by the step itself; the next batch or look tries again.
        with suppress(sqlite3.Error, LedgerUnavailable):
            self.room_watch.keep(store)

    async def room(self, now: datetime) -> Room:
        """Return the room of the ledger, and note how full it is."""
        return await self._look(lambda store: self._look_at_room(store, now))

    def _look_at_room(self, store: Store, now: datetime) -> Room:
        with _measuring():
            room = self._space.measure(store.connection, store.totals.buckets(store.connection))
        self.room_watch.look(room, now)
        self._keep_refusal(store)
        return room


@contextmanager
def _measuring() -> Iterator[None]:
    """Let a volume or a file that does not answer be a ledger that cannot be used."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise LedgerUnavailable(f"the ledger's room cannot be measured: {error}") from error
