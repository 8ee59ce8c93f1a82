"""CloudTrail's files and events: every form they come in, and what is refused."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.commands.ledger.cloudtrail.files import TrailUnreadable, find_files, read_events
from sidecar.commands.ledger.cloudtrail.trail import Trail
from sidecar.domain.audit.slots import Charge, FailedCall, UndescribedCall
from tests.commands.trails import CODE, deliver, event, metered, packed, records

TEN = datetime(2026, 11, 23, 10, tzinfo=UTC)
ONE = metered(1, "Nov 23, 2026 10:35:44 AM")
TWO = metered(2, "2026-11-23T11:00:00Z", "mr-2")
OTHER = event("PutObject", {"bucketName": "b"}, None, eventSource="s3.amazonaws.com")


class Listed(Trail):
    """A trail that keeps its charges."""

    def __init__(self) -> None:
        self.charges: list[Charge] = []
        self.failed: list[FailedCall] = []
        self.undescribed: list[UndescribedCall] = []
        super().__init__(CODE, self.charges.append, self.failed.append, self.undescribed.append)


def trail_of(*paths: Path) -> Listed:
    """Read files or folders."""
    trail = Listed()
    trail.read(find_files(paths))
    return trail


def charges(folder: Path, *events: dict[str, Any]) -> list[Charge]:
    """Return what events say was charged."""
    path = folder / "trail.json"
    path.write_bytes(records(events))
    return trail_of(path).charges


@pytest.mark.parametrize(
    "content",
    [
        {"Records": [ONE, OTHER, TWO]},
        {"NextToken": "t", "Records": [ONE, OTHER, TWO]},
        [ONE, OTHER, TWO],
        {"Events": [{"EventId": "e", "CloudTrailEvent": json.dumps(each)} for each in (ONE, OTHER, TWO)]},
        [{"EventName": "MeterUsage", "CloudTrailEvent": json.dumps(each)} for each in (ONE, OTHER, TWO)],
    ],
    ids=["delivered", "with-more", "array", "looked-up", "looked-up-array"],
)
@pytest.mark.parametrize("pack", [bytes, packed], ids=["plain", "gz"])
@pytest.mark.parametrize("indent", [None, 2])
def test_forms_are_read(tmp_path: Path, content: object, pack: Any, indent: int | None) -> None:
    """Every form of a file, packed or not, gives the same events."""
    path = tmp_path / "trail"
    path.write_bytes(pack(json.dumps(content, indent=indent).encode()))
    trail = trail_of(path)
    assert (1, 3, ["mr-aws", "mr-2"]) == (
        trail.files,
        trail.events,
        [each.metering_record_id for each in trail.charges],
    )


@pytest.mark.parametrize("end", ["", "\n"])
def test_lines_are_read(tmp_path: Path, end: str) -> None:
    """One event a line is read too; an event that holds a list named Records stays an event."""
    odd = event("MeterUsage", {"productCode": "x", "Records": [1]}, None)
    path = tmp_path / "trail.jsonl"
    path.write_text("\n".join(json.dumps(each) for each in (ONE, odd, TWO)) + end)
    assert [ONE, odd, TWO] == [dict(each) for each in read_events(path)]


def test_folder_is_searched(tmp_path: Path) -> None:
    """A folder gives the files of events below it, once each, and neither digests nor anything else."""
    bucket = deliver(tmp_path, ONE)
    deliver(tmp_path, TWO, name="2.json.gz", day="24")
    digest = bucket / "111122223333" / "CloudTrail-Digest" / "1.json.gz"
    digest.parent.mkdir()
    digest.write_bytes(packed(b'{"logFiles": []}'))
    (bucket / "README.txt").write_text("not a log")
    found = find_files([bucket, tmp_path, *find_files([bucket])])
    assert ["1.json.gz", "2.json.gz"] == [path.name for path in found]
    assert ["mr-aws", "mr-2"] == [each.metering_record_id for each in trail_of(bucket).charges]


@pytest.mark.parametrize("name", ["2.json.gz.6eF4a3B2", "2.json.gz.3f.partial", "2.json.tmp"])
def test_interrupted_copy_is_refused(tmp_path: Path, name: str) -> None:
    """What a copy has left half done counts as unreadable, unless the whole file is there by now."""
    bucket = deliver(tmp_path, ONE)
    deliver(tmp_path, TWO, name=name)
    with pytest.raises(TrailUnreadable, match=r"not the whole 2\.json") as refused:
        find_files([bucket])
    assert str(refused.value).endswith("Copy it from the bucket again.")
    deliver(tmp_path, TWO, name=name[: name.rindex("json") + 4] + ".gz" * (".gz." in name))
    assert 2 == len(find_files([bucket]))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not whole JSON"),
        (b"{", "not whole JSON"),
        (b"not a log", "not whole JSON"),
        (records([ONE])[:-1], "not whole JSON"),
        (records([ONE]) + b"{", "not whole JSON"),
        (packed(records([ONE, TWO]))[:-12], "ended"),
        (packed(records([ONE]))[:-6] + b"\0" * 6, ""),
        (b"\x1f\x8b not gzip", ""),
        (b'{"logFiles": []}', "no event of CloudTrail's"),
        (b'{"Records": [1]}', "'1' is where an object should be"),
        (b'{"Records": [{"CloudTrailEvent": "{"}]}', "not whole JSON"),
        (b'{"Records": [' + b"[" * 100_000, ""),
        (b'{"Records": [{"eventSource": ' + b"9" * 10_000 + b"}]}", ""),
        (b"\xff\xfe", "not whole JSON"),
    ],
)
def test_unreadable_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    """A file that is empty, torn, damaged or of something else is refused by its name, with what to do."""
    path = tmp_path / "trail.json"
    path.write_bytes(content)
    with pytest.raises(TrailUnreadable, match=reason or None) as refused:
        trail_of(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert str(refused.value).count(". ") >= 1


@pytest.mark.parametrize("name", ["missing.json", "empty"])
def test_place_without_files_is_refused(tmp_path: Path, name: str) -> None:
    """A place that is not there, or holds no file of events, is a mistake and no empty log."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrailUnreadable):
        find_files([tmp_path / name])


