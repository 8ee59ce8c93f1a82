"""The start probe of a custom price: one record of quantity 0, by which AWS judges the subscription when a pod starts.

A probe is a record like any other: it takes the slot of its dimension and hour, is frozen before it is sent, and is
repeated verbatim. It differs in its end: its quantity is nothing, so a probe that AWS does not hold is dropped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, assert_never

from sidecar.domain.metering.hours import Hour, hour_of, previous_hour
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.metering.records import Accept, MarkUnbilled, Record, UnbilledReason, Wait, window_closes_at
from sidecar.domain.metering.rules import LONGEST_WINDOW
from sidecar.domain.policy import ProbeHour

PROBE_MARK: Final = "probe-"
"""With it the client token of a probe begins, which tells a probe from other records, here and in AWS's log."""


@dataclass(frozen=True, slots=True)
class Drop:
    """AWS does not hold the probe: nothing is kept of it, and its slot is free."""


ProbeFate = Wait | Accept | MarkUnbilled | Drop


def is_probe(client_token: str) -> bool:
    """Return whether the client token is a probe's."""
    return client_token.startswith(PROBE_MARK)


def hours_to_probe(preferred: ProbeHour, now: datetime, refused: Hour | None) -> Iterator[Hour]:
    """Yield the hours in which a new probe may lie; the first one with a free slot is taken.

    `refused` is the newest hour that AWS refused as out of bounds.
    """
    this = hour_of(now)
    if preferred is ProbeHour.PREVIOUS and (refused is None or previous_hour(this) > refused):
        yield previous_hour(this)
    yield this


def closed_at(probe: Record) -> datetime:
    """Return when AWS no longer takes the probe, whatever window the seller has set for usage."""
    return window_closes_at(probe, LONGEST_WINDOW)


def repeats(probe: Record, now: datetime) -> bool:
    """Return whether the same probe is sent again; if not, a new one takes its place.

    A probe that AWS may hold is repeated until its window closes. One that AWS certainly does not hold gives way once
    its hour is no longer the previous one, because AWS takes usage of the past for some hours only.
    """
    this = hour_of(now)
    if probe.unanswered:
        return now < closed_at(probe)
    return previous_hour(this) <= probe.hour <= this


def decide_probe(unanswered: int, outcome: Outcome, words: str) -> ProbeFate:
    """Decide what an answer makes of a probe.

    `unanswered` counts the probe's attempts without an answer, this one included; `words` are code and message of the
    answer.
    """
    known = max(0, unanswered - 1)
    match outcome:
        case Outcome.ACCEPTED:
            return Accept()
        case Outcome.UNKNOWN:
            return Wait(unanswered)
        case Outcome.RETRY | Outcome.SETUP | Outcome.NOT_ENTITLED | Outcome.REJECTED:
            return Wait(known)
        case Outcome.DUPLICATE:
            return MarkUnbilled(UnbilledReason.DUPLICATE.because(f"the slot already holds another quantity ({words})"))
        case Outcome.CONFLICT:
            # The same request would meet the conflict again; the next probe has a token of its own.
            return MarkUnbilled(UnbilledReason.REJECTED.because(words))
        case Outcome.EXPIRED:
            return retire(known, words)
        case _:
            assert_never(outcome)


def retire(unanswered: int, words: str) -> Drop | MarkUnbilled:
    """Decide what becomes of a probe that is not sent again; one that AWS may hold keeps its slot, as a zero."""
    if not unanswered:
        return Drop()
    return MarkUnbilled(UnbilledReason.EXPIRED.because(f"a start probe without an answer, quantity 0 ({words})"))
