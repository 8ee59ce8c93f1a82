"""The four operations of the AWS Marketplace Metering Service, for asyncio.

Each call is one attempt: it validates, sends once from a worker thread, and returns a typed result or raises a typed
error. It refuses to retry (see `retrying`) and imports the SDK only when opened. Cancelling an await does not recall a
request that a thread has begun to send: AWS may have taken it, so only the same request may follow.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from sidecar.marketplace import batch, wire
from sidecar.marketplace.endpoint import Endpoint
from sidecar.marketplace.errors import InvalidRequest, UnknownAnswer
from sidecar.marketplace.service_clock import ServiceClock
from sidecar.marketplace.types import (
    BatchMeterUsageRequest,
    BatchMeterUsageResult,
    MeterUsageRequest,
    MeterUsageResult,
    RegisterUsageRequest,
    RegisterUsageResult,
    Request,
    ResolveCustomerRequest,
    ResolveCustomerResult,
)
from sidecar.marketplace.validation import faults

if TYPE_CHECKING:
    from sidecar.marketplace.sdk import Connection

T = TypeVar("T")


CALL_THREADS = "marketplace"
"""How the names of the threads begin on which calls wait for their answers."""


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


class MarketplaceMeteringClient:
    """The real service, or an emulator of it. Use it as an async context manager, or `open` and `close` it."""

    def __init__(self, endpoint: Endpoint, now: Callable[[], datetime] | None = None) -> None:
        """Make the client.

        Args:
            endpoint: Where calls go.
            now: Returns our time, for a comparison with the service's; None compares nothing. Runs on worker threads.
        """
        self.endpoint = endpoint
        self._service_clock = None if now is None else ServiceClock(now)
        self._running: tuple[ThreadPoolExecutor, Connection] | None = None

    async def open(self) -> None:
        """Load the SDK on a worker thread. Makes no network call."""
        if self._running is None:
            threads = ThreadPoolExecutor(self.endpoint.connections, thread_name_prefix=CALL_THREADS)
            connection = await asyncio.get_running_loop().run_in_executor(
                threads, _connect, self.endpoint, self._service_clock
            )
            self._running = threads, connection

    async def close(self) -> None:
        """Refuse further calls; those waiting for a thread are never sent, the running end by their time limits."""
        if self._running is not None:
            (threads, connection), self._running = self._running, None
            threads.shutdown(wait=False, cancel_futures=True)
            await asyncio.to_thread(connection.close)

    @property
    def clock_skew(self) -> timedelta | None:
        """By how much our clock was ahead of the service's at its last answer; None while that is not known."""
        return None if self._service_clock is None else self._service_clock.skew

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def register_usage(self, request: RegisterUsageRequest) -> RegisterUsageResult:
        """Ask for the entitlement of this pod or task and start its hourly metering. The signature is not verified."""
        return wire.register_usage_result(await self._send("RegisterUsage", request))

    async def meter_usage(self, request: MeterUsageRequest) -> MeterUsageResult:
        """Report one quantity of this pod or task. A dry run asks only whether the role may."""
        try:
            return wire.meter_usage_result(request, await self._send("MeterUsage", request))
        except UnknownAnswer as answer:
            if request.dry_run and answer.code == "DryRunOperation":
                return MeterUsageResult(metering_record_id=None, request_id=answer.request_id)
            raise

    async def batch_meter_usage(self, request: BatchMeterUsageRequest) -> BatchMeterUsageResult:
        """Report usage of SaaS customers once; `submit_batch` sends the unprocessed records again."""
        answer = await self._send("BatchMeterUsage", request, batch.without_repeats)
        return batch.settle(
            request, wire.settled_records(answer), wire.request_id(answer), wire.unprocessed_records(answer)
        )

    async def resolve_customer(self, request: ResolveCustomerRequest) -> ResolveCustomerResult:
        """Trade a registration token for the buyer's identity."""
        return wire.resolve_customer_result(await self._send("ResolveCustomer", request))

    async def credentials_method(self) -> str | None:
        """Return the SDK's name for where it found credentials, None when it found none. May ask the network.

        Raises:
            CredentialsMissing: A source is configured and fails.
        """
        return await self._on_thread(lambda connection: connection.credentials_method())

    @property
    def connection(self) -> "Connection":
        """The SDK behind the client, for questions that need no other one; open while the client is open.

        Raises:
            RuntimeError: The client is not open.
        """
        if self._running is None:
            raise RuntimeError("the marketplace client is not open")
        return self._running[1]

    async def _send(
        self, operation: str, request: Any, prepare: Callable[[Any], Request] = lambda request: request
    ) -> Mapping[str, Any]:
        found = faults(request)
        if found:
            raise InvalidRequest(found)
        members = wire.members(prepare(request))
        return await self._on_thread(lambda connection: connection.send(operation, members))

    async def _on_thread(self, call: Callable[["Connection"], T]) -> T:
        if self._running is None:
            raise RuntimeError("the marketplace client is not open")
        threads, connection = self._running
        return await asyncio.get_running_loop().run_in_executor(threads, call, connection)


def _connect(endpoint: Endpoint, clock: ServiceClock | None) -> "Connection":
    from sidecar.marketplace.sdk import Connection  # noqa: PLC0415 - a tenth of a second that must not delay the probes

    return Connection(endpoint, clock)
