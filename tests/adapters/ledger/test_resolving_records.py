"""What a person decides about an unbilled record, and what the ledger makes of it."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.adapters.ledger import conservation, queries
from sidecar.adapters.ledger.evidence import last_accepted_at
from sidecar.adapters.ledger.file import open_for_reading
from sidecar.adapters.ledger.resolving import NotResolvable, Resolved, resolve
from sidecar.domain.audit.decisions import Action, Resolution
from sidecar.domain.metering.hours import hour_of, to_micros
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.metering.rules import MeteringRules
from tests.support.books import BLUE, HOUR, NOW, RED, RULES, UNBILLED_LATE, Books, event
from tests.support.tools import PATIENCE

OpenBooks = Callable[[MeteringRules], Books]
ACCEPT = Resolution(Action.ACCEPT, "seen in CloudTrail", "mr-seen")
CARRY = Resolution(Action.CARRY, "not in CloudTrail")
WRITE_OFF = Resolution(Action.WRITE_OFF, "a gift")


def decide(books: Books, resolution: Resolution, record: str = "rec-1") -> Resolved:
    """Resolve one record now."""
    with books.store.transaction():
        return resolve(books.store, record, resolution, who="anna", now=to_micros(books.now))


def doubtful(books: Books) -> Books:
    """Leave the hour of ten in doubt, eight hours later."""
    books.take(event("2"), event("1.5", tags=RED), event("1", tags=BLUE))
    books.pass_time(HOUR)
    books.seal(hour_of(NOW))
    books.submit_all(Outcome.UNKNOWN)
    books.pass_time(7 * HOUR)
    books.expire()
    assert {"accepted": "4.5", "unbilled": "4.5"} == books.shown()
    return books


def objections(books: Books) -> list[str]:
    """Return what either proof from the rows objects to."""
    return [*books.breaches(), *conservation.event_breaches(books.store.connection)]


def test_accept_counts_as_submitted(books: Books) -> None:
    """A record that was seen at AWS is accepted under the metering record id that was seen."""
    found = decide(doubtful(books), ACCEPT)
    (record,) = books.records()
    assert ("accepted", "mr-seen", None) == (record.status, record.metering_record_id, record.reason)
    assert {"accepted": "4.5", "submitted": "4.5"} == books.shown()
    assert ("unbilled", "accepted") == (found.before["status"], found.after["status"])
    # Nothing has reached AWS by it, so it does not hide that submissions fail.
    assert queries.progress(books.store.connection).last_success_at is None
    assert [] == objections(books)


def test_carry_keeps_tag_sets(books: Books) -> None:
    """A carried record joins the current hour, each tag set by itself, as an entry that names it."""
    decide(doubtful(books), CARRY)
    (record,) = books.records()
    assert ("carried", NOW.replace(hour=18, minute=0)) == (record.status, record.carried_to)
    expected = {("requests", 18, ()): "2", ("requests", 18, RED): "1.5", ("requests", 18, BLUE): "1"}
    assert expected == books.buckets()
    assert 3 == books.count("carry WHERE cause = 'resolved' AND record = 1")
    assert [] == objections(books)


def test_carry_without_tags(books: Books) -> None:
    """A carry without tags adds the whole quantity to the untagged share, and the audit trail shows that."""
    found = decide(doubtful(books), replace(CARRY, without_tags=True))
    assert {("requests", 18, ()): "4.5"} == books.buckets()
    assert ("2", "0") == (found.before["tag_sets"], found.after["tag_sets"])
    (entry,) = books.store.rows("SELECT * FROM audit")
    assert found.after.items() <= json.loads(entry["after"]).items()
    assert {"accepted": "4.5", "open": "4.5"} == books.shown()
    assert [] == objections(books)


@pytest.mark.parametrize("dimension", ["requests", "peak", "level", "users"])
def test_refused_tags_are_billed_without(books: Books, dimension: str) -> None:
    """Under every aggregation a record that AWS refuses for its tags is billed whole by a carry without them."""
    value = "anna" if dimension == "users" else None
    books.take(event("1" if value else "4.5", dimension=dimension, value=value, tags=RED))
    books.pass_time(HOUR)
    books.seal(hour_of(NOW), dimension)
    books.submit_all(Outcome.REJECTED)
    decide(books, replace(CARRY, without_tags=True))
    books.pass_time(HOUR)
    books.seal_ended()
    (record,) = books.waiting()
    frozen = books.begin(record)
    assert frozen is not None
    assert () == frozen.allocations
    books.answer(record, frozen, Outcome.ACCEPTED)
    amount = "1" if value else "4.5"
    assert {"accepted": amount, "submitted": amount} == books.shown(dimension)
    assert [] == objections(books)


def test_carry_is_submitted_later(books: Books) -> None:
    """What was carried by hand is part of the next record, and is submitted with it."""
    decide(doubtful(books), CARRY)
    books.take(event("1"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all()
    assert {"accepted": "5.5", "submitted": "5.5"} == books.shown()
    assert [] == objections(books)


def test_carry_avoids_frozen_hours(books: Books) -> None:
    """Where the current hour is already frozen, the next one takes the quantity."""
    doubtful(books)
    books.take(event("1"))
    books.seal()
    decide(books, CARRY)
    assert {("requests", 19, RED), ("requests", 19, BLUE), ("requests", 19, ())} == set(books.buckets())


def test_carry_goes_to_present_pod(books: Books) -> None:
    """A record of a pod that is gone goes to the pod that has the ledger now, even if that one was there before."""
    books.restart("pod-2")
    books.restart("pod-1")
    doubtful(books)
    books.restart("pod-2")
    books.restart("pod-1")
    decide(books, CARRY)
    rows = books.store.rows("SELECT DISTINCT uid FROM bucket JOIN pod ON pod.id = bucket.pod WHERE sealed = 0")
    assert ["pod-1"] == [row["uid"] for row in rows]
    assert [] == objections(books)


def test_write_off_stays_unbilled(books: Books) -> None:
    """A record that is written off stays where it is, shows it, and is no longer in doubt."""
    decide(doubtful(books), WRITE_OFF)
    (record,) = books.records()
    assert record.reason is not None
    assert record.reason.startswith("in-doubt: ")
    assert record.reason.endswith("; written off: a gift")
    assert 0 == queries.progress(books.store.connection).in_doubt
    assert {"accepted": "4.5", "unbilled": "4.5"} == books.shown()
    assert [] == objections(books)


@pytest.mark.parametrize("resolution", [ACCEPT, CARRY, WRITE_OFF], ids=lambda each: str(each.action))
def test_audit_tells_all(books: Books, resolution: Resolution) -> None:
    """The audit trail keeps who decided what, when and why, and the record before and after."""
    found = decide(doubtful(books), resolution)
    (entry,) = books.store.rows("SELECT * FROM audit")
    assert (to_micros(books.now), resolution.action, 1, resolution.reason, "anna") == tuple(entry)[1:6]
    slot = {"dimension": "requests", "hour": "2026-11-23T10:00:00Z", "quantity": "4.5"}
    assert {**slot, **found.before} == json.loads(entry["before"])
    assert {**slot, **found.after} == json.loads(entry["after"])


@pytest.mark.parametrize("first", [ACCEPT, CARRY, WRITE_OFF], ids=lambda each: str(each.action))
@pytest.mark.parametrize("second", [ACCEPT, CARRY, WRITE_OFF], ids=lambda each: str(each.action))
def test_second_decision_is_refused(books: Books, first: Resolution, second: Resolution) -> None:
    """A record is resolved once; a second decision changes nothing."""
    decide(doubtful(books), first)
    before = books.shown()
    with pytest.raises(NotResolvable, match=r"^rec-1 cannot be resolved: it was resolved before"):
        decide(books, second)
    assert (before, 1) == (books.shown(), books.count("audit"))


def test_settled_records_are_refused(open_books: OpenBooks) -> None:
    """A record that waits, was accepted or was carried has nothing to resolve, and each answer has the reason."""
    books = open_books(RULES)
    books.take(event("1"))
    books.seal()
    with pytest.raises(NotResolvable, match="rec-1 cannot be resolved: it is still being submitted"):
        decide(books, CARRY)
    books.submit_all()
    with pytest.raises(NotResolvable, match="rec-1 cannot be resolved: AWS has taken it"):
        decide(books, CARRY)
    books.pass_time(HOUR)
    books.take(event("1"))
    books.seal()
    books.pass_time(8 * HOUR)
    books.expire()
    with pytest.raises(NotResolvable, match="rec-2 cannot be resolved: its quantity was carried"):
        decide(books, CARRY, "rec-2")


@pytest.mark.parametrize("name", ["rec-2", "rec-", "rec-x", "", "rec-99999999999999999999", "rec-1; DROP TABLE record"])
def test_unknown_record_is_refused(books: Books, name: str) -> None:
    """A record that is not there is named, with how to find the right one."""
    with pytest.raises(NotResolvable, match="there is no record"):
        decide(doubtful(books), CARRY, name)


def test_unsent_is_not_accepted(open_books: OpenBooks) -> None:
    """A record that was never sent cannot be at AWS, whatever a person believes to have seen there."""
    books = open_books(UNBILLED_LATE)
    books.pass_time(24 * HOUR)
    books.take(event("3", at=NOW))
    with pytest.raises(NotResolvable, match="never sent to AWS"):
        decide(books, ACCEPT)
    assert {"accepted": "3", "unbilled": "3"} == books.shown()


def test_metering_record_is_one_records(books: Books) -> None:
    """The metering record id of one record proves nothing about another."""
    doubtful(books)
    books.take(event("1"))
    books.seal()
    books.submit_all()
    with pytest.raises(NotResolvable, match=r"metering record mr-2 is that of rec-2"):
        decide(books, Resolution(Action.ACCEPT, "seen", "mr-2"))
    assert 0 == books.count("audit")


@pytest.mark.parametrize("resolution", [CARRY, WRITE_OFF], ids=lambda each: str(each.action))
def test_late_goes_on_after_decision(open_books: OpenBooks, resolution: Resolution) -> None:
    """What comes late for an hour whose late record was resolved makes a record of its own."""
    books = open_books(UNBILLED_LATE)
    books.pass_time(24 * HOUR)
    books.take(event("3", at=NOW))
    decide(books, resolution)
    books.take(event("2", at=NOW))
    assert ["3", "2"] == [row["quantity"] for row in books.store.rows("SELECT quantity FROM record ORDER BY seq")]
    assert "unbilled" == books.records()[1].status
    assert [] == objections(books)


@pytest.mark.parametrize("resolution", [ACCEPT, CARRY, WRITE_OFF], ids=lambda each: str(each.action))
def test_decisions_survive_pruning(books: Books, resolution: Resolution) -> None:
    """The terms hold and the audit stays when the record's time is over."""
    decide(doubtful(books), resolution)
    books.pass_time(200 * 24 * HOUR)
    books.seal_ended()
    books.submit_all()
    books.prune()
    assert [] == objections(books)
    assert 1 == books.count("audit")
    assert "4.5" == books.shown()["accepted"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["take", "hour", *Action])), max_size=25))
