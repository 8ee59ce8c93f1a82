"""When a pod submits: a stable offset of its own within the spread keeps many pods from calling together.

And how fast: in turns that keep one pod far below the account's quota.
"""

import hashlib
from datetime import datetime, timedelta

from sidecar.domain.metering.hours import Hour, hour_of, next_hour, start_of
from sidecar.domain.metering.sealing import sealable_at

_JITTER = 20
"""The part of the spread, one twentieth, over which a pod's own moment moves from hour to hour."""

SMALL_PRODUCT = 8
"""Up to so many dimensions submit within the spread as configured."""
LONGEST = timedelta(minutes=50)
"""Within this time after an hour's end every record has had its first try."""
PACE = timedelta(milliseconds=500)
"""Distance between two submissions of one pod in the long run: a fifth of the account's quota."""
BURST = 24
"""Submissions that may go without distance: one hour of a product with the most dimensions there can be."""

LAST_CALL = timedelta(minutes=1)
"""How long before the window of an hour closes its open usage is sealed, which may have come since the last turn."""


def stretch(spread: timedelta, *, dimensions: int, settle: timedelta) -> timedelta:
    """Return over how long the submissions of pods with so many dimensions spread.

    It has the configured length, and in proportion more for a product of many dimensions, which keeps a pod's rate the
    same: a thousand pods with 24 dimensions need 40 minutes of the account's quota of 10 calls a second.
    """
    return max(spread, min(spread * dimensions / SMALL_PRODUCT, LONGEST - settle))


def due_at(hour: Hour, *, pod: str, dimension: str, settle: timedelta, spread: timedelta) -> datetime:
    """Return when the record of an hour is first tried: after it settled, never later than `spread` after that.

    The offset is drawn from the pod and the dimension, the jitter from the hour too; both are the same at every call.
    """
    offset = (spread - spread / _JITTER) * _share(pod, dimension)
    jitter = (spread / _JITTER) * _share(pod, dimension, str(hour))
    return sealable_at(hour, settle) + offset + jitter


def last_call_at(now: datetime, window: timedelta) -> datetime:
    """Return the first instant after `now` that is `LAST_CALL` before the window of an hour closes."""
    return start_of(next_hour(hour_of(now + LAST_CALL - window))) + window - LAST_CALL


def next_turn(last: datetime | None, now: datetime) -> datetime:
    """Return the turn after `last`, perhaps in the past: those of a bucket of `BURST` that refills every `PACE`."""
    full = now - BURST * PACE
    # The turn before is over; one that lies ahead was taken by a clock that has since gone back.
    return min(max(last or full, full), now) + PACE


def _share(*parts: str) -> float:
    """Return a number in [0, 1) drawn from the parts."""
    digest = hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
