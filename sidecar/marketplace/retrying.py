"""The one layer that repeats calls, until a deadline.

Only errors with the disposition `retry` are repeated, always with the very same request. It refuses to repeat one after
the deadline, and to wait beyond it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from sidecar.domain.backoff import full_jitter
from sidecar.domain.ports import Clock
from sidecar.marketplace.errors import ClientClosed, Disposition, InvalidRequest, MarketplaceError, Taken
from sidecar.marketplace.limits import check_timestamp
from sidecar.system_clock import SystemClock

T = TypeVar("T")

RETRY_FOR: Final = timedelta(minutes=30)
"""How long calls are repeated if the caller gives no deadline: as long as AWS's guide advises for RegisterUsage."""
SYSTEM_CLOCK: Final = SystemClock()
"""The clock of the machine."""


@dataclass(frozen=True, slots=True)
class BackOff:
    """The windows that waits are drawn from, and where the draws come from (uniform, 0 <= draw < 1)."""

    random: Callable[[], float] = random.random
    base: timedelta = timedelta(seconds=1)
    cap: timedelta = timedelta(minutes=1)

    def wake_at(self, now: datetime, attempt: int) -> datetime:
        """Return when to try again after `attempt` earlier waits."""
        return now + full_jitter(attempt, base=self.base, cap=self.cap, draw=self.random())


BACK_OFF: Final = BackOff()
"""Full jitter in windows of 1 s, 2 s, 4 s and so on, up to a minute."""


async def call(
    operation: Callable[[], Awaitable[T]],
    *,
    deadline: datetime | None = None,
    clock: Clock = SYSTEM_CLOCK,
    back_off: BackOff = BACK_OFF,
) -> T:
    """Return what `operation` returns, repeating it while its errors and the deadline allow.

    The first attempt is always made. After `deadline` no further one begins; None: 30 minutes from now.

    Raises:
        InvalidRequest: The deadline has no offset from UTC; nothing was sent.
        MarketplaceError: The last one, when it is not to be repeated, the next attempt would be too late or the client
            was closed. Its `taken` is that of all attempts together: a refusal proves nothing about an earlier one
            that was lost.
    """
    until = deadline_of(deadline, clock)
    attempt = 0
    failed: MarketplaceError | None = None
    while True:
        try:
            return await operation()
        except ClientClosed as closed:
            if failed is None:
                raise
            raise failed from closed
        except MarketplaceError as error:
            if failed is not None and failed.taken is Taken.UNKNOWN:
                error.taken = Taken.UNKNOWN
            failed = error
            wake_at = back_off.wake_at(clock.now(), attempt)
            if error.disposition is not Disposition.RETRY or wake_at > until:
                raise
        await wait_until(wake_at, clock)
        # The machine may have slept, too.
        if clock.now() > until:
            raise failed
        attempt += 1


async def wait_until(instant: datetime, clock: Clock) -> None:
    """Wait until `instant` by a clock that may be set back, but for no more real time than it is away now."""
    with suppress(TimeoutError):
        async with asyncio.timeout((instant - clock.now()).total_seconds()):
            await clock.sleep_until(instant)


def deadline_of(deadline: datetime | None, clock: Clock) -> datetime:
    """Return the caller's deadline, by default `RETRY_FOR` from now; raises InvalidRequest if it has no offset."""
    if deadline is None:
        return clock.now() + RETRY_FOR
    found = list(check_timestamp("deadline", deadline))
    if found:
        raise InvalidRequest(found)
    return deadline
