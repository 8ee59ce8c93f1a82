"""License Manager as simulated processes reach it: calls take time, fail, arrive late, and outlive their callers."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import StrEnum
from random import Random
from typing import Final, TypeVar

from sidecar.marketplace.errors import MarketplaceError, NoAnswer, NotSent
from sidecar.marketplace.license_manager import (
    AuthorizationException,
    CheckInLicenseRequest,
    CheckInLicenseResponse,
    CheckoutLicenseRequest,
    CheckoutLicenseResponse,
    ExtendLicenseConsumptionRequest,
    ExtendLicenseConsumptionResponse,
    GetLicenseRequest,
    GetLicenseResponse,
    GetLicenseUsageRequest,
    GetLicenseUsageResponse,
    LicenseManager,
    ListReceivedLicensesRequest,
    ListReceivedLicensesResponse,
    RateLimitExceededException,
    ServerInternalException,
)
from sidecar.marketplace.passage import mark_unsent
from tests.simulation.disk import Crash
from tests.support.license_manager import World as Account

CLIENT_TIMEOUT: Final = 10.0
"""Seconds that a caller waits for an answer."""
_LATEST: Final = 60.0
"""Seconds that a request may still travel after its caller has given up."""

Result = TypeVar("Result")


class SeatFault(StrEnum):
    """What happens to one call."""

    UNREACHABLE = "unreachable"  # certainly not processed
    TIMEOUT = "timeout"  # not processed, and the caller cannot know
    DROPPED = "dropped"  # processed, and the answer is lost
    OVERTAKEN = "overtaken"  # processed after the caller has given up
    INTERNAL = "internal"  # 500, not processed
    INTERNAL_TAKEN = "internal-taken"  # 500, processed
    THROTTLED = "throttled"
    ACCESS_DENIED = "access-denied"


REFUSALS: Final[dict[SeatFault, type[MarketplaceError]]] = {
    SeatFault.INTERNAL: ServerInternalException,
    SeatFault.THROTTLED: RateLimitExceededException,
    SeatFault.ACCESS_DENIED: AuthorizationException,
}


class SeatService:
    """The account's License Manager, with its weather.

    Args:
        account: AWS's own rules and books.
        random: Draws latencies and faults.
    """

    def __init__(self, account: Account, random: Random) -> None:
        self.account = account
        self.random = random
        self.weather: dict[SeatFault, float] = {}
        """The chance of each fault for each call."""
        self.when_taken: Callable[[], None] | None = None
        """Called once, when the next checkout, extension or return has been processed."""
        self.late: list[asyncio.Future[None]] = []
        """Requests that arrive when their callers have given up."""
        self.ledgers: dict[str, str] = {}
        """The ledger of each client token."""

    def draw_fault(self) -> SeatFault | None:
        """Return what happens to the next call."""
        drawn = self.random.random()
        for fault, chance in self.weather.items():
            drawn -= chance
            if drawn < 0:
                return fault
        return None


class SeatClient:
    """License Manager as one process reaches it, in each Region.

    Args:
        service: Answers.
        ledger: Names the ledger of the process.
    """

    def __init__(self, service: SeatService, ledger: str) -> None:
        self.service = service
        self.ledger = ledger
        self.dead = False
        """The process is gone: it makes no call, and no answer finds it."""

    async def connect(self, region: str) -> LicenseManager:
        """Return License Manager of a Region."""
        return _SeatRegion(self, await self.service.account.connect(region))


class _SeatRegion:
    def __init__(self, client: SeatClient, region: LicenseManager) -> None:
        self._client = client
        self._region = region

    async def _call(self, perform: Callable[[], Awaitable[Result]], *, changes: bool = True) -> Result:
        client, service = self._client, self._client.service
        if client.dead:
            raise Crash
        fault = service.draw_fault()
        try:
            await asyncio.sleep(0.01 + service.random.random() * 0.5)
        except asyncio.CancelledError as cut:
            mark_unsent(cut)
            raise
        await self._lose_on_its_way(fault, perform)
        result = await perform()
        if changes and service.when_taken is not None:
            kill, service.when_taken = service.when_taken, None
            kill()
        if client.dead:
            raise Crash
        if fault is SeatFault.DROPPED:
            await asyncio.sleep(CLIENT_TIMEOUT)
            raise NoAnswer("read timed out")
        if fault is SeatFault.INTERNAL_TAKEN:
            raise ServerInternalException("injected")
        return result

    async def _lose_on_its_way(self, fault: SeatFault | None, perform: Callable[[], Awaitable[object]]) -> None:
        """Raise what the caller gets if its request is not processed, or only later."""
        match fault:
            case SeatFault.UNREACHABLE:
                raise NotSent("connection refused")
            case SeatFault.TIMEOUT:
                await asyncio.sleep(CLIENT_TIMEOUT)
                raise NoAnswer("read timed out")
            case SeatFault.OVERTAKEN:
                late = CLIENT_TIMEOUT + self._client.service.random.random() * _LATEST
                asyncio.get_running_loop().call_later(late, _arrive_late, self._client.service, perform)
                await asyncio.sleep(CLIENT_TIMEOUT)
                raise NoAnswer("read timed out")
            case SeatFault.INTERNAL | SeatFault.THROTTLED | SeatFault.ACCESS_DENIED:
                raise REFUSALS[fault]("injected")
            case SeatFault.DROPPED | SeatFault.INTERNAL_TAKEN | None:
                return

    async def list_received_licenses(self, request: ListReceivedLicensesRequest) -> ListReceivedLicensesResponse:
        """List the licenses."""
        return await self._call(lambda: self._region.list_received_licenses(request), changes=False)

    async def checkout_license(self, request: CheckoutLicenseRequest) -> CheckoutLicenseResponse:
        """Take entitlements."""
        self._client.service.ledgers[request.client_token] = self._client.ledger
        return await self._call(lambda: self._region.checkout_license(request))

    async def extend_license_consumption(
        self, request: ExtendLicenseConsumptionRequest
    ) -> ExtendLicenseConsumptionResponse:
        """Hold a seat for longer."""
        return await self._call(lambda: self._region.extend_license_consumption(request))

    async def check_in_license(self, request: CheckInLicenseRequest) -> CheckInLicenseResponse:
        """Return a seat."""
        return await self._call(lambda: self._region.check_in_license(request))

    async def get_license(self, request: GetLicenseRequest) -> GetLicenseResponse:
        """Is not called."""
        raise NotImplementedError

    async def get_license_usage(self, request: GetLicenseUsageRequest) -> GetLicenseUsageResponse:
        """Is not called."""
        raise NotImplementedError


def _arrive_late(service: SeatService, perform: Callable[[], Awaitable[object]]) -> None:
    async def arrive() -> None:
        with suppress(MarketplaceError):  # its caller learns of no refusal
            await perform()

    service.late.append(asyncio.ensure_future(arrive()))
