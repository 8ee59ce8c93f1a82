"""The four operations of the AWS Marketplace Metering Service, for asyncio.

Each call is one attempt: it validates, sends once from a worker thread, and returns a typed result or raises a typed
error. `service_client` has the rules of opening, closing and cancelling.
"""

import asyncio
from typing import Protocol

from sidecar.marketplace import batch, wire
from sidecar.marketplace.errors import UnknownAnswer
from sidecar.marketplace.reading import request_id
from sidecar.marketplace.service import METERING
from sidecar.marketplace.service_client import ServiceClient
from sidecar.marketplace.types import (
    BatchMeterUsageRequest,
    BatchMeterUsageResult,
    MeterUsageRequest,
    MeterUsageResult,
    RegisterUsageRequest,
    RegisterUsageResult,
    ResolveCustomerRequest,
    ResolveCustomerResult,
)
from sidecar.marketplace.validation import faults


class MarketplaceMetering(Protocol):
    """What a metering service does; every operation raises `MarketplaceError` and nothing else of its own."""

    async def register_usage(self, request: RegisterUsageRequest) -> RegisterUsageResult:
        """Ask for the entitlement of this pod or task and start its hourly metering."""

    async def meter_usage(self, request: MeterUsageRequest) -> MeterUsageResult:
        """Report one quantity of this pod or task; the same request again has no further effect."""

    async def batch_meter_usage(self, request: BatchMeterUsageRequest) -> BatchMeterUsageResult:
        """Report usage of SaaS customers; each record gets its own outcome, in the caller's order."""

    async def resolve_customer(self, request: ResolveCustomerRequest) -> ResolveCustomerResult:
        """Trade a registration token for the buyer's identity."""


class MarketplaceMeteringClient(ServiceClient):
    """The real service, or an emulator of it. Use it as an async context manager, or `open` and `close` it."""

    service = METERING

    async def register_usage(self, request: RegisterUsageRequest) -> RegisterUsageResult:
        """Ask for the entitlement of this pod or task and start its hourly metering. The signature is not verified."""
        return wire.register_usage_result(await self._send("RegisterUsage", request, faults(request)))

    async def meter_usage(self, request: MeterUsageRequest) -> MeterUsageResult:
        """Report one quantity of this pod or task. A dry run asks only whether the role may."""
        try:
            return wire.meter_usage_result(request, await self._send_large("MeterUsage", request, faults))
        except UnknownAnswer as answer:
            if request.dry_run and answer.code == "DryRunOperation":
                return MeterUsageResult(metering_record_id=None, request_id=answer.request_id)
            raise

    async def batch_meter_usage(self, request: BatchMeterUsageRequest) -> BatchMeterUsageResult:
        """Report usage of SaaS customers once; `submit_batch` sends the unprocessed records again."""
        answer = await self._send_large("BatchMeterUsage", request, faults, batch.without_repeats)
        return await asyncio.to_thread(
            lambda: batch.match_results(
                request, wire.settled_records(answer), request_id(answer), wire.unprocessed_records(answer)
            )
        )

    async def resolve_customer(self, request: ResolveCustomerRequest) -> ResolveCustomerResult:
        """Trade a registration token for the buyer's identity."""
        return wire.resolve_customer_result(await self._send("ResolveCustomer", request, faults(request)))
