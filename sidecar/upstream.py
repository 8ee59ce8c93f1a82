"""AWS as the sidecar and its commands meet it: the metering service, and the clock that goes with it.

The clock is the system's. In emulator mode both are the emulator's, at `marketplace.endpoint_url`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime

from sidecar.adapters.clock import EmulatorClock, SystemClock
from sidecar.marketplace import Endpoint
from sidecar.settings import MarketplaceSettings, Mode


def emulator_url(marketplace: MarketplaceSettings) -> str | None:
    """Return the emulator's address; None in live mode."""
    return marketplace.endpoint_url if marketplace.mode is Mode.EMULATOR else None


def endpoint_of(marketplace: MarketplaceSettings, environ: Mapping[str, str]) -> Endpoint:
    """Return the metering service that is configured.

    Raises:
        UnsupportedRegion: Container products are not metered in the Region, or there is none.
    """
    url = emulator_url(marketplace)
    if url is not None:
        return Endpoint.emulated(url, environ, marketplace.region)
    return Endpoint.live(environ, marketplace.region)


@asynccontextmanager
async def clock_of(marketplace: MarketplaceSettings) -> AsyncIterator[SystemClock | EmulatorClock]:
    """Lend the clock for as long as the block runs; the emulator's is followed meanwhile."""
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
    """Return the present instant; the system's where no configuration was read."""
    if marketplace is None or emulator_url(marketplace) is None:
        return SystemClock().now()
    return asyncio.run(_emulated(marketplace))


async def _emulated(marketplace: MarketplaceSettings) -> datetime:
    async with clock_of(marketplace) as clock:
        return clock.now()
