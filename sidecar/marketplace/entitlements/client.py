"""The one operation of the AWS Marketplace Entitlement Service, for asyncio.

Each page is one attempt: it is sent once from a worker thread, and is a typed answer or a typed error.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from sidecar.marketplace.endpoint import Endpoint
from sidecar.marketplace.entitlements import wire
from sidecar.marketplace.entitlements.errors import ERRORS
from sidecar.marketplace.entitlements.types import Entitlement, GetEntitlementsRequest, GetEntitlementsResult
from sidecar.marketplace.entitlements.validation import faults
from sidecar.marketplace.errors import InvalidRequest, UnknownAnswer
from sidecar.marketplace.service import Service
from sidecar.marketplace.service_client import ServiceClient

ENTITLEMENT_SERVICE: Final = Service(
    name="marketplace-entitlement", event_id="marketplace-entitlement-service", errors=ERRORS
)
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

    def __init__(self, endpoint: Endpoint, now: Callable[[], datetime] | None = None) -> None:
        """Make the client.

        Args:
            endpoint: Where calls go.
            now: Returns our time, for a comparison with the service's; None compares nothing. Runs on worker threads.
        """
        super().__init__(endpoint, ENTITLEMENT_SERVICE, now)

    async def get_entitlements(self, request: GetEntitlementsRequest) -> GetEntitlementsResult:
        """Return the entitlements of a product's customers, all pages of them or none.

        Raises:
            UnknownAnswer: The pages do not end.
        """
        found = faults(request)
        if found:
            raise InvalidRequest(found)
        page = wire.request_members(request)
        entitlements: list[Entitlement] = []
        for _ in range(MOST_PAGES):
            answer = await self._send_members("GetEntitlements", page)
            result = wire.entitlements_page(answer)
            entitlements += result.entitlements
            following = answer.get("NextToken")
            if not following:  # an empty page may have a next one
                return GetEntitlementsResult(entitlements=tuple(entitlements), request_id=result.request_id)
            page["NextToken"] = following
        raise UnknownAnswer(f"the list of entitlements has more than {MOST_PAGES} pages")
