"""`ledger reconcile`: records in doubt that must stay so, since a carry could bill the buyer twice."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from sidecar.domain.metering.outcomes import Outcome
from tests.commands.ledgers import ledger
from tests.commands.trails import CODE, deliver, metered
from tests.commands.trails import event as cloudtrail
from tests.support.books import HOUR, MINUTE, NOW, Books, event

POD = "11111111-2222-4333-8444-555555555555"
IN_DOUBT = "rec-2"


def at(instant: str) -> dict[str, Any]:
    """Return an event of another service in the same account and Region."""
    return cloudtrail("AssumeRole", None, None, eventSource="sts.amazonaws.com", eventTime=f"2026-11-23T{instant}:00Z")


def charge(session: str, quantity: int, hour: int, receipt: str, when: str, **asked: Any) -> dict[str, Any]:
    """Return a charge of a session."""
    called = metered(quantity, f"2026-11-23T{hour:02}:00:00Z", receipt, **asked)
    return called | {"additionalEventData": {"identity": session}, "eventTime": f"2026-11-23T{when}:00Z"}


ANSWERED = charge(POD, 100, 10, "mr-1", "11:20")
COVERING = [ANSWERED, at("11:30"), at("12:05"), at("12:50")]
"""A log of the record of 10:00 that covers the time of the record in doubt, 12:20, and shows no charge for it."""


def doubting(path: Path) -> Books:
    """Return a ledger with an accepted record of 10:00 and an unanswered one of 11:00."""
    books = Books(path, pod=POD)
    for number, outcome in enumerate((Outcome.ACCEPTED, Outcome.UNKNOWN)):
        books.take(event("100" if not number else "7", id=f"usage-{number}"))
        books.pass_time(HOUR)
        books.seal_ended()
        books.submit_all(outcome)
    return books


def settled(books: Books, *arguments: str, events: list[dict[str, Any]]) -> str:
    """Run `ledger reconcile --settle-not-charged carry` and return what became of the record in doubt."""
    bucket = deliver(books.path.parent / "trail", *events)
    place = ("--ledger", str(books.path), "--cloudtrail", str(bucket), "--product-code", CODE)
    ledger("reconcile", *place, "--settle-not-charged", "carry", *arguments)
    (status,) = [each.status for each in books.records() if each.id == IN_DOUBT]
    return status


@pytest.mark.parametrize("answered", [True, False])
def test_copied_record_is_not_carried(tmp_path: Path, capsys: pytest.CaptureFixture[str], *, answered: bool) -> None:
    """A record that a copy of the ledger has, too, is one record of AWS: billed in one ledger, never in both."""
    books = doubting(tmp_path / "ledger.db")
    books.close()
    shutil.copy(books.path, tmp_path / "copy.db")
    books.restart(POD)
    if answered:
        books.pass_time(MINUTE)
        books.submit_all()
    else:
        books.restart("pod-2")
    copy = Books(tmp_path / "copy.db", pod="pod-3", now=NOW + 3 * HOUR)
    events = [*COVERING, charge(POD, 7, 11, "mr-2", "12:20")] if answered else COVERING
    assert "unbilled" == settled(copy, "--also", str(books.path), events=events)
    shown = capsys.readouterr().out
    assert f"in doubt; {books.path} has records of its pod, too" in shown
    assert f"({1 + answered} matched, {2 - answered} missing in aws)" in shown
    assert ("accepted" if answered else "unbilled") == books.records()[-1].status
    assert [] == books.breaches() + copy.breaches()
    books.close()
    copy.close()


@pytest.mark.parametrize("chosen", [(), ("--from", "2026-11-23T11:00:00Z")])
def test_incomplete_files_carry_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], chosen: tuple[str, ...]
) -> None:
    """Files without a charge that AWS has made in their time may lack others, whatever hours are judged."""
    books = doubting(tmp_path / "ledger.db")
    books.restart("pod-2")
    located = charge(POD, 1, 9, "mr-0", "11:05", usageDimension="peak")
    assert "unbilled" == settled(books, *chosen, events=[located, *COVERING[1:]])
    assert "the files lack mr-1, which AWS took in their time" in capsys.readouterr().out
    later = [located | {"eventTime": "2026-11-23T12:01:00Z"}, *COVERING[2:]]
    assert "carried" == settled(books, *chosen, events=later)
    assert [] == books.breaches()
    books.close()


@pytest.mark.parametrize("shared", ["0123456789abcdef0123456789abcdef", POD.replace("1", "9"), "fixed"])
@pytest.mark.parametrize("sign", [True, False])
def test_shared_session_names_no_pod(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shared: str, *, sign: bool
) -> None:
    """A receipt does not make a session the pod's: another replica's charge under it is no proof."""
    books = doubting(tmp_path / "ledger.db")
    books.restart("pod-2")
    events = [charge(shared, 100, 10, "mr-1", "11:20"), charge(shared, 7, 11, "mr-8", "12:20"), *COVERING[1:]]
    another = [charge(shared, 50, 10, "mr-9", "11:21")] if sign else []
    assert ("unbilled" if sign else "accepted") == settled(books, events=[*events, *another])
    assert ("perhaps mr-8, which may be another pod's" in capsys.readouterr().out) == sign
    assert [] == books.breaches()
    books.close()


ELSEWHERE = cloudtrail("MeterUsage", {"omitted": True}, {"meteringRecordId": "mr-9"}, awsRegion="us-east-1")


def test_cut_call_shows_where_a_pod_ran(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A charge of the pod's own session in a second Region counts as a place, also where the log cuts its usage."""
    books = doubting(tmp_path / "ledger.db")
    books.restart("pod-2")
    assert "unbilled" == settled(books, events=[*COVERING, ELSEWHERE | {"additionalEventData": {"identity": POD}}])
    assert "which show its pod in two places" in capsys.readouterr().out
    assert "carried" == settled(books, events=[*COVERING, ELSEWHERE | {"additionalEventData": {"identity": "pod-9"}}])
    assert [] == books.breaches()
    books.close()


