"""The `ledger` commands: read, prove and repair the ledger, beside a running sidecar or without one.

Only `resolve` and `reconcile` write to it. A ledger that cannot be used ends every one of them with code 4, its path,
the reason and the cure on standard error.
"""

import argparse
import sys
from dataclasses import dataclass
from types import ModuleType

from sidecar.adapters.ledger.file import LedgerUnusable
from sidecar.operator.ledger import events, export, reconcile, records, resolve, status, verify
from sidecar.operator.ledger.source import add_source

LEDGER_UNUSABLE = 4


@dataclass(frozen=True, slots=True)
class _Command:
    """A command and the module that holds its `add_arguments(parser)` and `run(args)`."""

    name: str
    help: str
    module: ModuleType
    example: str


_COMMANDS = (
    _Command("status", "what the ledger holds, on one screen", status, "status --config config.yaml"),
    _Command("events", "the usage events still kept", events, "events --dimension requests --limit 20"),
    _Command("records", "the metering records", records, "records --status unbilled"),
    _Command("verify", "prove conservation from the rows; exit 1 if it fails", verify, "verify --all"),
    _Command("export", "every record, or event, for another program", export, "export --format csv --output usage.csv"),
    _Command(
        "resolve",
        "decide what becomes of a record that nobody was charged for",
        resolve,
        'resolve rec-7 accept --metering-record-id 4f1c2d --reason "seen in CloudTrail"',
    ),
    _Command(
        "reconcile",
        "prove from CloudTrail that AWS charged what was submitted; exit 1 if something differs",
        reconcile,
        "reconcile --cloudtrail AWSLogs/111122223333/CloudTrail --from 2026-11-01T00:00:00Z",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands and their options."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        sub = commands.add_parser(
            command.name,
            help=command.help,
            description=f"{command.help[0].upper()}{command.help[1:]}.",
            epilog=f"example: {parser.prog} {command.example}",
            allow_abbrev=False,
        )
        add_source(sub)
        command.module.add_arguments(sub)
        sub.set_defaults(act=command.module.run)


def run(args: argparse.Namespace) -> int:
    """Run one command; its exit code."""
    try:
        code: int = args.act(args)
    except LedgerUnusable as error:
        sys.stderr.write(f"{error}\n")
        return LEDGER_UNUSABLE
    return code
