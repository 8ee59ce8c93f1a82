"""Proof of a registration, kept for the next process of the same pod."""

import sqlite3
from datetime import datetime

from sidecar.adapters.ledger.kept import read_kept, write_kept
from sidecar.adapters.ledger.store import Store
from sidecar.domain.entitlement.states import Evidence
from sidecar.domain.metering.hours import from_micros


def read_evidence(connection: sqlite3.Connection) -> Evidence | None:
    """Return what was kept last, or None; what is not evidence counts as none, for it proves nothing."""
    return read_kept(connection, "evidence", Evidence)


def last_accepted_at(connection: sqlite3.Connection, pod: str, product_code: str) -> datetime | None:
    """Return when AWS last accepted a record of pod and product; what a person resolved is no answer of AWS's."""
    row = connection.execute(
        "SELECT max(settled_at) AS at FROM named_record"
        " WHERE status = 'accepted' AND resolved = 0 AND uid = ? AND product_code = ?",
        (pod, product_code),
    ).fetchone()
    return None if row["at"] is None else from_micros(row["at"])


def note_record(store: Store, seq: int) -> None:
    """End the suspension and the refusal that are kept of a pod and product: AWS has shown that it holds a record.

    One step inside the transaction that settles the record `seq`, so that the ledger has the order of AWS's answers.
    """
    kept = read_evidence(store.connection)
    if kept is None or kept.recorded() == kept:
        return
    row = store.one("SELECT uid, product_code FROM named_record WHERE seq = ?", seq)
    if (row["uid"], row["product_code"]) == (kept.pod, kept.product_code):
        write_evidence(store, kept.recorded())


def write_evidence(store: Store, evidence: Evidence) -> None:
    """Keep `evidence` in place of what was there."""
    write_kept(store, "evidence", evidence)
