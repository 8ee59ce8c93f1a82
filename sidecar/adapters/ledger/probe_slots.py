"""The start probe in the ledger: its row, and the usage whose slot it takes (at the pod's end, see `last_hour`).

A probe is a `slot` record, so one index holds both to one record for each slot; an older sidecar on the ledger submits
a frozen probe as the zero that it is. Its client token tells it apart.
"""

import sqlite3
from collections.abc import Callable
from datetime import datetime

from sidecar.adapters.ledger.evidence import note_record
from sidecar.adapters.ledger.store import Move, Store
from sidecar.adapters.ledger.submitting import (
    insert_record,
    move_open,
    open_hour_after,
    read_record,
    record_outcome,
)
from sidecar.domain.metering.hours import Hour, from_micros, to_micros
from sidecar.domain.metering.probes import PROBE_MARK, Drop, ProbeFate, closed_at, hours_to_probe, repeats, retire
from sidecar.domain.metering.records import Answer, CarryCause, MarkUnbilled, Record, UnbilledReason
from sidecar.domain.metering.sealing import Seal
from sidecar.domain.policy import ProbeHour, QuantityKind

_NOTHING = Seal(quantity=0, allocations={}, gathered=0, remainder=0, excess={}, folded=0)
_LIVE = (
    "SELECT * FROM named_record WHERE client_token >= ? AND client_token < ? || '~' AND status = 'sealed' ORDER BY seq"
)


def freeze_probe(
    store: Store,
    name: str,
    preferred: ProbeHour,
    refused: Hour | None,
    *,
    now: datetime,
    new_token: Callable[[], str],
) -> Record | None:
    """Return the pod's probe: the frozen one while it repeats, else a new one; None if no slot is free.

    Args:
        store: The ledger.
        name: The dimension of a new probe.
        preferred: The hour that the seller chose.
        refused: The newest hour that AWS refused as out of bounds.
        now: The present instant.
        new_token: Makes the unique part of a client token.
    """
    micros = to_micros(now)
    dimension = store.dimension(name)
    for row in _live(store):
        record = read_record(row)
        if row["pod"] == store.pod and row["dimension"] == dimension and repeats(record, now):
            return record
        retire_probe(store, row, "another probe takes its place", micros)
    for hour in hours_to_probe(preferred, now, refused):
        if not store.is_sealed(dimension, hour):
            seq = _insert(store, dimension, hour, micros, PROBE_MARK + new_token())
            return read_record(store.one("SELECT * FROM named_record WHERE seq = ?", seq))
    return None


def _insert(store: Store, dimension: int, hour: Hour, now: int, token: str) -> int:
    whole = store.one("SELECT whole FROM dimension WHERE id = ?", dimension)["whole"]
    kind = QuantityKind.INTEGER if whole else QuantityKind.DECIMAL
    seq = insert_record(store, dimension, hour, _NOTHING, kind, 0, now=now, token=token)
    heir = store.heir(dimension)
    for each in store.family(dimension):
        target = open_hour_after(store, heir, hour, now)
        move_open(store, Move(CarryCause.PROBE, None, store.pod, hour, target, heir, 0, 0, each), now)
    return seq


def record_probe_outcome(store: Store, record: Record, fate: ProbeFate, answer: Answer, now: int) -> None:
    """Write what became of a probe."""
    if isinstance(fate, Drop):
        store.connection.execute("DELETE FROM record WHERE seq = ? AND status = 'sealed'", (record.seq,))
    else:
        record_outcome(store, record, fate, answer, now)
        if isinstance(fate, MarkUnbilled) and fate.reason.startswith(UnbilledReason.DUPLICATE):
            note_record(store, record.seq)


def retire_probe(store: Store, row: sqlite3.Row, words: str, now: int) -> None:
    """End a frozen probe that is not sent again, of whichever pod."""
    record = read_record(row)
    record_probe_outcome(store, record, retire(record.unanswered, words), Answer(row["answer"] or words), now)


def expire_probes(store: Store, now: int) -> None:
    """End the probes whose window has closed: a pod that is entitled otherwise does not send its probe again."""
    for row in _live(store):
        if to_micros(closed_at(read_record(row))) <= now:
            retire_probe(store, row, "the submission window closed", now)


def drop_unsent_probes(store: Store, now: int) -> None:
    """Free the slots of this pod's probes that AWS certainly did not take: the pod ends, and its usage needs them."""
    for row in _live(store):
        if row["pod"] == store.pod and not row["unanswered"]:
            retire_probe(store, row, "the pod ends", now)


def _live(store: Store) -> list[sqlite3.Row]:
    return store.rows(_LIVE, PROBE_MARK, PROBE_MARK)


def last_held_at(connection: sqlite3.Connection, pod: str, product_code: str) -> datetime | None:
    """Return when AWS last answered a probe of the pod with DuplicateRequest: it holds a record of the pod."""
    row = connection.execute(
        "SELECT max(settled_at) AS at FROM named_record WHERE client_token >= ?1 AND client_token < ?1 || '~'"
        " AND status = 'unbilled' AND reason_word = ?2 AND uid = ?3 AND product_code = ?4",
        (PROBE_MARK, UnbilledReason.DUPLICATE, pod, product_code),
    ).fetchone()
    return None if row["at"] is None else from_micros(row["at"])
