"""The six operations of AWS License Manager that a licensed product needs, for asyncio.

Each call is one attempt: it validates, sends once from a worker thread, and returns a typed answer or raises a typed
error. Only later pages of a list are repeated. It refuses to follow a redirect: the error names the Region, and the
caller decides (see `RedirectException`).
"""

from typing import Final, Protocol

from sidecar.marketplace.errors import UnknownAnswer
from sidecar.marketplace.license_manager import wire
from sidecar.marketplace.license_manager.errors import ERRORS
from sidecar.marketplace.license_manager.types import (
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
    ListReceivedLicensesRequest,
    ListReceivedLicensesResponse,
)
from sidecar.marketplace.license_manager.validation import faults
from sidecar.marketplace.reading import read, read_page
from sidecar.marketplace.service import Service
from sidecar.marketplace.service_client import ServiceClient

LICENSE_MANAGER: Final = Service(name="license-manager", errors=ERRORS, secret_members=("LicenseConsumptionToken",))
"""AWS License Manager."""
MOST_PAGES: Final = 1000
"""More pages than any account has licenses for; a list that goes on after them never ends."""


class LicenseManager(Protocol):
    """What License Manager does; every operation raises `MarketplaceError` and nothing else of its own."""

    async def checkout_license(self, request: CheckoutLicenseRequest) -> CheckoutLicenseResponse:
        """Take entitlements of a license; the same request again is the same checkout."""

    async def check_in_license(self, request: CheckInLicenseRequest) -> CheckInLicenseResponse:
        """Return a provisional checkout."""

    async def extend_license_consumption(
        self, request: ExtendLicenseConsumptionRequest
    ) -> ExtendLicenseConsumptionResponse:
        """Hold a provisional checkout for longer."""

    async def get_license(self, request: GetLicenseRequest) -> GetLicenseResponse:
        """Return one license."""

    async def get_license_usage(self, request: GetLicenseUsageRequest) -> GetLicenseUsageResponse:
        """Return how much of one license is checked out."""

    async def list_received_licenses(self, request: ListReceivedLicensesRequest) -> ListReceivedLicensesResponse:
        """Return the licenses that the account has received."""


class LicenseManagerClient(ServiceClient):
    """The real service, or an emulator of it. Use it as an async context manager, or `open` and `close` it.

    It calls the Region of its endpoint. Make another client for another Region.
    """

    service = LICENSE_MANAGER

    async def checkout_license(self, request: CheckoutLicenseRequest) -> CheckoutLicenseResponse:
        """Take entitlements of a license. Compare `entitlements_allowed` with what was asked."""
        return wire.checkout_response(request, await self._send("CheckoutLicense", request, faults(request)))

    async def check_in_license(self, request: CheckInLicenseRequest) -> CheckInLicenseResponse:
        """Return a provisional checkout."""
        return read(CheckInLicenseResponse, await self._send("CheckInLicense", request, faults(request)))

    async def extend_license_consumption(
        self, request: ExtendLicenseConsumptionRequest
    ) -> ExtendLicenseConsumptionResponse:
        """Hold a provisional checkout for longer. A dry run asks only whether the role may."""
        try:
            answer = await self._send("ExtendLicenseConsumption", request, faults(request))
        except UnknownAnswer as error:
            if request.dry_run and error.code == "DryRunOperation":
                return ExtendLicenseConsumptionResponse(request_id=error.request_id)
            raise
        return wire.extend_response(request, answer)

    async def get_license(self, request: GetLicenseRequest) -> GetLicenseResponse:
        """Return one license."""
        return read(GetLicenseResponse, await self._send("GetLicense", request, faults(request)))

    async def get_license_usage(self, request: GetLicenseUsageRequest) -> GetLicenseUsageResponse:
        """Return how much of one license is checked out."""
        return read(GetLicenseUsageResponse, await self._send("GetLicenseUsage", request, faults(request)))

    async def list_received_licenses(self, request: ListReceivedLicensesRequest) -> ListReceivedLicensesResponse:
        """Return the licenses that the account has received, all pages of them or none.

        Raises:
            UnknownAnswer: The pages do not end.
        """
        answers = self._send_pages("ListReceivedLicenses", request, faults(request), MOST_PAGES)
        pages = [read_page(ListReceivedLicensesResponse, answer, "Licenses") async for answer in answers]
        licenses = {each.license_arn: each for page in pages for each in page.licenses}
        return ListReceivedLicensesResponse(licenses=tuple(licenses.values()), request_id=pages[-1].request_id)
