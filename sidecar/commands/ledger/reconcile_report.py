"""What `ledger reconcile` found: a table with totals for people, one JSON document for programs."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from operator import attrgetter

from sidecar.commands.ledger.cloudtrail.trail import Trail
from sidecar.commands.tables import Members, print_json_with, print_line, print_table
from sidecar.domain import timestamps
from sidecar.domain.audit.decisions import Action
from sidecar.domain.audit.slots import DIFFERENCES, Reconciliation, Slot, Verdict
from sidecar.domain.metering import quantity
from sidecar.domain.metering.records import RecordStatus
from sidecar.domain.plaintext import pluralize

_COLUMNS = ("verdict", "record", "dimension", "hour", "here", "aws", "metering_record_id", "note")


class ShownSlots:
    """The slots to be listed, by hour and dimension; they can be iterated any number of times, and are not held."""

    def __init__(self, slots: Sequence[Slot], left_out: Sequence[Callable[[], Iterator[Slot]]], *, every: bool) -> None:
        """Choose the slots.

        Args:
            slots: What the comparison found, in order.
            left_out: Each returns slots that were left out of the comparison, in the same order.
            every: List matched slots too.
        """
        self._slots = slots
        self._left_out = left_out
        self._every = every

    def __iter__(self) -> Iterator[Slot]:
        """Yield them."""
        found = merge(self._slots, *(slots() for slots in self._left_out), key=attrgetter("key"))
        return (slot for slot in found if self._every or slot.verdict is not Verdict.MATCHED)

    def __bool__(self) -> bool:
        """Return whether there is one."""
        return next(iter(self), None) is not None


class _Rows:
    """The rows of a table of slots."""

    def __init__(self, slots: ShownSlots, columns: Sequence[str]) -> None:
        self._slots = slots
        self._columns = columns

    def __iter__(self) -> Iterator[list[object]]:
        for slot in self._slots:
            members = slot_members(slot)
            yield [members[column] for column in self._columns]


def print_report(
    found: Reconciliation,
    trail: Trail,
    shown: ShownSlots,
    *,
    dry_run: bool,
    pods: bool,
    uncharged: Action | None,
) -> None:
    """Print the slots to be shown, the totals and what was read.

    `uncharged` is what becomes of records in doubt that AWS did not charge, None to leave them. With `pods` each slot
    shows its pod.
    """
    if shown:
        columns = (*_COLUMNS[:2], "pod", *_COLUMNS[2:]) if pods else _COLUMNS
        print_table(columns, _Rows(shown, columns))
        print_line("")
    _print_totals(found, dry_run=dry_run)
    span = f", {trail.first_at} to {trail.last_at}" if trail.events else ""
    print_line(f"Read {pluralize(trail.files, 'file')} with {pluralize(trail.events, 'event')}{span}.")
    print_line(f"Pods of {trail.product_code} registered {pluralize(len(trail.registrations), 'time')}.")
    if found.of_other_pods:
        print_line(
            f"Not compared: {pluralize(found.of_other_pods, 'charge')} of pods whose ledger was not given (--also)."
        )
    if trail.without_product:
        print_line(f"Not compared: {pluralize(trail.without_product, 'batch record')} without a product.")
    if found.undescribed:
        print_line(f"Not compared: {pluralize(found.undescribed, 'call')} that the files do not describe.")
    print_line(_summary(found, dry_run=dry_run))
    not_charged = _uncharged(found)
    if not_charged:
        print_line(_about_uncharged(len(not_charged), uncharged, dry_run=dry_run))
    if any(_is_missing(slot) for slot in found.slots):
        print_line(_warning(found, trail))


def print_document(found: Reconciliation, trail: Trail, shown: ShownSlots, *, dry_run: bool) -> None:
    """Print one JSON document."""
    print_json_with(
        {
            "reconciled": found.agrees and not any(_differences(found, dry_run=dry_run).values()),
            "product_code": trail.product_code,
            "dry_run": dry_run,
            "counts": {verdict.value: found.counts[verdict] for verdict in Verdict},
            "in_doubt_not_charged": len(_uncharged(found)),
            "totals": _totals(found, dry_run=dry_run),
        },
        "slots",
        map(slot_members, shown),
        {
            "of_other_pods": found.of_other_pods,
            "without_product": trail.without_product,
            "undescribed": found.undescribed,
            "registrations": len(trail.registrations),
            "files": trail.files,
            "events": trail.events,
            "first_event_at": trail.first_at,
            "last_event_at": trail.last_at,
        },
    )


def _uncharged(found: Reconciliation) -> list[Slot]:
    return [slot for slot in found.slots if slot.to_settle and slot.verdict is Verdict.NOT_CHARGED]


def _about_uncharged(number: int, action: Action | None, *, dry_run: bool) -> str:
    """Return what becomes of records in doubt that AWS did not charge."""
    subject = f"{pluralize(number, 'record')} in doubt {'was' if number == 1 else 'were'} not charged"
    if action is None:
        return (
            f"{subject}. --settle-not-charged settles this: carry bills it in the current hour, write-off never does."
        )
    outcome = "carried into the current hour" if action is Action.CARRY else "written off"
    return (
        f"{subject}: {'would be ' if dry_run else ''}{outcome}.{' Nothing was settled: --dry-run.' if dry_run else ''}"
    )


def _is_missing(slot: Slot) -> bool:
    """Return whether it is in doubt and the files decide nothing about it."""
    in_doubt = slot.submission is not None and slot.submission.in_doubt
    return in_doubt and slot.charge is None and slot.verdict is Verdict.MISSING_IN_AWS


def _warning(found: Reconciliation, trail: Trail) -> str:
    """Return what a person must know before carrying records in doubt: a wrong carry charges the buyer twice."""
    paired = any(slot.submission is not None and slot.charge is not None for slot in found.slots)
    if not found.counts[Verdict.MATCHED] and not paired:
        return (
            "Carry nothing because of this: the files show no other record of the ledger either. Check that "
            f"{trail.product_code} is the product, and that the files come from the account and Region of the pods."
        )
    return (
        "AWS did not take a record in doubt only if the files are complete for its hour and the 6 hours after it, and "
        "its note names no charge or call. Only then, or if AWS Marketplace's usage report lacks it, bill it with "
        "`ledger resolve ... carry`; otherwise the buyer could be charged twice."
    )


def _print_totals(found: Reconciliation, *, dry_run: bool) -> None:
    totals = _totals(found, dry_run=dry_run)
    if totals:
        columns = ("dimension", "submitted", "charged", "difference")
        print_table(columns, [[name, *values.values()] for name, values in totals.items()])
        print_line("")


def _differences(found: Reconciliation, *, dry_run: bool) -> dict[str, str]:
    """Return by how much AWS charged another quantity than was submitted, where it did."""
    totals = _totals(found, dry_run=dry_run)
    return {name: values["difference"] for name, values in totals.items() if values["difference"] != "0"}


def _totals(found: Reconciliation, *, dry_run: bool) -> dict[str, dict[str, str]]:
    """Return what was submitted here, what AWS charged, and by how much more that is, for each dimension."""
    here, there = Counter[str](), Counter[str]()
    for slot in found.slots:
        if slot.submission is not None and _is_submitted(slot, dry_run=dry_run):
            here[slot.submission.dimension] += slot.submission.quantity
        if slot.charge is not None:
            there[slot.charge.dimension] += slot.charge.quantity
    for tally in found.tallies:
        here[tally.dimension] += tally.submitted
        there[tally.dimension] += tally.charged
    names = {slot.submission.dimension for slot in found.slots if slot.submission is not None} | there.keys()
    return {
        name: {
            "submitted": quantity.render(here[name]),
            "charged": quantity.render(there[name]),
            "difference": quantity.render(there[name] - here[name]),
        }
        for name in sorted(names)
    }


def _is_submitted(slot: Slot, *, dry_run: bool) -> bool:
    if slot.verdict is Verdict.SETTLED:
        return not dry_run
    taken = slot.submission is not None and slot.submission.status is RecordStatus.ACCEPTED
    # One that waits, and that AWS holds, is as good as accepted.
    return taken or (slot.verdict is Verdict.WAITING and slot.charge is not None)


def _summary(found: Reconciliation, *, dry_run: bool) -> str:
    counts = found.counts
    if not found.size:
        return "Nothing to compare: these hours have neither a record nor a charge."
    words = {verdict: verdict.replace("-", " ") for verdict in Verdict}
    if dry_run:
        words[Verdict.SETTLED] = "to be settled"
    parts = [f"{counts[verdict]} {words[verdict]}" for verdict in Verdict if counts[verdict]]
    listed = f" ({', '.join(parts)})" if parts else ""
    settled = " Nothing was settled: --dry-run." if dry_run and counts[Verdict.SETTLED] else ""
    differing = sum(counts[verdict] for verdict in DIFFERENCES)
    if differing:
        return f"DIFFERENT: {pluralize(differing, 'slot')} of {found.size}{listed}.{settled}"
    differences = _differences(found, dry_run=dry_run)
    if differences:
        amounts = ", ".join(f"{name} {amount}" for name, amount in differences.items())
        return (
            f"Not reconciled yet: AWS charged more than was submitted ({amounts}): the records in doubt, which"
            f" would be settled{listed}.{settled}"
        )
    return f"Reconciled: AWS charged exactly what was submitted{listed}.{settled}"


def slot_members(slot: Slot) -> Members:
    """Return one slot as JSON members; what one side does not have is null."""
    here, there = slot.submission, slot.charge
    side = here or there
    assert side is not None  # noqa: S101 - a slot has at least one side
    return {
        "verdict": slot.verdict,
        "record": None if here is None else here.id,
        "pod": None if here is None else here.pod,
        "dimension": side.dimension,
        "hour": timestamps.render(side.hour),
        "here": None if here is None else quantity.render(here.quantity),
        "aws": None if there is None else quantity.render(there.quantity),
        "metering_record_id": there.metering_record_id if there is not None else here and here.metering_record_id,
        "event_id": None if there is None else there.event_id,
        "note": slot.note,
    }
