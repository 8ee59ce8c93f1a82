"""The start probe: in which hour it lies, how long the same one is sent, and what an answer makes of it."""

from datetime import UTC, datetime, timedelta

import pytest

from sidecar.domain.metering.hours import Hour, hour_of, previous_hour
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.metering.probes import Drop, decide_probe, hours_to_probe, is_probe, repeats, retire
from sidecar.domain.metering.records import Accept, MarkUnbilled, Record, Wait
from sidecar.domain.policy import ProbeHour

NOW = datetime(2026, 11, 23, 10, 20, tzinfo=UTC)
THIS = hour_of(NOW)
BEFORE = previous_hour(THIS)
HOURS = [
    (ProbeHour.PREVIOUS, None, [BEFORE, THIS]),
    (ProbeHour.PREVIOUS, previous_hour(BEFORE), [BEFORE, THIS]),
    (ProbeHour.PREVIOUS, BEFORE, [THIS]),
    (ProbeHour.CURRENT, None, [THIS]),
]


def probe(hour: Hour, unanswered: int = 0) -> Record:
    """Return a frozen probe."""
    return Record(1, "requests", hour, 0, datetime.fromtimestamp(hour, UTC), 1, unanswered, "0abc123example")


@pytest.mark.parametrize(("preferred", "refused", "expected"), HOURS)
def test_hours_in_order(preferred: ProbeHour, refused: Hour | None, expected: list[Hour]) -> None:
    """The previous hour comes before the current one, unless AWS refused it or the seller chose otherwise."""
    assert expected == list(hours_to_probe(preferred, NOW, refused))


REPEATS = [
    (BEFORE, 0, timedelta(), True),
    (THIS, 0, timedelta(), True),
    (THIS, 0, timedelta(hours=1), True),
    (BEFORE, 0, timedelta(hours=1), False),
    (THIS, 0, timedelta(hours=-1), False),
    (BEFORE, 1, timedelta(hours=1), True),
    (BEFORE, 1, timedelta(hours=4, minutes=39), True),
    (BEFORE, 1, timedelta(hours=4, minutes=40), False),
]


@pytest.mark.parametrize(("hour", "unanswered", "later", "expected"), REPEATS)
def test_same_probe_is_repeated(hour: Hour, unanswered: int, later: timedelta, expected: bool) -> None:  # noqa: FBT001 - a row
    """What AWS may hold is sent until its window closes; what it does not hold, while its hour is the previous one."""
    assert expected is repeats(probe(hour, unanswered), NOW + later)


FATES = [
    (Outcome.ACCEPTED, 1, Accept()),
    (Outcome.UNKNOWN, 1, Wait(1)),
    (Outcome.RETRY, 1, Wait(0)),
    (Outcome.SETUP, 2, Wait(1)),
    (Outcome.NOT_ENTITLED, 1, Wait(0)),
    (Outcome.REJECTED, 3, Wait(2)),
    (Outcome.EXPIRED, 1, Drop()),
]


@pytest.mark.parametrize(("outcome", "unanswered", "expected"), FATES)
def test_answer_decides(outcome: Outcome, unanswered: int, expected: object) -> None:
    """Only what AWS took is accepted; what it did not take waits, or is gone with its hour."""
    assert expected == decide_probe(unanswered, outcome, "words")


KEPT = [(Outcome.DUPLICATE, 1, "duplicate"), (Outcome.CONFLICT, 1, "rejected"), (Outcome.EXPIRED, 2, "expired")]


@pytest.mark.parametrize(("outcome", "unanswered", "reason"), KEPT)
def test_held_slot_is_kept(outcome: Outcome, unanswered: int, reason: str) -> None:
    """Where AWS holds something in the slot, or may hold it, the record stays with its reason."""
    fate = decide_probe(unanswered, outcome, "words")
    assert isinstance(fate, MarkUnbilled)
    assert fate.reason.startswith(f"{reason}: ")


def test_retired_probe() -> None:
    """A probe that ends for another reason is gone if AWS does not hold it."""
    assert Drop() == retire(0, "words")
    assert isinstance(retire(1, "words"), MarkUnbilled)


def test_token_tells_probe() -> None:
    """The client token tells a probe from other records."""
    assert [True, False] == [is_probe("probe-1"), is_probe("6a9b2f1c")]
