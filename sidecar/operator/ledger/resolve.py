"""`ledger resolve`: a person's decision about a record that nobody was charged for.

Asks nothing back: everything is in the options, and `--dry-run` shows the outcome without keeping it. In emulator mode
the current hour is the emulator's.
"""

import argparse
import os
import pwd
import re
import sys

from sidecar.adapters.ledger.resolving import NotResolvable, Resolved, resolve_in
from sidecar.aws import present
from sidecar.domain import quantity, timestamps
from sidecar.domain.hours import start_of, to_micros
from sidecar.domain.resolution import Action, Resolution
from sidecar.exit_codes import ExitCode
from sidecar.operator.ledger.source import find_source
from sidecar.operator.tables import print_json, print_line

_LONGEST_REASON = 1000
_IDENTIFIER = re.compile(r"[!-~]{1,255}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("record", metavar="RECORD_ID", help="an unbilled record, as `ledger records` names it: rec-7")
    parser.add_argument(
        "action",
        choices=[str(action) for action in Action],
        help="accept: AWS holds it, as --metering-record-id proves. carry: AWS does not hold it, so its quantity joins"
        " the current hour. write-off: it stays unbilled for good",
    )
    parser.add_argument(
        "--metering-record-id",
        metavar="ID",
        type=_identifier,
        help="what AWS gave for the record: responseElements.meteringRecordId of its MeterUsage event in CloudTrail",
    )
    parser.add_argument("--reason", metavar="TEXT", type=_reason, required=True, help="for the audit trail")
    parser.add_argument("--dry-run", action="store_true", help="show what would become of it and keep nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    """Resolve the record; 0, or 1 if it cannot be resolved so."""
    action = Action(args.action)
    if (args.metering_record_id is not None) != (action is Action.ACCEPT):
        sys.stderr.write("ledger resolve: accept needs --metering-record-id, and nothing else takes it\n")
        return ExitCode.BAD_COMMAND
    source = find_source(args)
    resolution = Resolution(action, args.reason, args.metering_record_id)
    now = to_micros(present(source.marketplace))
    try:
        found = resolve_in(source.path, args.record, resolution, who=user(), now=now, keep=not args.dry_run)
    except NotResolvable as refusal:
        sys.stderr.write(f"{refusal}\n")
        return ExitCode.FAILED
    _print(found, kept=not args.dry_run, as_json=args.json)
    return ExitCode.CLEAN


def _print(found: Resolved, *, kept: bool, as_json: bool) -> None:
    hour, amount = timestamps.render(start_of(found.hour)), quantity.render(found.quantity)
    if as_json:
        print_json(
            {
                "id": found.id,
                "dimension": found.dimension,
                "hour": hour,
                "quantity": amount,
                "before": found.before,
                "after": found.after,
                "kept": kept,
            }
        )
        return
    verb = "is" if kept else "would be"
    print_line(f"{found.id} ({found.dimension}, {hour}, quantity {amount}) {verb} {found.after['status']}")
    for name, value in found.after.items():
        if value != found.before[name]:
            print_line(f"  {name}: {found.before[name] or '-'} -> {value or '-'}")


def user() -> str:
    """Return the operating system's name of who runs this; the environment could say anything."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


def _identifier(text: str) -> str:
    if _IDENTIFIER.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a metering record id")
    return text


def _reason(text: str) -> str:
    if not text.strip() or len(text) > _LONGEST_REASON or not text.isprintable():
        raise argparse.ArgumentTypeError(f"a reason is one line of up to {_LONGEST_REASON} printable characters")
    return text.strip()
