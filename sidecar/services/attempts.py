"""An attempt that is counted before its call, and cut off before the call was sent: it is taken back."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Final

from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.marketplace.passage import never_left

NEVER_LEFT: Final = "cut off before it was sent"
"""The answer of an attempt that was taken back."""


class Counted:
    """A block that counts an attempt and makes its call.

    `take_back` undoes the count if a cancellation ends the block before the call was sent; then the cancellation
    continues. If the ledger refuses, the attempt stays counted, as one that AWS may have taken.
    """

    def __init__(self, take_back: Callable[[], Awaitable[object]]) -> None:
        self._take_back = take_back

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, asyncio.CancelledError) and never_left(error):
            # The ledger completes each step in its order, waited for or not: the count comes before this, and another
            # cancellation ends only the wait.
            with suppress(LedgerUnavailable):
                await asyncio.shield(asyncio.ensure_future(self._take_back()))
