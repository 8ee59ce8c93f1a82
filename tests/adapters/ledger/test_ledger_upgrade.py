"""A ledger that the version before frozen terms wrote, with every kind of row, under this version."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.adapters.ledger import conservation, file, integrity
from sidecar.adapters.ledger.file import LedgerUnusable, open_for_reading, open_for_writing
from sidecar.adapters.ledger.schema import MIGRATIONS
from sidecar.domain.metering.hours import to_micros
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.metering.quantity import render
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.metering.series import SeriesBatch, SeriesSample
from tests.support.books import HOUR, MINUTE, NOW, RULES, WHOLE, Books, event

SCRIPT = Path(__file__).with_name("schema_1") / "ledger.sql"
LEFT_AT = NOW + 20 * HOUR
"""When the old version was stopped: 06:20 of the next day, in an open hour."""
REGISTERED = replace(RULES, product_code="0registered")
"""The rules of the product whose registration the ledger has kept."""


def old_ledger(path: Path, events: int = 0) -> Path:
    """Make the old ledger's file, with so many events more."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCRIPT.read_text(encoding="utf-8"))
        connection.executemany(
            "INSERT INTO event (id, dimension, tag_set, millionths, counted_at, hour, pod, taken_at)"
            " VALUES (?, 1, 0, 0, 1, 0, 1, 1)",
            ((f"more-{number}",) for number in range(events)),
        )
        connection.commit()
    return path


def faults(books: Books) -> list[str]:
    """Return everything that `ledger verify` objects to."""
    connection = books.store.connection
    return [*integrity.integrity_errors(connection), *conservation.event_breaches(connection), *books.breaches()]


def total(books: Books, term: str) -> str:
    """Return the sum of one term over the dimensions."""
    return render(sum(getattr(books.terms(name), term) for name in RULES.dimensions))


@pytest.mark.parametrize(
    ("rules", "code", "whole"),
    [(REGISTERED, "0registered", 0), (replace(WHOLE, product_code="0registered"), "0registered", 1)],
)
def test_old_rows_get_terms(tmp_path: Path, rules: MeteringRules, code: str, whole: int) -> None:
    """Rows from before get the code of the kept evidence, and the configured aggregation and kind. One log line."""
    books = Books(old_ledger(tmp_path / "ledger.db"), rules, pod="pod-3", now=LEFT_AT)
    rows = books.store.rows("SELECT name, product_code, aggregation, whole FROM dimension ORDER BY name")
    first = books.change.filled
    books.restart("pod-3")
    assert (code, None) == (first, books.change.filled)
    assert [
        ("level", code, "last", whole),
        ("peak", code, "max", whole),
        ("requests", code, "sum", whole),
        ("users", code, "unique", whole),
    ] == [tuple(row) for row in rows]
    assert [] == faults(books)
    books.close()


def test_configured_code_without_evidence(tmp_path: Path) -> None:
    """Without evidence the rows get the configured code, and a dimension that is gone keeps its books."""
    path = old_ledger(tmp_path / "ledger.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM meta WHERE key = 'evidence'")
        connection.commit()
    dimensions = {name: RULES.dimensions[name] for name in ("requests", "users")}
    books = Books(path, replace(RULES, dimensions=dimensions), pod="pod-3", now=LEFT_AT)
    rows = dict(map(tuple, books.store.rows("SELECT name, product_code || ' ' || aggregation FROM dimension")))
    assert ("0abc123example unknown", "0abc123example sum") == (rows["peak"], rows["requests"])
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all()
    assert [] == faults(books)
    books.close()


@pytest.mark.parametrize("rules", [REGISTERED, replace(WHOLE, product_code="0registered")], ids=["decimal", "integer"])
def test_old_ledger_goes_on(tmp_path: Path, rules: MeteringRules) -> None:
    """Everything that was open or sealed is sent as it was frozen, and every acknowledged unit stays in one place."""
    books = Books(old_ledger(tmp_path / "ledger.db"), rules, pod="pod-3", now=LEFT_AT)
    accepted = total(books, "accepted")
    frozen = {record.seq: record.quantity for record in books.waiting()}
    assert {"0registered"} == {record.product_code for record in books.waiting()}
    assert [1, 1, 0, 0] == sorted((record.unanswered for record in books.waiting()), reverse=True)
    books.take(event("8.7", id="id-1", dimension="requests"))  # a repeat
    books.take(event(dimension="users", value="ann"))  # counted before the upgrade
    assert accepted == total(books, "accepted")
    sent = {record.seq: record.quantity for record in books.waiting()}
    books.submit_all()
    for _ in range(2):
        books.pass_time(HOUR)
        books.seal_ended()
        books.submit_all()
    assert frozen == sent
    assert ("0", "0", accepted) == (total(books, "open"), total(books, "sealed"), total(books, "accepted"))
    assert {"0registered"} == {record.product_code for record in books.records()}
    assert [] == faults(books)
    books.prune()
    assert [] == faults(books)
    books.close()


