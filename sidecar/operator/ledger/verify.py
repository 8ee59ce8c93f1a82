"""`ledger verify`: proves conservation from the rows themselves, at one instant of the ledger.

First that file and rows can be read, then that every bucket is what its events make, then the law. Names the first row
that breaks it.
"""

import argparse
from collections.abc import Collection

from sidecar.adapters.http.views import terms_members
from sidecar.adapters.ledger.listing import look
from sidecar.adapters.ledger.proof import breaches, event_breaches, proved_terms
from sidecar.adapters.ledger.soundness import damage
from sidecar.domain.status import Terms
from sidecar.domain.usage import Aggregation
from sidecar.operator.ledger.source import Source, find_source
from sidecar.operator.tables import print_json, print_line, print_terms

BROKEN = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--all", action="store_true", help="name every row that breaks it, not only the first")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the proof; 0 if it holds, 1 if it does not."""
    source = find_source(args)
    summed = _summed(source)
    terms: dict[str, Terms] = {}
    with look(source.path) as connection:
        found = list(damage(connection))
        if not found:
            found = [*event_breaches(connection, summed), *breaches(connection)]
            terms = proved_terms(connection)
    named = found if args.all else found[:1]
    if args.json:
        dimensions = {name: {**terms_members(each), "balanced": each.balanced} for name, each in terms.items()}
        print_json(
            {
                "verified": not found,
                "dimensions": dimensions,
                "event_quantities_proved": sorted(summed),
                "breaches": named,
                "more": len(found) - len(named),
            }
        )
    else:
        _print(terms, named, len(found) - len(named), summed)
    return BROKEN if found else 0


def _summed(source: Source) -> Collection[str]:
    if source.settings is None:
        return ()
    return [each.name for each in source.settings.metering.dimensions if each.aggregation is Aggregation.SUM]


def _print(terms: dict[str, Terms], named: list[str], more: int, summed: Collection[str]) -> None:
    if terms:
        print_terms(terms)
        print_line("")
    for breach in named:
        print_line(f"BROKEN: {breach}")
    if more:
        print_line(f"and {more} more; --all names them")
    if named:
        print_line("The ledger does not prove what it says. Keep the file as it is and look at the rows named above.")
    else:
        words = (
            f", and by quantity for {', '.join(sorted(summed))}" if summed else " only; with --config by quantity too"
        )
        print_line(f"Verified: every row agrees. Events are proved by number{words}.")
