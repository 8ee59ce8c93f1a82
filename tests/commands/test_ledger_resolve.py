"""`ledger resolve`: the command around a decision, next to a running sidecar and without one."""

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.domain.metering.hours import hour_of
from sidecar.domain.metering.outcomes import Outcome
from tests.commands.ledgers import ACCEPTED, CARRIED, CONFIGURATION, IN_DOUBT, LATE, ledger, lived
from tests.support.books import HOUR, Books, event

WHY = ("--reason", "asked AWS")
ACCEPT = ("accept", "--metering-record-id", "mr-seen")


@pytest.fixture(name="books")
def _books(tmp_path: Path) -> Iterator[Books]:
    """Open a ledger as a sidecar holds it."""
    with lived(tmp_path / "ledger.db") as books:
        yield books
        found = books.breaches()
    assert [] == found


def resolve(books: Books, *arguments: str) -> int:
    """Run `ledger resolve` on the ledger."""
    return ledger("resolve", *arguments, "--ledger", str(books.path))


@pytest.mark.parametrize(
    ("record", "action", "status", "expected"),
    [
        (IN_DOUBT, ACCEPT, "accepted", {"accepted": "23.5", "open": "8", "submitted": "7.5", "unbilled": "8"}),
        (IN_DOUBT, ("carry",), "carried", {"accepted": "23.5", "open": "13", "submitted": "2.5", "unbilled": "8"}),
        (IN_DOUBT, ("write-off",), "unbilled", {"accepted": "23.5", "open": "8", "submitted": "2.5", "unbilled": "13"}),
        (LATE, ("carry",), "carried", {"accepted": "23.5", "open": "16", "submitted": "2.5", "unbilled": "5"}),
        (LATE, ("write-off",), "unbilled", {"accepted": "23.5", "open": "8", "submitted": "2.5", "unbilled": "13"}),
    ],
)
@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_decision_is_kept(
    books: Books,
    capsys: pytest.CaptureFixture[str],
    record: str,
    action: tuple[str, ...],
    status: str,
    expected: dict[str, str],
    running: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    """Each decision is done immediately, whether or not a process holds the ledger, and the proof holds after it."""
    if not running:
        books.close()
    assert 0 == resolve(books, record, *action, *WHY)
    assert f"{record} (requests, " in (said := capsys.readouterr().out)
    assert f") is {status}\n" in said
    if not running:
        books.restart("pod-2", books.rules)
    assert expected == books.shown()
    assert [status] == [each.status for each in books.records() if each.id == record]


@pytest.mark.parametrize("chosen", [(IN_DOUBT,), ("all", "--reason-kind", "in-doubt")], ids=["one", "all"])
def test_carry_without_tags(books: Books, capsys: pytest.CaptureFixture[str], chosen: tuple[str, ...]) -> None:
    """--without-tags bills the whole quantity untagged; --dry-run shows how many tag sets are left out."""
    command = (*chosen, "carry", "--without-tags", *WHY)
    assert 0 == resolve(books, *command, "--dry-run")
    assert "would be carried\n" in (said := capsys.readouterr().out)
    assert "  tag_sets: 2 -> 0\n" in said
    assert 0 == books.count("audit")
    assert 0 == resolve(books, *command)
    assert {()} == {tags for _, _, tags in books.buckets()}
    assert "13" == books.shown()["open"]


def test_running_sidecar_goes_on(books: Books) -> None:
    """The process that holds the ledger takes usage and submits after a decision as before it."""
    assert 0 == resolve(books, IN_DOUBT, "carry", *WHY)
    books.take(event("1", id="after"))
    books.seal_ended()
    books.submit_all()
    assert [] == books.breaches()


def test_dry_run_keeps_nothing(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """--dry-run shows the outcome, and the same decision can then be made."""
    before = books.shown()
    assert 0 == resolve(books, IN_DOUBT, *ACCEPT, *WHY, "--dry-run")
    assert f"{IN_DOUBT} (requests, 2026-11-23T11:00:00Z, quantity 5) would be accepted" in capsys.readouterr().out
    assert (before, 0) == (books.shown(), books.count("audit"))
    assert 0 == resolve(books, IN_DOUBT, *ACCEPT, *WHY)


def test_outcome_as_json(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """--json gives the record before and after as one object."""
    assert 0 == resolve(books, IN_DOUBT, *ACCEPT, *WHY, "--json")
    found = json.loads(capsys.readouterr().out)
    doubt = "in-doubt: pod pod-1 ended after 1 attempt without a conclusive answer"
    none = {"metering_record_id": None, "carried_to": None}
    assert {
        "id": IN_DOUBT,
        "dimension": "requests",
        "hour": "2026-11-23T11:00:00Z",
        "quantity": "5",
        "before": {"status": "unbilled", "reason": doubt, **none},
        "after": {"status": "accepted", "reason": None, **none, "metering_record_id": "mr-seen"},
        "kept": True,
    } == found


def test_several_are_decided_together(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """Records that are named with commas are decided by one reason, each with its own audit entry."""
    assert 0 == resolve(books, f"{IN_DOUBT},{LATE}", "--reason", "one incident", "write-off")
    shown = capsys.readouterr().out.splitlines()
    assert "2 records were resolved: requests 13" == shown[-1]
    with closing(sqlite3.connect(books.path)) as connection:
        assert [("write-off", 2, "one incident"), ("write-off", 4, "one incident")] == connection.execute(
            "SELECT action, record, reason FROM audit ORDER BY seq"
        ).fetchall()


def test_one_refusal_keeps_all(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """If one record cannot be resolved so, none is, and each refusal is reported."""
    before = books.shown()
    assert 1 == resolve(books, f"{IN_DOUBT},{ACCEPTED},{LATE},rec-99", "carry", *WHY)
    said = capsys.readouterr().err
    assert f"{ACCEPTED} cannot be resolved: AWS has taken it" in said
    assert "there is no record rec-99" in said
    assert said.endswith("none of the records was resolved\n")
    assert (before, 0) == (books.shown(), books.count("audit"))


@pytest.mark.parametrize(
    ("filters", "chosen"),
    [
        (("--reason-kind", "in-doubt"), [IN_DOUBT]),
        (("--reason-kind", "late"), [LATE]),
        (("--dimension", "requests"), [IN_DOUBT, LATE]),
        (("--from", "2026-11-23T11:00:00Z", "--until", "2026-11-23T12:00:00Z"), [IN_DOUBT]),
        (("--from", "2026-11-23T12:00:00Z"), [LATE]),
        (("--dimension", "requests", "--until", "2026-11-23T12:00:00Z", "--reason-kind", "in-doubt"), [IN_DOUBT]),
    ],
)
def test_all_that_fit_are_decided(
    books: Books, capsys: pytest.CaptureFixture[str], filters: tuple[str, ...], chosen: list[str]
) -> None:
    """`all` decides every undecided record of a reason, a dimension and hours; --dry-run shows each and keeps none."""
    before = books.shown()
    assert 0 == resolve(books, "all", "carry", *filters, *WHY, "--dry-run", "--json")
    assert chosen == [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()]
    assert (before, 0) == (books.shown(), books.count("audit"))
    assert 0 == resolve(books, "all", "carry", *filters, *WHY)
    assert chosen == [each.id for each in books.records() if each.status == "carried" and each.id != CARRIED]
    assert 1 == resolve(books, "all", "carry", *filters, *WHY)
    assert "no unbilled record fits" in capsys.readouterr().err


def test_duplicates_are_carried_by_name(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """`all carry` leaves out duplicates, of which AWS may hold a part; a carry by name or reason warns of that."""
    books.pass_time(HOUR)
    books.seal(hour_of(books.now - HOUR))
    books.submit_all(Outcome.DUPLICATE)
    duplicates = [each.id for each in books.records() if (each.reason or "").startswith("duplicate")]
    assert duplicates
    assert 0 == resolve(books, "all", "carry", "--dimension", "requests", *WHY)
    shown = capsys.readouterr()
    assert [IN_DOUBT, LATE] == [each.id for each in books.records() if each.status == "carried" and each.id != CARRIED]
    assert shown.err.startswith(f"note: duplicates are left out ({len(duplicates)} in the ledger)")
    assert 1 == resolve(books, "all", "carry", "--dimension", "requests", *WHY)
    assert "Decide them with --reason-kind duplicate." in capsys.readouterr().err

    assert 0 == resolve(books, "all", "carry", "--reason-kind", "duplicate", *WHY, "--dry-run")
    assert "the buyer pays it twice" in capsys.readouterr().err
    assert 0 == resolve(books, ",".join(duplicates), "carry", *WHY)
    assert f"for the hour of {', '.join(duplicates)}, and the whole" in capsys.readouterr().err


def test_write_off_of_duplicates_is_plain(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """`all write-off` decides duplicates with the others: it bills nothing."""
    books.pass_time(HOUR)
    books.seal(hour_of(books.now - HOUR))
    books.submit_all(Outcome.DUPLICATE)
    assert 0 == resolve(books, "all", "write-off", "--dimension", "requests", *WHY)
    assert "" == capsys.readouterr().err
    assert 1 == resolve(books, "all", "write-off", "--dimension", "requests", *WHY)


def test_unknown_kind_names_those_there_are(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """A reason that no record has is reported together with those that wait for a decision."""
    assert 1 == resolve(books, "all", "carry", "--reason-kind", "doubt", *WHY)
    assert "by their reasons these wait for a decision: in-doubt (1), late (1)" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "who"), [(0, "root"), (54321, "uid 54321")], ids=["named", "without a name"])
def test_audit_is_listed(
    books: Books, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: int, who: str
) -> None:
    """The audit trail names the user by the operating system's record, not by the environment's."""
    monkeypatch.setattr(os, "getuid", lambda: number)
    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.setenv("LOGNAME", "somebody-else")
    assert 0 == resolve(books, IN_DOUBT, "write-off", *WHY)
    assert 0 == resolve(books, LATE, "carry", *WHY)
    capsys.readouterr()
    listing = ("records", "--audit", "--ledger", str(books.path))
    assert 0 == ledger(*listing, "--json")
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(IN_DOUBT, "write-off", "asked AWS"), (LATE, "carry", "asked AWS")] == [
        (entry["record"], entry["action"], entry["reason"]) for entry in entries
    ]
    assert {who} == {entry["who"] for entry in entries}
    assert 0 == ledger(*listing, "--status", "carried")
    shown = capsys.readouterr().out.splitlines()[1:]
    assert [["carry", LATE, "requests", "2026-11-23T14:00:00Z", "8", "asked", "AWS"]] == [
        line.partition(f" {who} ")[2].split() for line in shown
    ]
    assert 0 == ledger(*listing, "--limit", "1")
    assert "There are more rows: raise --limit.\n" == capsys.readouterr().err
    assert 0 == ledger("status", "--ledger", str(books.path))
    assert "2; see `ledger records --audit`" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("record", "action", "words"),
    [
        (ACCEPTED, ("carry",), "rec-1 cannot be resolved: AWS has taken it"),
        (CARRIED, ("write-off",), "rec-3 cannot be resolved: its quantity was carried"),
        (LATE, ACCEPT, "rec-4 cannot be resolved: it was never sent to AWS"),
        ("rec-99", ("carry",), "there is no record rec-99; `ledger records --status unbilled` lists"),
        (IN_DOUBT, ("accept", "--metering-record-id", "mr-1"), "metering record mr-1 is that of rec-1"),
    ],
)
def test_refusal_says_why(
    books: Books, capsys: pytest.CaptureFixture[str], record: str, action: tuple[str, ...], words: str
) -> None:
    """What cannot be resolved is refused with 1 and the reason, and nothing is changed."""
    before = books.shown()
    assert 1 == resolve(books, record, *action, *WHY)
    assert capsys.readouterr().err.startswith(words)
    assert (before, 0) == (books.shown(), books.count("audit"))


@pytest.mark.parametrize(
    "arguments",
    [
        (IN_DOUBT, "carry"),
        (IN_DOUBT, *WHY),
        (IN_DOUBT, "accept", *WHY),
        (IN_DOUBT, "carry", "--metering-record-id", "mr-seen", *WHY),
        (IN_DOUBT, "accept", "--metering-record-id", "two words", *WHY),
        (IN_DOUBT, "accept", "--metering-record-id", "", *WHY),
        (IN_DOUBT, "forget", *WHY),
        (IN_DOUBT, *ACCEPT, "--without-tags", *WHY),
        (IN_DOUBT, "write-off", "--without-tags", *WHY),
        ("checkout-1", "write-off", "--without-tags", *WHY),
        (IN_DOUBT, "carry", "--reason", " "),
        (IN_DOUBT, "carry", "--reason", "two\nlines"),
        (IN_DOUBT, "carry", "--reason", "x" * 1001),
        ("all", "carry", *WHY),
        (IN_DOUBT, "carry", "--reason-kind", "in-doubt", *WHY),
        (f"{IN_DOUBT},{LATE}", *ACCEPT, *WHY),
        ("all", *ACCEPT, "--reason-kind", "in-doubt", *WHY),
        (f"{IN_DOUBT},,{LATE}", "carry", *WHY),
        ("all", "carry", "--from", "noon", *WHY),
    ],
)
def test_bad_decision_is_two(books: Books, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    """A decision without its reason or its proof is a bad command line."""
    assert 2 == resolve(books, *arguments)
    assert capsys.readouterr().err
    assert 0 == books.count("audit")


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    record=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
    action=st.sampled_from(["accept", "carry", "write-off"]),
    reason=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
)
def test_any_decision_ends_plainly(books: Books, record: str, action: str, reason: str) -> None:
    """Whatever is typed, the command decides or refuses, and keeps nothing it was not asked to keep."""
    given_id = ("--metering-record-id=x",) if action == "accept" else ()
    assert resolve(books, action, f"--reason={reason}", *given_id, "--dry-run", "--", record) in {0, 1, 2}
    assert 0 == books.count("audit")


def test_busy_ledger_is_four(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """A ledger that another command keeps locked is not waited for without end; the cure is to try again."""
    with closing(sqlite3.connect(books.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert 4 == resolve(books, IN_DOUBT, "carry", *WHY)
        other.execute("ROLLBACK")
    assert "Another command is writing to it; try again." in capsys.readouterr().err
    assert 0 == books.count("audit")


def test_missing_ledger_is_not_made(tmp_path: Path) -> None:
    """A wrong path makes no ledger."""
    assert 4 == ledger("resolve", "rec-1", "carry", *WHY, "--ledger", str(tmp_path / "none.db"))
    assert [] == list(tmp_path.iterdir())


class EmulatorsClock(BaseHTTPRequestHandler):
    """An emulator's clock that is stopped in another year."""

    def do_GET(self) -> None:
        """Answer with the clock."""
        body = b'{"now": "2027-03-04T05:06:07Z", "speed": 0.0}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
        """Stay silent."""


def test_emulator_names_the_hour(books: Books, tmp_path: Path) -> None:
    """In emulator mode the current hour, into which a record is carried, is the emulator's."""
    with ThreadingHTTPServer(("127.0.0.1", 0), EmulatorsClock) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        config = tmp_path / "emulated.yaml"
        config.write_text(
            CONFIGURATION.format(path=books.path)
            + f"marketplace: {{mode: emulator, endpoint_url: 'http://127.0.0.1:{server.server_port}'}}\n"
        )
        assert 0 == ledger("resolve", LATE, "carry", *WHY, "--config", str(config))
        server.shutdown()
        thread.join()
    (record,) = [each for each in books.records() if each.id == LATE]
    assert record.carried_to is not None
    assert "2027-03-04T05:00:00+00:00" == record.carried_to.isoformat()
