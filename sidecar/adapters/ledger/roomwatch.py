"""Reports how full the ledger is: one log line at each limit, and a fault with its beginning."""

import json
import sqlite3
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from sidecar.adapters.ledger.space import RETRY_AFTER, WARN_FROM, Room, describe
from sidecar.adapters.ledger.store import Store, recall
from sidecar.domain.metering.hours import from_micros, to_micros
from sidecar.domain.status import Finding

CURE = (
    "Enlarge the volume and ledger.max_size, or report usage in fewer events or smaller batches; the documents have a"
    " table of sizes. What is in the ledger is still sealed and submitted, and usage is taken again once 26 hours old"
    " ids have been dropped."
)

_QUIET = timedelta(seconds=5 * RETRY_AFTER)
"""Without a refusal for this long usage is taken again: large batches are refused before small ones are.

An app sends a refused batch again after `RETRY_AFTER`, or later if it waits longer each time.
"""

log = structlog.get_logger()


class RoomWatch:
    """Remembers since when the ledger is nearly full, and since when it refuses usage.

    The ledger keeps the second, because a restart is no end of refusing: see `load` and `keep`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.room: Room | None = None
        """As it was measured last."""
        self._filling_since: datetime | None = None
        self.refusing_since: datetime | None = None
        """When usage was first refused for lack of room; None while it is taken."""
        self._refused_at: datetime | None = None
        """When usage was refused last; None if an earlier process has refused it."""
        self._refused_bytes = 0
        """What the usage that was refused last may have taken."""
        self._detail = ""
        self._kept: tuple[datetime | None, int] = (None, 0)
        """What the ledger holds of `refusing_since`, and of the bytes that were refused then."""

    def load(self, connection: sqlite3.Connection) -> None:
        """Continue a refusal that the ledger keeps from an earlier process; a damaged row keeps none."""
        text = recall(connection, "refusing-since")
        if text is None:
            return
        with suppress(ValueError, TypeError, OverflowError):
            since, more = json.loads(text)
            self._kept = (None if since is None else from_micros(since)), int(more)
            self.refusing_since, self._refused_bytes = self._kept

    def keep(self, store: Store) -> None:
        """Store the beginning or the end of refusing, if the ledger does not hold it yet."""
        if self.refusing_since == self._kept[0]:
            return
        found = self.refusing_since, self._refused_bytes
        since = None if found[0] is None else to_micros(found[0])
        with store.transaction():
            store.remember("refusing-since", json.dumps([since, found[1]]))
        self._kept = found

    def refuse(self, detail: str, now: datetime, more: int = 0) -> None:
        """Note that usage was refused that may take `more` bytes."""
        self._detail, self._refused_at, self._refused_bytes = detail, now, more
        first = self.refusing_since is None
        if self.refusing_since is None or self.refusing_since > now:
            # A later instant comes from a clock that has since gone back.
            self.refusing_since = now
        if first:
            log.error("ledger.full", path=str(self._path), detail=detail, cure=CURE)

    def see(self, room: Room, now: datetime) -> None:
        """Note that usage was taken; that is an end of refusing once no other batch was refused for a while."""
        if self.refusing_since is not None and self._refused_at is None and not self._takes_refused(room):
            # An earlier process has refused it, at an unknown time: the batch may come again.
            self._refused_at = now
        if self.refusing_since is not None and not self._refused_lately(now):
            self.refusing_since, self._refused_bytes = None, 0
            log.warning("ledger.room_again", path=str(self._path), detail=describe(room))
        self._judge(room, now)

    def look(self, room: Room, now: datetime) -> None:
        """Note how full it is, whether or not usage comes: an app that is not ready sends none.

        Refusing ends once there is room for what was refused last. Half of the limit is always enough: a batch that
        no empty ledger takes must not keep the gate closed.
        """
        if not room.takes(0):
            self.refuse(describe(room), now, self._refused_bytes)
            self._judge(room, now)
        elif self.refusing_since is None or self._takes_refused(room):
            self.see(room, now)
        else:
            self._judge(room, now)

    def _takes_refused(self, room: Room) -> bool:
        return room.takes(min(self._refused_bytes, room.limit // 2))

    def _refused_lately(self, now: datetime) -> bool:
        return self._refused_at is not None and timedelta() <= now - self._refused_at < _QUIET

    def _judge(self, room: Room, now: datetime) -> None:
        self.room = room
        if room.share < WARN_FROM:
            self._filling_since = None
            return
        if self.refusing_since is None:
            self._detail = describe(room)
        if self._filling_since is None:
            self._filling_since = now
            log.warning("ledger.filling", path=str(self._path), detail=describe(room), cure=CURE)

    def findings(self) -> list[Finding]:
        """Return the fault that there is."""
        if self.refusing_since is not None:
            return [Finding("ledger-full", f"usage is refused: {self._detail}", CURE, self.refusing_since)]
        if self._filling_since is not None:
            return [Finding("ledger-filling", self._detail, CURE, self._filling_since)]
        return []
