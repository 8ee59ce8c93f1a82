"""A person's decision about an unbilled record: the decision and its audit entry in one commit.

Works while a sidecar runs, which finds the outcome at its next read. Takes no lock but SQLite's own, and for one
transaction. Refuses what `sidecar.domain.audit.decisions` objects to, and one metering record id for two records.
"""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sidecar.adapters.ledger.file import LedgerUnusable, cure_for, open_for_writing
from sidecar.adapters.ledger.queries import Choice, choose, record_id, sequence, undecided_reasons
from sidecar.adapters.ledger.snapshot import reading
from sidecar.adapters.ledger.store import Move, Store, recall
from sidecar.adapters.ledger.submitting import carry_record
from sidecar.domain import timestamps
from sidecar.domain.audit.decisions import Action, Disputed, Resolution, objection
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.metering.hours import Hour, hour_of_micros, start_of
from sidecar.domain.metering.probes import is_probe
from sidecar.domain.metering.quantity import parse_signed
from sidecar.domain.metering.records import CarryCause, RecordStatus, UnbilledReason


class NotResolvable(Exception):
    """The record is not there, or cannot be resolved so; nothing was changed. Names the reason and the cure."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a decision made of its record; `before` and `after` are the members that it may change.

    They have `tag_sets`, the number of tag sets that the quantity is split by, only of a carry without tags.
    """

    id: str
    dimension: str
    hour: Hour
    quantity: int
    """Millionths."""
    before: dict[str, str | None]
    after: dict[str, str | None]


def resolve_in(path: Path, identifier: str, resolution: Resolution, *, who: str, now: int, keep: bool) -> Resolved:
    """Resolve one record, as `rec-7`, of the ledger at `path`, durably. All else is as with `resolve_all_in`."""
    return resolve_all_in(path, Choice((identifier,)), resolution, who=who, now=now, keep=keep)[0]


def resolve_all_in(
    path: Path, choice: Choice, resolution: Resolution, *, who: str, now: int, keep: bool
) -> list[Resolved]:
    """Resolve the chosen records of the ledger at `path` by one decision, durably: all of them or none.

    `now` is in epoch microseconds. Without `keep` everything is tried, and the ledger left as it was.

    Raises:
        NotResolvable: See there. Nothing fits the choice, or one of the records cannot be resolved so.
        LedgerUnusable: The ledger cannot be opened or written.
    """
    with reading(path):
        # Opening for writing would make a ledger where there is none.
        pass
    try:
        with closing(open_for_writing(path)) as connection:
            # A carry of many shares has a journal of its own; the image has no folder for temporary files.
            connection.execute("PRAGMA temp_store = MEMORY")
            store = Store(connection)
            if keep:
                with store.transaction():
                    return _resolve_all(store, choice, resolution, who=who, now=now)
            # Closing the connection undoes what was not committed.
            connection.execute("BEGIN IMMEDIATE")
            return _resolve_all(store, choice, resolution, who=who, now=now)
    except (LedgerUnavailable, sqlite3.Error) as error:
        raise LedgerUnusable(path, str(error), cure_for(error.__cause__ or error)) from error
    except ValueError as error:
        raise LedgerUnusable(path, f"a row cannot be read ({error})", "`ledger verify` names the row.") from error


def _resolve_all(store: Store, choice: Choice, resolution: Resolution, *, who: str, now: int) -> list[Resolved]:
    """Resolve the chosen records inside the caller's transaction, which the error undoes."""
    identifiers = choose(store.connection, choice)
    if not identifiers:
        found = undecided_reasons(store.connection)
        waiting = ", ".join(f"{kind} ({number})" for kind, number in found.items()) or "none"
        raise NotResolvable(f"no unbilled record fits; by their reasons these wait for a decision: {waiting}")
    resolved: list[Resolved] = []
    refusals: list[str] = []
    for identifier in identifiers:
        try:
            resolved.append(resolve(store, identifier, resolution, who=who, now=now))
        except NotResolvable as refusal:
            refusals.append(str(refusal))
    if refusals:
        others = "; none of the records was resolved" if len(identifiers) > 1 else ""
        raise NotResolvable("\n".join(refusals) + others)
    return resolved


