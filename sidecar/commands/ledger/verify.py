"""`ledger verify`: proves conservation from the rows themselves, window by window, each at one instant of the ledger.

First that file and rows can be read, then that every bucket is what its events make, then the law. Names the first row
that breaks it. With `--chain` it proves an audit file instead, and needs no ledger.
"""

import argparse
from collections.abc import Collection, Iterable
from pathlib import Path

from sidecar.adapters.ledger.conservation import breaches, event_breaches, proved_terms, summed_dimensions
from sidecar.adapters.ledger.integrity import file_faults, row_faults
from sidecar.adapters.ledger.windows import one_instant
from sidecar.commands.ledger.audit_file import Checked, check_file
from sidecar.commands.ledger.source import add_read_only, find_source
from sidecar.commands.tables import print_json, print_line, print_terms, refuse
from sidecar.domain.audit.hash_chain import ChainBroken
from sidecar.domain.status import Terms
from sidecar.exit_codes import ExitCode
from sidecar.serializers import terms_members


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_read_only(parser)
    parser.add_argument(
        "--all", action="store_true", help="name every row that breaks conservation, not only the first"
    )
    parser.add_argument(
        "--chain",
        metavar="FILE",
        type=Path,
        help="prove this audit file of `ledger export --chain` instead of a ledger",
    )
    parser.add_argument(
        "--head", metavar="HASH", help="with --chain: the last hash, as noted when the file was exported"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the proof; 0 if it holds, 1 if it does not."""
    if args.chain is not None:
        return _verify_chain(args)
    if args.head is not None:
        return refuse("ledger verify: --head requires --chain")
    source = find_source(args)
    summed: Collection[str] = ()
    terms: dict[str, Terms] = {}
    found = _Found(every=args.all)
    found.add(file_faults(source.path, read_only=source.read_only))
    if not found.number:
        with source.in_steps() as connection:
            found.add(row_faults(connection))
            if not found.number:
                found.add(event_breaches(connection))
                found.add(breaches(connection))
                with one_instant(connection):
                    terms, summed = proved_terms(connection), summed_dimensions(connection)
    if args.json:
        dimensions = {name: {**terms_members(each), "balanced": each.balanced} for name, each in terms.items()}
        print_json(
            {
                "verified": not found.number,
                "dimensions": dimensions,
                "event_quantities_proved": sorted(summed),
                "breaches": found.named,
                "more": found.number - len(found.named),
            }
        )
    else:
        _print(terms, found.named, found.number - len(found.named), summed)
    return ExitCode.FAILED if found.number else ExitCode.CLEAN


class _Found:
    """The breaches: how many there are, and the first one or all."""

    def __init__(self, *, every: bool) -> None:
        self._every = every
        self.number = 0
        self.named: list[str] = []

    def add(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            self.number += 1
            if self._every or not self.named:
                self.named.append(sentence)


def _print(terms: dict[str, Terms], named: list[str], more: int, summed: Collection[str]) -> None:
    if terms:
        print_terms(terms)
        print_line("")
    for breach in named:
        print_line(f"BROKEN: {breach}")
    if more:
        print_line(f"and {more} more; --all names them")
    if named:
        print_line("The ledger is inconsistent. Do not change the file, and examine the rows named above.")
    else:
        words = f", and by quantity for {', '.join(sorted(summed))}" if summed else " only: no dimension is a sum"
        print_line(f"Verified: every row agrees. Events are proved by number{words}.")


def _verify_chain(args: argparse.Namespace) -> int:
    """Prove an audit file; 0, 1 if it is not what was written, 2 if it cannot be read."""
    checked, broken = Checked(), list[str]()
    try:
        with args.chain.open(encoding="utf-8", newline="\n") as file:
            checked = check_file(line.removesuffix("\n") for line in file)
        broken = checked.breaches
    except ChainBroken as error:
        broken = [str(error)]
    except UnicodeDecodeError:
        broken = ["it is not a text file"]
    except OSError as error:
        return refuse(f"--chain {args.chain} cannot be read: {error.strerror}. Name a readable audit file.")
    if args.head is not None and not broken and args.head != checked.head:
        broken = [f"its last hash is {checked.head}, not the given one: this is not the file whose hash was noted"]
    named = broken if args.all else broken[:1]
    if args.json:
        print_json(
            {
                "verified": not broken,
                "lines": checked.lines,
                "head": checked.head or None,
                "exported_at": checked.exported_at,
                "dimensions": {name: terms_members(each) for name, each in checked.terms.items()},
                "breaches": named,
                "more": len(broken) - len(named),
            }
        )
    else:
        _print_chain(args.chain, checked, named, len(broken) - len(named))
    return ExitCode.FAILED if broken else ExitCode.CLEAN


def _print_chain(path: Path, checked: Checked, named: list[str], more: int) -> None:
    if named:
        for breach in named:
            print_line(f"BROKEN: {breach}")
        if more:
            print_line(f"and {more} more; --all names them")
        print_line(f"{path} is not a valid audit file. Get the file again, and its last hash by another way.")
        return
    print_terms(checked.terms)
    print_line("")
    print_line(f"Verified: {checked.lines} lines of {checked.exported_at}, none changed; the records make the terms.")
    print_line(f"The last hash is {checked.head}. Compare it with the one that was noted when the file was made.")
