"""One answer for each usage record of the caller, however the service grouped them.

AWS keeps one record for each customer, dimension and UTC hour, so no others may be sent for it. Identical records of
a request are sent once; every one of them gets the result. AWS compares by value, so "1.5" and "1.50" are identical
here too. A record that the answer does not settle is unprocessed: repeating it as it is cannot count twice.
"""

from collections.abc import Iterator, Sequence
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

Customer = tuple[str | None, str | None, str | None]
"""The three members that may name a customer."""
Slot = tuple[Customer, str, datetime]
"""Customer, dimension and UTC hour: AWS keeps the first record of each."""


@dataclass(frozen=True, slots=True)
class _Content:
    """The fields that make two records different to AWS or to the caller."""

    customer: Customer
    dimension: str
    timestamp: datetime
    quantity: int | None
    allocations: frozenset[tuple[frozenset[Tag], int | None]] | None


def slot_of(record: UsageRecord) -> Slot:
    """Return the slot of a record, the same in whatever zone its timestamp is."""
    return _customer(record), record.dimension, _hour(record.timestamp.astimezone(UTC))


def clashes(records: Sequence[UsageRecord]) -> Iterator[tuple[int, int]]:
    """Yield the place of each record that is not identical to the first one of its slot, and the place of that one."""
    first: dict[Slot, int] = {}
    for index, record in enumerate(records):
        earlier = first.setdefault(slot_of(record), index)
        if earlier != index and _content(record) != _content(records[earlier]):
            yield index, earlier


def _customer(record: UsageRecord) -> Customer:
    return record.customer_identifier, record.customer_aws_account_id, record.license_arn


def _content(record: UsageRecord) -> _Content:
    allocations = None
    if record.usage_allocations is not None:
        allocations = frozenset(
            (
                frozenset(each.tags or ()),
                exact_quantity(each.allocated_usage_quantity, each.allocated_usage_quantity_as_decimal),
            )
            for each in record.usage_allocations
        )
    return _Content(
        customer=_customer(record),
        dimension=record.dimension,
        timestamp=record.timestamp.astimezone(UTC),
        quantity=exact_quantity(record.quantity, record.quantity_as_decimal),
        allocations=allocations,
    )


def without_repeats(request: BatchMeterUsageRequest) -> BatchMeterUsageRequest:
    """Return `request` with each of its identical records once, the first of them as it is."""
    distinct: dict[_Content, UsageRecord] = {}
    for record in request.usage_records:
        distinct.setdefault(_content(record), record)
    return replace(request, usage_records=tuple(distinct.values()))


def match_results(
    request: BatchMeterUsageRequest,
    settled: Sequence[UsageRecordResult],
    request_id: str | None,
    unprocessed: Sequence[UsageRecord] = (),
) -> BatchMeterUsageResult:
    """Return the outcome of each record of `request`, in its order, from what the service settled and what it did not.

    The service repeats each record in its answer, sometimes rounded to the hour or with the other identity filled in.
    The records have no `clashes`, so such a repeat agrees with one of them. A record that is neither settled nor
    `unprocessed` is in doubt.
    """
    sent = [(record, _content(record)) for record in request.usage_records]
    contents = dict.fromkeys(content for _, content in sent)
    outcomes: dict[_Content, UsageRecordResult] = {}
    for entry in settled:
        echoed = _content(entry.usage_record)
        outcomes |= {content: entry for content in contents if content not in outcomes and _agrees(content, echoed)}
    left = [(record, content) for record, content in sent if content not in outcomes]
    named = [_content(record) for record in unprocessed]
    return BatchMeterUsageResult(
        results=tuple(
            replace(outcomes[content], usage_record=record) for record, content in sent if content in outcomes
        ),
        unprocessed_records=tuple(record for record, _ in left),
        in_doubt=tuple(record for record, content in left if not any(_agrees(content, each) for each in named)),
        request_id=request_id,
    )


def _agrees(sent: _Content, echoed: _Content) -> bool:
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
