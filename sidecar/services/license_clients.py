"""The clients of License Manager, one for each Region that is asked, each opened by its first call."""

import asyncio
from dataclasses import replace

from sidecar.marketplace import Endpoint
from sidecar.marketplace.license_manager import LicenseManager, LicenseManagerClient
from sidecar.marketplace.service_clock import ServiceClock


class RegionalClients:
    """License Manager in any Region."""

    def __init__(self, endpoint: Endpoint, service_clock: ServiceClock | None) -> None:
        self._endpoint = endpoint
        self._service_clock = service_clock
        self._clients: dict[str, LicenseManagerClient] = {}
        self._opening = asyncio.Lock()

    async def connect(self, region: str) -> LicenseManager:
        """Return the open client of a Region."""
        async with self._opening:
            client = self._clients.get(region)
            if client is None:
                client = LicenseManagerClient(replace(self._endpoint, region_name=region), self._service_clock)
                await client.open()
                self._clients[region] = client
            return client

    async def close(self) -> None:
        """Make no further calls."""
        await asyncio.gather(*(client.close() for client in self._clients.values()))
