"""`ledger verify`: what it proves, and which row it names."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.domain.metering.hours import hour_of
from tests.commands.ledgers import TEN, configured, ledger, lived, tamper
from tests.support.books import HOUR, NOW, RED, Books, event

_TWELVE = hour_of(NOW + 2 * HOUR)


@pytest.fixture(name="path", scope="module")
def _lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the ledger that the tests copy."""
    path = tmp_path_factory.mktemp("lived") / "ledger.db"
    with lived(path):
        pass
    return path


@pytest.fixture
def copied(path: Path, tmp_path: Path) -> Path:
    """Copy the ledger, with a configuration next to it."""
    target = tmp_path / "ledger.db"
    shutil.copy(path, target)
    configured(target)
    return target


def verify(path: Path, *arguments: str) -> int:
    """Run `ledger verify` under the configuration next to the ledger."""
    return ledger("verify", "--config", str(path.with_name("config.yaml")), *arguments)


def test_sound_ledger_is_proved(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sound ledger shows every term of the law by dimension and ends with 0."""
    assert 0 == verify(copied)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "dimension accepted open sealed submitted unbilled remainder balanced" == lines[0]
    assert "requests 23.5 8 0 2.5 13 0 yes" in lines
    assert "Verified: every row agrees. Events are proved by number, and by quantity for requests." == lines[-1]


def test_proof_as_json(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json gives the same as one object."""
    assert 0 == verify(copied, "--json")
    found = json.loads(capsys.readouterr().out)
    assert (True, [], 0, ["requests"]) == tuple(
        found[name] for name in ("verified", "breaches", "more", "event_quantities_proved")
    )
    assert {
        "accepted": "23.5",
        "open": "8",
        "sealed": "0",
        "submitted": "2.5",
        "unbilled": "13",
        "remainder": "0",
        "balanced": True,
    } == found["dimensions"]["requests"]


TAMPERED = [
    ("UPDATE event SET millionths = 9000000 WHERE id = 'd1'", "bucket requests 2026-11-23T14:00:00Z"),
    ("DELETE FROM event WHERE id = 'e1'", "bucket requests 2026-11-24T15:00:00Z"),
    (
        "INSERT INTO event SELECT 99, 'x', x'', dimension, 0, 1, '', 1, 1, hour, pod, 1 FROM event WHERE id = 'e1'",
        "bucket requests 2026-11-24T15:00:00Z",
    ),
    ("UPDATE event SET hour = hour - 3600 WHERE id = 'e1'", "bucket requests 2026-11-24T15:00:00Z"),
    ("UPDATE dropped_events SET quantity = '1' WHERE quantity = '7'", "bucket requests 2026-11-23T12:00:00Z"),
    ("DELETE FROM dropped_events WHERE quantity = '7'", "bucket requests 2026-11-23T12:00:00Z"),
    ("UPDATE bucket SET own = '3' WHERE own = '2'", "bucket requests 2026-11-23T10:00:00Z"),
    (f"DELETE FROM bucket WHERE hour = {_TWELVE}", "events of dimension 1 2026-11-23T12:00:00Z"),
    ("UPDATE bucket SET carried = '6' WHERE carried = '7'", "bucket requests 2026-11-23T13:00:00Z"),
    ("DELETE FROM carry WHERE cause = 'adopted' AND record IS NOT NULL", "bucket requests 2026-11-23T13:00:00Z"),
    ("UPDATE record SET quantity = '2' WHERE seq = 1", "record 1 (requests 2026-11-23T10:00:00Z)"),
    ("UPDATE record SET gathered = '2' WHERE seq = 1", "record 1 (requests 2026-11-23T10:00:00Z)"),
    ("UPDATE record SET metering_record_id = NULL WHERE seq = 1", "record 1 (requests 2026-11-23T10:00:00Z)"),
    ("UPDATE record SET status = 'carried' WHERE seq = 2", "record 2 (requests 2026-11-23T11:00:00Z)"),
    ("UPDATE record SET resolved = 1 WHERE seq = 2", "record 2 (requests 2026-11-23T11:00:00Z)"),
    ("UPDATE allocation SET quantity = '3' WHERE quantity = '4'", "record 2 (requests 2026-11-23T11:00:00Z)"),
    (
        "UPDATE record SET status = 'accepted', metering_record_id = 'x' WHERE seq = 2",
        "dimension requests: submitted is 2.5 but the rows make 7.5",
    ),
    ("UPDATE dimension SET accepted = '24' WHERE accepted = '23.5'", "dimension requests: accepted is 24"),
    ("UPDATE dimension SET unbilled = '12' WHERE unbilled = '13'", "dimension requests: unbilled is 12"),
    ("UPDATE dimension SET remainder = '0.5' WHERE name = 'peak'", "dimension peak: accepted 3 but its parts make 3.5"),
    ("UPDATE bucket SET own = 'abc' WHERE own = '2'", "bucket pod 1, dimension 1, hour 1795428000, tag set 0: own"),
    ("UPDATE record SET quantity = '1e3' WHERE seq = 1", "record seq 1: quantity '1e3' is not a quantity"),
    ("UPDATE record SET hour = hour + 1 WHERE seq = 1", "record seq 1: hour 1795428001 is not an hour"),
    ("UPDATE record SET sealed_at = -1 WHERE seq = 1", "record seq 1: sealed_at -1 is not an instant"),
    ("UPDATE record SET status = 'gone' WHERE seq = 1", "record seq 1: a slot record with status gone"),
    ("UPDATE record SET dimension = 99 WHERE seq = 1", "record seq 1: there is no dimension 99"),
    ("UPDATE bucket SET tag_set = 99 WHERE own = '7'", "bucket pod 1, dimension 1"),
    ("UPDATE tag_set SET tags = '{' WHERE id = 1", "tag set 1: its tags are not JSON"),
]


@pytest.mark.parametrize(("statement", "named"), TAMPERED)
def test_tampered_row_is_named(copied: Path, capsys: pytest.CaptureFixture[str], statement: str, named: str) -> None:
    """Each row that was changed behind the engine's back breaks the proof and is the first to be named."""
    tamper(copied, statement)
    assert 1 == verify(copied)
    broken = [line for line in capsys.readouterr().out.splitlines() if line.startswith("BROKEN: ")]
    assert [f"BROKEN: {named}"] == [line[: len(named) + 8] for line in broken]


def test_all_breaches_are_named(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the first is named and the others are counted, unless all are asked for."""
    tamper(copied, "UPDATE bucket SET own = '3' WHERE own = '2'", "DELETE FROM event WHERE id = 'e1'")
    assert 1 == verify(copied, "--json")
    first = json.loads(capsys.readouterr().out)
    assert 1 == verify(copied, "--json", "--all")
    everything = json.loads(capsys.readouterr().out)
    assert (False, 1, 0) == (first["verified"], len(first["breaches"]), everything["more"])
    assert first["more"] == len(everything["breaches"]) - 1
    assert first["more"] > 1
    assert {"requests": False, "peak": True} == {
        name: everything["dimensions"][name]["balanced"] for name in ("requests", "peak")
    }


def test_copy_is_proved_alone(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A copied file is proved without a configuration, the quantities of events too: it keeps its aggregations."""
    assert 0 == ledger("verify", "--ledger", str(copied))
    assert "by number, and by quantity for requests" in capsys.readouterr().out
    tamper(copied, "UPDATE event SET millionths = 9000000 WHERE id = 'd1'")
    assert 1 == ledger("verify", "--ledger", str(copied))
    tamper(copied, "DELETE FROM event WHERE id = 'd1'")
    assert 1 == ledger("verify", "--ledger", str(copied))


def test_damaged_page_is_a_breach(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What SQLite's own check finds is a breach, and no proof is claimed next to it."""
    with closing(sqlite3.connect(copied)) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'carry'").fetchone()[0]
    with copied.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 64)
    assert 1 == verify(copied, "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["breaches"][0].startswith("the file is damaged: ")
    assert {} == found["dimensions"]


def test_proof_beside_a_writer(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A ledger on which a sidecar is in the middle of a commit is proved as it was before."""
    with closing(sqlite3.connect(copied, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE dimension SET accepted = '99'")
        assert 0 == verify(copied)
        writer.execute("ROLLBACK")
    assert "23.5" in capsys.readouterr().out


@pytest.fixture(name="pruned")
def _pruned(tmp_path: Path) -> Iterator[Books]:
    """Make a ledger whose clock has gone back and forth around events that were dropped."""
    books = Books(tmp_path / "ledger.db")
    for hours in (30, -29, 3, 60, -58, 5, 28, -1):
        books.take(event("9999999999.999999"), event("0.000001", tags=RED), event("1", at=books.now - HOUR))
        books.pass_time(hours * HOUR)
        books.rebook_future_hours()
        books.seal_ended()
        books.submit_all()
        books.prune()
    books.take(event("1", id="whole"))
    yield books
    books.close()


def test_dropped_events_prove_still(pruned: Books) -> None:
    """Events dropped in their time leave the proof whole, however the clock went; a missing one is still named."""
    configured(pruned.path)
    assert pruned.count("dropped_events") > 0
    assert pruned.count("event") > 0
    assert 0 == verify(pruned.path)
    tamper(pruned.path, "DELETE FROM event WHERE seq = (SELECT max(seq) FROM event)")
    assert 1 == verify(pruned.path)


def test_empty_ledger_is_sound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A ledger in which nothing has happened yet is proved."""
    Books(tmp_path / "ledger.db").close()
    assert 0 == ledger("verify", "--ledger", str(tmp_path / "ledger.db"))
    assert TEN not in capsys.readouterr().out
