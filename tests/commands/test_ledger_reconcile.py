"""`ledger reconcile`: what it finds, settles and refuses, on a ledger with something of everything."""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.ledger.resolving import resolve_in
from sidecar.adapters.ledger.snapshot import reading
from sidecar.domain.metering.outcomes import Outcome
from tests.commands.ledgers import ACCEPTED, CARRIED, ELEVEN, IN_DOUBT, TEN, TWELVE, configured, ledger, lived, tamper
from tests.commands.trails import CODE, deliver, metered, records
from tests.commands.trails import event as cloudtrail
from tests.support.books import HOUR, Books, event

HELD = metered("2.5", TEN, "mr-1")
DOUBTED = metered(5, ELEVEN, "mr-aws", usageQuantity=None, usageQuantityAsDecimal="5.00")
BY_POD = {"additionalEventData": {"identity": "pod-1"}}


@pytest.fixture(name="books")
def _books(tmp_path: Path) -> Iterator[Books]:
    """Open a ledger as a sidecar holds it."""
    with lived(tmp_path / "ledger.db") as books:
        yield books
        found = books.breaches()
    assert [] == found


def reconcile(books: Books, *arguments: str, events: list[dict[str, Any]], place: Path | None = None) -> int:
    """Run `ledger reconcile` on the ledger against a bucket of these events."""
    bucket = deliver(books.path.parent / "trail", *events) if place is None else place
    return ledger(
        "reconcile", "--ledger", str(books.path), "--product-code", CODE, "--cloudtrail", str(bucket), *arguments
    )


