"""What an answer, the window's end and a pod's death make of a record."""

from datetime import UTC, datetime, timedelta

import pytest

from sidecar.domain.metering.hours import hour_of
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.metering.records import (
    Accept,
    Carry,
    CarryCause,
    Fate,
    MarkUnbilled,
    Record,
    Wait,
    decide,
    expire,
    foreign,
    orphan,
    window_closes_at,
)
from sidecar.domain.policy import LatePolicy

CARRY, UNBILLED = LatePolicy.CARRY, LatePolicy.UNBILLED
DUPLICATE = MarkUnbilled("duplicate: the slot already holds another quantity (words)")
CONFLICT = MarkUnbilled("in-doubt: the client token was used for another request (words)")
IN_DOUBT = MarkUnbilled("in-doubt: 1 attempt without a conclusive answer when the window closed (words)")


@pytest.mark.parametrize(
    ("outcome", "unanswered", "late", "fate"),
    [
        (Outcome.ACCEPTED, 1, CARRY, Accept()),
        (Outcome.ACCEPTED, 3, CARRY, Accept()),
        (Outcome.UNKNOWN, 1, CARRY, Wait(1)),
        (Outcome.UNKNOWN, 3, UNBILLED, Wait(3)),
        (Outcome.RETRY, 1, CARRY, Wait(0)),
        (Outcome.RETRY, 3, CARRY, Wait(2)),
        (Outcome.RETRY, 0, CARRY, Wait(0)),
        (Outcome.SETUP, 1, CARRY, Wait(0)),
        (Outcome.NOT_ENTITLED, 2, UNBILLED, Wait(1)),
        (Outcome.DUPLICATE, 1, CARRY, DUPLICATE),
        (Outcome.DUPLICATE, 1, UNBILLED, DUPLICATE),
        (Outcome.DUPLICATE, 2, CARRY, DUPLICATE),
        (Outcome.CONFLICT, 1, CARRY, CONFLICT),
        (Outcome.REJECTED, 1, CARRY, MarkUnbilled("rejected: words")),
        (Outcome.REJECTED, 1, UNBILLED, MarkUnbilled("rejected: words")),
        (
            Outcome.REJECTED,
            2,
            CARRY,
            MarkUnbilled("in-doubt: refused after 1 attempt without a conclusive answer (words)"),
        ),
        (Outcome.EXPIRED, 1, CARRY, Carry(CarryCause.EXPIRED)),
        (Outcome.EXPIRED, 1, UNBILLED, MarkUnbilled("expired: words")),
        (Outcome.EXPIRED, 2, CARRY, IN_DOUBT),
        (Outcome.EXPIRED, 2, UNBILLED, IN_DOUBT),
    ],
)
def test_answer_settles(outcome: Outcome, unanswered: int, late: LatePolicy, fate: Fate) -> None:
    """Each outcome has one fate; an answer that says "not taken" settles its own attempt and no earlier one."""
    assert fate == decide(unanswered, outcome, "words", late)


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("late", list(LatePolicy))
def test_refused_record_not_carried(outcome: Outcome, late: LatePolicy) -> None:
    """Only a closed window moves a quantity on, and only when every attempt is known not to have been taken."""
    for unanswered in range(1, 5):
        fate = decide(unanswered, outcome, "words", late)
        carried = outcome is Outcome.EXPIRED and late is CARRY and unanswered == 1
        assert carried == isinstance(fate, Carry)


@pytest.mark.parametrize(
    ("unanswered", "late", "fate"),
    [
        (0, CARRY, Carry(CarryCause.EXPIRED)),
        (0, UNBILLED, MarkUnbilled("expired: words")),
        (1, CARRY, IN_DOUBT),
        (1, UNBILLED, IN_DOUBT),
        (2, CARRY, MarkUnbilled("in-doubt: 2 attempts without a conclusive answer when the window closed (words)")),
    ],
)
def test_closed_window_decides(unanswered: int, late: LatePolicy, fate: Fate) -> None:
    """At the window's end what may have been taken is in doubt; the rest goes by the policy."""
    assert fate == expire(unanswered, late, "words")


def test_orphan_in_doubt() -> None:
    """A dead pod's record continues under a new identity only if no attempt of it was left without an answer."""
    assert Carry(CarryCause.ADOPTED) == orphan(0, "pod-1")
    assert MarkUnbilled("in-doubt: pod pod-1 ended after 1 attempt without a conclusive answer") == orphan(1, "pod-1")


@pytest.mark.parametrize(
    ("late", "inside", "outside"),
    [
        (LatePolicy.CARRY, Carry(CarryCause.ADOPTED), Carry(CarryCause.EXPIRED)),
        (LatePolicy.UNBILLED, Carry(CarryCause.ADOPTED), MarkUnbilled("expired: words")),
    ],
)
def test_orphan_goes_by_window(late: LatePolicy, inside: Fate, outside: Fate) -> None:
    """What a dead pod never tried is carried inside its window, and goes by the policy after it; doubt stays doubt."""
    assert (inside, outside) == (orphan(0, "pod-1", late=late), orphan(0, "pod-1", late=late, closed="words"))
    assert isinstance(orphan(1, "pod-1", late=late, closed="words"), MarkUnbilled)


def test_foreign_is_never_sent() -> None:
    """A record of another product is unbilled with that reason, or in doubt if AWS may hold it under its own code."""
    words = "other-product: taken for product 0old, which is no longer configured"
    assert MarkUnbilled(words) == foreign(0, "0old")
    assert foreign(1, "0old").reason.startswith("in-doubt: the product changed from 0old")


def test_window_counts_from_sent_time() -> None:
    """The window counts from the timestamp that is sent, not from the hour's start."""
    began = datetime(2026, 11, 23, 10, 20, tzinfo=UTC)
    record = Record(1, "requests", hour_of(began), 5, began, 0, 0, "0abc123example")
    assert datetime(2026, 11, 23, 16, 20, tzinfo=UTC) == window_closes_at(record, timedelta(hours=6))