def test_old_usage_of_other_product(tmp_path: Path) -> None:
    """Configured for another product, the new version submits nothing of it: unbilled, or in doubt."""
    books = Books(old_ledger(tmp_path / "ledger.db"), RULES, pod="pod-3", now=LEFT_AT)
    assert ([], "0", "0", "0") == (books.waiting(), *(total(books, term) for term in ("open", "sealed", "remainder")))
    reasons = {record.id: (record.reason or "").partition(":")[0] for record in books.records(status="unbilled")}
    assert ["other-product", "other-product", "in-doubt", "in-doubt"] == [
        reasons[f"rec-{seq}"] for seq in range(23, 27)
    ]
    assert {"requests", "peak", "level", "users"} == {found.dimension for found in books.change.foreign}
    assert [] == faults(books)
    books.close()


def test_successor_upgrades(tmp_path: Path) -> None:
    """A pod of the new version that replaces one of the old adopts what it left, like from its own version."""
    books = Books(old_ledger(tmp_path / "ledger.db"), REGISTERED, pod="pod-4", now=LEFT_AT + MINUTE)
    books.take(event("11", dimension="peak"), event(dimension="users", value="eve"))
    buckets = books.buckets()
    assert ("29", "2") == (buckets["peak", 6, ()], buckets["users", 6, ()])
    assert [] == faults(books)
    books.close()


def test_old_ledger_takes_series(tmp_path: Path) -> None:
    """An upgraded ledger stores counters, and `verify` finds nothing."""
    books = Books(old_ledger(tmp_path / "ledger.db"), REGISTERED, pod="pod-3", now=LEFT_AT)
    before = books.terms().accepted
    books.begin_series(requests="here")
    at = to_micros(books.now + MINUTE)
    sample = SeriesSample(b"key", (), Decimal(3), to_micros(books.now) + 1, at)
    books.take_series(SeriesBatch("requests", [sample], Decimal(1), at))
    assert (3_000_000, []) == (books.terms().accepted - before, faults(books))
    books.close()


def test_upgrade_rewrites_nothing(tmp_path: Path) -> None:
    """Opening writes as many pages into a large ledger as into a small one, so it needs neither time nor room."""
    written = []
    for name, events in (("small.db", 0), ("large.db", 20_000)):
        path = old_ledger(tmp_path / name, events)
        books = Books(path, REGISTERED, pod="pod-3", now=LEFT_AT)
        written.append(path.with_name(f"{name}-wal").stat().st_size)
        books.close()
    assert written[0] == written[1]


def test_old_version_refuses_newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version before shows that the ledger is newer, and leaves every byte of it as it is (`helm rollback`)."""
    path = old_ledger(tmp_path / "ledger.db")
    Books(path, REGISTERED, pod="pod-3", now=LEFT_AT).close()
    before = path.read_bytes()
    monkeypatch.setattr(file, "MIGRATIONS", MIGRATIONS[:1])
    for opening in (open_for_writing, open_for_reading):
        with pytest.raises(LedgerUnusable, match="written by a newer version"):
            opening(path)
    assert before == path.read_bytes()


def test_unfilled_terms_outcome(tmp_path: Path) -> None:
    """A process that dies between the new schema and the terms leaves a ledger that the next one fills."""
    path = old_ledger(tmp_path / "ledger.db")
    with closing(open_for_writing(path)) as connection:
        assert [] == list(conservation.breaches(connection))
    books = Books(path, REGISTERED, pod="pod-3", now=LEFT_AT)
    books.submit_all(Outcome.ACCEPTED)
    assert ("0registered", []) == (books.change.filled, faults(books))
    books.close()
