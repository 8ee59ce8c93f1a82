"""Submits any number of SaaS usage records: in parts that AWS takes, until each record has its outcome.

One call takes 25 records and less than 1 MB. AWS takes 10 calls a second of an account in a Region, so the parts are
sent one after another and begin at least a tenth of a second apart. It refuses to send anything of a faulty request.
No failure of a part hides what other parts settled.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Final

from sidecar.domain.ports import Clock
from sidecar.marketplace.batch import slot_of
from sidecar.marketplace.client import MarketplaceMetering
from sidecar.marketplace.errors import ClientClosed, Disposition, InvalidRequest, MarketplaceError, Taken
from sidecar.marketplace.limits import LIMITS
from sidecar.marketplace.retrying import BACK_OFF, SYSTEM_CLOCK, BackOff, deadline_of, wait_until
from sidecar.marketplace.types import BatchMeterUsageRequest, BatchMeterUsageResult, UsageRecord, UsageRecordResult
from sidecar.marketplace.validation import LARGEST_BATCH, submission_faults
from sidecar.marketplace.wire import request_size

APART: Final = timedelta(milliseconds=100)
"""How far apart parts begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedPart:
    """Records that were sent together, and the error of their last attempt."""

    usage_records: tuple[UsageRecord, ...]
    error: MarketplaceError


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedBatch:
    """What became of the records by the deadline; each is in `results` or in `unprocessed_records`, in your order."""

    results: tuple[UsageRecordResult, ...]
    unprocessed_records: tuple[UsageRecord, ...]
    in_doubt: tuple[UsageRecord, ...] = ()
    """Those of `unprocessed_records` that an attempt may have brought to AWS; only the same record may follow."""
    failed: tuple[FailedPart, ...] = ()
    """Why records are unprocessed: each part whose last attempt failed. AWS refuses a part whole for one bad record."""


async def submit_batch(
    service: MarketplaceMetering,
    request: BatchMeterUsageRequest,
    *,
    deadline: datetime | None = None,
    clock: Clock = SYSTEM_CLOCK,
    back_off: BackOff = BACK_OFF,
) -> SubmittedBatch:
    """Send the records of `request`, and those that come back unprocessed again, until all have their outcome.

    An error that may pass is repeated. A part that AWS refuses is given up, the others are sent. An error that concerns
    the caller, such as a missing permission, ends the submission, and so does a closed client. None of them is raised:
    see `SubmittedBatch.failed`.

    The waits of `back_off` begin anew after each round that settled a record.

    The first part is always sent. After `deadline` no further attempt begins; None: 30 minutes from now.

    Raises:
        InvalidRequest: A record or the request is faulty, or the deadline has no offset from UTC; nothing was sent.
    """
    found = await asyncio.to_thread(submission_faults, request)
    if found:
        raise InvalidRequest(found)
    submission = _Submission(service, request)
    pace = _Pace(clock, deadline_of(deadline, clock))
    attempt = 0
    while True:
        settled = submission.settled
        await submission.send_pending(pace)
        if submission.is_over or pace.is_over:
            return submission.outcome()
        if submission.settled > settled:
            attempt = 0
        if not await pace.wait_until(back_off.wake_at(clock.now(), attempt)):
            return submission.outcome()
        attempt += 1


class _Pace:
    """When the next part may begin: not too soon after the one before, and not after the deadline."""

    def __init__(self, clock: Clock, until: datetime) -> None:
        self._clock = clock
        self._until = until
        self._begun_at: datetime | None = None
        self.is_over = False
        """Whether the turn of a part came too late: so does each later one."""

    async def may_begin(self) -> bool:
        """Return whether a part may begin, once its turn has come; the first one may in any case."""
        if self._begun_at is not None:
            # A clock that was set back lengthens no wait.
            turn = min(self._begun_at, self._clock.now()) + APART
            if not await self.wait_until(turn):
                self.is_over = True
                return False
        self._begun_at = self._clock.now()
        return True

    async def wait_until(self, instant: datetime) -> bool:
        """Return at `instant` whether the deadline allows another part, without a wait if it will not."""
        if instant > self._until:
            return False
        if instant > self._clock.now():
            await wait_until(instant, self._clock)
        # The machine may have slept, too.
        return self._clock.now() <= self._until