def found(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the document that was printed."""
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_record_in_doubt_is_settled(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """A record in doubt that AWS charged is accepted with AWS's receipt and an audit entry; then all agrees."""
    assert 0 == reconcile(books, events=[HELD, DOUBTED])
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "settled rec-2 requests 2026-11-23T11:00:00Z 5 5 mr-aws -" in shown
    assert "requests 7.5 7.5 0" in shown
    assert "Reconciled: AWS charged exactly what was submitted (1 matched, 1 settled, 1 not charged)." == shown[-1]
    [settled] = [each for each in books.records() if each.id == IN_DOUBT]
    assert ("accepted", "mr-aws") == (settled.status, settled.metering_record_id)
    with closing(sqlite3.connect(books.path)) as connection:
        assert [("accept", 2, "CloudTrail event event-1")] == connection.execute(
            "SELECT action, record, reason FROM audit"
        ).fetchall()


def test_second_run_finds_it_matched(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """What was settled once is matched from then on, and nothing is decided twice."""
    assert 0 == reconcile(books, events=[HELD, DOUBTED])
    capsys.readouterr()
    assert 0 == reconcile(books, "--all", "--json", events=[HELD, DOUBTED])
    document = found(capsys)
    assert {ACCEPTED: "matched", IN_DOUBT: "matched", CARRIED: "not-charged"} == {
        slot["record"]: slot["verdict"] for slot in document["slots"]
    }
    assert (True, 1) == (document["reconciled"], books.count("audit"))


def test_all_slots_are_listed_in_order(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """With --all, matched slots are among the others by hour, as a table and as JSON; without it they are counted."""
    assert 0 == reconcile(books, "--all", "--dry-run", events=[HELD, DOUBTED])
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if " rec-" in line]
    assert 0 == reconcile(books, "--all", "--dry-run", "--json", events=[HELD, DOUBTED])
    document = found(capsys)
    assert rows == [[slot["verdict"], slot["record"]] for slot in document["slots"]]
    assert sorted(document["slots"], key=lambda slot: (slot["hour"], slot["record"])) == document["slots"]
    assert 0 == reconcile(books, "--dry-run", "--json", events=[HELD, DOUBTED])
    fewer = found(capsys)
    assert [slot for slot in document["slots"] if slot["verdict"] != "matched"] == fewer["slots"]
    assert {**document, "slots": fewer["slots"]} == fewer


def test_dry_run_settles_nothing(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """--dry-run shows what would be settled and leaves the ledger as it was."""
    assert 0 == reconcile(books, "--dry-run", events=[HELD, DOUBTED])
    shown = capsys.readouterr().out
    assert "requests   2.5        7.5      5" in shown
    verdict = (
        "Not reconciled yet: AWS charged more than was submitted (requests 5): the records in doubt, which would be"
        " settled (1 matched, 1 to be settled, 1 not charged). Nothing was settled: --dry-run."
    )
    assert verdict == shown.splitlines()[-1]
    assert (0, "unbilled") == (
        books.count("audit"),
        next(each.status for each in books.records() if each.id == IN_DOUBT),
    )


def at(instant: str) -> dict[str, Any]:
    """Return an event of another service in the same account and Region."""
    return cloudtrail("AssumeRole", None, None, eventSource="sts.amazonaws.com", eventTime=f"2026-11-23T{instant}:00Z")


COVERING = [HELD | {"eventTime": "2026-11-23T11:10:00Z"}, at("11:30"), at("12:10"), at("12:50")]
"""A log that covers the time in which the record in doubt was tried, 12:20, and shows no charge for it."""


FAILED = metered(5, ELEVEN, None) | {"errorCode": "InternalServiceErrorException"}
"""A call of the record in doubt of which nothing shows whether AWS charged it."""
UNKNOWN = FAILED | {"requestParameters": None, "eventTime": "2026-11-23T12:20:00Z"}
"""A call of which nothing shows what it was."""
UNREADABLE = metered("-1", ELEVEN, None) | {"errorCode": "ValidationException", "eventTime": "2026-11-23T12:20:00Z"}
CUT = cloudtrail("MeterUsage", {"omitted": True}, {"meteringRecordId": "mr-big"}, eventTime="2026-11-23T12:20:00Z")
"""A call that AWS took, and that was too large for the log."""
EARLY = HELD | {"eventTime": "2026-11-23T11:10:00Z"}
LATE_BEGIN = HELD | {"eventTime": "2026-11-23T12:16:00Z"}


@pytest.mark.parametrize(
    ("events", "note"),
    [
        ([LATE_BEGIN, at("12:50")], "their first write event is of 2026-11-23T12:16:00Z, after 2026-11-23T12:15:00Z"),
        ([EARLY, at("12:39")], "their last write event is of 2026-11-23T12:39:00Z, before 2026-11-23T12:40:00Z"),
        ([EARLY, at("13:05")], "they have no management event in the hour 2026-11-23T12:00:00Z"),
        (COVERING[1:], "which do not show where its pod ran"),
        ([EARLY | {"awsRegion": "us-east-1"}, *COVERING[1:]], "their last write event is of 2026-11-23T11:10:00Z"),
        ([*COVERING, metered(9, ELEVEN, "mr-9")], "a charge of this dimension and hour that may be this record"),
        ([*COVERING, FAILED], "a call of it that failed with InternalServiceErrorException"),
        ([*COVERING, FAILED | BY_POD | {"errorCode": "ServiceUnavailable"}], "that failed with ServiceUnavailable"),
        ([*COVERING, UNREADABLE], "a call that they do not describe"),
        ([*COVERING, UNKNOWN], "in the hour 2026-11-23T12:00:00Z they have a call that they do not describe"),
        ([*COVERING, CUT], "they have a call that they do not describe (metering record mr-big)"),
        ([*COVERING, CUT | {"requestParameters": None, "responseElements": None}], "a call that they do not describe"),
    ],
)
def test_uncovered_doubt_stays(
    books: Books, capsys: pytest.CaptureFixture[str], events: list[dict[str, Any]], note: str
) -> None:
    """Files that do not cover the whole time of a record, or show a charge that may be it, decide nothing."""
    assert 1 == reconcile(books, "--settle-not-charged", "--json", events=events)
    [slot] = [slot for slot in found(capsys)["slots"] if slot["record"] == IN_DOUBT]
    assert "missing-in-aws" == slot["verdict"]
    assert note in slot["note"]
    assert 0 == books.count("audit")


@pytest.mark.parametrize(
    "failed",
    [
        FAILED | {"errorCode": "ThrottlingException"},
        metered(6, ELEVEN, None) | {"errorCode": "InternalServiceErrorException"},
        metered(5, TWELVE, None) | {"errorCode": "InternalServiceErrorException"},
        metered(5, ELEVEN, None, clientToken="another") | {"errorCode": "InternalServiceErrorException"},
        metered(5, ELEVEN, None, dryRun=True) | {"errorCode": "InternalServiceErrorException"},
        UNKNOWN | {"eventTime": "2026-11-23T14:20:00Z"},
        UNKNOWN | {"errorCode": "ThrottlingException"},
        CUT | {"responseElements": {"meteringRecordId": "mr-1"}},
    ],
    ids=[
        *("refused", "other quantity", "other hour", "other token", "dry run", "later", "unknown, refused"),
        "known receipt",
    ],
)
def test_other_failure_leaves_no_doubt(
    books: Books, capsys: pytest.CaptureFixture[str], failed: dict[str, Any]
) -> None:
    """A failed call that AWS refused, or that was another record's, does not keep a record in doubt."""
    assert 0 == reconcile(books, "--settle-not-charged", "--json", events=[*COVERING, failed, failed])
    [slot] = [slot for slot in found(capsys)["slots"] if slot["record"] == IN_DOUBT]
    assert ("not-charged", 1) == (slot["verdict"], books.count("audit"))


def test_registration_shows_where_a_pod_ran(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """The RegisterUsage of a session that is named after the pod shows its account and Region, without a record."""
    registered = cloudtrail("RegisterUsage", {"productCode": CODE}, None, eventTime="2026-11-23T12:05:00Z") | BY_POD
    assert 1 == reconcile(books, "--json", events=[registered, *COVERING[2:]])
    assert {ACCEPTED: "missing-in-aws", IN_DOUBT: "not-charged", CARRIED: "not-charged"} == {
        slot["record"]: slot["verdict"] for slot in found(capsys)["slots"]
    }


def test_receipt_stands_for_a_cut_call(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """A record whose receipt the log has is matched, also where the log leaves out what the call reports."""
    cut = HELD | {"requestParameters": {"omitted": True}}
    assert 0 == reconcile(books, "--all", "--json", events=[cut, cut, DOUBTED])
    document = found(capsys)
    assert (1, 1, 0) == (document["counts"]["matched"], document["counts"]["settled"], document["undescribed"])
    assert {"submitted": "7.5", "charged": "7.5", "difference": "0"} == document["totals"]["requests"]


@pytest.mark.parametrize("answered", [CUT["responseElements"], {"omitted": True}, None])
def test_cut_call_is_a_sign_of_another_pod(
    books: Books, capsys: pytest.CaptureFixture[str], answered: dict[str, Any] | None
) -> None:
    """A charge that the log does not describe may be another pod's, and then so may a like one: nothing is settled."""
    assert 1 == reconcile(books, events=[HELD, DOUBTED, CUT | {"responseElements": answered}])
    shown = capsys.readouterr().out
    assert "perhaps mr-aws, which may be another pod's" in shown
    assert "Not compared: 1 call that the files do not describe." in shown


OTHER_POD, TASK = "11111111-2222-3333-4444-555555555555", "0123456789abcdef0123456789abcdef"
STRANGERS = [metered(5, ELEVEN, "mr-9"), FAILED, CUT]
"""A charge, a failed call and an undescribed one that are like the record in doubt."""


@pytest.mark.parametrize("call", STRANGERS, ids=["charge", "failed", "undescribed"])
@pytest.mark.parametrize("named", [True, False])
def test_stranger_may_be_the_pod_itself(
    books: Books, capsys: pytest.CaptureFixture[str], call: dict[str, Any], *, named: bool
) -> None:
    """Another pod's like call keeps a record in doubt, unless the log shows that its own pod's session is the pod's."""
    known = EARLY | BY_POD if named else EARLY
    stranger = call | {"additionalEventData": {"identity": OTHER_POD}}
    code = reconcile(books, "--settle-not-charged", "--json", events=[known, *COVERING[1:], stranger])
    document = found(capsys)
    (slot,) = [slot for slot in document["slots"] if slot["record"] == IN_DOUBT]
    assert (0, "not-charged", 1) if named else (1, "missing-in-aws", 0) == (code, slot["verdict"], books.count("audit"))
    assert document["of_other_pods"] == (call is STRANGERS[0])


@pytest.mark.parametrize("charged", [True, False])
def test_receipt_shows_no_stranger(books: Books, capsys: pytest.CaptureFixture[str], *, charged: bool) -> None:
    """A session that looks like another pod's may be this pod's, if a record of this pod was charged under it."""
    by_task = {"additionalEventData": {"identity": TASK}}
    events = [EARLY | by_task, *COVERING[1:], (DOUBTED if charged else FAILED) | by_task]
    assert (0 if charged else 1) == reconcile(books, "--settle-not-charged", "--json", events=events)
    document = found(capsys)
    (slot,) = [slot for slot in document["slots"] if slot["record"] == IN_DOUBT]
    assert ("settled" if charged else "missing-in-aws", 0) == (slot["verdict"], document["of_other_pods"])


def test_uncharged_doubt_is_told(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """A record in doubt that a covering log does not show was not charged; without being asked nothing is settled."""
    before = books.shown()
    assert 0 == reconcile(books, events=COVERING)
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert any(line.startswith("not-charged rec-2 requests 2026-11-23T11:00:00Z 5 - - in doubt;") for line in shown)
    assert "Reconciled: AWS charged exactly what was submitted (1 matched, 2 not charged)." == shown[-2]
    assert shown[-1].startswith("1 record in doubt was not charged. --settle-not-charged settles this")
    assert (before, 0) == (books.shown(), books.count("audit"))


@pytest.mark.parametrize(
    ("how", "late", "status"),
    [
        (("carry",), "", "carried"),
        (("write-off",), "", "unbilled"),
        (("policy",), "", "carried"),
        ((), "carry", "carried"),
        ((), "unbilled", "unbilled"),
    ],
)
def test_uncharged_doubt_is_settled(
    books: Books, capsys: pytest.CaptureFixture[str], how: tuple[str, ...], late: str, status: str
) -> None:
    """--settle-not-charged carries or writes off what the log shows not to be charged, as asked or as `late` says."""
    more: tuple[str, ...] = ()
    if late:
        config = configured(books.path)
        config.write_text(config.read_text().replace("metering:\n", f"metering:\n  late: {late}\n"))
        more = ("--config", str(config))
    assert 0 == reconcile(books, "--dry-run", *more, "--settle-not-charged", *how, events=COVERING)
    verb = "carried into the current hour" if status == "carried" else "written off"
    last = f"1 record in doubt was not charged: would be {verb}. Nothing was settled: --dry-run."
    assert last == capsys.readouterr().out.splitlines()[-1]
    assert 0 == books.count("audit")

    assert 0 == reconcile(books, *more, "--settle-not-charged", *how, events=COVERING)
    assert f"1 record in doubt was not charged: {verb}." == capsys.readouterr().out.splitlines()[-1]
    [record] = [each for each in books.records() if each.id == IN_DOUBT]
    assert (status, 1) == (record.status, books.count("audit"))
    assert 0 == reconcile(books, *more, "--settle-not-charged", *how, events=COVERING)
    assert 1 == books.count("audit")


def test_empty_comparison_says_so(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is neither a record nor a charge, nothing is said to have been charged."""
    later = "2027-01-01T00:00:00Z"
    assert 0 == reconcile(books, "--from", later, events=[HELD])
    assert "Nothing to compare" in capsys.readouterr().out.splitlines()[-1]


def test_dry_run_document_follows_its_figures(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """The document of a dry run is not reconciled while its own totals differ; that of the run itself is."""
    assert 0 == reconcile(books, "--dry-run", "--json", events=[HELD, DOUBTED])
    document = found(capsys)
    assert (False, "5") == (document["reconciled"], document["totals"]["requests"]["difference"])
    assert 0 == reconcile(books, "--json", events=[HELD, DOUBTED])
    document = found(capsys)
    assert (True, "0") == (document["reconciled"], document["totals"]["requests"]["difference"])


@pytest.mark.parametrize(
    ("events", "verdicts"),
    [
        ([HELD], {IN_DOUBT: "missing-in-aws", CARRIED: "not-charged"}),
        ([DOUBTED], {ACCEPTED: "missing-in-aws", IN_DOUBT: "settled", CARRIED: "not-charged"}),
        ([metered(3, TEN, "mr-1"), DOUBTED], {ACCEPTED: "different", IN_DOUBT: "settled", CARRIED: "not-charged"}),
        (
            [HELD, DOUBTED, metered(7, TWELVE, "mr-3") | BY_POD],
            {IN_DOUBT: "settled", CARRIED: "different"},
        ),
        (
            [HELD, DOUBTED, metered(9, TEN, "mr-9")],
            {None: "missing-here", IN_DOUBT: "missing-in-aws", CARRIED: "not-charged"},
        ),
        (
            [HELD, DOUBTED | BY_POD, metered(9, TEN, "mr-9")],
            {None: "missing-here", IN_DOUBT: "settled", CARRIED: "not-charged"},
        ),
        ([HELD, metered(6, ELEVEN, "mr-aws") | BY_POD], {IN_DOUBT: "different", CARRIED: "not-charged"}),
    ],
)
def test_differences_are_told(
    books: Books, capsys: pytest.CaptureFixture[str], events: list[dict[str, Any]], verdicts: dict[str | None, str]
) -> None:
    """Each kind of difference is named by its slot, counted, and ends with 1."""
    assert 1 == reconcile(books, "--json", events=events)
    document = found(capsys)
    assert verdicts == {slot["record"]: slot["verdict"] for slot in document["slots"]}
    assert not document["reconciled"]
    assert sum(document["counts"].values()) == len(document["slots"]) + document["counts"]["matched"]


def test_differences_show_as_table(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """The table shows both quantities and why; the summary counts the slots that differ."""
    assert 1 == reconcile(books, events=[metered(3, TEN, "mr-1"), DOUBTED])
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "different rec-1 requests 2026-11-23T10:00:00Z 2.5 3 mr-1 AWS charged 0.5 more than is here" in shown
    assert "requests 7.5 8 0.5" in shown
    assert "DIFFERENT: 1 slot of 3 (1 settled, 1 different, 1 not charged)." == shown[-1]


@pytest.mark.parametrize(("charged", "words"), [(3, "0.5 more"), (2, "0.5 less")])
def test_amount_of_difference_is_told(
    books: Books, capsys: pytest.CaptureFixture[str], charged: int, words: str
) -> None:
    """The note says by how much AWS charged more or less."""
    assert 1 == reconcile(books, events=[metered(charged, TEN, "mr-1"), DOUBTED])
    assert f"AWS charged {words} than is here" in capsys.readouterr().out


def test_hours_are_chosen(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """--from and --until leave other hours alone on both sides."""
    events = [DOUBTED, metered(9, TWELVE) | BY_POD]
    assert 0 == reconcile(books, "--from", ELEVEN, "--until", TWELVE, "--json", events=events)
    assert [IN_DOUBT] == [slot["record"] for slot in found(capsys)["slots"]]


def test_chosen_hours_hide_no_other_pod(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """A charge of unknown origin outside the chosen hours still keeps a record in doubt from being settled."""
    events = [DOUBTED, metered(9, TWELVE)]
    assert 1 == reconcile(books, "--from", ELEVEN, "--until", TWELVE, "--json", events=events)
    assert {IN_DOUBT: "missing-in-aws", None: "missing-here"} == {
        slot["record"]: slot["verdict"] for slot in found(capsys)["slots"]
    }
    assert 0 == books.count("audit")


@pytest.mark.parametrize(
    "elsewhere",
    [{"awsRegion": "us-east-1"}, {"userIdentity": {**DOUBTED["userIdentity"], "accountId": "444455556666"}}],
)
def test_places_are_told_apart(books: Books, capsys: pytest.CaptureFixture[str], elsewhere: dict[str, Any]) -> None:
    """A charge in another account or Region of the same bucket settles nothing here, however like it is."""
    assert 1 == reconcile(books, events=[HELD, DOUBTED | elsewhere])
    assert "settled" not in capsys.readouterr().out
    assert 0 == books.count("audit")


def test_charge_of_this_pod_is_never_a_strangers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the ledger's pod metered past it is missing here, also where the ledger has no record at all."""
    uid = "6f0c1c3e-5f0b-4c53-9f0a-0b6d5c2f7a11"
    books = Books(tmp_path / "ledger.db", pod=uid)
    charge = metered(9, TEN, "mr-9") | {"additionalEventData": {"identity": uid}}
    assert 1 == reconcile(books, "--json", events=[charge])
    document = found(capsys)
    assert (1, 0) == (document["counts"]["missing-here"], document["of_other_pods"])
    books.close()


def test_charge_of_a_dropped_record_is_no_strangers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Accepted records are dropped after 100 days: AWS's charge of one is told apart, also with older ones kept."""
    with closing(Books(tmp_path / "ledger.db")) as books:
        for outcome in (Outcome.REJECTED, Outcome.ACCEPTED):
            books.take(event("5"))
            books.pass_time(HOUR)
            books.seal_ended()
            books.submit_all(outcome)
        dropped, later = metered(5, ELEVEN, "mr-2"), metered(5, TWELVE, "mr-9")
        books.pass_time(101 * 24 * HOUR)
        books.prune()
        assert 1 == reconcile(books, "--json", events=[dropped, later])
    assert ["of an hour whose records are no longer all kept here", "no record here is it"] == [
        re.split("[;:]", slot["note"])[0] for slot in found(capsys)["slots"] if slot["record"] is None
    ]


def test_ledger_named_twice_is_one(books: Books, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same ledger under two names is read once: its charges are not taken from it by itself."""
    link = tmp_path / "same.db"
    link.symlink_to(books.path)
    assert 0 == reconcile(books, "--also", str(link), events=[HELD, DOUBTED])
    assert "1 settled" in capsys.readouterr().out


def test_other_pods_ledger_is_given(books: Books, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--also explains another pod's charges, and its records in doubt are settled in its own ledger."""
    other = Books(tmp_path / "other.db", pod="pod-9")
    other.take(event("4"))
    other.pass_time(HOUR)
    other.seal_ended()
    other.submit_all(Outcome.UNKNOWN)
    other.restart("pod-10")
    elsewhere = metered(4, TEN, "mr-7")
    assert 1 == reconcile(books, events=[HELD, DOUBTED, elsewhere])
    assert "pod-9" not in capsys.readouterr().out
    assert 0 == reconcile(books, "--also", str(other.path), events=[HELD, DOUBTED, elsewhere])
    assert "settled" in (shown := capsys.readouterr().out)
    assert "pod-9" in shown
    assert ["mr-7"] == [each.metering_record_id for each in other.records()]
    assert [] == other.breaches()
    other.close()


def test_ledgers_are_read_one_after_the_other(
    books: Books, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each ledger has its own 5 seconds, however many there are: it is opened when the one before is closed."""
    copies = [tmp_path / f"copy-{number}.db" for number in range(3)]
    for copy in copies:
        with closing(sqlite3.connect(books.path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    held: list[int] = []

    @contextmanager
    def counted(path: Path) -> Iterator[sqlite3.Connection]:
        held.append(1 + (held[-1] if held else 0))
        with reading(path) as connection:
            yield connection
        held.append(held[-1] - 1)

    monkeypatch.setattr("sidecar.commands.ledger.reconcile.reading", counted)
    others = [argument for copy in copies for argument in ("--also", str(copy))]
    reconcile(books, "--dry-run", *others, events=[HELD])
    assert [1, 0] * 4 == held
    assert "rec-2" in capsys.readouterr().out


def test_many_files_are_one_log(books: Books, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files of several days and places make one log; an event delivered twice counts once."""
    bucket = deliver(tmp_path / "trail", HELD)
    deliver(tmp_path / "trail", HELD, DOUBTED, day="24")
    more = tmp_path / "more.json"
    more.write_bytes(records([DOUBTED]))
    assert 0 == reconcile(books, "--cloudtrail", str(more), "--json", events=[], place=bucket)
    document = found(capsys)
    assert (3, 4, 1) == (document["files"], document["events"], document["counts"]["settled"])
    assert {"requests": {"submitted": "7.5", "charged": "7.5", "difference": "0"}} == document["totals"]


@pytest.mark.parametrize("content", [b"", b"{", records([HELD, DOUBTED])[:-3], records([HELD, metered("x", TEN)])])
def test_unreadable_log_settles_nothing(
    books: Books, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    """One file that cannot be read ends it with 2 and its name, before anything is settled."""
    bucket = deliver(tmp_path / "trail", DOUBTED)
    (bucket / "torn.json").write_bytes(content)
    assert 2 == reconcile(books, events=[], place=bucket)
    assert "torn.json" in (said := capsys.readouterr().err)
    assert "Nothing was settled." in said
    assert 0 == books.count("audit")


def test_decision_in_between_is_respected(
    books: Books, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that a person resolves between look and settlement keeps that decision, and the slot differs."""

    def resolve_first(*arguments: Any, **named: Any) -> Any:
        assert 0 == ledger("resolve", IN_DOUBT, "write-off", "--reason", "first", "--ledger", str(books.path))
        return resolve_in(*arguments, **named)

    monkeypatch.setattr("sidecar.commands.ledger.reconcile.resolve_in", resolve_first)
    assert 1 == reconcile(books, events=[HELD, DOUBTED])
    assert "resolved before" in capsys.readouterr().out


def test_product_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The product is the configuration's, else the registration's in the ledger; without either it must be named."""
    with lived(tmp_path / "ledger.db") as books:
        bucket = str(deliver(tmp_path / "trail", HELD, DOUBTED))
        assert 2 == ledger("reconcile", "--ledger", str(books.path), "--cloudtrail", bucket)
        assert "--product-code" in capsys.readouterr().err
        arguments = ("--config", str(configured(books.path)), "--cloudtrail", bucket, "--dry-run")
        assert 0 == ledger("reconcile", *arguments)
        assert f"Pods of {CODE} registered 0 times." in capsys.readouterr().out


def test_second_run_at_once_agrees(
    books: Books, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two runs at the same time one settles, and the other finds that settled: no difference, and one decision."""

    def resolve_twice(*arguments: Any, **named: Any) -> Any:
        resolve_in(*arguments, **named)
        return resolve_in(*arguments, **named)

    monkeypatch.setattr("sidecar.commands.ledger.reconcile.resolve_in", resolve_twice)
    assert 0 == reconcile(books, events=[HELD, DOUBTED])
    assert (1, "settled") == (books.count("audit"), capsys.readouterr().out.split("\n")[1].split()[0])


@pytest.mark.parametrize(
    ("events", "warning"),
    [
        ([HELD], "AWS did not take a record in doubt only if the files are complete"),
        ([], f"Carry nothing because of this: the files show no other record of the ledger either. Check that {CODE}"),
        ([metered(1, TEN, "mr-1", productCode="another")], "Carry nothing because of this"),
        ([HELD, DOUBTED], ""),
    ],
)
def test_carrying_is_warned_of(
    books: Books, capsys: pytest.CaptureFixture[str], events: list[dict[str, Any]], warning: str
) -> None:
    """What the files do not show may be carried only if they are complete; files of something else say so."""
    reconcile(books, events=events)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(warning or "Reconciled")


def test_waiting_record_at_aws_is_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A record that AWS took, and whose answer is still out, counts as submitted in the totals."""
    books = Books(tmp_path / "ledger.db")
    books.take(event("3"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all(Outcome.UNKNOWN)
    assert 0 == reconcile(books, "--json", events=[metered(3, TEN, "mr-1")])
    assert {"submitted": "3", "charged": "3", "difference": "0"} == found(capsys)["totals"]["requests"]
    books.close()


@pytest.mark.parametrize("missing", ["ledger", "log"])
def test_absence_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], missing: str) -> None:
    """A ledger or a log that is not there ends with its own code and its name."""
    with lived(tmp_path / "ledger.db") as books:
        place = deliver(tmp_path / "trail", HELD)
        path = tmp_path / "none.db" if missing == "ledger" else books.path
        log = place / "none" if missing == "log" else place
        code = ledger("reconcile", "--ledger", str(path), "--product-code", CODE, "--cloudtrail", str(log))
    assert {"ledger": 4, "log": 2}[missing] == code
    assert "none" in capsys.readouterr().err


PROBES = [
    (Outcome.ACCEPTED, "accepted", {"matched": 1}),
    (Outcome.UNKNOWN, "sealed", {"waiting": 1}),
]


@pytest.mark.parametrize(("outcome", "status", "counts"), PROBES)
def test_probe_is_matched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], outcome: Outcome, status: str, counts: dict[str, int]
) -> None:
    """AWS's zero record of a start probe is the probe's, also while its answer is awaited."""
    with closing(Books(tmp_path / "ledger.db")) as books:
        probe = books.probe()
        assert probe is not None
        books.answer_probe(probe, outcome)
        (record,) = books.records()
        zero = metered(0, "2026-11-23T09:00:00Z", f"mr-{probe.seq}", clientToken=record.client_token)
        code = reconcile(books, "--json", "--all", events=[zero])

    assert (0, "probe", status) == (code, record.kind, record.status)
    assert counts == {verdict: count for verdict, count in found(capsys)["counts"].items() if count}


def test_dropped_probe_at_aws_is_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A probe whose answer never came is kept as a zero: AWS may hold it, and charges nothing for it."""
    with closing(Books(tmp_path / "ledger.db")) as books:
        probe = books.probe()
        assert probe is not None
        books.answer_probe(probe, Outcome.UNKNOWN)
        token = books.records()[0].client_token
        books.pass_time(6 * HOUR)
        books.expire_probes()
        zero = metered(0, "2026-11-23T09:00:00Z", "mr-1", clientToken=token)
        code = reconcile(books, "--json", "--all", events=[zero])

    assert (0, 1) == (code, found(capsys)["counts"]["matched"])


def test_unreadable_row_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged row is the ledger's fault, reported as such, and nothing is settled."""
    with lived(tmp_path / "ledger.db"):
        pass
    tamper(tmp_path / "ledger.db", "UPDATE record SET quantity = 'abc' WHERE seq = 1")
    bucket = str(deliver(tmp_path / "trail", HELD, DOUBTED))
    arguments = ("--ledger", str(tmp_path / "ledger.db"), "--product-code", CODE, "--cloudtrail", bucket)
    assert 4 == ledger("reconcile", *arguments)
    assert "a row cannot be read" in capsys.readouterr().err
