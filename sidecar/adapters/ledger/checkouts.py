"""Checkouts and the evidence of the license, kept for the next process on the same ledger.

A pod that takes the ledger over takes over what its predecessor may still hold: the same request is repeated, and the
same seat is extended, never a second one taken.
"""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from sidecar.adapters.ledger.store import Store
from sidecar.domain import timestamps
from sidecar.domain.entitlement.checkouts import Checkout, CheckoutKind, CheckoutState
from sidecar.domain.entitlement.states import LicenseEvidence
from sidecar.domain.metering.hours import from_micros, to_micros

KEPT_FOR = timedelta(hours=26)
"""How long the newest checkout of an id is kept once it is settled; that of a draw-down is kept without end."""
_LIVE = ", ".join(f"'{state}'" for state in CheckoutState if state.live)
_MICROSECOND = timedelta(microseconds=1)
_COLUMNS = (
    *(
        "id",
        "kind",
        "pod",
        "sku",
        "issuer",
        "entitlement",
        "unit",
        "count",
        "drawdown",
        "client_token",
        "region",
        "state",
    ),
    *("intended_at", "first_attempt_at", "attempted_at", "unanswered", "consumption_token", "arn", "time_to_live"),
    *("expires_at", "confirmed_at", "unwanted", "settled_at"),
)

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
    """The checkouts as the services use them."""

    def __init__(self, write: Write, read: Read, admit: Callable[[Store], None]) -> None:
        """Make the table.

        Args:
            write: Does a step in a transaction.
            read: Reads at one instant.
            admit: Raises LedgerFull while the ledger takes no more of the app.
        """
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
    rows = connection.execute(
        "SELECT * FROM checkout WHERE kind = ? AND seq IN (SELECT max(seq) FROM checkout WHERE kind = ? GROUP BY id)"
        f" ORDER BY state IN ({_LIVE}) DESC, seq LIMIT ?",
        (CheckoutKind.APP, CheckoutKind.APP, limit),
    )
    return [read_checkout(row) for row in rows]


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
    # Only the newest checkout of an id is read. An app that asks for a taken seat again and again fills no disk.
    store.connection.execute(
        f"DELETE FROM checkout WHERE kind = ? AND id = ? AND drawdown = 0 AND state NOT IN ({_LIVE})",
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
        (resolved.state, _micros(resolved.settled_at), who, reason, seq),
    )
    return resolved


def prune(store: Store, now: int) -> int:
    """Drop checkouts that were settled long ago; how many that were."""
    return store.connection.execute(
        f"DELETE FROM checkout WHERE drawdown = 0 AND state NOT IN ({_LIVE}) AND settled_at < ?",
        (now - KEPT_FOR // _MICROSECOND,),
    ).rowcount


def _values(store: Store, checkout: Checkout) -> tuple[object, ...]:
    return (
        *(checkout.id, checkout.kind, store.pod, checkout.sku, checkout.issuer, checkout.entitlement, checkout.unit),
        *(
            checkout.count,
            checkout.drawdown,
            checkout.client_token,
            checkout.region,
            checkout.state,
            to_micros(checkout.intended_at),
        ),
        *(_micros(checkout.first_attempt_at), _micros(checkout.attempted_at), checkout.unanswered),
        *(checkout.consumption_token, checkout.arn, checkout.time_to_live // _MICROSECOND),
        *(_micros(checkout.expires_at), _micros(checkout.confirmed_at), checkout.returning),
        _micros(checkout.settled_at),
    )


def read_checkout(row: sqlite3.Row) -> Checkout:
    """Return the checkout of a whole row.

    Raises:
        ValueError, OverflowError: The row is not one that this program writes.
    """
    return Checkout(
        id=row["id"],
        kind=CheckoutKind(row["kind"]),
        sku=row["sku"],
        issuer=row["issuer"],
        entitlement=row["entitlement"],
        unit=row["unit"],
        count=row["count"],
        drawdown=bool(row["drawdown"]),
        client_token=row["client_token"],
        region=row["region"],
        state=CheckoutState(row["state"]),
        intended_at=from_micros(row["intended_at"]),
        first_attempt_at=_instant(row["first_attempt_at"]),
        attempted_at=_instant(row["attempted_at"]),
        unanswered=row["unanswered"],
        consumption_token=row["consumption_token"],
        arn=row["arn"],
        time_to_live=row["time_to_live"] * _MICROSECOND,
        expires_at=_instant(row["expires_at"]),
        confirmed_at=_instant(row["confirmed_at"]),
        returning=bool(row["unwanted"]),
        settled_at=_instant(row["settled_at"]),
        seq=row["seq"],
    )


def read_license(connection: sqlite3.Connection) -> LicenseEvidence | None:
    """Return what was kept last, or None; what is not evidence counts as none, for it proves nothing."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'license'").fetchone()
    if row is None:
        return None
    try:
        kept = json.loads(row["value"])
        instants = {name: datetime.fromisoformat(kept[name]) if kept[name] else None for name in _INSTANTS}
        return LicenseEvidence(
            pod=str(kept["pod"]),
            sku=str(kept["sku"]),
            arn=str(kept["arn"]),
            region=str(kept["region"]),
            proved_at=datetime.fromisoformat(kept["proved_at"]),
            seated=kept["seated"] is True,
            **instants,
        )
    except (ValueError, KeyError, TypeError):
        return None


_INSTANTS = ("begin", "end", "unseated_at", "missing_at", "closed_at")


def write_license(store: Store, evidence: LicenseEvidence) -> None:
    """Keep `evidence` in place of what was there."""
    instants = {name: getattr(evidence, name) for name in _INSTANTS}
    kept = {
        "pod": evidence.pod,
        "sku": evidence.sku,
        "arn": evidence.arn,
        "region": evidence.region,
        "proved_at": timestamps.render(evidence.proved_at),
        "seated": evidence.seated,
        **{name: None if instant is None else timestamps.render(instant) for name, instant in instants.items()},
    }
    store.connection.execute(
        "INSERT INTO meta VALUES ('license', ?) ON CONFLICT DO UPDATE SET value = excluded.value", (json.dumps(kept),)
    )


def _instant(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


def _micros(instant: datetime | None) -> int | None:
    return None if instant is None else to_micros(instant)
