"""Which pod the ledger meters for, and what a ledger takes over from a pod that is gone.

AWS counts each pod by itself. What another pod may have submitted is never submitted again under this one's name.
"""

import uuid

from sidecar.adapters.ledger.store import Move, Store, read_bucket
from sidecar.adapters.ledger.submitting import move_out, settle
from sidecar.domain.hours import Hour, from_micros, hour_of_micros
from sidecar.domain.quantity import exact
from sidecar.domain.records import Answer, Record, orphan


def take_identity(store: Store, uid: str | None, source: str, now: int) -> tuple[str, str]:
    """Make `uid` the pod of this ledger, or the one it has kept itself where there is none from outside.

    Returns:
        The pod's uid and where it comes from.
    """
    if uid is None:
        store.connection.execute(
            "INSERT INTO meta VALUES ('own-pod', ?) ON CONFLICT DO NOTHING", (f"ledger-{uuid.uuid4()}",)
        )
        uid, source = str(store.one("SELECT value FROM meta WHERE key = 'own-pod'")["value"]), "ledger"
    store.connection.execute(
        "INSERT INTO pod (uid, source, first_seen_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (uid, source, now)
    )
    store.pod = int(store.one("SELECT id FROM pod WHERE uid = ?", uid)["id"])
    store.connection.execute(
        "INSERT INTO meta VALUES ('pod', ?) ON CONFLICT DO UPDATE SET value = excluded.value", (uid,)
    )
    return uid, source


def adopt(store: Store, now: int) -> int:
    """Take over what other pods left unfinished; how many buckets and records that were."""
    this_hour = hour_of_micros(now)
    buckets = store.rows("SELECT * FROM bucket WHERE sealed = 0 AND pod <> ?", store.pod)
    for row in buckets:
        dimension, hour, tag_set = int(row["dimension"]), Hour(row["hour"]), int(row["tag_set"])
        quantity = read_bucket(row).quantity
        store.connection.execute(
            "UPDATE bucket SET sealed = 1 WHERE pod = ? AND dimension = ? AND hour = ? AND tag_set = ?",
            (row["pod"], dimension, hour, tag_set),
        )
        if quantity:
            target = store.first_open(dimension, this_hour)
            move_out(store, Move("adopted", None, row["pod"], hour, target, dimension, tag_set, quantity), now)
    records = store.rows(
        "SELECT record.*, name, uid FROM record JOIN dimension ON dimension.id = record.dimension"
        " JOIN pod ON pod.id = record.pod WHERE status = 'sealed' AND record.pod <> ?",
        store.pod,
    )
    for row in records:
        record = Record(
            seq=row["seq"],
            dimension=row["name"],
            hour=Hour(row["hour"]),
            quantity=exact(row["quantity"]),
            timestamp=from_micros(row["timestamp"]),
            attempts=row["attempts"],
            unanswered=row["unanswered"],
        )
        settle(store, record, orphan(record.unanswered, row["uid"]), Answer(row["answer"] or "pod gone"), now)
    return len(buckets) + len(records)
