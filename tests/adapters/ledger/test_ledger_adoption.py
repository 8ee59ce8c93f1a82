"""A ledger that another pod left behind: what it never sent continues, what it may have sent is in doubt."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from sidecar.adapters.ledger.courses import read_courses, write_course
from sidecar.domain.metering.failing import Course
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.metering.rules import MeteringRules
from tests.support.books import BLUE, HOUR, NOW, RED, RULES, UNBILLED_LATE, WHOLE, Books, event


def left_behind(books: Books, *answers: Outcome) -> None:
    """Leave an open bucket of 2 and a sealed record of 5 with such attempts by pod-1."""
    books.take(event("5", tags=RED))
    books.pass_time(HOUR)
    books.seal_ended()
    books.take(event("2"))
    for outcome in answers:
        books.submit_all(outcome)


@pytest.mark.parametrize(
    ("answers", "shown", "buckets"),
    [
        ([], {"accepted": "7", "open": "7"}, {RED: "5", (): "2"}),
        ([Outcome.RETRY], {"accepted": "7", "open": "7"}, {RED: "5", (): "2"}),
        ([Outcome.UNKNOWN], {"accepted": "7", "open": "2", "unbilled": "5"}, {(): "2"}),
        ([Outcome.UNKNOWN, Outcome.RETRY], {"accepted": "7", "open": "2", "unbilled": "5"}, {(): "2"}),
        ([Outcome.ACCEPTED], {"accepted": "7", "open": "2", "submitted": "5"}, {(): "2"}),
    ],
)
def test_successor_takes_over(
    books: Books, answers: list[Outcome], shown: dict[str, str], buckets: dict[object, str]
) -> None:
    """A successor carries what was never left unanswered into its own current hour, and nothing else."""
    left_behind(books, *answers)
    books.pass_time(2 * HOUR)
    books.restart("pod-2")
    assert shown == books.shown()
    assert {("requests", 13, tags): quantity for tags, quantity in buckets.items()} == books.buckets()
    assert [] == books.waiting()
    assert [] == books.breaches()


def test_adopted_once(books: Books) -> None:
    """Opening the ledger again adopts nothing twice; the number of entries is reported at the first time."""
    left_behind(books)
    books.restart("pod-2")
    first = books.handed_over
    books.restart("pod-2")
    assert (2, 0) == (first, books.handed_over)
    assert {"accepted": "7", "open": "7"} == books.shown()


def test_doubt_names_the_pod(books: Books) -> None:
    """What a dead pod may have submitted is kept with a reason that names it, and is never sent under another."""
    left_behind(books, Outcome.UNKNOWN)
    books.restart("pod-2")
    (record,) = books.records(status="unbilled")
    assert "in-doubt: pod pod-1 ended after 1 attempt without a conclusive answer" == record.reason
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all()
    assert {"accepted": "7", "submitted": "2", "unbilled": "5"} == books.shown()


@pytest.mark.parametrize("success_at", [None, NOW, NOW + 24 * HOUR])
def test_due_time_outlives_pod(books: Books, success_at: datetime | None) -> None:
    """A pod that dies before an answer leaves behind since when its record was due, so failing counts from it.

    A success of a clock ahead counts for nothing.
    """
    with books.store.transaction():
        write_course(books.store, "requests", Course(last_success_at=success_at))
    books.take(event("5"))
    books.pass_time(HOUR)
    books.seal_ended()
    attempted_at = books.now
    (record,) = books.waiting()
    assert books.begin(record) is not None
    books.pass_time(3 * HOUR)
    books.restart("pod-2")
    assert {"requests": Course(success_at, due_since=attempted_at)} == read_courses(books.store.connection)


def test_slots_are_per_pod(books: Books) -> None:
    """The successor's slots are its own: an hour that the dead pod has burned is still free for it."""
    books.take(event("5"))
    books.seal()
    books.submit_all()
    books.restart("pod-2")
    books.take(event("3"))
    assert {("requests", 10, ()): "3"} == books.buckets()
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all()
    assert {"accepted": "8", "submitted": "8"} == books.shown()


