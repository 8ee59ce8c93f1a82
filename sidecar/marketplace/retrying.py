"""The one layer that repeats calls, until a deadline that the caller gives.

Only errors whose disposition is `retry` are repeated, always with the very same request. It refuses to begin an attempt
after the deadline, and to wait beyond it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from sidecar.domain.backoff import full_jitter
from sidecar.domain.ports import Clock
from sidecar.marketplace.client import MarketplaceMetering
from sidecar.marketplace.errors import Disposition, InvalidRequest, MarketplaceError, Taken
from sidecar.marketplace.types import BatchMeterUsageRequest, UsageRecord, UsageRecordResult

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BackOff:
    """The windows that waits are drawn from, and where the draws come from (uniform, 0 <= draw < 1)."""

    draw: Callable[[], float]
    base: timedelta = timedelta(seconds=1)
    cap: timedelta = timedelta(minutes=1)

    def wake_at(self, now: datetime, attempt: int) -> datetime:
        """Return when to try again after `attempt` earlier waits."""
        return now + full_jitter(attempt, base=self.base, cap=self.cap, draw=self.draw())


async def call(operation: Callable[[], Awaitable[T]], *, deadline: datetime, clock: Clock, back_off: BackOff) -> T:
    """Return what `operation` returns, repeating it while its errors and the deadline allow.

    Raises:
        MarketplaceError: The last one, when it is not to be repeated or the next attempt would be too late. Its
            `taken` is that of all attempts together: a refusal proves nothing about an earlier one that was lost.
    """
    attempt = 0
    taken = Taken.NO
    while True:
        try:
            return await operation()
        except MarketplaceError as error:
            taken = Taken.UNKNOWN if error.taken is Taken.UNKNOWN else taken
            wake_at = back_off.wake_at(clock.now(), attempt)
            if error.disposition is not Disposition.RETRY or wake_at > deadline:
                error.taken = taken
                raise
        await clock.sleep_until(wake_at)
        attempt += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedBatch:
    """What became of a batch by the deadline; each of the caller's records is in exactly one of the two."""

    results: tuple[UsageRecordResult, ...]
    unprocessed_records: tuple[UsageRecord, ...]
    in_doubt: tuple[UsageRecord, ...] = ()
    """Those of `unprocessed_records` that an attempt may have brought to AWS; only the same record may follow."""
    error: MarketplaceError | None = None
    """Why the last attempt settled nothing, if that is how it ended."""


async def submit_batch(
    service: MarketplaceMetering,
    request: BatchMeterUsageRequest,
    *,
    deadline: datetime,
    clock: Clock,
    back_off: BackOff,
) -> SubmittedBatch:
    """Send `request`, and what comes back unprocessed as it is, until all is settled or the deadline is near.

    A failure never hides what earlier attempts settled: the result holds both.

    Raises:
        InvalidRequest: The request itself is faulty; nothing was sent.
    """
    settled: dict[int, UsageRecordResult] = {}
    pending = list(range(len(request.usage_records)))
    doubtful: set[int] = set()
    attempt = 0
    while True:
        error = None
        try:
            answer = await service.batch_meter_usage(
                replace(request, usage_records=tuple(request.usage_records[index] for index in pending))
            )
        except InvalidRequest:
            raise
        except MarketplaceError as failure:
            error = failure
            if error.taken is Taken.UNKNOWN:
                doubtful.update(pending)
        else:
            results = iter(answer.results)
            # Equal records share one fate, so membership is enough to find the settled indices.
            open_records = answer.unprocessed_records
            settled |= {index: next(results) for index in pending if request.usage_records[index] not in open_records}
            pending = [index for index in pending if index not in settled]
            doubtful.update(index for index in pending if request.usage_records[index] in answer.in_doubt)
        wake_at = back_off.wake_at(clock.now(), attempt)
        if not pending or (error and error.disposition is not Disposition.RETRY) or wake_at > deadline:
            return SubmittedBatch(
                results=tuple(settled[index] for index in sorted(settled)),
                unprocessed_records=tuple(request.usage_records[index] for index in pending),
                in_doubt=tuple(request.usage_records[index] for index in pending if index in doubtful),
                error=error,
            )
        await clock.sleep_until(wake_at)
        attempt += 1