@pytest.mark.parametrize(
    ("timestamp", "hour"),
    [
        ("Nov 23, 2026 10:35:44 AM", 10),
        ("Nov 23, 2026, 10:35:44\u202fAM", 10),
        ("Nov 23, 2026 12:00:00 AM", 0),
        ("Nov 23, 2026 12:59:59 PM", 12),
        ("Nov 23, 2026 1:35:44 PM", 13),
        ("2026-11-23T10:00:00Z", 10),
        ("2026-11-23T12:30:00+02:00", 10),
        (1795428000, 10),
        (1795428000.25, 10),
        ("1795428000", 10),
    ],
)
def test_timestamps_are_read(tmp_path: Path, timestamp: object, hour: int) -> None:
    """A request's timestamp is read in each form in which it is logged, and gives its UTC hour."""
    [charge] = charges(tmp_path, metered(1, timestamp))
    assert TEN.replace(hour=hour) == charge.hour


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"usageQuantity": 17}, 17_000_000),
        ({"usageQuantity": "17.00"}, 17_000_000),
        ({"usageQuantity": 1.5}, 1_500_000),
        ({"usageQuantity": None, "usageQuantityAsDecimal": "0.000001"}, 1),
        ({"usageQuantity": None}, 0),
    ],
)
def test_quantities_are_exact(tmp_path: Path, usage: dict[str, Any], expected: int) -> None:
    """Whole and decimal quantities are read to the last digit; none given is nothing."""
    [charge] = charges(tmp_path, metered(1, "2026-11-23T10:00:00Z", **usage))
    assert expected == charge.quantity


@pytest.mark.parametrize(
    "broken",
    [
        metered(1, "yesterday"),
        metered(1, "Nov 31, 2026 10:35:44 AM"),
        metered(1, "Xyz 23, 2026 10:35:44 AM"),
        metered(1, "Nov 23, 2026 13:35:44 AM"),
        metered(1, 1e30),
        metered(1, None),
        metered(1, timestamp=True),
        metered("1e3", "2026-11-23T10:00:00Z"),
        metered(-1, "2026-11-23T10:00:00Z"),
        metered(1, usageQuantity=True),
        metered([], "2026-11-23T10:00:00Z"),
        metered(1, "2026-11-23T10:00:00Z", None),
        metered(1, "2026-11-23T10:00:00Z", ""),
        metered(1, "2026-11-23T10:00:00Z", "mr-\ud800"),
        metered(1, "2026-11-23T10:00:00Z", "mr\x1b[2J"),
        metered(1, "2026-11-23T10:00:00Z", "m" * 256),
        metered(1, "2026-11-23T10:00:00Z", usageDimension=None),
        event("BatchMeterUsage", {"productCode": CODE}, {"results": [{"status": "Success", "usageRecord": {}}]}),
    ],
)
def test_unclear_charge_is_refused(tmp_path: Path, broken: dict[str, Any]) -> None:
    """A charge that cannot be read is not passed over: it is named by its event."""
    with pytest.raises(TrailUnreadable, match="event event-1: "):
        charges(tmp_path, broken)


