"""A frozen record as the request that AWS takes. The same record makes the same request each time."""

from sidecar.domain.metering.quantity import MILLION, render
from sidecar.domain.metering.records import FrozenRecord, Record
from sidecar.marketplace import MeterUsageRequest, Tag, UsageAllocation


def meter_request(record: Record, frozen: FrozenRecord) -> MeterUsageRequest:
    """Return the MeterUsage request of a record, under the product code and in the kind of quantity of its seal."""
    allocations = tuple(
        UsageAllocation(
            allocated_usage_quantity=quantity // MILLION if frozen.whole else None,
            allocated_usage_quantity_as_decimal=None if frozen.whole else render(quantity),
            tags=tuple(Tag(key, value) for key, value in tags) or None,
        )
        for tags, quantity in frozen.allocations
    )
    return MeterUsageRequest(
        product_code=record.product_code,
        timestamp=record.timestamp,
        usage_dimension=record.dimension,
        usage_quantity=record.quantity // MILLION if frozen.whole else None,
        usage_quantity_as_decimal=None if frozen.whole else render(record.quantity),
        usage_allocations=allocations or None,
        client_token=frozen.client_token,
    )
