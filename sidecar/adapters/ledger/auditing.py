"""The ledger as an auditor sees it: every record with its pod, and every movement between hours. Reads only."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sidecar.adapters.ledger.reading import record_id
from sidecar.adapters.ledger.store import read_tags
from sidecar.domain.audit.slots import Submission
from sidecar.domain.metering.events import Tags
from sidecar.domain.metering.hours import Hour, from_micros, start_of
from sidecar.domain.metering.quantity import exact
from sidecar.domain.metering.records import RecordStatus


@dataclass(frozen=True, slots=True)
class CarryView:
    """A quantity that moved from one hour to another."""

    cause: str
    """late | over-limit | expired | adopted | ahead | fraction | terms | resolved."""
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


def submissions(connection: sqlite3.Connection, path: Path, product_code: str | None = None) -> Iterator[Submission]:
    """Yield the records of every pod that were made to be submitted, whatever became of them, in order of their seal.

    Args:
        connection: See `look`.
        path: The ledger, as the submissions shall name it.
        product_code: Only records of this product, and those from before products were kept; None for all.
    """
    for row in connection.execute(
        "SELECT record.*, name, uid FROM record JOIN dimension ON dimension.id = record.dimension"
        " JOIN pod ON pod.id = record.pod WHERE kind = 'slot' AND ifnull(product_code = ?1, 1) ORDER BY seq",
        (product_code,),
    ):
        yield Submission(
            id=record_id(row["seq"]),
            ledger=str(path),
            pod=row["uid"],
            dimension=row["name"],
            hour=start_of(Hour(row["hour"])),
            quantity=exact(row["quantity"]),
            status=RecordStatus(row["status"]),
            reason=row["reason"],
            client_token=row["client_token"],
            metering_record_id=row["metering_record_id"],
            resolved=bool(row["resolved"]),
            sealed_at=from_micros(row["sealed_at"]),
            attempted_at=None if row["attempted_at"] is None else from_micros(row["attempted_at"]),
        )


def pods(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield the uid of every pod that has had the ledger, whether or not a record of it is kept."""
    for row in connection.execute("SELECT uid FROM pod ORDER BY id"):
        yield row["uid"]


def pods_of_records(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the uid of the pod that each record was made for, by the record's name."""
    rows = connection.execute("SELECT seq, uid FROM record JOIN pod ON pod.id = record.pod")
    return {record_id(row["seq"]): row["uid"] for row in rows}


def carries(connection: sqlite3.Connection) -> Iterator[CarryView]:
    """Yield the movements that are still kept, in their order."""
    for row in connection.execute(
        "SELECT movement.*, name, tags, source.uid AS from_uid, target.uid AS to_uid FROM movement"
        " JOIN dimension ON dimension.id = movement.dimension JOIN tag_set ON tag_set.id = movement.tag_set"
        " JOIN pod AS source ON source.id = from_pod JOIN pod AS target ON target.id = to_pod ORDER BY carried_at, seq"
    ):
        yield CarryView(
            cause=row["cause"],
            record=None if row["record"] is None else record_id(row["record"]),
            dimension=row["name"],
            from_pod=row["from_uid"],
            from_hour=start_of(Hour(row["from_hour"])),
            to_pod=row["to_uid"],
            to_hour=start_of(Hour(row["to_hour"])),
            tags=read_tags(row["tags"]),
            quantity=exact(row["quantity"]),
            at=from_micros(row["carried_at"]),
        )


def dropped(connection: sqlite3.Connection) -> dict[str, int]:
    """Return by dimension, in millionths, what AWS took with records that are no longer kept."""
    found: defaultdict[str, int] = defaultdict(int)
    for row in connection.execute("SELECT name, pruned_submitted FROM dimension"):
        found[row["name"]] += exact(row["pruned_submitted"])
    return found
