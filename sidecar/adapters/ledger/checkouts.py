"""Checkouts and the evidence of the license, kept for the next process on the same ledger.

A pod that takes the ledger over takes over what its predecessor may still hold: the same request is repeated, and the
same seat is extended, never a second one taken.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar, get_args, get_type_hints

from sidecar.adapters.ledger.digests import HOUR
from sidecar.adapters.ledger.kept import read_kept, write_kept
from sidecar.adapters.ledger.store import Store
from sidecar.domain.entitlement.checkouts import Checkout, CheckoutKind, CheckoutState
from sidecar.domain.entitlement.states import LicenseEvidence
from sidecar.domain.metering.hours import from_micros, to_micros

KEPT_FOR = timedelta(hours=26)
"""How long the newest checkout of an id is kept once it is settled, unless a person has decided about it."""
_SPENT = "state IN ('returned', 'lapsed', 'refused') AND resolved_by IS NULL"
"""Of a checkout that holds nothing and may be dropped."""
_DROPPED_AT_ONCE = 100
"""So many older rows of its id go with a new checkout."""
_LIVE = ", ".join(f"'{state}'" for state in CheckoutState if state.live)
_MICROSECOND = timedelta(microseconds=1)
_FIELDS = tuple(field.name for field in fields(Checkout) if field.name != "seq")
_TYPES = get_type_hints(Checkout)
_OTHER_NAMES = {"returning": "unwanted"}
"""The columns of fields that have another name."""
_COLUMNS = (*(_OTHER_NAMES.get(name, name) for name in _FIELDS), "pod")

Result = TypeVar("Result")


class Write(Protocol):
    """Does one step in a transaction, on the ledger's thread."""

    async def __call__(self, step: Callable[[Store], Result], /) -> Result:
        """Return what the step returns."""


class Read(Protocol):
    """Reads at one instant, on the ledger's thread."""

    async def __call__(self, look: Callable[[sqlite3.Connection], Result], /) -> Result:
        """Return what the look returns."""


class CheckoutTable:
    """The checkouts as the services use them.

    `admit` raises LedgerFull while the ledger takes no more of the app.
    """

    def __init__(self, write: Write, read: Read, admit: Callable[[Store], None]) -> None:
        self._write = write
        self._read = read
        self._admit = admit

    async def load_checkouts(self) -> list[Checkout]:
        """Return every checkout of which something may still be held."""
        return await self._read(read_live)

    async def find_checkout(self, id_: str) -> Checkout | None:
        """Return the app's newest checkout of that id."""
        return await self._read(lambda connection: find(connection, id_))

    async def list_checkouts(self, limit: int) -> list[Checkout]:
        """Return the app's checkouts, the newest of each id, those that are live first."""
        return await self._read(lambda connection: read_app(connection, limit))

    async def save_checkout(self, checkout: Checkout) -> Checkout:
        """Keep a checkout durably, and return it with its row.

        Raises:
            LedgerFull: It is a new one of the app, and a full ledger needs its room for accepted usage.
        """

        def step(store: Store) -> Checkout:
            if not checkout.seq and checkout.kind is CheckoutKind.APP:
                self._admit(store)
            return write(store, checkout)

        return await self._write(step)

    async def load_license(self) -> LicenseEvidence | None:
        """Return the evidence that was kept last, whichever pod and product it names."""
        return await self._read(read_license)

    async def save_license(self, evidence: LicenseEvidence) -> None:
        """Keep the evidence durably in place of what was there."""
        await self._write(lambda store: write_license(store, evidence))


def read_live(connection: sqlite3.Connection) -> list[Checkout]:
    """Return the live checkouts, the oldest first."""
    rows = connection.execute(f"SELECT * FROM checkout WHERE state IN ({_LIVE}) ORDER BY seq")
    return [read_checkout(row) for row in rows]


def read_all(connection: sqlite3.Connection, limit: int) -> list[Checkout]:
    """Return the newest checkouts of every kind, the newest first."""
    return [
        read_checkout(row) for row in connection.execute("SELECT * FROM checkout ORDER BY seq DESC LIMIT ?", (limit,))
    ]


def read_app(connection: sqlite3.Connection, limit: int) -> list[Checkout]:
    """Return the newest checkout of each id of the app's, those that are live first."""
    live = connection.execute(
        "SELECT * FROM checkout WHERE seq IN"
        f" (SELECT seq FROM checkout WHERE kind = ? AND state IN ({_LIVE}) ORDER BY seq LIMIT ?) ORDER BY seq",
        (CheckoutKind.APP, limit),
    ).fetchall()
    # A live one is the newest of its id. The others are read only as far as they are shown: the ledger's thread waits.
    settled = connection.execute(
        f"SELECT * FROM checkout AS each WHERE kind = ? AND state NOT IN ({_LIVE}) AND NOT EXISTS"
        " (SELECT 1 FROM checkout WHERE id = each.id AND kind = each.kind AND seq > each.seq) ORDER BY seq LIMIT ?",
        (CheckoutKind.APP, limit - len(live)),
    )
    return [read_checkout(row) for row in (*live, *settled)]


def find(connection: sqlite3.Connection, id_: str) -> Checkout | None:
    """Return the app's newest checkout of an id."""
    row = connection.execute(
        "SELECT * FROM checkout WHERE id = ? AND kind = ? ORDER BY seq DESC LIMIT 1", (id_, CheckoutKind.APP)
    ).fetchone()
    return None if row is None else read_checkout(row)


