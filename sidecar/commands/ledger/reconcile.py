"""`ledger reconcile`: proves from CloudTrail that the buyer was charged what the app reported, slot by slot.

Settles records in doubt that AWS holds, with one decision each, as `ledger resolve` does. It settles records that AWS
did not charge only with an option, and only where the files cover their whole time (sidecar.domain.audit.coverage).
If a file cannot be read it settles nothing.
"""

import argparse
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from sidecar.adapters.ledger.auditing import submission_rows, tenures
from sidecar.adapters.ledger.charges import ChargeTable
from sidecar.adapters.ledger.evidence import read_evidence
from sidecar.adapters.ledger.queries import record_id
from sidecar.adapters.ledger.resolving import NotResolvable, resolve_in
from sidecar.adapters.ledger.snapshot import reading
from sidecar.commands.ledger.cloudtrail.files import TrailUnreadable, find_files
from sidecar.commands.ledger.cloudtrail.trail import Trail
from sidecar.commands.ledger.reconcile_report import ShownSlots, print_document, print_report
from sidecar.commands.ledger.resolve import user
from sidecar.commands.ledger.source import Source, find_source, hour, utf8
from sidecar.commands.tables import refuse
from sidecar.domain.audit.decisions import Action, Resolution
from sidecar.domain.audit.matching import reconcile
from sidecar.domain.audit.registrants import Tenure, others_registered
from sidecar.domain.audit.slots import Reconciliation, Slot, Span, Submission, Verdict
from sidecar.domain.metering.hours import to_micros
from sidecar.domain.policy import LatePolicy
from sidecar.exit_codes import ExitCode
from sidecar.upstream import present