def test_restart_adopts_nothing(books: Books) -> None:
    """A container that is restarted in the same pod continues with its own records as they were."""
    left_behind(books, Outcome.UNKNOWN)
    books.restart("pod-1")
    assert 0 == books.handed_over
    assert {"accepted": "7", "open": "2", "sealed": "5"} == books.shown()
    assert [1] == [record.unanswered for record in books.waiting()]


def test_pod_comes_back(books: Books) -> None:
    """A pod that comes back after a successor never uses a slot again that it has frozen before."""
    left_behind(books, Outcome.ACCEPTED)
    books.restart("pod-2")
    books.restart("pod-1")
    books.take(event("1", at=NOW), event("1"))
    assert {("requests", 11, ()): "4"} == books.buckets()
    books.pass_time(HOUR)
    books.seal_ended()
    assert 2 == books.count("record WHERE kind = 'slot'")
    assert "9" == books.shown()["accepted"]


def test_remainder_is_the_ledgers(books: Books) -> None:
    """A fraction that waits in the remainder continues with the ledger, whichever pod holds it."""
    books.restart(rules=WHOLE)
    books.take(event("1.6"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all()
    books.restart("pod-2")
    books.take(event("0.6"))
    books.pass_time(HOUR)
    books.seal_ended()
    assert {"accepted": "2.2", "submitted": "1", "sealed": "1", "remainder": "0.2"} == books.shown()


def test_ledger_keeps_identity(tmp_path: Path) -> None:
    """Without a name from outside, a process restarted on its ledger is the same pod; another ledger is another."""
    books = Books(tmp_path / "a.db", pod=None)
    name = books.pod
    books.restart(None)
    other = Books(tmp_path / "b.db", pod=None)
    names = books.pod, books.pod_source, other.pod
    books.close()
    other.close()
    assert (name, "ledger") == names[:2]
    assert name != names[2]


def test_adoption_after_long_silence(books: Books) -> None:
    """A volume found again after weeks is adopted like any other; old quantities join the current hour."""
    left_behind(books)
    books.pass_time(timedelta(days=40))
    books.restart("pod-2")
    books.prune()
    assert {"accepted": "7", "open": "7"} == books.shown()
    assert [] == books.breaches()


@pytest.mark.parametrize(
    ("rules", "hours", "shown"),
    [
        (RULES, 1, {"accepted": "9", "open": "9"}),
        (RULES, 30, {"accepted": "9", "open": "9"}),
        (UNBILLED_LATE, 1, {"accepted": "9", "open": "9"}),
        (UNBILLED_LATE, 4, {"accepted": "9", "open": "9"}),
        (UNBILLED_LATE, 5, {"accepted": "9", "open": "9"}),
        (UNBILLED_LATE, 5.5, {"accepted": "9", "open": "4", "unbilled": "5"}),
        (UNBILLED_LATE, 6, {"accepted": "9", "unbilled": "9"}),
        (UNBILLED_LATE, 90 * 24, {"accepted": "9", "unbilled": "9"}),
    ],
)
def test_window_decides_adoption(books: Books, rules: MeteringRules, hours: float, shown: dict[str, str]) -> None:
    """What AWS would still take is carried whatever the policy; what is older goes by it, as in the same pod."""
    books.rules = rules
    books.take(event("5", tags=RED))
    books.pass_time(HOUR)
    books.seal_ended()
    books.take(event("2"), event("2", tags=BLUE))
    books.pass_time(hours * HOUR)
    books.restart("pod-2")
    assert shown == books.shown()
    reasons = {(record.reason or "").partition(":")[0] for record in books.records(status="unbilled")}
    assert ({"expired"} if "unbilled" in shown else set()) == reasons


def test_policy_is_the_same_pods(books: Books) -> None:
    """A successor finds for old usage the fate that it has in its own pod."""
    books.rules = UNBILLED_LATE
    left_behind(books)
    books.pass_time(20 * HOUR)
    books.seal_ended()
    books.expire()
    own = books.shown()
    books.take(event("2", at=books.now))
    books.restart("pod-2")
    assert {"accepted": "7", "unbilled": "7"} == own
    books.pass_time(20 * HOUR)
    books.restart("pod-3")
    assert {"accepted": "9", "unbilled": "9"} == books.shown()
    assert {"expired"} == {(record.reason or "").partition(":")[0] for record in books.records()}