@pytest.mark.parametrize(
    "passed",
    [
        OTHER,
        metered(1, "2026-11-23T10:00:00Z", productCode="another"),
        metered(1, "2026-11-23T10:00:00Z", None, dryRun=True),
        metered(1, "2026-11-23T10:00:00Z", dryRun="true"),
        {**metered(1, "2026-11-23T10:00:00Z", None), "errorCode": "ThrottlingException"},
        event("RegisterUsage", None, None),
        event("ResolveCustomer", {}, {"productCode": CODE}),
        event("BatchMeterUsage", {"productCode": "another"}, {"results": [{"status": "Success", "usageRecord": {}}]}),
        event("BatchMeterUsage", {"productCode": CODE}, {"results": [{"status": "DuplicateRecord"}, "odd"]}),
        event("BatchMeterUsage", {"productCode": CODE}, None),
    ],
)
def test_uncharged_call_is_passed_over(tmp_path: Path, passed: dict[str, Any]) -> None:
    """Refusals, dry runs, other products and other calls are no charges."""
    assert [] == charges(tmp_path, passed)


@pytest.mark.parametrize(
    ("code", "kept"),
    [
        ("InternalServiceErrorException", True),
        ("ServiceUnavailable", True),
        ("InternalFailure", True),
        ("IdempotencyConflictException", True),
        ("ThrottlingException", False),
        ("AccessDenied", False),
        ("ExpiredToken", False),
        ("DuplicateRequestException", False),
    ],
)
def test_failure_proves_nothing(tmp_path: Path, code: str, kept: bool) -> None:  # noqa: FBT001 - a table's column
    """A call that failed is no charge; unless its error is a refusal, the log leaves open whether AWS charged it."""
    path = tmp_path / "trail.json"
    failed = metered("2.5", TEN.isoformat(), None, clientToken="token-1") | {"errorCode": code}
    path.write_bytes(records([failed, failed | {"eventName": "RegisterUsage"}, {**OTHER, "errorCode": code}]))
    trail = trail_of(path)
    call = FailedCall(code, "requests", TEN, 2_500_000, "token-1", "botocore-session-1595466206")
    assert ([], [call] if kept else []) == (trail.charges, trail.failed)


@pytest.mark.parametrize(
    ("quantity", "at"),
    [("-1", TEN.isoformat()), ("many", TEN.isoformat()), ("1", "tomorrow")],
    ids=["negative", "no number", "no time"],
)
def test_impossible_call_is_passed_over(tmp_path: Path, quantity: str, at: str) -> None:
    """A call that MeterUsage cannot take does not make the file unreadable; its hour is not covered."""
    path = tmp_path / "trail.json"
    failed = metered(quantity, at, None) | {"errorCode": "ValidationException"}
    path.write_bytes(records([failed, metered(1)]))
    trail = trail_of(path)
    assert (1, [], 1) == (len(trail.charges), trail.failed, len(trail.undescribed))


CUT = {"omitted": True}
ANSWER = {"meteringRecordId": "mr-1"}


@pytest.mark.parametrize(
    ("cut", "receipt"),
    [
        (event("MeterUsage", CUT, ANSWER), "mr-1"),
        (event("MeterUsage", None, ANSWER), "mr-1"),
        (event("MeterUsage", {**ONE["requestParameters"], "usageQuantity": None, **CUT}, ANSWER), "mr-1"),
        (event("MeterUsage", ONE["requestParameters"], CUT), None),
        (event("MeterUsage", None, None), None),
        (event("MeterUsage", CUT, {"meteringRecordId": "mr\x1b[2J"}), None),
        (event("MeterUsage", CUT, None, errorCode="ServiceUnavailable"), None),
        (
            event("MeterUsage", {**ONE["requestParameters"], "usageQuantity": None, **CUT}, None, errorCode="Unknown"),
            None,
        ),
        (event("BatchMeterUsage", CUT, CUT), None),
        (event("BatchMeterUsage", {"productCode": CODE}, None), None),
    ],
)
def test_cut_call_is_kept(tmp_path: Path, cut: dict[str, Any], receipt: str | None) -> None:
    """CloudTrail leaves out parameters and answers over 100 KB: such a call may be a charge of the product."""
    path = tmp_path / "trail.json"
    path.write_bytes(records([cut]))
    trail = trail_of(path)
    place, session = "111122223333 eu-west-1", "botocore-session-1595466206"
    call = UndescribedCall(receipt, session, "event-1", place, TEN.replace(hour=12))
    assert ([], [], [call]) == (trail.charges, trail.failed, trail.undescribed)


