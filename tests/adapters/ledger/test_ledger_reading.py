"""What readers see: buckets, records page by page, how far the submissions have come."""

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sidecar.adapters.ledger import queries
from sidecar.adapters.ledger.evidence import last_accepted_at, read_evidence, write_evidence
from sidecar.adapters.ledger.file import open_for_reading, open_for_writing
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.adapters.ledger.resolving import resolve_in
from sidecar.domain.audit.decisions import Action, Resolution
from sidecar.domain.entitlement.states import Evidence
from sidecar.domain.metering.hours import to_micros
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.status import AllocationView, BucketView, Progress, RecordQuery
from tests.support.books import BLUE, HOUR, MINUTE, NOW, RED, RULES, Books, event

TEN = datetime(2026, 11, 23, 10, tzinfo=UTC)
EVIDENCE = Evidence(
    pod="pod-1",
    product_code="0abc123example",
    public_key_version=1,
    registered_at=NOW + timedelta(microseconds=1),
    nonce="n" * 22,
    signature="a.b.c",
)


def three_hours(books: Books) -> None:
    """Leave an accepted, an unbilled and a sealed record of `requests`, and one sealed of `peak`."""
    for outcome in (Outcome.ACCEPTED, Outcome.REJECTED):
        books.take(event("1"))
        books.pass_time(HOUR)
        books.seal_ended()
        books.submit_all(outcome)
    books.take(event("1", tags=RED), event("2", tags=BLUE), event("4", dimension="peak"))
    books.pass_time(HOUR)
    books.seal_ended()


def test_bucket_shown(books: Books) -> None:
    """An open bucket shows its whole quantity, what was carried into it included, oldest hour first."""
    books.take(event("1.5", tags=RED), event("2", tags=RED), event("1", at=NOW - HOUR))
    expected = [
        BucketView("requests", TEN - HOUR, 1_000_000, (), 1),
        BucketView("requests", TEN, 3_500_000, RED, 2),
    ]
    assert expected == queries.open_buckets(books.store.connection)


def test_record_shown(books: Books) -> None:
    """A record shows what was frozen, its shares, and what became of it."""
    three_hours(books)
    view = books.records(dimension="requests")[2]
    assert (TEN + 2 * HOUR, 3_000_000, "sealed", None, 0, None, None) == (
        view.hour,
        view.quantity,
        view.status,
        view.reason,
        view.attempts,
        view.accepted_at,
        view.carried_to,
    )
    assert [AllocationView(2_000_000, BLUE), AllocationView(1_000_000, RED)] == list(view.allocations)
    assert view.client_token
    assert books.now == view.sealed_at


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (RecordQuery(), ["rec-1", "rec-2", "rec-3", "rec-4"]),
        (RecordQuery(status="sealed"), ["rec-3", "rec-4"]),
        (RecordQuery(status="accepted"), ["rec-1"]),
        (RecordQuery(status="unbilled"), ["rec-2"]),
        (RecordQuery(status="carried"), []),
        (RecordQuery(dimension="peak"), ["rec-3"]),
        (RecordQuery(dimension="nobody"), []),
        (RecordQuery(hour=TEN + HOUR), ["rec-2"]),
        (RecordQuery(hour=TEN + 9 * HOUR), []),
        (RecordQuery(status="sealed", dimension="requests", hour=TEN + 2 * HOUR), ["rec-4"]),
        (RecordQuery(status="accepted", dimension="peak"), []),
        (RecordQuery(after="rec-2"), ["rec-3", "rec-4"]),
        (RecordQuery(after="rec-4"), []),
        (RecordQuery(after="rec-99999999999999999999999"), []),
        (RecordQuery(after="nonsense"), []),
        (RecordQuery(after="rec-٣"), []),
        (RecordQuery(dimension="'; DROP TABLE record; --"), []),
    ],
)
def test_records_found(books: Books, query: RecordQuery, found: list[str]) -> None:
    """Every part of a query that is given must match; an unknown `after` is after everything."""
    three_hours(books)
    assert found == [record.id for record in queries.records(books.store.connection, query).records]


