"""`ledger resolve`: a person's decision about unbilled records, one or many; it applies to all of them or to none.

Asks no questions: the options hold everything, and `--dry-run` shows the outcome without storing it. In emulator mode
the current hour is the emulator's.
"""

import argparse
import os
import pwd
import re
import sys
from collections import Counter
from collections.abc import Sequence

from sidecar.adapters.ledger.queries import Choice, undecided_reasons
from sidecar.adapters.ledger.resolving import NotResolvable, Resolved, resolve_all_in
from sidecar.commands.ledger.resolve_checkout import is_checkout, resolve_checkout
from sidecar.commands.ledger.source import Source, find_source, hour, utf8
from sidecar.commands.tables import print_json, print_line, refuse
from sidecar.domain import timestamps
from sidecar.domain.audit.decisions import Action, Resolution
from sidecar.domain.metering import quantity
from sidecar.domain.metering.hours import start_of, to_micros
from sidecar.domain.metering.records import UnbilledReason
from sidecar.exit_codes import ExitCode
from sidecar.upstream import present

_ALL = "all"
_LONGEST_REASON = 1000
_IDENTIFIER = re.compile(r"[!-~]{1,255}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "records",
        metavar="RECORD_ID",
        type=_records,
        help="rec-7 or rec-7,rec-9: unbilled records; checkout-7: a draw-down in doubt; all: every unbilled record "
        "that has no decision yet and matches --reason-kind, --dimension, --from and --until; carry leaves out those "
        "with the reason duplicate unless --reason-kind names it",
    )
    parser.add_argument(
        "action",
        choices=[str(action) for action in Action],
        help="for a record: accept, if AWS holds it (with --metering-record-id); carry, if AWS does not hold it: its "
        "quantity is added to the current hour; write-off: it is never billed. For a draw-down: accept, if AWS holds "
        "it; write-off, if AWS does not",
    )
    parser.add_argument(
        "--metering-record-id",
        metavar="ID",
        type=_identifier,
        help="the id that AWS returned: responseElements.meteringRecordId of the MeterUsage event in CloudTrail",
    )
    parser.add_argument(
        "--without-tags",
        action="store_true",
        help="with carry: bill the whole quantity without tags, for records that AWS refused because of their tags",
    )
    parser.add_argument(
        "--reason-kind", metavar="WORD", help="with all: records whose reason begins with this word, such as in-doubt"
    )
    parser.add_argument("--dimension", metavar="NAME", type=utf8, help="with all: records of this dimension")
    parser.add_argument("--from", dest="since", metavar="HOUR", type=hour, help="with all: hours from this one on")
    parser.add_argument("--until", metavar="HOUR", type=hour, help="with all: hours before this one")
    parser.add_argument("--reason", metavar="TEXT", type=_reason, required=True, help="the reason, for the audit trail")
    parser.add_argument("--dry-run", action="store_true", help="show the outcome and store nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object per record")


def run(args: argparse.Namespace) -> int:
    """Resolve the records; 0, or 1 if one of them cannot be resolved this way."""
    action = Action(args.action)
    if is_checkout(args.records):
        return resolve_checkout(args, action, user())
    if (args.metering_record_id is not None) != (action is Action.ACCEPT):
        return refuse(
            "ledger resolve: --metering-record-id is required with accept, and not allowed with carry or write-off"
        )
    if args.without_tags and action is not Action.CARRY:
        return refuse("ledger resolve: --without-tags is allowed with carry alone: nothing else is billed again")
    # A carry bills the whole quantity, and AWS may hold a part of a duplicate: only a person can know.
    sweeps = args.records is None and args.reason_kind is None and action is Action.CARRY
    without = UnbilledReason.DUPLICATE if sweeps else None
    choice = Choice(args.records, args.dimension, args.since, args.until, args.reason_kind, without)
    fault = _fault(choice, action)
    if fault is not None:
        return refuse(f"ledger resolve: {fault}")
    source = find_source(args)
    resolution = Resolution(action, args.reason, args.metering_record_id, args.without_tags)
    now = to_micros(present(source.marketplace))
    try:
        found = resolve_all_in(source.path, choice, resolution, who=user(), now=now, keep=not args.dry_run)
    except NotResolvable as refusal:
        refused = refuse(str(refusal), ExitCode.FAILED)
        _note_left_out(source, choice)
        return refused
    _note_left_out(source, choice)
    _note_carried(found, action)
    for each in found:
        _print(each, kept=not args.dry_run, as_json=args.json)
    if len(found) > 1 and not args.json:
        _print_sums(found, kept=not args.dry_run)
    return ExitCode.CLEAN