def resolve(store: Store, identifier: str, resolution: Resolution, *, who: str, now: int) -> Resolved:
    """Resolve one record, as `rec-7`, inside the caller's transaction. The others are those of `resolve_all_in`."""
    seq = sequence(identifier)
    row = store.connection.execute("SELECT * FROM named_record WHERE seq = ?", (seq,)).fetchone()
    if row is None:
        raise NotResolvable(
            f"there is no record {identifier}; `ledger records --status unbilled` lists what can be resolved"
        )
    disputed = Disputed(RecordStatus(row["status"]), row["attempts"], bool(row["resolved"]))
    words = objection(disputed, resolution.action)
    if words is None and is_probe(row["client_token"]) and UnbilledReason.DUPLICATE.begins(row["reason"]):
        words = "it is a start probe, which charges nothing and proves that AWS holds a record of the pod"
    if words is not None:
        raise NotResolvable(f"{identifier} cannot be resolved: {words}")
    before = _members(row)
    if resolution.without_tags:
        before["tag_sets"] = str(_tag_sets(store, seq))
    match resolution.action:
        case Action.ACCEPT:
            _accept(store, row, resolution, now)
        case Action.CARRY:
            _carry(store, row, now, without_tags=resolution.without_tags)
        case Action.WRITE_OFF:
            store.connection.execute(
                "UPDATE record SET reason = ? WHERE seq = ?",
                (f"{row['reason']}; written off: {resolution.reason}", seq),
            )
    store.connection.execute("UPDATE record SET resolved = 1 WHERE seq = ?", (seq,))
    after = _members(store.one("SELECT * FROM record WHERE seq = ?", seq))
    if resolution.without_tags:
        after["tag_sets"] = "0"
    store.connection.execute(
        "INSERT INTO audit (at, action, record, reason, who, before, after) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (now, resolution.action, seq, resolution.reason, who, _frozen(row, before), _frozen(row, after)),
    )
    return Resolved(record_id(seq), row["name"], Hour(row["hour"]), parse_signed(row["quantity"]), before, after)


def _accept(store: Store, row: sqlite3.Row, resolution: Resolution, now: int) -> None:
    other = store.connection.execute(
        "SELECT seq FROM record WHERE metering_record_id = ?", (resolution.metering_record_id,)
    ).fetchone()
    if other is not None:
        raise NotResolvable(
            f"metering record {resolution.metering_record_id} is that of {record_id(other['seq'])};"
            " look for the right one in CloudTrail"
        )
    store.connection.execute(
        "UPDATE record SET status = 'accepted', reason = NULL, unanswered = 0, metering_record_id = ?, settled_at = ?"
        " WHERE seq = ?",
        (resolution.metering_record_id, now, row["seq"]),
    )
    _leave_unbilled(store, row)
    store.add_to(row["dimension"], "submitted", parse_signed(row["quantity"]))


def _carry(store: Store, row: sqlite3.Row, now: int, *, without_tags: bool) -> None:
    store.pod = _current_pod(store)
    heir = _heir(store, row)
    target = store.first_open(heir, hour_of_micros(now))
    store.connection.execute(
        "UPDATE record SET status = 'carried', reason = NULL, settled_at = ?, carried_to = ? WHERE seq = ?",
        (now, target, row["seq"]),
    )
    _leave_unbilled(store, row)
    hour, quantity = Hour(row["hour"]), parse_signed(row["quantity"])
    whole = Move(CarryCause.RESOLVED, row["seq"], row["pod"], hour, target, heir, 0, quantity, row["dimension"])
    if not without_tags:
        carry_record(store, whole, now)
    elif quantity:
        store.carry(whole, now)


def _tag_sets(store: Store, seq: int) -> int:
    """Return the number of tag sets of a record's allocations, the untagged share left out."""
    return int(store.one("SELECT count(*) AS n FROM allocation WHERE record = ? AND tag_set <> 0", seq)["n"])


def _heir(store: Store, row: sqlite3.Row) -> int:
    """Return the row of the dimension that takes what a record carries, under the product that is metered now.

    Usage of another product joins it by the person's decision alone.
    """
    code = recall(store.connection, "product-code") or row["product_code"]
    if row["product_code"] == code:
        return store.heir(row["dimension"])
    try:
        return store.dimension(row["name"])
    except KeyError:
        raise NotResolvable(
            f"{record_id(row['seq'])} cannot be carried: product {code} has no dimension {row['name']}; configure it"
            " and start the sidecar, or use write-off"
        ) from None


def _leave_unbilled(store: Store, row: sqlite3.Row) -> None:
    store.add_to(row["dimension"], "unbilled", -parse_signed(row["quantity"]))


def _current_pod(store: Store) -> int:
    """Return the row of the pod that had the ledger last: only that one still submits."""
    return int(store.one("SELECT pod.id FROM pod JOIN meta ON meta.value = pod.uid WHERE meta.key = 'pod'")["id"])


def _members(row: sqlite3.Row) -> dict[str, str | None]:
    target = row["carried_to"]
    return {
        "status": row["status"],
        "reason": row["reason"],
        "metering_record_id": row["metering_record_id"],
        "carried_to": None if target is None else timestamps.render(start_of(Hour(target))),
    }


def _frozen(row: sqlite3.Row, members: dict[str, str | None]) -> str:
    """Return the record as the audit keeps it: an entry stays readable after its record has been dropped."""
    hour = timestamps.render(start_of(Hour(row["hour"])))
    return json.dumps({"dimension": row["name"], "hour": hour, "quantity": row["quantity"], **members})
