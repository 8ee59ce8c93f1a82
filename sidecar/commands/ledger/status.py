"""`ledger status`: what the ledger holds, on one screen."""

import argparse

from sidecar.adapters.ledger.conservation import terms
from sidecar.adapters.ledger.pruning import REMEMBERED_FOR
from sidecar.adapters.ledger.queries import Overview, overview, progress
from sidecar.commands.ledger.source import add_read_only, find_source
from sidecar.commands.tables import Members, print_json, print_line, print_terms
from sidecar.domain import durations, timestamps
from sidecar.domain.status import Progress, Terms
from sidecar.domain.timestamps import render_known
from sidecar.exit_codes import ExitCode
from sidecar.serializers import terms_members


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_read_only(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the status; 0."""
    source = find_source(args)
    path = source.path
    with source.open() as connection:
        held, reached, found = overview(connection), progress(connection), terms(connection)
    parts = [path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))]
    size = sum(part.stat().st_size for part in parts if part.exists())
    if args.json:
        print_json(_members(str(path), size, held, reached, found))
    else:
        _print(str(path), size, held, reached, found)
    return ExitCode.CLEAN


def _members(path: str, size: int, held: Overview, reached: Progress, found: dict[str, Terms]) -> Members:
    return {
        "ledger": {"path": path, "bytes": size, "schema": held.schema},
        "pod": {"uid": held.pod, "source": held.pod_source, "since": render_known(held.pod_since), "pods": held.pods},
        "conservation": {
            "balanced": all(each.balanced for each in found.values()),
            "dimensions": {name: terms_members(each) for name, each in found.items()},
        },
        "open_hours": [timestamps.render(hour) for hour in held.open_hours],
        "sealed": held.waiting,
        "oldest_unsent_hour": render_known(reached.oldest_unsent_hour),
        "last_success_at": render_known(reached.last_success_at),
        "in_doubt": reached.in_doubt,
        "resolved": held.resolved,
        "deduplication": {
            "window": durations.render(REMEMBERED_FOR),
            "events": held.events,
            "oldest_taken_at": render_known(held.oldest_event_at),
        },
    }


def _print(path: str, size: int, held: Overview, reached: Progress, found: dict[str, Terms]) -> None:
    hours = [timestamps.render(hour) for hour in held.open_hours]
    since, window = render_known(held.pod_since), durations.render(REMEMBERED_FOR)
    oldest, unsent = render_known(held.oldest_event_at), render_known(reached.oldest_unsent_hour)
    in_doubt = "; see `ledger records --status unbilled`" if reached.in_doubt else ""
    by_hand = "; see `ledger records --audit`" if held.resolved else ""
    lines = {
        "ledger": f"{path}, {size} bytes, schema {held.schema}",
        "pod": f"{held.pod} ({held.pod_source}), since {since}; pods on this ledger so far: {held.pods}",
        "open hours": f"{len(hours)}, from {hours[0]} to {hours[-1]}" if hours else "0",
        "waiting": f"{held.waiting}" + (f", the oldest of {unsent}" if unsent else ""),
        "in doubt": f"{reached.in_doubt}{in_doubt}",
        "resolved": f"{held.resolved}{by_hand}",
        "last success": render_known(reached.last_success_at) or "never",
        "event ids": f"{held.events} kept, each for {window}" + (f"; the oldest taken at {oldest}" if oldest else ""),
    }
    for title, words in lines.items():
        print_line(f"{title:<14}{words}")
    print_line("")
    print_terms(found)
