"""The `status` command: what the running sidecar's `/v1/status` knows, on one screen, once or again and again.

Reports and judges nothing: an entitlement that is denied and a fault are shown, and the exit code is still 0. `doctor`
judges. 1 means that no sidecar answers.
"""

import argparse
import json
import os
import sys
from datetime import UTC, datetime

from sidecar.api_client import fetch_status, place_of, require_place
from sidecar.commands.arguments import parse_seconds
from sidecar.commands.status.following import Following, View
from sidecar.commands.status.watching import watch_as_documents, watch_as_text, watch_on_terminal
from sidecar.commands.tables import print_line
from sidecar.exit_codes import ExitCode
from sidecar.settings import load
from sidecar.terminal.colours import is_dumb, paint_for
from sidecar.terminal.size import columns_of

_EVERY = 2.0
_SHORTEST = 0.2

_EXPLANATION = """\
Shows on one screen what the running sidecar knows.

Entitlement, metering, faults with their cures, and where every unit of usage is. Exits with 0 when it was shown,
whatever it says: `doctor` judges, and a script reads --json. 1: no sidecar answers; 2: bad command line or
configuration; 130: --watch was ended with Ctrl-C."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = _EXPLANATION
    parser.add_argument("--config", metavar="FILE", help="the sidecar's configuration, which names the local API")
    parser.add_argument(
        "--watch",
        metavar="S",
        nargs="?",
        type=_interval,
        const=_EVERY,
        help="look again every S seconds (default: 2) until Ctrl-C, also while the sidecar is away",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help='the document of /v1/status on one line, or {"answered": false, "reason", "cure", "since"}; with --watch '
        "one line each time",
    )


def run(args: argparse.Namespace) -> int:
    """Show the status; 0, or 1 when no sidecar answers."""
    settings = load(args.config, os.environ)
    require_place(settings.api)
    view = View(place_of(settings.api), settings.metering.window, paint_for(sys.stdout))
    following = Following(lambda: fetch_status(settings.api), lambda: datetime.now(UTC))
    if args.watch is None:
        return _show(following, view, as_json=args.json)
    if args.json:
        watch_as_documents(following, args.watch)
    elif sys.stdout.isatty() and not is_dumb():
        watch_on_terminal(following, view, args.watch)
    else:
        watch_as_text(following, view, args.watch)
    return ExitCode.CLEAN


def _show(following: Following, view: View, *, as_json: bool) -> int:
    following.look()
    if as_json:
        sys.stdout.write(f"{json.dumps(following.document())}\n")
    if following.fault is not None:
        sys.stderr.write(f"{view.told(following.fault)}\n")
        return ExitCode.FAILED
    if not as_json:
        for line in view.lines(following, columns_of(sys.stdout)):
            print_line(line)
    return ExitCode.CLEAN


def _interval(text: str) -> float:
    seconds = parse_seconds(text)
    if seconds < _SHORTEST:
        raise argparse.ArgumentTypeError(f"{text!r} is less than {_SHORTEST} seconds")
    return seconds
