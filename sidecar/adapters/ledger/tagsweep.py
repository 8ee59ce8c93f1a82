"""Dropping tag sets that nothing refers to any more.

No table has an index on its tag set, and none is worth its room. So a walk, a few thousand rows at a step, marks in
memory what is referred to; after it, what was there before the walk began and has no mark is dropped. What is used
during the walk is marked as it is used. A walk that is cut short by a restart begins anew.
"""

import sqlite3
from dataclasses import dataclass, field
from typing import Protocol

_ROWS_PER_STEP = 2000
"""Rows looked at in one step."""
WALKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("event", ("seq",)),
    ("event_by_id", ("seq",)),
    ("dropped_events", ("pod", "dimension", "hour", "tag_set")),
    ("bucket", ("pod", "dimension", "hour", "tag_set")),
    ("allocation", ("record", "tag_set")),
    ("carry", ("seq",)),
    ("crossing", ("seq",)),
)
"""Every table that refers to tag sets, and its key; digests of unique values go with their buckets."""


class Names(Protocol):
    """What this module needs of the store."""

    connection: sqlite3.Connection

    def rows(self, statement: str, *values: object) -> list[sqlite3.Row]:
        """Return all rows of a statement."""

    def forget_tag_sets(self) -> None:
        """Drop the remembered rows of tag sets."""


@dataclass(slots=True)
class TagSweep:
    """One walk, or the wait for a reason to begin the next."""

    is_due: bool = True
    """Something that may have referred to a tag set was dropped since the last walk began."""
    _table: int | None = None
    """The table that the walk is in; one past the last while tag sets are dropped; None between two walks."""
    _after: tuple[int, ...] = ()
    _upto: int = 0
    """The youngest tag set when the walk began."""
    _marks: bytearray = field(default_factory=bytearray)

    @property
    def is_walking(self) -> bool:
        """Whether a walk is under way, which needs to know what is used."""
        return self._table is not None

    def note(self, tag_set: int) -> None:
        """Mark a tag set that is used now."""
        if self._table is not None and tag_set <= self._upto:
            self._marks[tag_set] = 1

    def step(self, store: Names) -> bool:
        """Do one step of the walk inside the caller's transaction; whether there may be more."""
        if self._table is None:
            if not self.is_due:
                return False
            self.is_due = False
            (youngest,) = store.connection.execute("SELECT max(id) FROM tag_set").fetchone()
            self._table, self._after, self._upto, self._marks = 0, (), youngest, bytearray(youngest + 1)
            # Their next use goes through the store, and marks them.
            store.forget_tag_sets()
            return self._upto > 0 or self._end()
        if self._table < len(WALKS):
            self._mark_step(store, *WALKS[self._table])
            return True
        return self._drop_step(store)

    def _end(self) -> bool:
        self._table, self._after, self._marks = None, (), bytearray()
        return False

    def _mark_step(self, store: Names, table: str, key: tuple[str, ...]) -> None:
        columns, marks = ", ".join(key), ", ".join("?" * len(key))
        where = f"WHERE ({columns}) > ({marks})" if self._after else ""
        rows = store.rows(
            f"SELECT tag_set AS referred, {columns} FROM {table} {where} ORDER BY {columns} LIMIT {_ROWS_PER_STEP}",
            *self._after,
        )
        for row in rows:
            self.note(row["referred"])
        if len(rows) < _ROWS_PER_STEP:
            assert self._table is not None  # noqa: S101 - the walk has begun
            self._table, self._after = self._table + 1, ()
        else:
            self._after = tuple(rows[-1])[1:]

    def _drop_step(self, store: Names) -> bool:
        after = self._after[0] if self._after else 0
        rows = store.rows(
            "SELECT id FROM tag_set WHERE id > ? AND id <= ? ORDER BY id LIMIT ?", after, self._upto, _ROWS_PER_STEP
        )
        unused = [(row["id"],) for row in rows if not self._marks[row["id"]]]
        if unused:
            store.connection.executemany("DELETE FROM tag_set WHERE id = ?", unused)
            store.forget_tag_sets()
        if len(rows) < _ROWS_PER_STEP:
            return self._end()
        self._after = (rows[-1]["id"],)
        return True
