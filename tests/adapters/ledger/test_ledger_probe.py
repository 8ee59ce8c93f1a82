"""The start probe in the ledger: frozen once, repeated across restarts, and what becomes of the usage of its slot."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from sidecar.adapters.ledger import auditing, queries
from sidecar.adapters.ledger.evidence import last_accepted_at, read_evidence, write_evidence
from sidecar.adapters.ledger.probe_slots import last_held_at
from sidecar.adapters.ledger.resolving import NotResolvable, resolve
from sidecar.domain.audit.decisions import Action, Resolution
from sidecar.domain.entitlement.states import Evidence
from sidecar.domain.metering.hours import hour_of, previous_hour, start_of
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.metering.records import Record, UnbilledReason
from sidecar.domain.policy import LatePolicy, ProbeHour
from tests.support.books import HOUR, MINUTE, NOW, RULES, UNBILLED_LATE, Books, event

MakeBooks = Callable[..., Books]


@pytest.fixture(name="books")
def _books(tmp_path: Path) -> Iterator[Books]:
    books = Books(tmp_path / "ledger.db", durable=False)
    yield books
    books.close()


def frozen(books: Books, **choice: object) -> Record:
    """Return the probe that is frozen now."""
    found = books.probe(**choice)  # type: ignore[arg-type]
    assert found is not None
    return found


def kinds(books: Books) -> list[tuple[str, int, str]]:
    """Return kind, hour of the day and status of each record."""
    return [(record.kind, record.hour.hour, record.status) for record in books.records()]


def test_probe_is_frozen_once(books: Books) -> None:
    """The same probe comes back after a lost answer, across a restart and the hour's edge, with the same token."""
    first = frozen(books)
    tokens = {books.records()[0].client_token}
    books.answer_probe(first, Outcome.UNKNOWN)
    books.restart()
    books.pass_time(45 * MINUTE)
    again = frozen(books)
    tokens.add(books.records()[0].client_token)

    assert (first.seq, first.hour, 1) == (again.seq, again.hour, len(tokens))
    assert [("probe", 9, "sealed")] == kinds(books)


def test_refused_probe_gives_way(books: Books) -> None:
    """A probe that AWS does not hold is frozen anew once its hour is no longer the previous one."""
    first = frozen(books)
    books.answer_probe(first, Outcome.NOT_ENTITLED)
    books.pass_time(HOUR)
    second = frozen(books)

    assert (first.hour, hour_of(books.now) - 3600) == (previous_hour(second.hour), second.hour)
    assert [("probe", 10, "sealed")] == kinds(books)


def test_unanswered_probe_stays(books: Books) -> None:
    """A probe that AWS may hold is repeated until its window closes, and then kept as a zero."""
    first = frozen(books)
    books.answer_probe(first, Outcome.UNKNOWN)
    books.pass_time(4 * HOUR)
    still = frozen(books)
    books.pass_time(HOUR)
    books.expire_probes()
    new = frozen(books)

    assert first.seq == still.seq != new.seq
    assert [("probe", 9, "unbilled"), ("probe", 14, "sealed")] == kinds(books)
    assert [] == books.breaches()


def test_refused_hour_is_followed_by_current(books: Books) -> None:
    """TimestampOutOfBounds on the previous hour makes a probe for the current one."""
    first = frozen(books)
    books.answer_probe(first, Outcome.EXPIRED)
    second = frozen(books, refused=first.hour)

    assert (hour_of(NOW), [("probe", 10, "sealed")]) == (second.hour, kinds(books))


def test_no_probe_in_frozen_slot(books: Books) -> None:
    """A slot that the ledger has frozen is never probed, and no slot at all is no probe."""
    books.take(event("1", at=NOW - HOUR))
    books.seal(previous_hour(hour_of(NOW)))
    assert hour_of(NOW) == frozen(books).hour
    books.answer_probe(frozen(books), Outcome.ACCEPTED)

    assert books.probe() is None
    assert ["usage", "probe"] == [record.kind for record in books.records()]


def test_another_dimension_takes_over(books: Books) -> None:
    """A probe of a dimension that is not chosen any more is not sent again."""
    frozen(books)
    second = frozen(books, dimension="peak")

    assert "peak" == second.dimension
    assert 1 == len(books.records())