def test_any_decisions_conserve(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str]]) -> None:
    """Whatever is decided about whichever record in whatever order, every unit stays in exactly one place."""
    books = Books(tmp_path_factory.mktemp("books") / "ledger.db", UNBILLED_LATE, durable=False)
    for number, (choice, step) in enumerate(steps):
        if step == "take":
            books.take(event(str(choice), tags=RED), event("1", at=books.now - choice * HOUR))
        elif step == "hour":
            books.pass_time(HOUR)
            books.seal_ended()
            books.submit_all([Outcome.UNKNOWN, Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.RETRY][choice % 4])
            books.expire()
            books.prune()
        else:
            given_id = f"seen-{number}" if step == Action.ACCEPT else None
            without_tags = step == Action.CARRY and bool(choice % 2)
            unbilled = [record.id for record in books.records(status="unbilled")] or ["rec-0"]
            try:
                decide(books, Resolution(Action(step), "why", given_id, without_tags), unbilled[choice % len(unbilled)])
            except NotResolvable:
                continue
    found = objections(books)
    books.close()
    assert [] == found


def test_killed_decision_leaves_nothing(books: Books) -> None:
    """A process that is killed in the middle of a decision leaves the ledger as it was."""
    doubtful(books)
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from sidecar.adapters.ledger.file import open_for_writing\n"
        "from sidecar.adapters.ledger.resolving import resolve\n"
        "from sidecar.adapters.ledger.store import Store\n"
        "from sidecar.domain.audit.decisions import Action, Resolution\n"
        "store = Store(open_for_writing(Path(sys.argv[1])))\n"
        "with store.transaction():\n"
        "    resolve(store, 'rec-1', Resolution(Action.CARRY, 'why'), who='anna', now=1_800_000_000_000_000)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(books.path)], check=False, timeout=PATIENCE)
    assert -signal.SIGKILL == done.returncode
    assert ("unbilled", 0, 0) == (books.records()[0].status, books.count("audit"), books.count("carry"))
    assert [] == objections(books)
    decide(books, CARRY)


def test_reading_leaves_file_alone(books: Books) -> None:
    """A reader next to the writer sees what is committed and cannot write."""
    doubtful(books)
    with closing(open_for_reading(books.path)) as connection:
        assert 1 == connection.execute("SELECT count(*) FROM record").fetchone()[0]
        with pytest.raises(Exception, match="readonly"):
            connection.execute("DELETE FROM record")


def test_decision_is_no_answer_of_aws(books: Books) -> None:
    """That a person has found the record at AWS proves no subscription to a pod that starts without an answer."""
    decide(doubtful(books), ACCEPT)
    assert last_accepted_at(books.store.connection, "pod-1", RULES.product_code) is None
