"""`ledger events`: the usage events that the ledger still keeps, to recognize their ids."""

import argparse
import json

from sidecar.adapters.ledger.queries import EventQuery, EventView, events
from sidecar.commands.ledger.source import add_filters, add_read_only, find_source, utf8
from sidecar.commands.tables import note_more, print_json, print_table
from sidecar.domain import timestamps
from sidecar.domain.metering import quantity
from sidecar.exit_codes import ExitCode

COLUMNS = ("id", "dimension", "quantity", "value", "timestamp", "tags", "hour", "taken_at")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_read_only(parser)
    add_filters(parser)
    parser.add_argument("--id", metavar="ID", type=utf8, help="only the event with this id")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def run(args: argparse.Namespace) -> int:
    """Print events in order of arrival; 0."""
    query = EventQuery(args.dimension, args.hour, args.id, args.limit + 1)
    with find_source(args).open() as connection:
        found = [event_members(event) for event in events(connection, query)]
    shown = found[: args.limit]
    if args.json:
        for members in shown:
            print_json(members)
    else:
        rows = [{**members, "tags": json.dumps(members["tags"]) if members["tags"] else None} for members in shown]
        print_table(COLUMNS, [[row[column] for column in COLUMNS] for row in rows])
    if len(found) > args.limit:
        note_more("raise --limit, or use `ledger export --events`")
    return ExitCode.CLEAN


def event_members(event: EventView) -> dict[str, object]:
    """Return an event as the API takes it, with its hour and when it was taken."""
    return {
        "id": event.id,
        "dimension": event.dimension,
        "quantity": None if event.quantity is None else quantity.render(event.quantity),
        "value": event.value,
        "timestamp": timestamps.render_known(event.timestamp),
        "tags": dict(event.tags),
        "hour": timestamps.render(event.hour),
        "taken_at": timestamps.render(event.taken_at),
    }
