"""The present instant as the sidecar of a configuration has it: the emulator's in emulator mode, else the system's."""

import asyncio
from datetime import datetime

from sidecar.adapters.clock import EmulatorClock, SystemClock
from sidecar.settings import Mode, Settings


def present(settings: Settings | None) -> datetime:
    """Return the instant; without a configuration the system's."""
    if settings is None or settings.marketplace.mode is not Mode.EMULATOR or settings.marketplace.endpoint_url is None:
        return SystemClock().now()
    return asyncio.run(_emulated(settings.marketplace.endpoint_url))


async def _emulated(endpoint_url: str) -> datetime:
    clock = EmulatorClock(endpoint_url)
    try:
        await clock.refresh()
        return clock.now()
    finally:
        await clock.close()
