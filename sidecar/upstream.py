"""Access to AWS for the sidecar and its commands: the metering service and its clock.

In live mode the clock is the system's. In emulator mode both are the emulator's, at `marketplace.endpoint_url`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime

from sidecar.adapters.clock import EmulatorClock
from sidecar.marketplace import Endpoint
from sidecar.settings import MarketplaceSettings, Mode
from sidecar.system_clock import SystemClock


def emulator_url(marketplace: MarketplaceSettings) -> str | None:
    """Return the emulator's address; None in live mode."""
    return marketplace.endpoint_url if marketplace.mode is Mode.EMULATOR else None


def endpoint_of(marketplace: MarketplaceSettings, environ: Mapping[str, str]) -> Endpoint:
    """Return the metering service that is configured.

    Raises:
        UnsupportedRegion: The Region does not meter container products, or no Region is configured.
    """
    url = emulator_url(marketplace)
    if url is not None:
        return Endpoint.emulated(url, environ, marketplace.region)
    return Endpoint.live(environ, marketplace.region)


@asynccontextmanager
async def clock_of(marketplace: MarketplaceSettings) -> AsyncIterator[SystemClock | EmulatorClock]:
    """Yield the clock; the emulator's is followed while the block runs."""
    url = emulator_url(marketplace)
    if url is None:
        yield SystemClock()
        return
    clock = EmulatorClock(url)
    await clock.start()
    try:
        yield clock
    finally:
        await clock.close()


def present(marketplace: MarketplaceSettings | None) -> datetime:
    """Return the present instant; the system's if no configuration was read."""
    if marketplace is None or emulator_url(marketplace) is None:
        return SystemClock().now()
    return asyncio.run(_emulated(marketplace))


async def _emulated(marketplace: MarketplaceSettings) -> datetime:
    async with clock_of(marketplace) as clock:
        return clock.now()
