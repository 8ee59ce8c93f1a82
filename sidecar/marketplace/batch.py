"""One answer for each usage record of the caller, however the service grouped them.

Identical records are sent once; every one of them gets the result. AWS compares by value, so "1.5" and "1.50" are
identical here too. A record that the answer does not settle is unprocessed: repeating it as it is cannot count twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sidecar.marketplace.limits import exact_quantity
from sidecar.marketplace.types import (
    BatchMeterUsageRequest,
    BatchMeterUsageResult,
    Tag,
    UsageRecord,
    UsageRecordResult,
)


@dataclass(frozen=True, slots=True)
class _Slot:
    """The fields that make two records different to AWS, and the allocations."""

    customer: tuple[str | None, str | None, str | None]
    dimension: str
    timestamp: datetime
    quantity: int | None
    allocations: frozenset[tuple[frozenset[Tag], int | None]] | None


def _slot(record: UsageRecord) -> _Slot:
    allocations = None
    if record.usage_allocations is not None:
        allocations = frozenset(
            (
                frozenset(each.tags or ()),
                exact_quantity(each.allocated_usage_quantity, each.allocated_usage_quantity_as_decimal),
            )
            for each in record.usage_allocations
        )
    return _Slot(
        customer=(record.customer_identifier, record.customer_aws_account_id, record.license_arn),
        dimension=record.dimension,
        timestamp=record.timestamp.astimezone(UTC),
        quantity=exact_quantity(record.quantity, record.quantity_as_decimal),
        allocations=allocations,
    )


def without_repeats(request: BatchMeterUsageRequest) -> BatchMeterUsageRequest:
    """Return `request` with each of its identical records once, the first of them as it is."""
    distinct: dict[_Slot, UsageRecord] = {}
    for record in request.usage_records:
        distinct.setdefault(_slot(record), record)
    return replace(request, usage_records=tuple(distinct.values()))


def match_results(
    request: BatchMeterUsageRequest,
    settled: Sequence[UsageRecordResult],
    request_id: str | None,
    unprocessed: Sequence[UsageRecord] = (),
) -> BatchMeterUsageResult:
    """Return the outcome of each record of `request`, in its order, from what the service settled and what it did not.

    The service repeats each record in its answer, sometimes rounded to the hour or with the other identity filled in:
    an exact repeat counts first, then one that agrees in every member of the record, and of several such records the
    one with the same tag sets. A record that is neither settled nor `unprocessed` is in doubt.
    """
    slots = [_slot(record) for record in request.usage_records]
    sent = dict.fromkeys(slots)
    outcomes: dict[_Slot, UsageRecordResult] = {}
    inexact = []
    for entry in settled:
        slot = _slot(entry.usage_record)
        if slot in sent:
            outcomes.setdefault(slot, entry)
        else:
            inexact.append((slot, entry))
    for slot, entry in inexact:
        fitting = [each for each in sent if each not in outcomes and _agrees(each, slot)]
        if fitting:
            outcomes[max(fitting, key=lambda each: each.allocations == slot.allocations)] = entry
    left = [(slot, record) for slot, record in zip(slots, request.usage_records, strict=True) if slot not in outcomes]
    named = [_slot(record) for record in unprocessed]
    return BatchMeterUsageResult(
        results=tuple(
            replace(outcomes[slot], usage_record=record)
            for slot, record in zip(slots, request.usage_records, strict=True)
            if slot in outcomes
        ),
        unprocessed_records=tuple(record for _, record in left),
        in_doubt=tuple(
            record for slot, record in left if slot not in named and not any(_agrees(slot, each) for each in named)
        ),
        request_id=request_id,
    )


def _agrees(sent: _Slot, echoed: _Slot) -> bool:
    customers = zip(sent.customer, echoed.customer, strict=True)
    return (
        all(mine is None or mine == theirs for mine, theirs in customers)
        and sent.dimension == echoed.dimension
        and _hour(sent.timestamp) == _hour(echoed.timestamp)
        and sent.quantity == echoed.quantity
        and (None in (sent.allocations, echoed.allocations) or sent.allocations == echoed.allocations)
    )


def _hour(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)