@pytest.mark.parametrize("quantity", [1, 7, 9])
def test_charge_in_the_slot_keeps_a_doubt(tmp_path: Path, capsys: pytest.CaptureFixture[str], quantity: int) -> None:
    """An unknown charge of the record's dimension and hour may be of its pod, with another quantity, too."""
    books = doubting(tmp_path / "ledger.db")
    books.restart("pod-2")
    events = [*COVERING, charge("fixed", quantity, 11, "mr-8", "12:20"), charge("fixed", 1, 10, "mr-9", "11:20")]
    assert "unbilled" == settled(books, events=events)
    assert "mr-8" in capsys.readouterr().out
    assert [] == books.breaches()
    books.close()


OURS, OTHERS = "111122223333", "444455556666"
READ = {"readOnly": True}
DATA = READ | {"eventSource": "s3.amazonaws.com", "managementEvent": False, "eventCategory": "Data"}
BETWEEN_ACCOUNTS = {"recipientAccountId": OTHERS, "sharedEventID": "1"}
"""A call from our account into another one, as the other account's log has it."""


@pytest.mark.parametrize(
    ("members", "covered"),
    [
        ({}, True),
        ({"recipientAccountId": OURS, "managementEvent": True, "eventCategory": "Management", "readOnly": False}, True),
        (BETWEEN_ACCOUNTS, False),
        (DATA, False),
        (DATA | {"readOnly": False, "managementEvent": None}, False),
        ({"eventCategory": "NetworkActivity"}, False),
        ({"eventCategory": "Insight"}, False),
        (READ, False),
    ],
)
@pytest.mark.parametrize("stopped", [True, False])
def test_only_a_trail_of_metering_covers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], members: dict[str, Any], *, covered: bool, stopped: bool
) -> None:
    """Events of another account, or of a trail that would not hold MeterUsage, do not stand for files that lack."""
    books = doubting(tmp_path / "ledger.db")
    books.restart("pod-2")
    theirs = [at("12:05") | members, at("12:50") | members]
    rest = [] if stopped else [at("13:05")]
    if not stopped and members == READ:
        deliver(tmp_path / "trail" / "AWSLogs" / "reads", *theirs)
        theirs = []
    assert ("carried" if covered else "unbilled") == settled(books, events=[ANSWERED, at("11:59"), *theirs, *rest])
    assert ("which do not cover its time" in capsys.readouterr().out) != covered
    assert [] == books.breaches()
    books.close()


@pytest.mark.parametrize(("folder", "covered"), [("", True), ("AWSLogs/another", False)])
def test_reads_between_writes_cover(tmp_path: Path, folder: str, *, covered: bool) -> None:
    """Reads stand for the files of their trail while it also has writes before and after, in whichever file and day."""
    books = doubting(tmp_path / "ledger.db")
    books.restart("pod-2")
    deliver(tmp_path / "trail" / folder, at("13:05"), name="2.json.gz", day="24")
    assert ("carried" if covered else "unbilled") == settled(books, events=[ANSWERED, at("12:05") | READ])
    assert [] == books.breaches()
    books.close()


