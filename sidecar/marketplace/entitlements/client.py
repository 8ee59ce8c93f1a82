"""The one operation of the AWS Marketplace Entitlement Service, for asyncio.

A call is one attempt, sent from a worker thread; it is a typed answer or a typed error. Only a later page is repeated.
"""

from typing import Final, Protocol

from sidecar.marketplace.entitlements.errors import ERRORS
from sidecar.marketplace.entitlements.types import GetEntitlementsRequest, GetEntitlementsResult
from sidecar.marketplace.entitlements.validation import faults
from sidecar.marketplace.reading import read_page
from sidecar.marketplace.service import Service
from sidecar.marketplace.service_client import ServiceClient

ENTITLEMENT_SERVICE: Final = Service(name="marketplace-entitlement", errors=ERRORS)
"""AWS Marketplace Entitlement Service."""
REGION: Final = "us-east-1"
"""The one Region that has the service (AWS Marketplace Seller Guide)."""
MOST_PAGES: Final = 10_000
"""More pages than a product has customers for; a list that goes on after them never ends."""


class EntitlementService(Protocol):
    """What the Entitlement Service does; the operation raises `MarketplaceError` and nothing else of its own."""

    async def get_entitlements(self, request: GetEntitlementsRequest) -> GetEntitlementsResult:
        """Return the entitlements of a product's customers."""


class EntitlementServiceClient(ServiceClient):
    """The real service, or an emulator of it. Use it as an async context manager, or `open` and `close` it.

    It calls the Region of its endpoint: make a live one by `Endpoint.live(region_name=REGION)`.
    """

    service = ENTITLEMENT_SERVICE

    async def get_entitlements(self, request: GetEntitlementsRequest) -> GetEntitlementsResult:
        """Return the entitlements of a product's customers, all pages of them or none.

        Raises:
            UnknownAnswer: The pages do not end.
        """
        answers = self._send_pages("GetEntitlements", request, faults(request), MOST_PAGES)
        pages = [read_page(GetEntitlementsResult, answer, "Entitlements") async for answer in answers]
        entitlements = tuple(each for page in pages for each in page.entitlements)
        return GetEntitlementsResult(entitlements=entitlements, request_id=pages[-1].request_id)
