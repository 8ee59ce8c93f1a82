"""`ledger licenses`: the license that the ledger remembers, and every checkout of it."""

import argparse

from sidecar.adapters.ledger import checkouts
from sidecar.commands.arguments import whole
from sidecar.commands.ledger.source import add_read_only, find_source
from sidecar.commands.tables import note_more, print_json, print_line, print_table
from sidecar.domain.entitlement.checkouts import Checkout
from sidecar.domain.entitlement.states import LicenseEvidence
from sidecar.domain.timestamps import render_known
from sidecar.exit_codes import ExitCode

_SHOWN = ("row", "kind", "id", "entitlement", "count", "drawdown", "state", "expires_at", "region", "resolved_by")
_LIMIT = 100
_MOST = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_read_only(parser)
    parser.add_argument(
        "--limit",
        metavar="N",
        type=whole(1, _MOST),
        default=_LIMIT,
        help=f"show at most N checkouts, newest first (default: {_LIMIT})",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object: the license, and its checkouts")


def run(args: argparse.Namespace) -> int:
    """Print the license and its checkouts, the newest first; 0."""
    with find_source(args).open() as connection:
        evidence = checkouts.read_license(connection)
        found = checkouts.read_all(connection, args.limit + 1)
        decisions = checkouts.read_decisions(connection)
    shown = [_members(each, *decisions.get(each.seq, (None, None))) for each in found[: args.limit]]
    if args.json:
        print_json({"license": None if evidence is None else _license_members(evidence), "checkouts": shown})
    else:
        _print_license(evidence)
        print_table(_SHOWN, [[members[column] for column in _SHOWN] for members in shown])
    if len(found) > len(shown):
        note_more("raise --limit")
    return ExitCode.CLEAN


def _print_license(evidence: LicenseEvidence | None) -> None:
    if evidence is None:
        print_line("The ledger remembers no license.")
        return
    members = _license_members(evidence)
    print_line(f"license {members['arn']} in {members['region']}, {members['begin'] or '-'} to {members['end'] or '-'}")
    print_line(f"proved at {members['proved_at']} for pod {members['pod']}")


def _license_members(evidence: LicenseEvidence) -> dict[str, object]:
    return {
        "arn": evidence.arn,
        "product_id": evidence.sku,
        "region": evidence.region,
        "pod": evidence.pod,
        "begin": render_known(evidence.begin),
        "end": render_known(evidence.end),
        "proved_at": render_known(evidence.proved_at),
        "seated": evidence.seated,
        "unseated_at": render_known(evidence.unseated_at),
        "refused_at": render_known(evidence.refused_at),
        "missing_at": render_known(evidence.missing_at),
        "closed_at": render_known(evidence.closed_at),
    }


def _members(checkout: Checkout, who: str | None, reason: str | None) -> dict[str, object]:
    """Return a checkout; its consumption token is a secret and stays out."""
    return {
        "row": f"checkout-{checkout.seq}",
        "kind": str(checkout.kind),
        "id": checkout.id,
        "entitlement": checkout.entitlement,
        "count": checkout.count,
        "drawdown": checkout.drawdown,
        "state": str(checkout.state),
        "client_token": checkout.client_token,
        "license_arn": checkout.arn,
        "region": checkout.region,
        "intended_at": render_known(checkout.intended_at),
        "attempted_at": render_known(checkout.attempted_at),
        "expires_at": render_known(checkout.expires_at),
        "settled_at": render_known(checkout.settled_at),
        "resolved_by": who,
        "resolved_reason": reason,
    }
