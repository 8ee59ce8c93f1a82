"""The `ledger` commands: read, prove and repair the ledger, with or without a running sidecar.

Only `resolve` and `reconcile` write to it. If the ledger cannot be used, each of them ends with code 4 and prints its
path, the reason and the cure on standard error.
"""

import argparse

from sidecar.adapters.ledger.file import LedgerUnusable
from sidecar.commands.ledger import events, export, licenses, reconcile, records, resolve, status, verify
from sidecar.commands.ledger.source import add_source
from sidecar.commands.subcommands import Subcommand, add_subcommands, run_subcommand
from sidecar.commands.tables import refuse
from sidecar.exit_codes import ExitCode

_COMMANDS = (
    Subcommand("status", "show what the ledger holds, on one screen", status, "status --config config.yaml"),
    Subcommand(
        "events", "list the usage events that the ledger still keeps", events, "events --dimension requests --limit 20"
    ),
    Subcommand("records", "list the metering records", records, "records --status unbilled"),
    Subcommand("licenses", "show the license and its checkouts", licenses, "licenses --json"),
    Subcommand(
        "verify",
        "prove that every accepted unit is in exactly one place (conservation); exit 1 if not",
        verify,
        "verify --all",
    ),
    Subcommand(
        "export",
        "write every record, or every event, for another program",
        export,
        "export --format csv --output usage.csv",
    ),
    Subcommand(
        "resolve",
        "decide about unbilled records, or draw-downs in doubt: accept, carry or write off",
        resolve,
        'resolve rec-7 accept --metering-record-id 4f1c2d --reason "seen in CloudTrail"',
    ),
    Subcommand(
        "reconcile",
        "prove from CloudTrail that AWS charged what was submitted; exit 1 if something differs",
        reconcile,
        "reconcile --cloudtrail AWSLogs/111122223333/CloudTrail --from 2026-11-01T00:00:00Z",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands and their options."""
    add_subcommands(parser, _COMMANDS, add_source)


def run(args: argparse.Namespace) -> int:
    """Run one command; its exit code."""
    try:
        return run_subcommand(args)
    except LedgerUnusable as error:
        return refuse(str(error), ExitCode.LEDGER_UNUSABLE)