def test_page_ends_after_many_allocations(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page ends with the record whose allocations fill it, and the next one continues."""
    monkeypatch.setattr(queries, "_PAGE_BYTES", 3 * queries._SHARE_BYTES)
    for _ in range(3):
        books.take(event("1", tags=RED), event("2", tags=BLUE))
        books.pass_time(HOUR)
        books.seal_ended()
    first = queries.records(books.store.connection, RecordQuery())
    second = queries.records(books.store.connection, RecordQuery(after=first.next))
    assert (["rec-1", "rec-2"], ["rec-3"]) == tuple([each.id for each in page.records] for page in (first, second))
    assert second.next is None


def test_pages_lead_on(books: Books) -> None:
    """Pages give every record once, and the last one shows that it is the last, full or not."""
    three_hours(books)
    for limit, pages in ((1, 4), (2, 2), (3, 2), (4, 1), (5, 1)):
        seen, after, count = list[str](), None, 0
        while count == 0 or after is not None:
            page = queries.records(books.store.connection, RecordQuery(after=after, limit=limit))
            seen += [record.id for record in page.records]
            after, count = page.next, count + 1
        assert (["rec-1", "rec-2", "rec-3", "rec-4"], pages) == (seen, count)


def test_progress_told(books: Books) -> None:
    """Progress is the last success, the oldest hours that wait and that are open, and how many records are in doubt."""
    assert Progress(None, None, 0) == queries.progress(books.store.connection)
    three_hours(books)
    assert Progress(NOW + HOUR, TEN + 2 * HOUR, 0, TEN + 2 * HOUR) == queries.progress(books.store.connection)
    books.submit_all(Outcome.CONFLICT)
    books.take(event("1"))
    open_hour = TEN + 3 * HOUR
    expected = Progress(NOW + HOUR, None, 2, oldest_open_hour=open_hour)
    assert expected == queries.progress(books.store.connection)


def test_readers_beside_the_writer(books: Books) -> None:
    """Another command reads the ledger while it is written, and sees only what was committed."""
    books.take(event("1"))
    reader = open_for_reading(books.path)
    with books.store.transaction():
        books.store.add_to(books.store.dimension("requests"), "accepted", 5)
        (seen,) = queries.open_buckets(reader)
        total = reader.execute("SELECT accepted FROM dimension WHERE name = 'requests'").fetchone()[0]
        books.store.add_to(books.store.dimension("requests"), "accepted", -5)
    reader.close()
    assert (1_000_000, "1") == (seen.quantity, total)


@pytest.mark.parametrize("suspended_at", [None, NOW + MINUTE])
def test_evidence_round_trip(books: Books, suspended_at: datetime | None) -> None:
    """The proof of a registration comes back as it was, after a restart and under another pod; the last one counts."""
    assert read_evidence(books.store.connection) is None
    kept = Evidence(
        EVIDENCE.pod,
        EVIDENCE.product_code,
        EVIDENCE.public_key_version,
        EVIDENCE.registered_at,
        EVIDENCE.nonce,
        EVIDENCE.signature,
        suspended_at,
        suspended_at,
        suspended_at,
        follows_records=suspended_at is not None,
    )
    for evidence in (EVIDENCE, kept):
        with books.store.transaction():
            write_evidence(books.store, evidence)
    books.restart("pod-2")
    assert kept == read_evidence(books.store.connection)


@pytest.mark.parametrize(
    ("kept", "ends"),
    [(EVIDENCE, True), (replace(EVIDENCE, pod="pod-2"), False), (replace(EVIDENCE, product_code="another"), False)],
)
def test_record_ends_a_suspension(books: Books, kept: Evidence, *, ends: bool) -> None:
    """A record that AWS takes ends a suspension and a refusal of its pod and product, though they lie ahead of it."""
    books.take(event("1"), event("1", at=NOW - HOUR))
    books.pass_time(HOUR)
    books.seal_ended()
    closed = replace(kept, suspended_at=NOW + 3 * HOUR, refused_at=NOW + 3 * HOUR)
    with books.store.transaction():
        write_evidence(books.store, closed)
    first, second = books.waiting()
    found = []
    for record, outcome in ((first, Outcome.NOT_ENTITLED), (first, Outcome.DUPLICATE), (second, Outcome.ACCEPTED)):
        books.submit(record, outcome)
        found.append(read_evidence(books.store.connection))

    assert [closed, closed, kept if ends else closed] == found


def test_last_accepted_is_of_the_pod(books: Books) -> None:
    """Of this pod and product, only a record that AWS itself accepted counts; an unbilled one does not."""
    connection = books.store.connection
    assert last_accepted_at(connection, "pod-1", RULES.product_code) is None
    three_hours(books)
    first = NOW + HOUR
    assert first == last_accepted_at(connection, "pod-1", RULES.product_code)
    assert last_accepted_at(connection, "pod-2", RULES.product_code) is None
    assert last_accepted_at(connection, "pod-1", "another") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"pod": "pod-1"}', '{"suspended_at": 5}', "not json"])
def test_damaged_evidence_proves_nothing(tmp_path: Path, text: str) -> None:
    """What is not evidence counts as none."""
    books = Books(tmp_path / "ledger.db")
    books.store.connection.execute("INSERT INTO meta VALUES ('evidence', ?)", (text,))
    found = read_evidence(books.store.connection)
    books.close()
    assert found is None


async def test_sums_are_of_one_instant(books: Books) -> None:
    """A record that another command resolves between two statements of a sum leaves the law as it was for that sum."""
    books.take(event("2"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all(Outcome.UNKNOWN)
    books.pass_time(7 * HOUR)
    books.expire()
    resolved: list[str] = []

    def meddle(statement: str) -> None:
        if statement.startswith("SELECT * FROM dimension") and not resolved:
            resolved.append("rec-1")
            decision = Resolution(Action.CARRY, "not in CloudTrail")
            resolve_in(books.path, "rec-1", decision, who="anna", now=to_micros(books.now), keep=True)

    def connect(path: Path) -> sqlite3.Connection:
        connection = open_for_writing(path)
        connection.set_trace_callback(meddle)
        return connection

    ledger = Ledger(books.path, RULES, connect=connect)
    await ledger.open("pod-1", "downward-api", books.now)
    assert (await ledger.terms())["requests"].balanced
    assert ["rec-1"] == resolved
    assert (await ledger.terms())["requests"].open
    await ledger.close()