@pytest.mark.parametrize("rules", [RULES, UNBILLED_LATE], ids=["carry", "unbilled"])
def test_usage_of_slot_is_carried(books: Books, rules: object) -> None:
    """Usage of the probe's hour goes into the next one as a visible entry, before and after, whatever `late` says."""
    books.rules = rules  # type: ignore[assignment]
    books.take(event("2"), event("3", at=NOW))
    probe = frozen(books, preferred=ProbeHour.CURRENT)
    books.answer_probe(probe, Outcome.ACCEPTED)
    books.take(event("5"), event("7", at=NOW + MINUTE))

    assert {("requests", 11, ()): "17"} == books.buckets()
    carries = list(auditing.carries(books.store.connection))
    assert [("probe", "17")] == [(carry.cause, str(carry.quantity // 10**6)) for carry in carries]
    assert {"accepted": "17", "open": "17"} == books.shown()
    assert [] == books.breaches()


def test_late_usage_of_previous_hour_is_carried(books: Books) -> None:
    """Late usage of the previous hour goes into the current one, also with `late: unbilled`, inside the window."""
    books.rules = UNBILLED_LATE
    books.answer_probe(frozen(books), Outcome.ACCEPTED)
    books.take(event("4", at=NOW - HOUR))
    books.pass_time(6 * HOUR)
    books.take(event("1", at=NOW - HOUR))

    assert {("requests", 10, ()): "4"} == books.buckets()
    assert {"accepted": "5", "open": "4", "unbilled": "1"} == books.shown()


@pytest.mark.parametrize(
    ("outcome", "ends"),
    [(Outcome.ACCEPTED, True), (Outcome.DUPLICATE, True), (Outcome.NOT_ENTITLED, False), (Outcome.CONFLICT, False)],
)
def test_probe_ends_a_suspension(books: Books, outcome: Outcome, *, ends: bool) -> None:
    """An answer to a probe ends a suspension that is kept if it shows that AWS holds a record of the pod."""
    proof = Evidence("pod-1", RULES.product_code, 1, NOW, "", "")
    closed = replace(proof, suspended_at=NOW + HOUR, refused_at=NOW + HOUR)
    with books.store.transaction():
        write_evidence(books.store, closed)
    books.answer_probe(frozen(books), outcome)

    assert (proof if ends else closed) == read_evidence(books.store.connection)


def test_dropped_probe_frees_slot(books: Books) -> None:
    """A probe that AWS does not hold leaves the slot to usage."""
    books.answer_probe(frozen(books, preferred=ProbeHour.CURRENT), Outcome.EXPIRED)
    books.take(event("4"))
    books.pass_time(HOUR + 5 * MINUTE)

    assert ["4"] == [str(sealed.seal.quantity // 10**6) for sealed in books.seal_ended()]


def test_probe_is_no_usage_that_waits(books: Books) -> None:
    """A frozen probe is not submitted with the hours, and is no unsent hour."""
    frozen(books)

    assert [] == books.waiting()
    assert queries.progress(books.store.connection).oldest_unsent_hour is None
    assert 0 == queries.overview(books.store.connection).waiting


def test_accepted_probe_counts_nothing(books: Books) -> None:
    """An accepted probe changes no term, and is the newest record that AWS accepted."""
    books.answer_probe(frozen(books), Outcome.ACCEPTED)

    assert {} == books.shown()
    assert NOW == last_accepted_at(books.store.connection, "pod-1", RULES.product_code)
    (record,) = books.records()
    assert ("probe", "accepted", f"mr-{record.id.removeprefix('rec-')}") == (
        record.kind,
        record.status,
        record.metering_record_id,
    )


def test_duplicate_is_remembered(books: Books) -> None:
    """After DuplicateRequest AWS holds a record of this pod, of no other one."""
    books.answer_probe(frozen(books), Outcome.DUPLICATE)
    found = [last_held_at(books.store.connection, pod, RULES.product_code) for pod in ("pod-1", "pod-2")]

    assert [NOW, None] == found
    assert last_held_at(books.store.connection, "pod-1", "another") is None


def test_probe_is_not_resolved(books: Books) -> None:
    """No decision takes the proof of a probe: one about many records leaves it out, and it cannot be named."""
    probe = frozen(books)
    books.answer_probe(probe, Outcome.DUPLICATE)
    books.take(event("4"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all(Outcome.DUPLICATE)
    (usage,) = [record.id for record in books.records() if record.kind == "usage"]

    assert [usage] == list(queries.choose(books.store.connection, queries.Choice(kind="duplicate")))
    assert {"duplicate": 1} == queries.undecided_reasons(books.store.connection)
    for action in Action:
        with pytest.raises(NotResolvable, match="start probe"), books.store.transaction():
            resolve(books.store, f"rec-{probe.seq}", Resolution(action, "checked", "mr-1"), who="anna", now=1)
    assert NOW == last_held_at(books.store.connection, "pod-1", RULES.product_code)


@pytest.mark.parametrize(("outcome", "kept"), [(Outcome.RETRY, []), (Outcome.UNKNOWN, ["unbilled"])])
def test_successor_ends_probe(books: Books, outcome: Outcome, kept: list[str]) -> None:
    """The next pod on the ledger sends a probe of its own; one that AWS may hold is kept as a zero."""
    first = frozen(books)
    books.answer_probe(first, outcome)
    books.restart("pod-2")
    second = frozen(books)

    assert second.seq != first.seq
    assert [*kept, "sealed"] == [record.status for record in books.records()]
    assert [] == books.breaches()


def test_other_product_ends_probe(books: Books) -> None:
    """A probe of another product is never sent, and leaves nothing in doubt."""
    frozen(books)
    books.rules = replace(RULES, product_code="0def456example")

    assert [] == books.records()
    assert [] == books.change.foreign


def test_pod_ends_before_next_hour(books: Books) -> None:
    """At the pod's end what the probe's slot leaves without an hour is unbilled `probe-slot`."""
    books.answer_probe(frozen(books, preferred=ProbeHour.CURRENT), Outcome.ACCEPTED)
    books.take(event("4"), event("2", tags=(("Team", "red"),)))
    kept = books.keep_after_end()

    assert {UnbilledReason.PROBE_SLOT: {"requests": 6_000_000}} == kept
    assert {"accepted": "6", "unbilled": "6"} == books.shown()
    assert {"probe-slot"} == {record.reason.partition(":")[0] for record in books.records() if record.reason}
    assert {} == books.keep_after_end()
    assert [] == books.breaches()


@pytest.mark.parametrize(("pod", "adopted", "hour"), [("pod-2", 1, 10), ("pod-1", 0, 11)])
def test_next_process_carries_probe_slot(books: Books, pod: str, adopted: int, hour: int) -> None:
    """The next process on the ledger has a next hour, and carries what the last one could not submit."""
    books.answer_probe(frozen(books, preferred=ProbeHour.CURRENT), Outcome.ACCEPTED)
    books.take(event("4"))
    books.keep_after_end()
    books.pass_time(10 * MINUTE)
    books.restart(pod)

    assert adopted == books.handed_over
    assert {"accepted": "4", "open": "4"} == books.shown()
    assert {("requests", hour, ()): "4"} == books.buckets()
    assert [] == books.breaches()


@pytest.mark.parametrize("outcome", [None, Outcome.RETRY, Outcome.NOT_ENTITLED])
def test_unsent_probe_gives_way_at_the_end(books: Books, outcome: Outcome | None) -> None:
    """A probe that AWS certainly did not take leaves the pod's last hour to its usage."""
    probe = frozen(books, preferred=ProbeHour.CURRENT)
    if outcome is not None:
        books.answer_probe(probe, outcome)
    books.take(event("4"))
    books.drop_unsent_probes()
    books.rebook_future_hours(timedelta())

    assert {} == books.keep_after_end()
    assert {("requests", 10, ()): "4"} == books.buckets()
    assert [] == books.breaches()


def test_probe_alone_is_no_take_over(books: Books) -> None:
    """A pod that left nothing but a probe left no usage, which a successor would report."""
    frozen(books)
    books.restart("pod-2")
    assert 0 == books.handed_over


def test_pod_with_previous_hour_loses_nothing(books: Books) -> None:
    """With the probe in the previous hour the open hour is submitted at the pod's end as ever."""
    books.answer_probe(frozen(books), Outcome.ACCEPTED)
    books.take(event("4"))

    assert {} == books.keep_after_end()
    sealed = books.seal()
    assert sealed is not None
    assert start_of(sealed.hour) == NOW.replace(minute=0)


@pytest.mark.parametrize("late", list(LatePolicy))
def test_clock_back_keeps_one_probe(books: Books, late: LatePolicy) -> None:
    """After the clock has gone back there is still at most one live probe."""
    books.rules = replace(RULES, late=late)
    first = frozen(books)
    books.pass_time(-3 * HOUR)
    frozen(books)
    books.pass_time(timedelta(hours=9))
    frozen(books)

    live = [record for record in books.records() if record.status == "sealed"]
    assert (1, False) == (len(live), first.hour == hour_of(live[0].hour))


def test_probe_timestamp_is_within_its_hour(books: Books) -> None:
    """The probe of the current hour is dated when the pod began, never before it."""
    found: list[datetime] = [frozen(books).timestamp]
    books.answer_probe(frozen(books), Outcome.EXPIRED)
    found.append(frozen(books, refused=previous_hour(hour_of(NOW))).timestamp)

    assert [NOW.replace(hour=9, minute=0), NOW] == found