_BY_POLICY = "policy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--cloudtrail",
        metavar="PATH",
        type=Path,
        action="append",
        required=True,
        help="a CloudTrail file, plain or gz, or a folder of them as in S3; may be repeated",
    )
    parser.add_argument(
        "--also",
        metavar="LEDGER",
        type=Path,
        action="append",
        default=[],
        help="the ledger of another pod of the product, whose charges are then compared too; may be repeated",
    )
    parser.add_argument(
        "--product-code",
        metavar="CODE",
        type=utf8,
        help="the product code (default: from the configuration, else from the ledger)",
    )
    parser.add_argument("--from", dest="since", metavar="HOUR", type=hour, help="only hours from this one on")
    parser.add_argument("--until", metavar="HOUR", type=hour, help="only hours before this one")
    parser.add_argument(
        "--settle-not-charged",
        nargs="?",
        const=_BY_POLICY,
        choices=[_BY_POLICY, str(Action.CARRY), str(Action.WRITE_OFF)],
        metavar="HOW",
        help="also settle records in doubt that AWS did not charge, if the files cover their whole time: carry bills"
        " them in the current hour; write-off never bills them; policy (the default) follows metering.late;"
        " without a configuration it carries them",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show the outcome and settle nothing; the exit code is the same"
    )
    parser.add_argument("--all", action="store_true", help="list matched slots too")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Reconcile; 0 if AWS charged exactly what was submitted, 1 if something differs, 2 if the log cannot be read."""
    source = find_source(args)
    # By resolved path: one ledger under two names would claim each of its charges twice.
    paths: dict[Path, Path] = {}
    for path in [source.path, *args.also]:
        paths.setdefault(path.resolve(), path)
    code = args.product_code or _product_code(source)
    if code is None:
        return refuse("The ledger does not name its product. Name it with --product-code.")
    with closing(ChargeTable()) as table:
        trail = Trail(code, table.add, table.add_failed, table.add_undescribed)
        try:
            trail.read(find_files(args.cloudtrail))
        except TrailUnreadable as error:
            return refuse(f"{error} Nothing was settled.")
        span = Span(args.since, args.until)
        found = _reconcile(paths.values(), trail, table, span, every_slot=args.all)
        uncharged = _action(args.settle_not_charged, source)
        if not args.dry_run and any(slot.to_settle for slot in found.slots):
            now = to_micros(present(source.marketplace))
            found = replace(found, slots=[_settle(slot, uncharged, now) for slot in found.slots])
        left_out = [partial(table.single_records, span), partial(table.single_charges, span)]
        if args.all:
            left_out.append(partial(table.matched, span))
        shown = ShownSlots(found.slots, left_out, every=args.all)
        if args.json:
            print_document(found, trail, shown, dry_run=args.dry_run)
        else:
            print_report(found, trail, shown, dry_run=args.dry_run, pods=len(paths) > 1, uncharged=uncharged)
    return ExitCode.CLEAN if found.agrees else ExitCode.FAILED


def _product_code(source: Source) -> str | None:
    if source.settings is not None:
        return source.settings.product.code
    with reading(source.path) as connection:
        evidence = read_evidence(connection)
    return None if evidence is None else evidence.product_code


def _reconcile(
    paths: Iterable[Path], trail: Trail, table: ChargeTable, span: Span, *, every_slot: bool
) -> Reconciliation:
    """Compare the ledgers, each at one instant, with the log; with `every_slot` the table keeps the matched slots."""
    registrations = trail.registrations.values()
    held: list[Tenure] = []
    for path in paths:  # one after the other: each may be held for 5 seconds only
        with reading(path) as connection:
            table.add_records(connection, path, trail.product_code)
            held.extend(tenures(connection))
    owners = {tenure.pod for tenure in held}
    left_out = table.leave_out(owners, span, keep=every_slot)
    return reconcile(
        table.submissions(),
        table.charges(),
        owners,
        {(each.session, each.account_region) for each in registrations if each.session is not None},
        span,
        trail.proofs.activity(),
        replace(left_out, others_registered=others_registered(registrations, held)),
        table.failed_calls(),
    )


def _action(wanted: str | None, source: Source) -> Action | None:
    """Return what becomes of a record in doubt that AWS did not charge; None leaves it as it is."""
    if wanted != _BY_POLICY:
        return None if wanted is None else Action(wanted)
    kept = source.settings is not None and source.settings.metering.late is LatePolicy.UNBILLED
    return Action.WRITE_OFF if kept else Action.CARRY


def _settle(slot: Slot, uncharged: Action | None, now: int) -> Slot:
    """Store what the log proves about a record in doubt, unless a person has decided meanwhile."""
    if not slot.to_settle or slot.submission is None:
        return slot
    path = Path(slot.submission.ledger)
    if slot.charge is None:
        return slot if uncharged is None else _settle_uncharged(slot, slot.submission, uncharged, path, now)
    decision = Resolution(Action.ACCEPT, f"CloudTrail event {slot.charge.event_id}", slot.charge.metering_record_id)
    try:
        resolve_in(path, slot.submission.id, decision, who=user(), now=now, keep=True)
    except NotResolvable as refusal:
        if _holds(path, slot.submission.id, slot.charge.metering_record_id):
            return slot  # a second run of this command was faster
        return replace(slot, verdict=Verdict.DIFFERENT, note=str(refusal))
    return slot


def _settle_uncharged(slot: Slot, submission: Submission, action: Action, path: Path, now: int) -> Slot:
    """Store that AWS did not charge a record."""
    words = "not charged: CloudTrail covers its whole time and shows no charge"
    try:
        resolve_in(path, submission.id, Resolution(action, words), who=user(), now=now, keep=True)
    except NotResolvable as refusal:
        return replace(slot, verdict=Verdict.DIFFERENT, note=str(refusal))
    outcome = "carried into the current hour" if action is Action.CARRY else "written off"
    return replace(slot, note=f"was in doubt; not charged, and {outcome}")


def _holds(path: Path, record: str, metering_record_id: str) -> bool:
    """Return whether a record is accepted under this receipt by now."""
    with reading(path) as connection:
        return any(
            (record_id(row["seq"]), row["metering_record_id"]) == (record, metering_record_id)
            for row in submission_rows(connection)
        )