@pytest.mark.parametrize(
    "other",
    [
        event("MeterUsage", {"productCode": "another", **CUT}, ANSWER),
        event("BatchMeterUsage", {"productCode": "another"}, CUT),
        event("MeterUsage", CUT, None, errorCode="ThrottlingException"),
        event("RegisterUsage", CUT, None),
    ],
)
def test_cut_call_of_something_else_is_passed_over(tmp_path: Path, other: dict[str, Any]) -> None:
    """A cut call of another product, a refused one and a registration are no charge."""
    path = tmp_path / "trail.json"
    path.write_bytes(records([other]))
    assert [] == trail_of(path).undescribed


def test_odd_event_id_is_written_out(tmp_path: Path) -> None:
    """An event's id goes into the audit trail, so it holds nothing that cannot stand there."""
    [charge] = charges(tmp_path, metered(1) | {"eventID": "e\ud800\n"})
    assert "e\\ud800\\n" == charge.event_id


def test_batch_is_charged(tmp_path: Path) -> None:
    """Of a batch the records that AWS took are charges; those that name no product are counted."""
    usage = {"dimension": "requests", "timestamp": "Nov 23, 2026 10:32:50 AM", "quantity": 3}
    results = [
        {"usageRecord": {**usage, "customerIdentifier": "c"}, "meteringRecordId": "mr-1", "status": "Success"},
        {"usageRecord": usage, "meteringRecordId": "mr-2", "status": "CustomerNotSubscribed"},
        {"usageRecord": {**usage, "quantityAsDecimal": "2.5"}, "meteringRecordId": "mr-3", "status": "Success"},
    ]
    path = tmp_path / "trail.json"
    asked: list[dict[str, Any]] = [{"productCode": CODE}, {}]
    path.write_bytes(records([event("BatchMeterUsage", each, {"results": results}) for each in asked]))
    trail = trail_of(path)
    assert [("mr-1", TEN, 3_000_000), ("mr-3", TEN, 2_500_000)] == [
        (each.metering_record_id, each.hour, each.quantity) for each in trail.charges
    ]
    assert 2 == trail.without_product


def test_registrations_are_counted_once(tmp_path: Path) -> None:
    """A RegisterUsage call of the product counts once, in however many files it is."""
    asked = {"productCode": CODE, "publicKeyVersion": 1}
    answered = [event("RegisterUsage", asked, None, requestID=identifier) for identifier in ("a", "b")]
    first, second = tmp_path / "1.json", tmp_path / "2.json"
    first.write_bytes(records([*answered, event("RegisterUsage", asked, None, errorCode="CustomerNotEntitled")]))
    second.write_bytes(records(answered[:1]))
    assert 2 == len(trail_of(first, second).registrations)


@pytest.mark.parametrize(
    ("members", "session"),
    [
        ({}, "botocore-session-1595466206"),
        ({"userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/someone"}}, None),
        ({"userIdentity": None}, None),
        ({"additionalEventData": {"identity": "pod-1"}}, "pod-1"),
    ],
)
def test_session_is_told(tmp_path: Path, members: dict[str, Any], session: str | None) -> None:
    """The session's name comes from the assumed role's ARN, and from the emulator's own note of the pod."""
    [charge] = charges(tmp_path, {**ONE, **members})
    assert session == charge.session


def test_one_event_is_held_at_a_time(tmp_path: Path) -> None:
    """A file is read piece by piece: its first event is there before its last is read."""
    path = tmp_path / "trail.json"
    path.write_bytes(records([ONE] * 20_000)[:-2])
    events = read_events(path)
    assert ONE == next(events)
    with pytest.raises(TrailUnreadable):
        list(events)


@given(
    content=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=8) | st.binary()
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything_is_read_or_refused(tmp_path: Path, content: object) -> None:
    """No content breaks the reader: it gives events, or shows that it cannot."""
    path = tmp_path / "trail.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    try:
        read: Iterable[object] = trail_of(path).charges
    except TrailUnreadable:
        return
    assert [] == list(read)


MEMBERS = st.dictionaries(
    st.sampled_from(
        ["productCode", "timestamp", "usageQuantity", "usageDimension", "dryRun", "results", "clientToken", "omitted"]
    ),
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([CODE, "2026-11-23T10:00:00Z", "requests"]),
)


@given(
    name=st.sampled_from(["MeterUsage", "BatchMeterUsage", "RegisterUsage"]),
    asked=MEMBERS | st.text(),
    answered=MEMBERS | st.none(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_event_is_read_or_refused(tmp_path: Path, name: str, asked: Any, answered: Any) -> None:
    """No event of the service breaks the reader either."""
    try:
        found = charges(tmp_path, event(name, asked, answered))
    except TrailUnreadable as refused:
        found = []
        told = str(refused)
    else:
        told = "event event-1"
    assert "event event-1" in told
    assert all(charge.quantity >= 0 for charge in found)
