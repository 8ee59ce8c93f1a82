"""Usage for which a pod that ends has no hour any more: kept as unbilled, and carried by the ledger's next process.

The slot of its last hour is frozen, by a record or by the start probe, and the hour after it is another process's.
"""

import sqlite3

from sidecar.adapters.ledger.store import Move, Store, read_bucket
from sidecar.adapters.ledger.submitting import carry_record
from sidecar.adapters.ledger.unsent import Left, keep_unbilled
from sidecar.domain.metering.hours import Hour, hour_of_micros
from sidecar.domain.metering.quantity import parse_signed
from sidecar.domain.metering.records import CarryCause, UnbilledReason
from sidecar.domain.metering.rules import MeteringRules, window_closed

_WORDS = {
    UnbilledReason.PROBE_SLOT: "the start probe took the slot of the pod's last hour",
    UnbilledReason.AFTER_END: "it was carried past the pod's last hour",
}


def keep_after_end(store: Store, now: int) -> dict[UnbilledReason, dict[str, int]]:
    """Close the hours to come of a pod that ends, if they hold usage that its last hour cannot take.

    Where the slot of the last hour is free, the usage is the rest of a whole number, and stays.

    Returns:
        How much that was, by reason and dimension.
    """
    last = hour_of_micros(now)
    kept: dict[UnbilledReason, dict[str, int]] = {}
    opened = store.rows("SELECT * FROM named_bucket WHERE sealed = 0 AND +pod = ? AND hour > ?", store.pod, last)
    for row in opened:
        if not store.is_sealed(row["dimension"], last):
            continue
        reason = UnbilledReason.PROBE_SLOT if store.is_probed(row["dimension"], last) else UnbilledReason.AFTER_END
        left = Left(row["pod"], row["dimension"], Hour(row["hour"]), row["tag_set"], read_bucket(row).quantity)
        quantity = keep_unbilled(store, [left], reason.because(_WORDS[reason]), now)
        if quantity:
            kept.setdefault(reason, {}).setdefault(row["name"], 0)
            kept[reason][row["name"]] += quantity
    return kept


def kept_after_end(store: Store, rules: MeteringRules, now: int) -> list[sqlite3.Row]:
    """Return the records of usage that was kept for want of a next hour, and that may still be billed."""
    rows = [
        row
        for reason in _WORDS
        for row in store.rows(
            "SELECT * FROM named_record WHERE status = 'unbilled' AND resolved = 0 AND product_code = ?"
            " AND reason >= ? AND reason < ? || '~'",
            rules.product_code,
            reason,
            reason,
        )
    ]
    return [row for row in rows if not window_closed(Hour(row["hour"]), rules, now)]


def carry_after_end(store: Store, rules: MeteringRules, now: int) -> int:
    """Carry what was kept for want of a next hour: this pod has one, also if it is the same pod that continues.

    Returns:
        How many records of other pods that were.
    """
    carried = 0
    for row in kept_after_end(store, rules, now):
        hour, quantity = Hour(row["hour"]), parse_signed(row["quantity"])
        heir = store.heir(row["dimension"])
        target = store.first_open(heir, hour_of_micros(now))
        store.connection.execute(
            "UPDATE record SET status = 'carried', reason = NULL, settled_at = ?, carried_to = ? WHERE seq = ?",
            (now, target, row["seq"]),
        )
        store.add_to(row["dimension"], "unbilled", -quantity)
        move = Move(CarryCause.ADOPTED, row["seq"], row["pod"], hour, target, heir, 0, quantity, row["dimension"])
        carry_record(store, move, now)
        carried += row["pod"] != store.pod
    return carried
