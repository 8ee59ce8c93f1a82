"""The audit file of `ledger export --chain`: the whole ledger at one instant as a hash chain, and the check of one.

Holds the terms of the conservation law, every record with its pod, every movement between hours and every decision of a
person. The file can be proved without the ledger: no line was changed, and the records make the terms.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sidecar.adapters.ledger.auditing import CarryView, audit, carries, dropped, pods_of_records
from sidecar.adapters.ledger.conservation import terms
from sidecar.adapters.ledger.queries import EventQuery, events, overview
from sidecar.commands.ledger.events import event_members
from sidecar.commands.ledger.records import audit_members, every_record
from sidecar.commands.tables import Members
from sidecar.domain import timestamps
from sidecar.domain.audit.hash_chain import ChainBroken, check
from sidecar.domain.metering import quantity
from sidecar.domain.metering.records import RecordStatus
from sidecar.domain.status import RecordQuery, Terms
from sidecar.serializers import record_members, terms_members

_MOST = 2**62
_SUMS = {RecordStatus.SEALED: "sealed", RecordStatus.ACCEPTED: "submitted", RecordStatus.UNBILLED: "unbilled"}
"""The status of a record, and the term that its quantity is part of."""


def entries(connection: sqlite3.Connection, now: datetime, *, with_events: bool) -> Iterator[tuple[str, Members]]:
    """Yield what goes into the chain, each with its kind. `with_events` adds the usage events still kept."""
    held = overview(connection)
    yield "ledger", {"exported_at": timestamps.render(now), "schema": held.schema, "pod": held.pod, "pods": held.pods}
    gone = dropped(connection)
    for name, found in terms(connection).items():
        yield "terms", {"dimension": name, **terms_members(found), "dropped": quantity.render(gone[name])}
    pods = pods_of_records(connection)
    for record in every_record(connection):
        yield "record", {**record_members(record), "pod": pods[record.id]}
    for carry in carries(connection):
        yield "carry", _carry_members(carry)
    for decision in audit(connection, RecordQuery(limit=_MOST)):
        yield "decision", audit_members(decision)
    if with_events:
        for event in events(connection, EventQuery()):
            yield "event", event_members(event)


@dataclass(slots=True)
class Checked:
    """The result of checking every line of an audit file."""

    lines: int = 0
    head: str = ""
    """The hash of the last line, to be kept elsewhere."""
    exported_at: str | None = None
    terms: dict[str, Terms] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)
    """Where the records do not add up to the terms, or a slot has more than one record."""


def check_file(lines: Iterable[str]) -> Checked:
    """Check a file's chain and sums.

    Raises:
        ChainBroken: A line was changed, added, removed or moved (sidecar.domain.audit.hash_chain).
    """
    checked = Checked()
    sums: dict[tuple[str, str], int] = defaultdict(int)
    slots: dict[tuple[object, ...], object] = {}
    for kind, entry, found in check(lines):
        checked.lines, checked.head = checked.lines + 1, found
        try:
            if kind == "ledger":
                checked.exported_at = str(entry["exported_at"])
            elif kind == "terms":
                _take_terms(checked, entry, sums)
            elif kind == "record":
                _take_record(checked, entry, sums, slots)
        except (KeyError, ValueError, TypeError, AttributeError):
            raise ChainBroken(checked.lines, f"it is not a {kind} as an export writes it") from None
    checked.breaches += [
        f"dimension {name}: it has records but no terms"
        for name in sorted({name for name, _ in sums} - set(checked.terms))
    ]
    for name, kept in checked.terms.items():
        for term in _SUMS.values():
            made = sums[name, term]
            if getattr(kept, term) != made:
                checked.breaches.append(
                    f"dimension {name}: {term} is {quantity.render(getattr(kept, term))} but the records make "
                    f"{quantity.render(made)}"
                )
        if not kept.balanced:
            checked.breaches.append(f"dimension {name}: the terms do not balance")
    return checked


def _take_terms(checked: Checked, entry: Mapping[str, Any], sums: dict[tuple[str, str], int]) -> None:
    name = str(entry["dimension"])
    if name in checked.terms:
        checked.breaches.append(f"dimension {name}: its terms are given twice")
    checked.terms[name] = Terms(**{term: quantity.parse_signed(entry[term]) for term in Terms.__slots__})
    sums[name, "submitted"] += quantity.parse_signed(entry["dropped"])


def _take_record(
    checked: Checked,
    entry: Mapping[str, Any],
    sums: dict[tuple[str, str], int],
    slots: dict[tuple[object, ...], object],
) -> None:
    term = _SUMS.get(RecordStatus(entry["status"]))
    if term is not None:
        sums[str(entry["dimension"]), term] += quantity.parse_signed(entry["quantity"])
    if entry["status"] == "accepted":
        slot = entry["pod"], entry.get("product_code"), entry["dimension"], entry["hour"]
        if slot in slots:
            checked.breaches.append(f"{slots[slot]} and {entry['id']} are both accepted for one slot")
        slots[slot] = entry["id"]


def _carry_members(carry: CarryView) -> Members:
    return {
        "cause": carry.cause,
        "record": carry.record,
        "dimension": carry.dimension,
        "from_pod": carry.from_pod,
        "from_hour": timestamps.render(carry.from_hour),
        "to_pod": carry.to_pod,
        "to_hour": timestamps.render(carry.to_hour),
        "tags": dict(carry.tags),
        "quantity": quantity.render(carry.quantity),
        "at": timestamps.render(carry.at),
    }
