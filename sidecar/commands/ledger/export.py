"""`ledger export`: every record, or every event still kept, for another program; or the whole ledger as an audit file.

The columns are the members of the API; new ones are added at the end. A file is complete or unchanged. NDJSON is exact;
in CSV a single quote is before what a spreadsheet would take for a formula. Refuses to overwrite the ledger, and to
write to anything but a file.
"""

import argparse
import csv
import json
import re
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TextIO

from sidecar.adapters.ledger.file import files_of
from sidecar.adapters.ledger.queries import EventQuery, events
from sidecar.commands.ledger.audit_file import entries
from sidecar.commands.ledger.events import COLUMNS as EVENT_COLUMNS
from sidecar.commands.ledger.events import event_members
from sidecar.commands.ledger.records import every_record
from sidecar.commands.ledger.source import Source, add_read_only, find_source
from sidecar.commands.tables import Members, refuse
from sidecar.domain.audit.hash_chain import link
from sidecar.domain.status import RecordView
from sidecar.durable_files import replace_file
from sidecar.exit_codes import ExitCode
from sidecar.serializers import record_members
from sidecar.upstream import present

RECORD_COLUMNS = tuple(member.name for member in fields(RecordView))
"""A record's members are the fields of its view."""


_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_FORMULA = re.compile('^(?=[\t\r\n])|(?:^|(?<=[;|\t\r\n]))(?=[" ]*[=+\\-@\uff1d\uff0b\uff0d\uff20])')
"""Where a formula begins for a spreadsheet (OWASP, CSV Injection); the last four are full-width.

Also behind what separates cells in other locales: a spreadsheet that splits there does not see the cell's quotes.
"""
_IN_JSON = str.maketrans({";": "\\u003b", "|": "\\u007c"})
"""They occur in its strings alone, and stay the same there."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_read_only(parser)
    parser.add_argument(
        "--format", choices=["ndjson", "csv"], default="ndjson", help="format of the output (default: ndjson)"
    )
    parser.add_argument(
        "--json", dest="format", action="store_const", const="ndjson", help="the same as --format ndjson"
    )
    parser.add_argument(
        "--events", action="store_true", help="export the events that the ledger still keeps, instead of the records"
    )
    parser.add_argument(
        "--chain",
        action="store_true",
        help="export the audit file, a hash chain of terms, records, movements and decisions that `ledger verify"
        " --chain` checks; with --events it also holds the events",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="write to this file; on an error it is unchanged (default: standard output)",
    )


def run(args: argparse.Namespace) -> int:
    """Write everything; 0, or 2 when the file cannot be written."""
    if args.chain and args.format == "csv":
        return refuse(
            "ledger export: --chain has its own format, so --format csv cannot be used with it; leave out one of them"
        )
    source = find_source(args)
    if args.output is None:
        _write(source, sys.stdout, args)
        return ExitCode.CLEAN
    target: Path = args.output.resolve()
    if target in files_of(source.path.resolve()) or (target.exists() and not target.is_file()):
        return _refuse(args.output, "it is a file of the ledger, or not a regular file")
    try:
        with replace_file(target) as file:
            _write(source, file, args)
    except OSError as error:
        return _refuse(args.output, error.strerror or str(error))
    return ExitCode.CLEAN


def _refuse(output: Path, reason: str) -> int:
    return refuse(f"--output {output} cannot be written: {reason}. Name another file.")


def _write(source: Source, file: TextIO, args: argparse.Namespace) -> None:
    # The ledger is released before the first line is written, because the reader of the output may be slow.
    with source.copy(events=args.events) as connection:
        if args.chain:
            chain = link(entries(connection, present(source.marketplace), with_events=args.events))
            file.writelines(f"{line}\n" for line in chain)
            return
        columns = EVENT_COLUMNS if args.events else RECORD_COLUMNS
        rows = _events(connection) if args.events else map(record_members, every_record(connection))
        if args.format == "csv":
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([_cell(row[column]) for column in columns] for row in rows)
        else:
            file.writelines(f"{json.dumps({column: row[column] for column in columns})}\n" for row in rows)


def _events(connection: sqlite3.Connection) -> Iterator[Members]:
    yield from map(event_members, events(connection, EventQuery()))


def _cell(value: object) -> object:
    structured: tuple[type[Sequence[object]], type[dict[str, object]]] = (list, dict)
    if isinstance(value, structured):
        return json.dumps(value).translate(_IN_JSON)
    if isinstance(value, str) and _NUMBER.fullmatch(value) is None:
        return _FORMULA.sub("'", value)  # ids and values come from the app, which may pass on what its users write
    return value
