"""The ids taken last, by digest, in memory: ids in random order then cost no more than ids that grow.

A digest lies in the index of digests at a place of its own: written at once, each event would touch a page. So the
digests of the last events wait in a temporary table in memory and are merged into the index in the order of the index,
some hundred neighbors at a step. Nothing that only memory knows decides about a charge: each of these events is a whole
row in the ledger, written in one transaction with its bucket, and a process that opens the ledger reads the digests of
the rows that were not merged. An event stays whole at least until its digest is in the index.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from sidecar.adapters.ledger import digests
from sidecar.adapters.ledger.digests import Digest

MERGED_FROM = 100_000
"""Digests in memory that begin a merge: about 5 MiB, and half as many more until it ends."""
MERGED_PER_STEP = 500
"""Digests of one step, each of which may touch a page: at most half of the log."""
IDS_PER_STEP = MERGED_PER_STEP // 2
"""Ids taken for each step of a running merge: it ends before half as many have come as it began with."""
_MERGED_TO = "merged-to"
"""The `seq` up to which the digest of each event is in the index."""


@dataclass(slots=True)
class RecentIds:
    """The digests that wait for the index, and the numbers of the events."""

    next_seq: int = 0
    """The number of the next event; numbers are never given twice."""
    merged_to: int = 0
    has_old: bool = False
    """Whether there are rows of the version before: their ids have an index of their own."""
    _is_loaded: bool = False
    _merging_to: int | None = None
    """The last event of the merge that runs."""
    _merged_id: bytes = b""
    """The digest that the merge has reached."""
    _owed: int = 0
    """Ids taken since the last step of the merge."""
    _marked: tuple[Any, ...] | None = None
    """The values of the other fields at the mark."""

    def mark(self) -> None:
        """Keep what holds now, for `restore`."""
        self._marked = _STATE(self)

    def restore(self) -> None:
        """Go back to the mark: the transaction that began there was rolled back, and the temporary table with it."""
        if self._marked is not None:
            for name, value in zip(_FIELDS, self._marked, strict=True):
                setattr(self, name, value)

    def load(self, connection: sqlite3.Connection) -> None:
        """Read what has not been merged. Call it in the transaction, before any savepoint."""
        if self._is_loaded:
            return
        connection.execute(
            "CREATE TEMP TABLE IF NOT EXISTS recent_id (id BLOB PRIMARY KEY, content BLOB NOT NULL,"
            " taken_hour INTEGER NOT NULL, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID"
        )
        connection.execute("DELETE FROM temp.recent_id")
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (_MERGED_TO,)).fetchone()
        self.merged_to = 0 if row is None else int(row["value"])
        rows = connection.execute("SELECT seq, id, content, taken_at FROM event WHERE seq > ?", (self.merged_to,))
        connection.executemany(
            "INSERT INTO temp.recent_id VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            ((digests.digest_id(id_), content, at // digests.HOUR, seq) for seq, id_, content, at in rows),
        )
        (last,) = connection.execute(
            "SELECT max(ifnull((SELECT max(seq) FROM event), 0), ifnull((SELECT max(seq) FROM event_by_id), 0))"
        ).fetchone()
        self.next_seq = max(last, self.merged_to) + 1
        self.look_for_old(connection)
        self._is_loaded = True

    def look_for_old(self, connection: sqlite3.Connection) -> None:
        """Find out whether rows of the version before are left."""
        self.has_old = connection.execute("SELECT 1 FROM event_by_id LIMIT 1").fetchone() is not None

    def number(self, count: int) -> range:
        """Return the numbers of so many new events."""
        numbers = range(self.next_seq, self.next_seq + count)
        self.next_seq = numbers.stop
        return numbers

    def add(self, connection: sqlite3.Connection, named: Sequence[Digest], hour: int, numbers: range) -> None:
        """Remember new ids that were taken in an hour, in hours of the epoch, with the numbers of their events."""
        connection.executemany(
            "INSERT INTO temp.recent_id VALUES (?, ?, ?, ?)",
            [(*digest, hour, seq) for digest, seq in zip(named, numbers, strict=True)],
        )
        self._owed += len(named)

    def forget(self, connection: sqlite3.Connection, ids: Iterable[bytes]) -> None:
        """Drop the digests of events that are in the index now, or outdated."""
        connection.executemany("DELETE FROM temp.recent_id WHERE id = ?", [(each,) for each in ids])

    @property
    def waiting(self) -> int:
        """How many digests wait at most."""
        return self.next_seq - 1 - self.merged_to

    @property
    def is_merging(self) -> bool:
        """Whether a merge runs."""
        return self._merging_to is not None

    @property
    def owes_step(self) -> bool:
        """Whether intake has to do a step of a merge before it takes more."""
        return (self.is_merging or self.waiting >= MERGED_FROM) and self._owed >= IDS_PER_STEP

    def merge(self, connection: sqlite3.Connection) -> bool:
        """Do one step of the merge that runs, or of a new one; whether there may be more."""
        if self._merging_to is None:
            self._merging_to, self._merged_id, self._owed = self.next_seq - 1, b"", 0
        self._owed = max(0, self._owed - IDS_PER_STEP)
        last = connection.execute(
            "SELECT id FROM temp.recent_id WHERE id > ? AND seq <= ? ORDER BY id LIMIT 1 OFFSET ?",
            (self._merged_id, self._merging_to, MERGED_PER_STEP - 1),
        ).fetchone()
        upto = digests.AFTER_ALL if last is None else bytes(last["id"])
        chosen = "FROM temp.recent_id WHERE id > ? AND id <= ? AND seq <= ?"
        values = (self._merged_id, upto, self._merging_to)
        digests.insert(connection, f"SELECT id, content, taken_hour {chosen} ORDER BY id", [values])
        connection.execute(f"DELETE {chosen}", values)
        self._merged_id = upto
        if last is None:
            self.merged_to, self._merging_to, self._owed = self._merging_to, None, 0
            connection.execute(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                (_MERGED_TO, str(self.merged_to)),
            )
        return self.is_merging


_FIELDS = tuple(each.name for each in fields(RecentIds) if each.name != "_marked")
_STATE = attrgetter(*_FIELDS)


def count(connection: sqlite3.Connection) -> int:
    """Return how many ids are recognized. While a merge runs, those that it has written count twice."""
    merged = connection.execute("SELECT value FROM meta WHERE key = ?", (_MERGED_TO,)).fetchone()
    found = digests.count(connection)
    for table in event_tables(connection):
        # The numbers of old rows are lower than those of rows that may have been merged.
        after = int(merged["value"]) if merged is not None and table == "event" else 0
        found += connection.execute(f"SELECT count(*) FROM {table} WHERE seq > ?", (after,)).fetchone()[0]
    return found


def event_tables(connection: sqlite3.Connection) -> list[str]:
    """Return the tables of whole events, older rows first; a ledger that an older version wrote has one."""
    names = "SELECT name FROM main.sqlite_schema WHERE name IN ('event', 'event_by_id') AND type = 'table'"
    return sorted((str(row[0]) for row in connection.execute(names)), reverse=True)
