"""Metering records: their life from the seal to a final place, decided by AWS's answers and by time.

A record is frozen when it is made; only its status moves, and only from `sealed`. The attempt is counted before the
call: after a crash in between, the next process knows that AWS may hold the record.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from sidecar.domain.metering.events import Tags
from sidecar.domain.metering.hours import Hour
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.metering.sealing import Seal
from sidecar.domain.plaintext import pluralize
from sidecar.domain.policy import LatePolicy


class RecordStatus(StrEnum):
    """The status of a record."""

    SEALED = "sealed"  # frozen; waits to be submitted or is being tried
    ACCEPTED = "accepted"  # AWS took it
    UNBILLED = "unbilled"  # kept with a reason; not charged, or unknown whether it was
    CARRIED = "carried"  # its quantity went into a later hour


class RecordKind(StrEnum):
    """What a record was made for."""

    SLOT = "slot"  # to be submitted: the one record of its pod, dimension and hour
    LATE = "late"  # gathers what came after its hour was closed and is not billed
    UNSENT = "unsent"  # keeps what is of another product, or was taken over past its window; takes no slot


class UnbilledReason(StrEnum):
    """Why a quantity is not billed: the word with which the reason of a record begins, before a colon."""

    EXPIRED = "expired"  # its submission window has closed
    DUPLICATE = "duplicate"  # the slot holds another quantity
    REJECTED = "rejected"  # AWS will never take it
    LATE = "late"  # it came after its hour was closed
    OTHER_PRODUCT = "other-product"  # taken for a product that is not configured any more
    IN_DOUBT = "in-doubt"  # AWS may hold it
    PROBE_SLOT = "probe-slot"  # the start probe took its slot, and the pod ended before the next hour
    AFTER_END = "after-end"  # the slot of its pod's last hour was frozen when it was carried there

    def because(self, words: str) -> str:
        """Return the reason as a record keeps it."""
        return f"{self}: {words}"

    def begins(self, reason: str | None) -> bool:
        """Return whether a kept reason is this one."""
        return reason is not None and reason.partition(":")[0] == self


class CarryCause(StrEnum):
    """Why a quantity moves to another hour."""

    LATE = "late"  # its event came after the hour was closed
    OVER_LIMIT = "over-limit"  # one record carries no more
    EXPIRED = "expired"  # the submission window has closed
    ADOPTED = "adopted"  # its pod is gone
    AHEAD = "ahead"  # the clock has gone back behind its hour
    FRACTION = "fraction"  # the hour makes no whole number
    TERMS = "terms"  # it was taken under other terms than the present ones
    RESOLVED = "resolved"  # a person decided so
    PROBE = "probe"  # the start probe took the slot of its hour


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
    """Attempts without an answer, or with one that proves nothing: AWS may have taken them."""
    product_code: str
    """The product under which its usage was taken, whatever is configured now."""


@dataclass(frozen=True, slots=True)
class FrozenRecord:
    """What every attempt of a record sends in addition to its dimension, timestamp and quantity."""

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
    withheld: str | None = None
    """What a log shows in place of the words, if it may not show them."""

    def logged(self, text: str) -> str:
        """Return a text that may hold the words, as a log may show it."""
        return text if self.withheld is None else text.replace(self.words, self.withheld)


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

    cause: CarryCause


@dataclass(frozen=True, slots=True)
class MarkUnbilled:
    """Kept as unbilled; `reason` begins with a stable word."""

    reason: str


Fate = Wait | Accept | Carry | MarkUnbilled


def window_closes_at(record: Record, window: timedelta) -> datetime:
    """Return the last instant at which AWS still takes the record."""
    return record.timestamp + window


def decide(unanswered: int, outcome: Outcome, words: str, late: LatePolicy) -> Fate:  # noqa: PLR0911 - one return a row
    """Decide what an answer makes of a record.

    `unanswered` is that of the record, this attempt included; `words` are code and message of the
    answer. `late` decides about a quantity whose window has closed.
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
            return MarkUnbilled(UnbilledReason.DUPLICATE.because(f"the slot already holds another quantity ({words})"))
        case Outcome.CONFLICT:
            return _in_doubt(f"the client token was used for another request ({words})")
        case Outcome.EXPIRED:
            return expire(known, late, words)
        case Outcome.REJECTED:
            if known:
                # An earlier attempt may have been taken while the product or its dimension was still right.
                return _in_doubt(f"refused after {_attempts(known)} ({words})")
            return MarkUnbilled(UnbilledReason.REJECTED.because(words))
        case _:
            assert_never(outcome)


def expire(unanswered: int, late: LatePolicy, words: str) -> Fate:
    """Decide what becomes of a record after its submission window has closed.

    An attempt without a conclusive answer may have been taken; moving its quantity on could charge the buyer twice.
    """
    if unanswered:
        return _in_doubt(f"{_attempts(unanswered)} when the window closed ({words})")
    match late:
        case LatePolicy.CARRY:
            return Carry(CarryCause.EXPIRED)
        case LatePolicy.UNBILLED:
            return MarkUnbilled(UnbilledReason.EXPIRED.because(words))
        case _:
            assert_never(late)


def orphan(unanswered: int, pod: str, *, late: LatePolicy = LatePolicy.CARRY, closed: str | None = None) -> Fate:
    """Decide what becomes of a sealed record of `pod`, which is gone, on a ledger that another pod has adopted.

    Args:
        unanswered: As of the record.
        pod: The pod's uid.
        late: What becomes of a quantity after its window has closed.
        closed: A sentence about the closed window of the record; None while AWS still takes its hour. Inside the
            window the record is not late, it only has another identity, so the policy does not apply.
    """
    if unanswered:
        return _in_doubt(f"pod {pod} ended after {_attempts(unanswered)}")
    return Carry(CarryCause.ADOPTED) if closed is None else expire(0, late, closed)


def foreign(unanswered: int, product_code: str) -> MarkUnbilled:
    """Decide what becomes of a sealed record of `product_code` on a ledger that has another product now.

    It is never submitted under another product's code, and nothing submits under its own any more.
    """
    if unanswered:
        return _in_doubt(f"the product changed from {product_code} after {_attempts(unanswered)}")
    return MarkUnbilled(of_other_product(product_code))


def of_other_product(product_code: str) -> str:
    """Return the reason of a quantity that was taken for `product_code` and not submitted while that was configured."""
    return UnbilledReason.OTHER_PRODUCT.because(f"taken for product {product_code}, which is no longer configured")


def _attempts(unanswered: int) -> str:
    return f"{pluralize(unanswered, 'attempt')} without a conclusive answer"


def _in_doubt(words: str) -> MarkUnbilled:
    return MarkUnbilled(UnbilledReason.IN_DOUBT.because(words))