def _note_left_out(source: Source, choice: Choice) -> None:
    """Write to standard error that duplicates were left out; they may be all that fits."""
    if choice.without is not None:
        with source.open() as connection:
            number = undecided_reasons(connection).get(choice.without, 0)
        if number:
            sys.stderr.write(
                f"note: duplicates are left out ({number} in the ledger): AWS holds another quantity for their hours."
                " Decide them with --reason-kind duplicate.\n"
            )


def _note_carried(found: Sequence[Resolved], action: Action) -> None:
    """Write to standard error what the carry of a duplicate can do."""
    carried = [each.id for each in found if UnbilledReason.DUPLICATE.begins(each.before["reason"])]
    if carried and action is Action.CARRY:
        sys.stderr.write(
            f"note: AWS holds another quantity for the hour of {', '.join(carried)}, and the whole quantity is billed"
            " on top of it. If that is a part of the same usage, the buyer pays it twice: use write-off instead, and"
            " report the missing part as a new event with a new id.\n"
        )


def _fault(choice: Choice, action: Action) -> str | None:
    """Return what is wrong with the choice, with what to do instead."""
    filters = (choice.dimension, choice.since, choice.until, choice.kind)
    if choice.identifiers is not None and any(each is not None for each in filters):
        return "--reason-kind, --dimension, --from and --until require all; leave them out, or give all instead of ids"
    if choice.identifiers is None and all(each is None for each in filters):
        return "all requires --reason-kind, --dimension, --from or --until, because it would decide about every record"
    if action is Action.ACCEPT and (choice.identifiers is None or len(choice.identifiers) > 1):
        return "accept takes one record, because one metering record id serves one; `ledger reconcile` settles many"
    return None


def _print(found: Resolved, *, kept: bool, as_json: bool) -> None:
    start, amount = timestamps.render(start_of(found.hour)), quantity.render(found.quantity)
    if as_json:
        print_json(
            {
                "id": found.id,
                "dimension": found.dimension,
                "hour": start,
                "quantity": amount,
                "before": found.before,
                "after": found.after,
                "kept": kept,
            }
        )
        return
    verb = "is" if kept else "would be"
    print_line(f"{found.id} ({found.dimension}, {start}, quantity {amount}) {verb} {found.after['status']}")
    for name, value in found.after.items():
        if value != found.before[name]:
            print_line(f"  {name}: {found.before[name] or '-'} -> {value or '-'}")


def _print_sums(found: Sequence[Resolved], *, kept: bool) -> None:
    sums = Counter[str]()
    for each in found:
        sums[each.dimension] += each.quantity
    amounts = ", ".join(f"{name} {quantity.render(amount)}" for name, amount in sorted(sums.items()))
    verb = "were resolved" if kept else "would be resolved; nothing was changed"
    print_line(f"{len(found)} records {verb}: {amounts}")


def user() -> str:
    """Return the operating system's name of who runs this; the environment could name another."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


def _records(text: str) -> tuple[str, ...] | None:
    """Return the names that are given; None for all."""
    if text == _ALL:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if len(names) > 1 and not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} has an empty name between its commas; write rec-7,rec-9")
    return names


def _identifier(text: str) -> str:
    if _IDENTIFIER.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a metering record id")
    return text


def _reason(text: str) -> str:
    if not text.strip() or len(text) > _LONGEST_REASON or not text.isprintable():
        raise argparse.ArgumentTypeError(f"a reason is one line of up to {_LONGEST_REASON} printable characters")
    return text.strip()