@pytest.mark.parametrize(("source", "covered"), [("iam", False), ("sts", False), ("ec2", True)])
def test_global_services_cover_no_region(tmp_path: Path, source: str, *, covered: bool) -> None:
    """Trails of any Region may hold the events of IAM and STS, which name us-east-1."""
    books = doubting(tmp_path / "ledger.db")
    books.restart("pod-2")
    members = {"eventSource": f"{source}.amazonaws.com"}
    events = [ANSWERED, at("12:05") | members, at("12:50") | members]
    there = [each | {"awsRegion": "us-east-1"} for each in events]
    assert ("carried" if covered else "unbilled") == settled(books, events=there)
    assert "carried" == settled(books, events=events)
    books.close()


@pytest.mark.parametrize(
    ("steps", "status"),
    [((40, 5), "carried"), ((120, -115), "unbilled"), ((-60, 100), "unbilled")],
    ids=["right", "back", "behind the seal"],
)
def test_clock_set_back_hides_no_attempt(tmp_path: Path, steps: tuple[int, int], status: str) -> None:
    """AWS may have taken any attempt: files that do not reach the latest one, or begin after it, decide nothing."""
    books = doubting(tmp_path / "ledger.db")
    for minutes, outcome in zip(steps, (Outcome.UNKNOWN, Outcome.RETRY), strict=True):
        books.pass_time(minutes * MINUTE)
        books.submit_all(outcome)
    books.restart("pod-2")
    assert status == settled(books, events=[*COVERING, at("13:30")])
    assert [] == books.breaches()
    books.close()


@pytest.mark.parametrize("decision", ["carry", "write-off"])
def test_decided_record_leaves_its_charge_to_no_other(tmp_path: Path, decision: str) -> None:
    """A charge of one of two like records is not taken for the other's because a person has decided about the one."""
    books = Books(tmp_path / "ledger.db", pod="pod-1")
    for pod in ("pod-2", "pod-3"):
        books.take(event("5", id=pod))
        books.seal()
        books.submit_all(Outcome.UNKNOWN)
        books.pass_time(MINUTE)
        books.restart(pod)
    ledger("resolve", "rec-1", decision, "--ledger", str(books.path), "--reason", "goodwill")
    assert "unbilled" == settled(books, events=[charge("fixed", 5, 10, "mr-1", "10:20"), at("10:05"), at("11:30")])
    assert [] == books.breaches()
    books.close()


UNNAMED = [charge("fixed", 100, 10, "mr-1", "11:20"), charge("fixed", 7, 11, "mr-8", "12:20")]
"""Charges of both records, by a session that names no pod."""


def registration(when: str) -> dict[str, Any]:
    """Return a registration by a session of its own that names no pod."""
    called = cloudtrail("RegisterUsage", {"productCode": CODE}, None, requestID=when)
    return called | {"eventTime": f"2026-11-23T{when}:00Z", "additionalEventData": {"identity": f"session-{when}"}}


@pytest.mark.parametrize(("registered", "status"), [(("12:30",), "accepted"), (("12:30", "12:35"), "unbilled")])
def test_pod_of_before_explains_no_registration(tmp_path: Path, registered: tuple[str, ...], status: str) -> None:
    """A pod that has left the ledger before a registration does not hide that another pod has made it."""
    books = doubting(tmp_path / "ledger.db")
    books.restart("pod-2")
    assert status == settled(books, events=[*UNNAMED, *map(registration, registered)])
    assert [] == books.breaches()
    books.close()


@pytest.mark.parametrize(("foreign", "status"), [(False, "accepted"), (True, "unbilled")])
def test_pod_explains_one_registration(tmp_path: Path, *, foreign: bool, status: str) -> None:
    """Registrations close to take-overs do not hide one of another pod: none of the ledger's is left for it."""
    books = doubting(tmp_path / "ledger.db")
    for pod, minutes in (("pod-2", 30), ("pod-3", 60), ("pod-4", 0)):
        books.restart(pod)
        books.pass_time(minutes * MINUTE)
    calls = map(registration, ("10:21", "12:21", "12:51", "12:53")[: 3 + foreign])
    assert status == settled(books, events=[*UNNAMED, *calls])
    assert [] == books.breaches()
    books.close()
