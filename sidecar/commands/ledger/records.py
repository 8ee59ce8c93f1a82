"""`ledger records`: the metering records, or people's decisions about them."""

import argparse
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace

from sidecar.adapters.ledger.auditing import AuditView, audit
from sidecar.adapters.ledger.queries import records
from sidecar.commands.ledger.source import Source, add_filters, add_read_only, find_source
from sidecar.commands.tables import json_line, note_more, print_json, print_table
from sidecar.domain import timestamps
from sidecar.domain.metering.records import RecordStatus
from sidecar.domain.status import RecordQuery, RecordView, is_record_id
from sidecar.exit_codes import ExitCode
from sidecar.serializers import record_members

_SHOWN = ("id", "dimension", "hour", "quantity", "status", "attempts", "metering_record_id", "carried_to", "reason")
_PAGE = 1000
_ALL = RecordQuery(limit=2**62)
_AUDITED = ("at", "who", "action", "record", "dimension", "hour", "quantity", "reason")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_read_only(parser)
    add_filters(parser)
    parser.add_argument(
        "--status", choices=[str(status) for status in RecordStatus], help="only records with this status"
    )
    parser.add_argument("--after", metavar="ID", type=_record, help="only records sealed after this one, such as rec-7")
    parser.add_argument("--audit", action="store_true", help="list people's decisions instead of the records")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def run(args: argparse.Namespace) -> int:
    """Print records in the order in which they were sealed; 0."""
    query = RecordQuery(args.status, args.dimension, args.hour, args.after, args.limit)
    source = find_source(args)
    if args.audit:
        _show_audit(source, query, as_json=args.json)
        return ExitCode.CLEAN
    # Nothing is printed while the ledger is open, and of 2,500 allocations of a record only what is printed is held.
    lines: list[str] = []
    rows: list[list[object]] = []
    last = after = None
    with source.open() as connection:
        for number, record in enumerate(every_record(connection, replace(query, limit=query.limit + 1))):
            if number == query.limit:
                after = last
                break
            last, members = record.id, record_members(record)
            if args.json:
                lines.append(json_line(members))
            else:
                rows.append([_shown(members, column) for column in _SHOWN])
    if args.json:
        sys.stdout.writelines(lines)
    else:
        print_table(_SHOWN, rows)
    if after is not None:
        note_more(f"continue with --after {after}, or use `ledger export`")
    return ExitCode.CLEAN


def _record(text: str) -> str:
    if not is_record_id(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the id of a record like rec-7")
    return text


def _shown(members: Mapping[str, object], column: str) -> object:
    """Return a cell of the table; where nothing is wrong with a start probe, its reason is what it is."""
    probe = column == "reason" and members["kind"] == "probe" and members["reason"] is None
    return "probe" if probe else members[column]


def every_record(connection: sqlite3.Connection, query: RecordQuery = _ALL) -> Iterator[RecordView]:
    """Yield the records that match at one instant, in the order in which they were sealed."""
    left, after = query.limit, query.after
    while left:
        page = records(connection, replace(query, after=after, limit=min(left, _PAGE)))
        yield from page.records
        left, after = left - len(page.records), page.next
        if after is None:
            return


def _show_audit(source: Source, query: RecordQuery, *, as_json: bool) -> None:
    with source.open() as connection:
        found = list(audit(connection, replace(query, limit=query.limit + 1)))
    shown = [audit_members(entry) for entry in found[: query.limit]]
    if as_json:
        for members in shown:
            print_json(members)
    else:
        rows = [{**entry.before, **members} for entry, members in zip(found, shown, strict=False)]
        print_table(_AUDITED, [[row[column] for column in _AUDITED] for row in rows])
    if len(found) > len(shown):
        note_more("raise --limit")


def audit_members(entry: AuditView) -> dict[str, object]:
    """Return one decision as JSON members."""
    return {
        "at": timestamps.render(entry.at),
        "who": entry.who,
        "action": entry.action,
        "record": entry.record,
        "reason": entry.reason,
        "before": entry.before,
        "after": entry.after,
    }
