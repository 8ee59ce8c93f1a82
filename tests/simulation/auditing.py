"""What the rows of a simulated ledger must agree with: the service's own records, the answers, the policies so far."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sidecar.adapters.ledger import conservation
from sidecar.adapters.ledger.pruning import values_from
from sidecar.domain import timestamps
from sidecar.domain.metering.events import Aggregation
from sidecar.domain.metering.hours import Hour, hour_of_micros, start_of, to_micros
from sidecar.domain.metering.probes import PROBE_MARK, is_probe
from sidecar.domain.metering.quantity import parse_signed, render
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.policy import LatePolicy
from sidecar.emulator.state.entries import MeteringRecord
from tests.simulation.tally import REMEMBERED, Product

_CODES = {
    "duplicate": {"DuplicateRequestException"},
    "rejected": {"InvalidUsageDimensionException", "InvalidProductCodeException"},
}
"""What AWS must have answered for a record to be unbilled for this reason."""
_DAY = timedelta(hours=24)
_LATEST_DUE = timedelta(minutes=75)
"""From a record's seal to its turn at the latest: the widest spread, stretched."""


@dataclass
class Facts:
    """What has happened outside of the ledger."""

    taken: dict[str, MeteringRecord] = field(default_factory=dict)
    """What the service holds, by client token."""
    shared: dict[str, MeteringRecord] = field(default_factory=dict)
    """What it holds of another process that is the same as a record of this token."""
    answered: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Answers that say for certain what became of an attempt."""
    denials: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    policies: set[LatePolicy] = field(default_factory=set)
    codes: set[str] = field(default_factory=set)
    disturbed: bool = False
    """A process died or failed to write, so an answer may be lost after it had come."""


def accepted(connection: sqlite3.Connection) -> Counter[Product]:
    """Return what was accepted by dimension and product code."""
    found: Counter[Product] = Counter()
    for row in connection.execute("SELECT name, product_code, accepted FROM dimension"):
        found[row["name"], row["product_code"]] += parse_signed(row["accepted"])
    return found


def tokens(connection: sqlite3.Connection) -> set[str]:
    """Return the client tokens of all records."""
    return {row["client_token"] for row in connection.execute("SELECT client_token FROM record")}


def breaches(connection: sqlite3.Connection, facts: Facts) -> Iterator[str]:
    """Yield what is wrong in the ledger, by its own proofs and by the facts."""
    yield from conservation.breaches(connection)
    yield from conservation.event_breaches(connection)
    submitted: Counter[str] = Counter()
    for row in connection.execute(
        "SELECT record.*, name, product_code, aggregation FROM record JOIN dimension ON dimension.id = record.dimension"
    ):
        token, status = row["client_token"], row["status"]
        where = f"record {row['seq']} ({row['name']} {timestamps.render(start_of(Hour(row['hour'])))}, {status})"
        if token in facts.taken:
            yield from _taken(where, row, facts.taken[token])
        elif status == "accepted":
            if token not in facts.shared:
                yield f"{where}: the service does not hold it"
            else:
                yield from _taken(where, row, facts.shared[token])
        if status == "accepted":
            submitted[row["name"]] += parse_signed(row["quantity"])
        if status == "unbilled" and not _is_justified(connection, row, facts):
            yield f"{where}: unbilled without cause: {row['reason']}"
    yield from _late_carries(connection, facts)
    for name, found in conservation.terms(connection).items():
        if found.submitted != submitted[name]:
            yield f"{name}: submitted {render(found.submitted)}, records make {render(submitted[name])}"


def _late_carries(connection: sqlite3.Connection, facts: Facts) -> Iterator[str]:
    """Where late usage was never billed, only what is not late is carried."""
    if LatePolicy.CARRY in facts.policies:
        return
    for row in connection.execute("SELECT * FROM movement WHERE cause IN ('late', 'expired')"):
        if row["cause"] == "expired" or row["from_hour"] < hour_of_micros(row["carried_at"]):
            yield f"{row['cause']} {row['seq']} moves usage that is late on, against the policy"


def _taken(where: str, row: sqlite3.Row, record: MeteringRecord) -> Iterator[str]:
    """What the service holds is accepted, still open to an answer, or in doubt; never counted elsewhere too."""
    if row["product_code"] != record.product_code:
        yield f"{where}: taken for {row['product_code']}, and the service holds it for {record.product_code}"
    match row["status"]:
        case "accepted":
            if row["metering_record_id"] != record.metering_record_id:
                yield f"{where}: another metering record id"
            if parse_signed(row["quantity"]) != record.quantity.millionths:
                yield f"{where}: another quantity than the service's"
        case "sealed":
            if not row["unanswered"]:
                yield f"{where}: the service holds it, and the ledger does not think it possible"
        case "unbilled":
            # A start probe is nothing, whether or not the service holds it.
            if not row["reason"].startswith("in-doubt") and not is_probe(row["client_token"]):
                yield f"{where}: the service holds it, but the reason is {row['reason']}"
        case _:
            yield f"{where}: the service holds it, and its quantity went elsewhere too"


def _is_justified(connection: sqlite3.Connection, row: sqlite3.Row, facts: Facts) -> bool:  # noqa: PLR0911 - a table
    """Return whether a record is unbilled for a cause that the simulation knows of."""
    reason, _, _ = row["reason"].partition(":")
    token = row["client_token"]
    if is_probe(token) and reason != "duplicate":
        conflict = reason == "rejected" and "IdempotencyConflictException" in row["reason"]
        return conflict or (reason == "expired" and bool(row["unanswered"]))
    answered = facts.answered[token]
    match reason:
        case "expired":
            return LatePolicy.UNBILLED in facts.policies
        case "late":
            if LatePolicy.UNBILLED in facts.policies:
                return True
            # What was counted in an hour may be forgotten, so what comes for it could be charged twice.
            horizon = conservation.proved_from(connection)
            if row["aggregation"] == Aggregation.UNIQUE:
                horizon = max(horizon, values_from(connection), hour_of_micros(row["sealed_at"] - REMEMBERED))
            return row["aggregation"] != Aggregation.SUM and bool(row["hour"] < horizon)
        case "in-doubt":
            unclear = facts.attempts[token] > facts.denials[token] or facts.disturbed
            return (row["unanswered"] > 0 and unclear) or "IdempotencyConflictException" in answered
        case "probe-slot":
            return any(map(is_probe, tokens(connection)))
        case "after-end":
            taken = "SELECT 1 FROM record WHERE kind = 'slot' AND pod = ? AND dimension = ? AND hour < ?"
            return bool(connection.execute(taken, (row["pod"], row["dimension"], row["hour"])).fetchone())
        case "other-product":
            return len(facts.codes) > 1
        case _:
            return bool(_CODES.get(reason, set()) & answered)


def misjudged(
    connection: sqlite3.Connection,
    failing: set[str],
    rules: MeteringRules,
    judged_from: Mapping[str, int],
    now: datetime,
) -> Iterator[str]:
    """Yield what the submitter says of metering against the records; of a pod whose clock was never set.

    What was settled before `judged_from`, by dimension, was another product's, or of a dimension that was removed.
    """
    for name in rules.dimensions:
        begins = judged_from.get(name, 0)
        rows = connection.execute(
            "SELECT record.* FROM record JOIN dimension ON dimension.id = record.dimension"
            " WHERE name = ? AND product_code = ? AND record.kind = 'slot' AND NOT client_token GLOB ?"
            " AND ifnull(settled_at >= ?, 1) ORDER BY settled_at",
            (name, rules.product_code, f"{PROBE_MARK}*", begins),
        ).fetchall()
        success = max((row["settled_at"] for row in rows if row["status"] == "accepted"), default=0)
        duplicates = [row["settled_at"] for row in rows if (row["reason"] or "").startswith("duplicate")]
        since = [at for at in duplicates if at > success]
        latest = duplicates[-3:]
        disputed = bool(since) and len(latest) == 3 and since[-1] - latest[0] <= _DAY // timedelta(microseconds=1)
        if disputed and name not in failing:
            yield f"{name}: three duplicates within 24 hours, and metering is said to work"
        due = [
            row["sealed_at"]
            for row in rows
            if row["status"] != "accepted"
            and row["attempts"]
            and row["answer"]
            and row["sealed_at"] > max(success, begins)
        ]
        waited = now - rules.failing_after - _LATEST_DUE
        if due and min(due) < to_micros(waited) and name not in failing:
            yield f"{name}: no success since {min(due)} although a record is due, and metering is said to work"
        if name in failing and all(row["status"] == "accepted" for row in rows):
            yield f"{name}: every record was accepted, and metering is said to fail"
