"""Metering records: their life from the seal to a final place, decided by AWS's answers and by time.

A record is frozen when it is made; only its status moves, and only from `sealed`. The attempt is counted before the
call, so that a process that dies in between knows that AWS may hold the record.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from sidecar.domain.metering.events import Tags
from sidecar.domain.metering.hours import Hour
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.metering.sealing import Seal
from sidecar.domain.policy import LatePolicy


class RecordStatus(StrEnum):
    """Where a record stands."""

    SEALED = "sealed"  # frozen; waits to be submitted or is being tried
    ACCEPTED = "accepted"  # AWS took it
    UNBILLED = "unbilled"  # kept with a reason; nobody was charged for it, or nobody knows
    CARRIED = "carried"  # its quantity went into a later hour


@dataclass(frozen=True, slots=True)
class Record:
    """What deciding a record's fate needs."""

    seq: int
    """Its number in the ledger."""
    dimension: str
    hour: Hour
    quantity: int
    timestamp: datetime
    """What is sent; the submission window counts from here."""
    attempts: int
    unanswered: int
    """Attempts of which nobody knows whether AWS took them."""
    product_code: str
    """The product under which its usage was taken, whatever is configured now."""


@dataclass(frozen=True, slots=True)
class FrozenRecord:
    """What every attempt of a record sends, beside its dimension, timestamp and quantity."""

    unanswered: int
    """As `Record.unanswered`, this attempt counted."""
    whole: bool
    """The quantity is sent as a whole number."""
    client_token: str
    allocations: tuple[tuple[Tags, int], ...]


@dataclass(frozen=True, slots=True)
class SealedHour:
    """What a seal made."""

    dimension: str
    hour: Hour
    seal: Seal


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for an attempt."""

    words: str
    """The code, and the service's message where there is one."""
    metering_record_id: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Stays sealed, to be tried again."""

    unanswered: int


@dataclass(frozen=True, slots=True)
class Accept:
    """AWS holds exactly this record."""


@dataclass(frozen=True, slots=True)
class Carry:
    """AWS cannot hold it: its quantity moves into the current hour."""

    cause: str
    """expired | adopted."""


@dataclass(frozen=True, slots=True)
class Write:
    """Kept as unbilled; `reason` begins with a stable word."""

    reason: str


Fate = Wait | Accept | Carry | Write


def window_closes_at(record: Record, window: timedelta) -> datetime:
    """Return the last instant at which AWS still takes the record."""
    return record.timestamp + window


def settle(unanswered: int, outcome: Outcome, words: str, late: LatePolicy) -> Fate:  # noqa: PLR0911 - one return a row
    """Decide what an answer makes of a record.

    Args:
        unanswered: The record's attempts without an answer, this one counted.
        outcome: What the answer means.
        words: The code and message of the answer, for the reason.
        late: What becomes of a quantity whose window has closed.
    """
    known = max(0, unanswered - 1)
    match outcome:
        case Outcome.ACCEPTED:
            return Accept()
        case Outcome.UNKNOWN:
            return Wait(unanswered)
        case Outcome.RETRY | Outcome.SETUP | Outcome.NOT_ENTITLED:
            return Wait(known)
        case Outcome.DUPLICATE:
            return Write(f"duplicate: the slot already holds another quantity ({words})")
        case Outcome.CONFLICT:
            return Write(f"in-doubt: the client token was used for another request ({words})")
        case Outcome.EXPIRED:
            return expire(known, late, words)
        case Outcome.REJECTED:
            if known:
                # An earlier attempt may have been taken while the product or its dimension was still right.
                return Write(f"in-doubt: refused after {known} attempts without an answer ({words})")
            return Write(f"rejected: {words}")
        case _:
            assert_never(outcome)


def expire(unanswered: int, late: LatePolicy, words: str) -> Fate:
    """Decide what becomes of a record whose submission window has closed.

    An attempt of which no answer was seen may have been taken; moving its quantity on could charge the buyer twice.
    """
    if unanswered:
        return Write(f"in-doubt: {unanswered} attempts without an answer when the window closed ({words})")
    match late:
        case LatePolicy.CARRY:
            return Carry("expired")
        case LatePolicy.UNBILLED:
            return Write(f"expired: {words}")
        case _:
            assert_never(late)


def orphan(unanswered: int, pod: str, *, late: LatePolicy = LatePolicy.CARRY, closed: str | None = None) -> Fate:
    """Decide what becomes of a sealed record of `pod`, which is gone, on a ledger that another pod has adopted.

    Args:
        unanswered: The record's attempts without an answer.
        pod: The pod's uid.
        late: What becomes of a quantity whose window has closed.
        closed: Words that say that the record's window has closed; None while AWS still takes its hour. Inside the
            window the record is not late, it only has another identity, so the policy does not apply.
    """
    if unanswered:
        return Write(f"in-doubt: pod {pod} ended after an attempt without an answer")
    return Carry("adopted") if closed is None else expire(0, late, closed)


def foreign(unanswered: int, product_code: str) -> Write:
    """Decide what becomes of a sealed record of `product_code` on a ledger whose product is another one now.

    It is never submitted under another product's code, and nothing submits under its own any more.
    """
    if unanswered:
        return Write(f"in-doubt: the product changed from {product_code} after an attempt without an answer")
    return Write(of_other_product(product_code))


def of_other_product(product_code: str) -> str:
    """Return the reason of a quantity that was taken for `product_code` and not submitted while that was configured."""
    return f"other-product: taken for product {product_code}, which is no longer configured"
