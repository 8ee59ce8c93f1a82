"""The ledger's rows as the writers see them: one connection, transactions, and the few steps every writer shares.

Used on the ledger's own thread only. Nothing read from the file is trusted across transactions but the ids of names,
which never change.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from sidecar.adapters.ledger.digests import Progress
from sidecar.adapters.ledger.recent import RecentIds
from sidecar.adapters.ledger.tagsweep import TagSweep
from sidecar.adapters.ledger.totals import OpenTotals
from sidecar.adapters.ledger.usage_memory import UsageMemory
from sidecar.domain.metering.buckets import Bucket
from sidecar.domain.metering.events import LedgerUnavailable, Tags
from sidecar.domain.metering.hours import Hour, next_hour
from sidecar.domain.metering.probes import is_probe
from sidecar.domain.metering.quantity import parse_signed, render
from sidecar.domain.metering.records import CarryCause

_MOST_CACHED = 10_000
"""Tag sets with an id in memory; the ids of further ones are read from the file."""
_LISTED = "SELECT json_extract(value, '$[0]') AS tag_set, json_extract(value, '$[1]') AS quantity FROM json_each(?)"
_ALLOCATED = "SELECT tag_set, quantity FROM allocation WHERE record = ? AND quantity <> '0'"
"""The shares of a move: listed in JSON, or those of a record."""


@dataclass(frozen=True, slots=True)
class Move:
    """A quantity on its way between hours."""

    cause: CarryCause
    record: int | None
    """The record that could not keep it; None when it leaves a bucket."""
    from_pod: int
    from_hour: Hour
    to_hour: Hour
    dimension: int
    """Where it goes."""
    tag_set: int
    quantity: int
    from_dimension: int | None = None
    """Where it comes from, if that is a row with other terms."""

    @property
    def source(self) -> int:
        """The dimension that it leaves."""
        return self.dimension if self.from_dimension is None else self.from_dimension


@dataclass(slots=True)
class Store:
    """A ledger open for writing."""

    connection: sqlite3.Connection
    pod: int = 0
    """The row of the pod this process meters for."""
    progress: Progress = field(default_factory=Progress)
    recent: RecentIds = field(default_factory=RecentIds)
    sweep: TagSweep = field(default_factory=TagSweep)
    totals: OpenTotals = field(default_factory=OpenTotals)
    """Only right where it is attached to the connection."""
    memory: UsageMemory = field(default_factory=UsageMemory)
    old_batches_end: int | None = None
    """When the last Idempotency key of version 1 was taken, in epoch microseconds; 0 where there is none."""
    _dimensions: dict[str, int] = field(default_factory=dict)
    _families: dict[int, tuple[int, ...]] = field(default_factory=dict)
    _tag_sets: dict[Tags, int] = field(default_factory=dict)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block writes, durably, or leave nothing of it.

        Raises:
            LedgerUnavailable: The file could not be written; the block's work is undone.
        """
        self.recent.mark()
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield
            self.connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            raise LedgerUnavailable(f"the ledger cannot be written: {error}") from error
        except BaseException:
            self._undo()
            raise

    def remember(self, key: str, value: str) -> None:
        """Keep the one value of a key, in place of what was there."""
        self.connection.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (key, value)
        )

    def _undo(self) -> None:
        self._dimensions.clear()
        self._families.clear()
        self._tag_sets.clear()
        # A full ledger refuses each checkout that an app asks for again and again: its walk must not begin anew.
        self.progress = Progress(
            drawdowns_walked_to=self.progress.drawdowns_walked_to,
            drawdowns_walked_for=self.progress.drawdowns_walked_for,
        )
        self.sweep = TagSweep()
        self.totals.note_tag_set = self.sweep.note
        self.totals.forget()
        self.memory.forget()
        is_undone = False
        with suppress(sqlite3.Error):
            if self.connection.in_transaction:  # otherwise SQLite has ended it, as it does where the disk fails
                self.connection.execute("ROLLBACK")
            is_undone = not self.connection.in_transaction
        if is_undone:
            self.recent.restore()
        else:
            self.recent = RecentIds()

    def __post_init__(self) -> None:
        self.totals.note_tag_set = self.sweep.note
        self.connection.create_function("sum_of", 2, _sum_of, deterministic=True)

    def forget_tag_sets(self) -> None:
        """Drop the remembered rows of tag sets."""
        self._tag_sets.clear()

    def savepoint(self, name: str) -> None:
        """Begin a part of the transaction that may be undone by itself; `forget_names` follows its rollback."""
        self.connection.execute(f"SAVEPOINT {name}")
        self.totals.mark()

    def forget_names(self) -> None:
        """Drop ids, and set back totals, that a rollback to a savepoint may have undone."""
        self.totals.restore()
        self.memory.forget()
        self._dimensions.clear()
        self._families.clear()
        self._tag_sets.clear()

    def dimension(self, name: str) -> int:
        """Return the row of a dimension that takes usage now: of the configured product and terms.

        Raises:
            KeyError: The configuration under which the ledger was opened never had it.
        """
        known = self._dimensions.get(name)
        if known is None:
            row = self.connection.execute(
                "SELECT id FROM dimension WHERE name = ? AND active = 1"
                " AND product_code = (SELECT value FROM meta WHERE key = 'product-code')",
                (name,),
            ).fetchone()
            if row is None:
                raise KeyError(name)
            known = self._dimensions[name] = int(row["id"])
        return known

    def family(self, dimension: int) -> tuple[int, ...]:
        """Return the rows of the same name and product code, oldest first: to AWS they are one dimension."""
        known = self._families.get(dimension)
        if known is None:
            known = self._families[dimension] = tuple(
                int(row["id"])
                for row in self.rows(
                    "SELECT other.id FROM dimension AS own JOIN dimension AS other ON other.name = own.name"
                    " AND other.product_code IS own.product_code WHERE own.id = ? ORDER BY other.id",
                    dimension,
                )
            )
        return known

    def heir(self, dimension: int) -> int:
        """Return the row of the same name and product code that takes what `dimension` carries."""
        family = self.family(dimension)
        if len(family) == 1:
            return dimension
        marks = ",".join("?" * len(family))
        return int(self.one(f"SELECT id FROM dimension WHERE active = 1 AND id IN ({marks})", *family)["id"])

    def tag_set(self, tags: Tags) -> int:
        """Return the row of a tag set, made if there is none; 0 is the untagged one."""
        if not tags:
            return 0
        known = self._tag_sets.get(tags)
        if known is None:
            text = json.dumps(tags, separators=(",", ":"))
            self.connection.execute("INSERT INTO tag_set (tags) VALUES (?) ON CONFLICT DO NOTHING", (text,))
            known = int(self.one("SELECT id FROM tag_set WHERE tags = ?", text)["id"])
            if len(self._tag_sets) >= _MOST_CACHED:
                self._tag_sets.clear()
            self._tag_sets[tags] = known
        self.sweep.note(known)
        return known

    def tuples(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what a statement finds as plain tuples: a third of the time of rows, for tens of thousands of them."""
        cursor = self.connection.cursor()
        cursor.row_factory = None
        return cursor.execute(statement, values).fetchall()

    def one(self, statement: str, *values: object) -> sqlite3.Row:
        """Return the one row that must be there."""
        row: sqlite3.Row = self.connection.execute(statement, values).fetchone()
        return row

    def rows(self, statement: str, *values: object) -> list[sqlite3.Row]:
        """Return all rows of a statement."""
        return self.connection.execute(statement, values).fetchall()

    def is_sealed(self, dimension: int, hour: Hour) -> bool:
        """Return whether this pod's slot of the hour is frozen, under any terms."""
        family = self.family(dimension)
        marks = ",".join("?" * len(family))
        statement = f"SELECT 1 FROM record WHERE pod = ? AND dimension IN ({marks}) AND hour = ? AND kind = 'slot'"
        return self.connection.execute(statement, (self.pod, *family, hour)).fetchone() is not None

    def is_probed(self, dimension: int, hour: Hour) -> bool:
        """Return whether the start probe of this pod has the slot of the hour."""
        family = self.family(dimension)
        marks = ",".join("?" * len(family))
        statement = f"SELECT client_token FROM record WHERE pod = ? AND dimension IN ({marks}) AND hour = ?"
        rows = self.rows(f"{statement} AND kind = 'slot'", self.pod, *family, hour)
        return any(is_probe(row["client_token"]) for row in rows)

    def first_open(self, dimension: int, hour: Hour) -> Hour:
        """Return the first hour from `hour` on with a slot that is not frozen: a carried quantity goes there."""
        while self.is_sealed(dimension, hour):
            hour = next_hour(hour)
        return hour

    def bucket(self, dimension: int, hour: Hour, tag_set: int) -> Bucket | None:
        """Return a bucket of this pod."""
        row = self.connection.execute(
            "SELECT * FROM bucket WHERE pod = ? AND dimension = ? AND hour = ? AND tag_set = ?",
            (self.pod, dimension, hour, tag_set),
        ).fetchone()
        return None if row is None else read_bucket(row)

    def put_bucket(
        self, dimension: int, hour: Hour, tag_set: int, bucket: Bucket, before: Bucket | None = None
    ) -> None:
        """Write a bucket of this pod; `before` is what this transaction found there, if it has looked."""
        if before is not None and before.sealed is bucket.sealed:
            # The column `sealed` is in two indexes, which are then not written.
            self.connection.execute(
                "UPDATE bucket SET own = ?, carried = ?, moved = ?, events = ?, last_at = ?"
                " WHERE pod = ? AND dimension = ? AND hour = ? AND tag_set = ?",
                (
                    render(bucket.own),
                    render(bucket.carried),
                    render(bucket.moved),
                    bucket.events,
                    bucket.last_at,
                    self.pod,
                    dimension,
                    hour,
                    tag_set,
                ),
            )
            return
        self.connection.execute(
            "INSERT INTO bucket (pod, dimension, hour, tag_set, own, carried, moved, events, last_at, sealed)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET own = excluded.own,"
            " carried = excluded.carried, moved = excluded.moved, events = excluded.events,"
            " last_at = excluded.last_at, sealed = excluded.sealed",
            (
                self.pod,
                dimension,
                hour,
                tag_set,
                render(bucket.own),
                render(bucket.carried),
                render(bucket.moved),
                bucket.events,
                bucket.last_at,
                bucket.sealed,
            ),
        )

    def carry(self, move: Move, now: int) -> None:
        """Put a quantity into the open bucket of another hour, and write the visible entry of it."""
        self.carry_shares(move, [(move.tag_set, move.quantity)], now)

    def carry_shares(self, whole: Move, shares: Sequence[tuple[int, int]], now: int) -> None:
        """Put the shares of tag sets into another hour, as `carry` does.

        Args:
            whole: The move that the shares are of; its own tag set and quantity are not read.
            shares: Each tag set once, with its quantity, which is not 0.
            now: Epoch microseconds.
        """
        listed = json.dumps([(tag_set, render(part)) for tag_set, part in shares])
        self._carry(replace(whole, quantity=sum(part for _, part in shares)), _LISTED, listed, now)

    def carry_allocations(self, whole: Move, now: int) -> bool:
        """Put the shares of a record into another hour, as `carry` does; False if the record has none.

        Args:
            whole: The move, with the quantity of the whole record.
            now: Epoch microseconds.
        """
        return self._carry(whole, _ALLOCATED, whole.record, now)

    def _carry(self, whole: Move, shares: str, of: object, now: int) -> bool:
        """Move shares by few statements, whatever their number: a record has up to 2,500. False if there are none.

        Args:
            whole: The move, with the sum of the shares.
            shares: Selects the tag set and the quantity of each share.
            of: The parameter of `shares`.
            now: Epoch microseconds.
        """
        place = (self.pod, whole.dimension, whole.to_hour)
        there = f"({shares}) AS share CROSS JOIN bucket USING (tag_set) WHERE pod = ? AND dimension = ? AND hour = ?"
        (count,) = self.one(f"SELECT count(*) FROM ({shares})", of)
        if not count:
            return False
        held, closed = self.one(f"SELECT count(*), sum(sealed) FROM {there}", of, *place)
        if closed:
            # A bucket that only counted late events opens again when the clock has gone back to its hour.
            self.connection.execute(
                "UPDATE bucket SET sealed = 0 WHERE pod = ? AND dimension = ? AND hour = ?"
                f" AND tag_set IN (SELECT tag_set FROM ({shares}))",
                (*place, of),
            )
            self.totals.forget()
        # Does not set `sealed`: that column is in two indexes.
        self.connection.execute(
            "INSERT INTO bucket (pod, dimension, hour, tag_set, own, carried, moved, events, last_at, sealed)"
            f" SELECT ?, ?, ?, tag_set, '0', quantity, '0', 0, NULL, 0 FROM ({shares}) WHERE 1"
            " ON CONFLICT DO UPDATE SET carried = sum_of(carried, excluded.carried)",
            (*place, of),
        )
        self.totals.add(whole.dimension, whole.quantity, count - held)
        if self.sweep.is_walking:
            for (tag_set,) in self.tuples(f"SELECT tag_set FROM ({shares})", of):
                self.sweep.note(tag_set)
        self._write_entries(whole, shares, of, now)
        return True

    def _write_entries(self, whole: Move, shares: str, of: object, now: int) -> None:
        table, columns = "carry", "cause, record, from_pod, from_hour, to_pod, to_hour, dimension, carried_at"
        row: list[object] = [whole.cause, whole.record, whole.from_pod, whole.from_hour, self.pod, whole.to_hour]
        row += [whole.dimension, now]
        if whole.source != whole.dimension:
            table, columns = "crossing", f"{columns}, from_dimension"
            row.append(whole.source)
        self.connection.execute(
            f"INSERT INTO {table} ({columns}, tag_set, quantity)"
            f" SELECT {', '.join('?' * len(row))}, tag_set, quantity FROM ({shares}) WHERE 1"
            " ON CONFLICT DO UPDATE SET quantity = sum_of(quantity, excluded.quantity)",
            (*row, of),
        )

    def add_to(self, dimension: int, term: str, delta: int) -> None:
        """Add to one of a dimension's running totals."""
        if delta:
            before = parse_signed(self.one(f"SELECT {term} FROM dimension WHERE id = ?", dimension)[term])
            self.connection.execute(
                f"UPDATE dimension SET {term} = ? WHERE id = ?", (render(before + delta), dimension)
            )


def _sum_of(one: str, other: str) -> str:
    """Return the sum of two quantities as SQL has them; its own numbers are not exact."""
    return render(parse_signed(one) + parse_signed(other))


def read_bucket(row: sqlite3.Row) -> Bucket:
    """Return the bucket that a whole row of the table describes."""
    return Bucket(
        own=parse_signed(row["own"]),
        carried=parse_signed(row["carried"]),
        moved=parse_signed(row["moved"]),
        events=row["events"],
        last_at=row["last_at"],
        sealed=bool(row["sealed"]),
    )


def read_many_tags(texts: Iterable[str]) -> list[Tags]:
    """Return the tag sets that rows of their table name: one call of the decoder takes a fifth of one for each row."""
    return [tuple([(key, value) for key, value in tags]) for tags in json.loads(f"[{','.join(texts)}]")]


def read_tags(text: str) -> Tags:
    """Return the tag set that a row of its table names."""
    return tuple((key, value) for key, value in json.loads(text))


def recall(connection: sqlite3.Connection, key: str) -> str | None:
    """Return the value that `Store.remember` has kept; None if there is none."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row["value"])
