"""`ledger export`: every record, or every event still kept, for another program.

The columns are the members of the API and only ever grow at the end. A file is written beside its place and moved
there when it is whole, so that nobody reads half of it. Refuses to write over the ledger or into anything but a file.
"""

import argparse
import csv
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from sidecar.adapters.http.views import record_members
from sidecar.adapters.ledger.listing import EventQuery, events, look
from sidecar.adapters.ledger.reading import records
from sidecar.domain.status import RecordQuery
from sidecar.operator.ledger.events import COLUMNS as EVENT_COLUMNS
from sidecar.operator.ledger.events import event_members
from sidecar.operator.ledger.source import find_source
from sidecar.operator.tables import Members

RECORD_COLUMNS = (
    "id",
    "dimension",
    "hour",
    "quantity",
    "status",
    "reason",
    "client_token",
    "metering_record_id",
    "attempts",
    "allocations",
    "sealed_at",
    "accepted_at",
    "carried_to",
)
_PAGE = 1000
_BAD_COMMAND_LINE = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--format", choices=["ndjson", "csv"], default="ndjson", help="default: ndjson")
    parser.add_argument("--json", dest="format", action="store_const", const="ndjson", help="the same as ndjson")
    parser.add_argument("--events", action="store_true", help="the events still kept, instead of the records")
    parser.add_argument("--output", metavar="FILE", type=Path, help="write a file, whole or not at all")


def run(args: argparse.Namespace) -> int:
    """Write everything; 0, or 2 when the file cannot be written."""
    path = find_source(args).path
    if args.output is None:
        _write(path, sys.stdout, args)
        return 0
    target: Path = args.output.resolve()
    if _of_ledger(target, path.resolve()) or (target.exists() and not target.is_file()):
        return _refuse(args.output, "it is the ledger's own, or not a file")
    try:
        _write_file(path, target, args)
    except OSError as error:
        return _refuse(args.output, error.strerror or str(error))
    return 0


def _refuse(output: Path, reason: str) -> int:
    sys.stderr.write(f"--output {output} cannot be written: {reason}. Name another file.\n")
    return _BAD_COMMAND_LINE


def _of_ledger(target: Path, ledger: Path) -> bool:
    return target.parent == ledger.parent and target.name.removeprefix(ledger.name) in {"", "-wal", "-shm", "-lock"}


def _write_file(path: Path, target: Path, args: argparse.Namespace) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            _write(path, file, args)
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _write(path: Path, file: TextIO, args: argparse.Namespace) -> None:
    columns = EVENT_COLUMNS if args.events else RECORD_COLUMNS
    rows = _events(path) if args.events else _records(path)
    if args.format == "csv":
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(row[column]) for column in columns] for row in rows)
    else:
        file.writelines(f"{json.dumps({column: row[column] for column in columns})}\n" for row in rows)


def _records(path: Path) -> Iterator[Members]:
    after: str | None = None
    with look(path) as connection:
        while True:
            page = records(connection, RecordQuery(after=after, limit=_PAGE))
            yield from map(record_members, page.records)
            after = page.next
            if after is None:
                return


def _events(path: Path) -> Iterator[Members]:
    with look(path) as connection:
        yield from map(event_members, events(connection, EventQuery()))


def _cell(value: object) -> object:
    structured: tuple[type[Sequence[object]], type[dict[str, object]]] = (list, dict)
    return json.dumps(value) if isinstance(value, structured) else value
