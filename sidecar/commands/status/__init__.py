"""The `status` command: `/v1/status` of the running sidecar on one screen, once or repeatedly.

It only shows: with a denied entitlement or a fault the exit code is still 0. `doctor` has an exit code for them. 1
means that no sidecar answers.
"""

import argparse
import json
import os
import sys
from datetime import UTC, datetime

from sidecar.api_client import address_of, fetch_status, require_address
from sidecar.commands.arguments import parse_seconds
from sidecar.commands.status.following import Following, View
from sidecar.commands.status.watching import watch_as_documents, watch_as_text, watch_on_terminal
from sidecar.commands.tables import print_line, refuse
from sidecar.exit_codes import ExitCode
from sidecar.settings import load
from sidecar.terminal.colors import is_dumb, paint_for
from sidecar.terminal.size import columns_of

_EVERY = 2.0
_SHORTEST = 0.2

_EXPLANATION = """\
Show the status of the running sidecar on one screen.

It lists the entitlement, metering, faults with their cures, and the place of every unit of usage. Exit codes: 0 if the
status was shown, even if it has faults (`doctor` fails then, and a script can read --json); 1 if no sidecar answers; 2
for a bad command line or configuration; 130 if Ctrl-C ended --watch."""


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
        help="refresh every S seconds (default: 2) until Ctrl-C, also while the sidecar does not answer",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help='print /v1/status as one line of JSON, or {"answered": false, "reason", "cure", "since"} without an '
        "answer; with --watch one line per refresh",
    )


def run(args: argparse.Namespace) -> int:
    """Show the status; 0, or 1 when no sidecar answers."""
    settings = load(args.config, os.environ)
    require_address(settings.api)
    view = View(address_of(settings.api), settings.metering.window, paint_for(sys.stdout))
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
    following.poll()
    if as_json:
        sys.stdout.write(f"{json.dumps(following.document())}\n")
    if following.fault is not None:
        return refuse(view.no_status(following.fault), ExitCode.FAILED)
    if not as_json:
        for line in view.lines(following, columns_of(sys.stdout)):
            print_line(line)
    return ExitCode.CLEAN


def _interval(text: str) -> float:
    seconds = parse_seconds(text)
    if seconds < _SHORTEST:
        raise argparse.ArgumentTypeError(f"{text!r} is too short: the shortest interval is {_SHORTEST} seconds")
    return seconds
