"""`ledger resolve checkout-7`: a person's decision about a draw-down whose answer was lost."""

import argparse
import re
import sqlite3
from contextlib import closing
from typing import Final

from sidecar.adapters.ledger import checkouts
from sidecar.adapters.ledger.file import LedgerUnusable, cure_for, open_for_writing
from sidecar.adapters.ledger.snapshot import reading
from sidecar.adapters.ledger.store import Store
from sidecar.commands.ledger.source import find_source
from sidecar.commands.tables import print_json, print_line, refuse
from sidecar.domain.audit.decisions import Action
from sidecar.domain.entitlement.checkouts import Checkout
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.exit_codes import ExitCode
from sidecar.upstream import present

_NAME: Final = re.compile(r"checkout-([1-9][0-9]{0,17})", re.ASCII)


def is_checkout(names: tuple[str, ...] | None) -> bool:
    """Return whether a decision is about a checkout."""
    return names is not None and any(name.startswith("checkout-") for name in names)


def resolve_checkout(args: argparse.Namespace, action: Action, who: str) -> int:
    """Resolve one draw-down; 0, 1 if it cannot be resolved, 2 for options that do not fit."""
    match = _NAME.fullmatch(args.records[0])
    filters = (args.metering_record_id, args.reason_kind, args.dimension, args.since, args.until)
    record_only = args.without_tags or any(each is not None for each in filters)
    if match is None or len(args.records) > 1 or action is Action.CARRY or record_only:
        return refuse(
            "ledger resolve: a draw-down takes one id such as checkout-7, accept or write-off, and --reason alone"
        )
    source = find_source(args)
    now = present(source.marketplace)
    with reading(source.path):
        pass  # opening for writing would make a ledger where there is none
    try:
        with closing(open_for_writing(source.path)) as connection:
            store = Store(connection)
            connection.execute("BEGIN IMMEDIATE")
            resolved = checkouts.resolve(
                store, int(match[1]), drawn=action is Action.ACCEPT, who=who, reason=args.reason, now=now
            )
            # Closing the connection undoes what was not committed.
            connection.execute("ROLLBACK" if args.dry_run else "COMMIT")
    except LookupError as refusal:
        return refuse(str(refusal), ExitCode.FAILED)
    except (LedgerUnavailable, sqlite3.Error) as error:
        raise LedgerUnusable(source.path, str(error), cure_for(error.__cause__ or error)) from error
    _print(resolved, kept=not args.dry_run, as_json=args.json)
    return ExitCode.CLEAN


def _print(resolved: Checkout, *, kept: bool, as_json: bool) -> None:
    name = f"checkout-{resolved.seq}"
    if as_json:
        print_json({"id": name, "checkout": resolved.id, "state": str(resolved.state), "kept": kept})
        return
    verb = "is" if kept else "would be"
    print_line(f"{name} ({resolved.id}: {resolved.count} of {resolved.entitlement}) {verb} {resolved.state}")
