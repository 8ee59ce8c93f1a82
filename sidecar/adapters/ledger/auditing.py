"""The ledger for auditors: records with their pods, movements between hours, decisions of people. Reads only."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sidecar.adapters.ledger.queries import facts_of, record_id, sequence
from sidecar.adapters.ledger.store import read_tags
from sidecar.domain import timestamps
from sidecar.domain.audit.registrants import Tenure
from sidecar.domain.audit.slots import Submission
from sidecar.domain.metering.events import Tags
from sidecar.domain.metering.hours import Hour, from_micros, start_of
from sidecar.domain.metering.quantity import parse_signed
from sidecar.domain.metering.records import CarryCause, RecordKind, RecordStatus
from sidecar.domain.status import RecordQuery


@dataclass(frozen=True, slots=True)
class CarryView:
    """A quantity that moved from one hour to another."""

    cause: CarryCause
    record: str | None
    """The record that could not keep it; None where it left an open hour."""
    dimension: str
    from_pod: str
    from_hour: datetime
    to_pod: str
    to_hour: datetime
    tags: Tags
    quantity: int
    """Millionths."""
    at: datetime


@dataclass(frozen=True, slots=True)
class AuditView:
    """One decision of a person about a record, and the record before and after it."""

    at: datetime
    action: str
    record: str
    reason: str
    who: str
    before: dict[str, str | None]
    after: dict[str, str | None]


SUBMISSION_COLUMNS = (
    *("seq", "uid", "name", "hour", "quantity", "status", "reason", "client_token", "metering_record_id", "resolved"),
    *("sealed_at", "attempted_at"),
)
"""What a submission is made of, by the names of the ledger's view."""


def submission_rows(connection: sqlite3.Connection, product_code: str | None = None) -> Iterator[sqlite3.Row]:
    """Yield the records of every pod that were made to be submitted, whatever became of them, in order of their seal.

    Of `product_code` only, and those from before products were kept; None is every product.

    Raises:
        ValueError: A row has a status or a quantity that this program does not write.
    """
    for row in connection.execute(
        f"SELECT {', '.join(SUBMISSION_COLUMNS)} FROM named_record WHERE kind = ? AND ifnull(product_code = ?, 1)"
        " ORDER BY seq",
        (RecordKind.SLOT, product_code),
    ):
        RecordStatus(row["status"])
        parse_signed(row["quantity"])
        yield row


def read_submission(row: sqlite3.Row, ledger: str) -> Submission:
    """Return the submission that a row with its columns describes."""
    return Submission(
        **facts_of(row),
        ledger=ledger,
        pod=row["uid"],
        resolved=bool(row["resolved"]),
        sealed_at=from_micros(row["sealed_at"]),
        attempted_at=None if row["attempted_at"] is None else from_micros(row["attempted_at"]),
    )


def tenures(connection: sqlite3.Connection) -> Iterator[Tenure]:
    """Yield every pod that has had the ledger, whether or not a record of it is kept."""
    for row in connection.execute(
        "SELECT uid, first_seen_at, CASE WHEN uid = (SELECT value FROM meta WHERE key = 'pod') THEN NULL"
        " ELSE lead(first_seen_at) OVER (ORDER BY id) END AS until FROM pod ORDER BY id"
    ):
        until = None if row["until"] is None else from_micros(row["until"])
        yield Tenure(row["uid"], from_micros(row["first_seen_at"]), until)


def pods_of_records(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the uid of the pod that each record was made for, by the record's name."""
    rows = connection.execute("SELECT seq, uid FROM named_record")
    return {record_id(row["seq"]): row["uid"] for row in rows}


def carries(connection: sqlite3.Connection) -> Iterator[CarryView]:
    """Yield the movements that are still kept, in their order."""
    for row in connection.execute(
        "SELECT movement.*, name, tags, source.uid AS from_uid, target.uid AS to_uid FROM movement"
        " JOIN dimension ON dimension.id = movement.dimension JOIN tag_set ON tag_set.id = movement.tag_set"
        " JOIN pod AS source ON source.id = from_pod JOIN pod AS target ON target.id = to_pod ORDER BY carried_at, seq"
    ):
        yield CarryView(
            cause=CarryCause(row["cause"]),
            record=None if row["record"] is None else record_id(row["record"]),
            dimension=row["name"],
            from_pod=row["from_uid"],
            from_hour=start_of(Hour(row["from_hour"])),
            to_pod=row["to_uid"],
            to_hour=start_of(Hour(row["to_hour"])),
            tags=read_tags(row["tags"]),
            quantity=parse_signed(row["quantity"]),
            at=from_micros(row["carried_at"]),
        )


def dropped(connection: sqlite3.Connection) -> dict[str, int]:
    """Return by dimension, in millionths, what AWS took with records that are no longer kept."""
    found: defaultdict[str, int] = defaultdict(int)
    for row in connection.execute("SELECT name, pruned_submitted FROM dimension"):
        found[row["name"]] += parse_signed(row["pruned_submitted"])
    return found


def audit(connection: sqlite3.Connection, query: RecordQuery) -> Iterator[AuditView]:
    """Yield the decisions about records that match, in order; `status` is the one that the record was given."""
    asked = {"status": query.status, "dimension": query.dimension, "hour": timestamps.render_known(query.hour)}
    after = 0 if query.after is None else sequence(query.after)
    found = 0
    for row in connection.execute("SELECT * FROM audit WHERE record > ? ORDER BY seq", (after,)):
        members = json.loads(row["after"])
        if found < query.limit and all(members[name] == value for name, value in asked.items() if value is not None):
            found += 1
            yield AuditView(
                at=from_micros(row["at"]),
                action=row["action"],
                record=record_id(row["record"]),
                reason=row["reason"],
                who=row["who"],
                before=json.loads(row["before"]),
                after=members,
            )