class _Submission:
    """The records by their place in the caller's order: settled, pending, given up, or waiting after an error."""

    def __init__(self, service: MarketplaceMetering, request: BatchMeterUsageRequest) -> None:
        self._service = service
        self._request = request
        self._records = request.usage_records
        self._pending = set(range(len(self._records)))
        self._settled: dict[int, UsageRecordResult] = {}
        self._doubtful: set[int] = set()
        self._refused: list[tuple[list[int], MarketplaceError]] = []
        self._waiting: list[tuple[list[int], MarketplaceError]] = []
        self._ended = False

    @property
    def settled(self) -> int:
        """The number of records that have their outcome."""
        return len(self._settled)

    @property
    def is_over(self) -> bool:
        """No further attempt can change anything."""
        return self._ended or not (self._pending or self._waiting)

    async def send_pending(self, pace: _Pace) -> None:
        """Send the open records once, up to the first error that may pass, or that concerns the caller.

        A part whose error may pass stays together and becomes the last one. The next attempt begins with another part,
        so an error that only this part meets does not hold up the others.
        """
        for part in chain(self._parts(), [part for part, _ in self._waiting]):
            if not await pace.may_begin():
                return
            try:
                answer = await self._service.batch_meter_usage(self._part(part))
            except MarketplaceError as error:
                if not self._fail(part, error):
                    return
            else:
                self._withdraw(part)
                self._take(part, answer)

    def outcome(self) -> SubmittedBatch:
        """Return what became of each record so far."""
        left = [index for index in range(len(self._records)) if index not in self._settled]
        return SubmittedBatch(
            results=tuple(self._settled[index] for index in sorted(self._settled)),
            unprocessed_records=self._part(left).usage_records,
            in_doubt=self._part([index for index in left if index in self._doubtful]).usage_records,
            failed=tuple(
                FailedPart(usage_records=self._part(part).usage_records, error=error)
                for part, error in sorted([*self._refused, *self._waiting], key=lambda failure: failure[0])
            ),
        )

    def _fail(self, part: list[int], error: MarketplaceError) -> bool:
        """Take in the error of a part; return whether other parts may follow in this round."""
        if error.taken is Taken.UNKNOWN:
            self._doubtful.update(part)
        closed = isinstance(error, ClientClosed)
        if closed and part in [failed for failed, _ in self._waiting]:
            # This was no attempt: the error of the last one stays.
            self._ended = True
            return False
        self._withdraw(part)
        if error.disposition is Disposition.RETRY and not closed:
            self._waiting.append((part, error))
            return False
        self._refused.append((part, error))
        self._ended = error.disposition is not Disposition.GIVE_UP_RECORD
        return not self._ended

    def _parts(self) -> Iterator[list[int]]:
        part: list[int] = []
        size = 0
        for index in sorted(self._pending):
            # Measured when the part is due: all sizes together would block the loop for long.
            length = request_size(self._part([index]))
            full = len(part) == LIMITS["UsageRecordList"].maximum or size + length >= LARGEST_BATCH
            if part and full:
                yield part
                part, size = [], 0
            part.append(index)
            size += length
        if part:
            yield part

    def _part(self, indices: list[int]) -> BatchMeterUsageRequest:
        return replace(self._request, usage_records=tuple(self._records[index] for index in indices))

    def _withdraw(self, part: list[int]) -> None:
        self._pending.difference_update(part)
        self._waiting = [(failed, error) for failed, error in self._waiting if failed != part]

    def _take(self, part: list[int], answer: BatchMeterUsageResult) -> None:
        # By the slot, which is in UTC: two timestamps of one zone may be equal and yet be different hours.
        settled = {slot_of(result.usage_record): result for result in answer.results}
        doubtful = {slot_of(record) for record in answer.in_doubt}
        for index in part:
            slot = slot_of(self._records[index])
            if slot in settled:
                self._settled[index] = replace(settled[slot], usage_record=self._records[index])
            else:
                self._pending.add(index)
            if slot in doubtful:
                self._doubtful.add(index)
