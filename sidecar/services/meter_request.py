"""The MeterUsage request of a quantity. The same record makes the same request each time."""

import asyncio
from collections.abc import Iterable
from datetime import datetime

from sidecar.domain.metering.events import Tags
from sidecar.domain.metering.quantity import MILLION, render
from sidecar.domain.metering.records import FrozenRecord, Record
from sidecar.marketplace import MeterUsageRequest, Tag, UsageAllocation

LARGE_RECORD = 250
"""Allocations from which on a request takes a millisecond and more to put together; AWS takes 2,500."""


async def make_request(record: Record, frozen: FrozenRecord) -> MeterUsageRequest:
    """Return the request of a record; a large one is put together on another thread than the event loop's."""
    if len(frozen.allocations) < LARGE_RECORD:
        return meter_request(record, frozen)
    return await asyncio.to_thread(meter_request, record, frozen)


def meter_request(record: Record, frozen: FrozenRecord) -> MeterUsageRequest:
    """Return the MeterUsage request of a record, under the product code and in the kind of quantity of its seal."""
    return build_request(
        product_code=record.product_code,
        dimension=record.dimension,
        timestamp=record.timestamp,
        quantity=record.quantity,
        whole=frozen.whole,
        client_token=frozen.client_token,
        allocations=frozen.allocations,
    )


def build_request(
    *,
    product_code: str,
    dimension: str,
    timestamp: datetime,
    quantity: int,
    whole: bool,
    client_token: str,
    allocations: Iterable[tuple[Tags, int]] = (),
    dry_run: bool | None = None,
) -> MeterUsageRequest:
    """Return a MeterUsage request.

    Quantities are in millionths; with `whole` they are sent as whole numbers, not as decimal text. A dry run checks the
    permission only.
    """
    parts = tuple(
        UsageAllocation(
            allocated_usage_quantity=part // MILLION if whole else None,
            allocated_usage_quantity_as_decimal=None if whole else render(part),
            tags=tuple(Tag(key, value) for key, value in tags) or None,
        )
        for tags, part in allocations
    )
    return MeterUsageRequest(
        product_code=product_code,
        timestamp=timestamp,
        usage_dimension=dimension,
        usage_quantity=quantity // MILLION if whole else None,
        usage_quantity_as_decimal=None if whole else render(quantity),
        usage_allocations=parts or None,
        dry_run=dry_run,
        client_token=client_token,
    )
