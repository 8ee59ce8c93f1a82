"""Which pod had the ledger last, and what pods that are gone left unfinished: read before it is taken over.

Changes nothing; `handover` does.
"""

from sidecar.adapters.ledger.last_hour import kept_after_end
from sidecar.adapters.ledger.store import Store, read_bucket
from sidecar.domain.metering.hours import Hour
from sidecar.domain.metering.probes import is_probe
from sidecar.domain.metering.quantity import parse_signed
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.pod.succession import PodPlace, Predecessor, TakenOver, summarize


def find_predecessor(store: Store, uid: str | None) -> Predecessor | None:
    """Return the pod that had the ledger last; None before the first one, and where that is the pod of `uid` itself.

    `uid` is this pod's, None where the ledger keeps it.
    """
    rows = store.rows(
        "SELECT uid, source, pod_namespace, pod_name FROM pod JOIN meta ON meta.value = pod.uid WHERE meta.key = 'pod'"
    )
    if not rows or rows[0]["uid"] == uid or (uid is None and rows[0]["source"] == "ledger"):
        return None
    (row,) = rows
    known = row["pod_namespace"] and row["pod_name"]
    return Predecessor(row["uid"], PodPlace(row["pod_namespace"], row["pod_name"]) if known else None)


def note_place(store: Store, place: PodPlace | None) -> None:
    """Store where the cluster has this pod's object; a successor looks for it there."""
    if place is not None:
        store.connection.execute(
            "UPDATE pod SET pod_namespace = ?, pod_name = ? WHERE id = ?", (place.namespace, place.name, store.pod)
        )


def find_unfinished(store: Store, rules: MeteringRules, now: int) -> list[TakenOver]:
    """Return the usage of other pods that is taken over at `now`, by dimension and hour; an empty hour is left out.

    A start probe that waits is no usage; usage for which a pod had no next hour is.
    """
    buckets = [
        TakenOver(row["name"], Hour(row["hour"]), read_bucket(row).quantity, in_doubt=False)
        for row in store.rows("SELECT * FROM named_bucket WHERE sealed = 0 AND pod <> ?", store.pod)
    ]
    records = [
        TakenOver(row["name"], Hour(row["hour"]), parse_signed(row["quantity"]), in_doubt=bool(row["unanswered"]))
        for row in store.rows("SELECT * FROM named_record WHERE status = 'sealed' AND pod <> ?", store.pod)
        if not is_probe(row["client_token"])
    ]
    displaced = [
        TakenOver(row["name"], Hour(row["hour"]), parse_signed(row["quantity"]), in_doubt=False)
        for row in kept_after_end(store, rules, now)
        if row["pod"] != store.pod
    ]
    return [each for each in summarize([*buckets, *records, *displaced]) if each.quantity or each.in_doubt]
