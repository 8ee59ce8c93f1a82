"""Running totals of the open buckets: without them a status would add up a hundred thousand rows.

Triggers of the connection's own, never stored in the file, report the changes of open buckets, whichever step makes
them. A record has up to 2,500 buckets, and a trigger for each of them takes half of its step. So the statements that
only seal or only carry set no column that a trigger watches, and their steps report the sum by `add`.

The totals live in memory: the first question, and the first one after a rollback or after another process has written,
adds them up from the rows. The rollback of a savepoint, which each refused batch causes, restores them.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sidecar.domain.metering.quantity import parse_signed

_TRIGGERS = """
    CREATE TEMP TRIGGER open_inserted AFTER INSERT ON main.bucket WHEN NEW.carried = '0'
    BEGIN SELECT note_bucket(NEW.dimension, NEW.tag_set, NULL, NULL, NULL, 1, NEW.own, NEW.carried, NEW.moved,
        NEW.sealed); END;
    CREATE TEMP TRIGGER open_updated AFTER UPDATE OF own, moved ON main.bucket WHEN OLD.sealed = 0 OR NEW.sealed = 0
    BEGIN SELECT note_bucket(NEW.dimension, NEW.tag_set, OLD.own, OLD.carried, OLD.moved, OLD.sealed, NEW.own,
        NEW.carried, NEW.moved, NEW.sealed); END;
"""
"""Open buckets are never deleted, only sealed ones. Only a carry inserts a bucket with a carried quantity."""


@dataclass(slots=True)
class OpenTotals:
    """What lies in open buckets, by the row of its dimension."""

    note_tag_set: Callable[[int], None] = lambda _: None
    """Called with each tag set that a bucket is written for."""
    _quantities: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    _buckets: int = 0
    _version: int | None = None
    """SQLite's data version that the totals are of; None when they are not known."""
    _mark: tuple[dict[int, int], int] = field(default_factory=lambda: ({}, 0))

    def attach(self, connection: sqlite3.Connection) -> None:
        """Follow the changes that this connection makes."""
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.create_function("note_bucket", 10, self._note)
        connection.executescript(_TRIGGERS)
        self._version = None

    def quantities(self, connection: sqlite3.Connection) -> Mapping[int, int]:
        """Return millionths by dimension, as of the transaction that runs."""
        self._refresh(connection)
        return self._quantities

    def buckets(self, connection: sqlite3.Connection) -> int:
        """Return how many buckets are open."""
        self._refresh(connection)
        return self._buckets

    def mark(self) -> None:
        """Note the totals that the rollback of a savepoint restores."""
        self._mark = dict(self._quantities), self._buckets

    def restore(self) -> None:
        """Return to the last mark."""
        self._quantities, self._buckets = defaultdict(int, self._mark[0]), self._mark[1]

    def add(self, dimension: int, quantity: int, buckets: int) -> None:
        """Note what a seal or a carry adds to the open buckets; negative for what it takes."""
        self._quantities[dimension] += quantity
        self._buckets += buckets

    def forget(self) -> None:
        """Add up the rows again at the next question: changes were undone, or not reported."""
        self._version = None

    def _refresh(self, connection: sqlite3.Connection) -> None:
        # Changes whenever another connection has committed; `ledger resolve` carries into open buckets.
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return
        self._quantities, self._buckets = defaultdict(int), 0
        for dimension, own, carried, moved in connection.execute(
            "SELECT dimension, own, carried, moved FROM bucket WHERE sealed = 0"
        ):
            self._quantities[dimension] += quantity_of(own, carried, moved)
            self._buckets += 1
        self._version = version

    def _note(  # noqa: PLR0913, PLR0917 - a row before and after, as SQLite hands it in
        self,
        dimension: int,
        tag_set: int,
        own_before: str | None,
        carried_before: str | None,
        moved_before: str | None,
        sealed_before: int,
        own: str,
        carried: str,
        moved: str,
        sealed: int,
    ) -> None:
        self.note_tag_set(tag_set)
        if not sealed_before and own_before is not None and carried_before is not None and moved_before is not None:
            self._quantities[dimension] -= quantity_of(own_before, carried_before, moved_before)
            self._buckets -= 1
        if not sealed:
            self._quantities[dimension] += quantity_of(own, carried, moved)
            self._buckets += 1


def quantity_of(own: str, carried: str, moved: str) -> int:
    """Return what lies in a bucket, from its columns: own and carried less moved, in millionths."""
    quantity = parse_signed(own)
    # Few buckets have the others, and a record has 2,500 buckets.
    if carried != "0":
        quantity += parse_signed(carried)
    return quantity if moved == "0" else quantity - parse_signed(moved)