def write(store: Store, checkout: Checkout) -> Checkout:
    """Write a checkout; one without a row gets one, of this pod."""
    values = _values(store, checkout)
    if checkout.seq:
        settings = ", ".join(f"{name} = ?" for name in _COLUMNS)
        store.connection.execute(f"UPDATE checkout SET {settings} WHERE seq = ?", (*values, checkout.seq))
        return checkout
    # Only the newest checkout of an id is read. An app that is refused again and again fills no disk. A ledger of an
    # older version may have any number of refused draw-downs of the id; the rest is dropped with time.
    store.connection.execute(
        "DELETE FROM checkout WHERE seq IN"
        f" (SELECT seq FROM checkout WHERE kind = ? AND id = ? AND {_SPENT} LIMIT {_DROPPED_AT_ONCE})",
        (checkout.kind, checkout.id),
    )
    marks = ", ".join("?" * len(_COLUMNS))
    found = store.connection.execute(f"INSERT INTO checkout ({', '.join(_COLUMNS)}) VALUES ({marks})", values)
    return replace(checkout, seq=found.lastrowid or 0)


def read_decisions(connection: sqlite3.Connection) -> dict[int, tuple[str, str]]:
    """Return who has decided about a draw-down in doubt, and why, by row."""
    rows = connection.execute("SELECT seq, resolved_by, resolved_reason FROM checkout WHERE resolved_by IS NOT NULL")
    return {row["seq"]: (row["resolved_by"], row["resolved_reason"]) for row in rows}


def resolve(store: Store, seq: int, *, drawn: bool, who: str, reason: str, now: datetime) -> Checkout:
    """Write a person's decision about a draw-down in doubt, inside the caller's transaction.

    Raises:
        LookupError: There is no such draw-down in doubt; names what there is.
    """
    row = store.connection.execute("SELECT * FROM checkout WHERE seq = ?", (seq,)).fetchone()
    if row is None:
        raise LookupError(f"there is no checkout-{seq}; `ledger licenses` lists the checkouts")
    checkout = read_checkout(row)
    if checkout.state is not CheckoutState.IN_DOUBT:
        raise LookupError(f"checkout-{seq} is {checkout.state}, not in doubt, so there is nothing to resolve")
    resolved = checkout.resolved(drawn=drawn, now=now)
    store.connection.execute(
        "UPDATE checkout SET state = ?, unanswered = 0, settled_at = ?, resolved_by = ?, resolved_reason = ?"
        " WHERE seq = ?",
        (resolved.state, _stored(resolved.settled_at), who, reason, seq),
    )
    return resolved


def prune(store: Store, now: int, most: int) -> bool:
    """Drop `most` seats and the draw-downs of `most` rows that were settled long ago; whether there may be more.

    The index has seats only. One of draw-downs would need room to open an older ledger, so a walk through all rows
    finds them; the next one begins an hour later.
    """
    before = now - KEPT_FOR // _MICROSECOND
    seats = store.connection.execute(
        "DELETE FROM checkout WHERE seq IN"
        f" (SELECT seq FROM checkout WHERE drawdown = 0 AND {_SPENT} AND settled_at < ? LIMIT ?)",
        (before, most),
    ).rowcount
    progress = store.progress
    if progress.drawdowns_walked_to is None:
        if progress.drawdowns_walked_for == before // HOUR:
            return seats >= most
        progress.drawdowns_walked_for, progress.drawdowns_walked_to = before // HOUR, 0
    progress.drawdowns_walked_to = _walk_drawdowns(store, progress.drawdowns_walked_to, before, most)
    return seats >= most or progress.drawdowns_walked_to is not None


def _walk_drawdowns(store: Store, after: int, before: int, most: int) -> int | None:
    """Drop what is outdated among the next rows; where to go on, None at the end."""
    rows = store.rows("SELECT seq FROM checkout WHERE seq > ? ORDER BY seq LIMIT ?", after, most)
    if not rows:
        return None
    upto: int = rows[-1]["seq"]
    store.connection.execute(
        f"DELETE FROM checkout WHERE seq > ? AND seq <= ? AND drawdown = 1 AND {_SPENT} AND settled_at < ?",
        (after, upto, before),
    )
    return upto


def _values(store: Store, checkout: Checkout) -> tuple[object, ...]:
    return (*(_stored(getattr(checkout, name)) for name in _FIELDS), store.pod)


def _stored(value: object) -> object:
    if isinstance(value, datetime):
        return to_micros(value)
    return value // _MICROSECOND if isinstance(value, timedelta) else value


def read_checkout(row: sqlite3.Row) -> Checkout:
    """Return the checkout of a whole row.

    Raises:
        ValueError, OverflowError: The row is not one that this program writes.
    """
    members = {name: _read(_TYPES[name], row[_OTHER_NAMES.get(name, name)]) for name in _FIELDS}
    return Checkout(seq=row["seq"], **members)


def _read(annotation: Any, value: Any) -> Any:
    if value is None:
        return None
    kind = next(iter(get_args(annotation)), annotation)
    if kind is datetime:
        return from_micros(value)
    return value * _MICROSECOND if kind is timedelta else kind(value)


def read_license(connection: sqlite3.Connection) -> LicenseEvidence | None:
    """Return what was kept last, or None; what is not evidence counts as none, for it proves nothing."""
    return read_kept(connection, "license", LicenseEvidence)


def write_license(store: Store, evidence: LicenseEvidence) -> None:
    """Keep `evidence` in place of what was there."""
    write_kept(store, "license", evidence)
