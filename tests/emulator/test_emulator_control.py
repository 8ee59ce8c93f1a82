"""The control API, and what a careless or hostile client gets at either door."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.emulator.state.seed import Seed

if TYPE_CHECKING:
    from tests.emulator.conftest import Connect, RunningEmulator, Start

JSON = {"Content-Type": "application/json"}
METERING = {"X-Amz-Target": "AWSMPMeteringService.MeterUsage"}


def signed(target: str = "MeterUsage") -> dict[str, str]:
    """Make headers that the emulator takes from a static key."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return {
        "X-Amz-Target": f"AWSMPMeteringService.{target}",
        "X-Amz-Date": stamp,
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": f"AWS4-HMAC-SHA256 Credential=AKIA1/{stamp[:8]}/eu-west-1/aws-marketplace/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={'0' * 64}",
    }


def test_clock_follows_system(emulator: "RunningEmulator") -> None:
    """Untouched, the emulated time is the system's."""
    before = datetime.now(UTC)
    clock = emulator.get("clock")
    assert clock["now"].endswith("Z")
    assert before <= datetime.fromisoformat(clock["now"]) <= datetime.now(UTC)
    assert 1.0 == clock["speed"]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"now": "2026-11-23T10:00:00Z", "speed": 0}, {"now": "2026-11-23T10:00:00Z", "speed": 0.0}),
        (
            {"now": "2026-11-23T10:00:00+02:00", "advance": "90s", "speed": 0},
            {"now": "2026-11-23T08:01:30Z", "speed": 0.0},
        ),
    ],
)
def test_clock_is_changed(emulator: "RunningEmulator", members: dict[str, Any], expected: dict[str, Any]) -> None:
    """Time is set, then stepped, then given its speed, and the answer is the new reading."""
    assert expected == emulator.post("clock", **members)
    assert expected == emulator.get("clock")


def test_clock_runs_fast(emulator: "RunningEmulator") -> None:
    """At a speed of 100,000 an emulated second passes between any two looks."""
    emulator.post("clock", now="2026-11-23T10:00:00Z", speed=100_000)
    looks = [datetime.fromisoformat(emulator.get("clock")["now"]) for _ in range(3)]
    assert looks[0] + timedelta(seconds=2) < looks[1] + timedelta(seconds=1) < looks[2]


@pytest.mark.parametrize(
    ("path", "members"),
    [
        ("clock", {}),
        ("clock", {"now": "yesterday"}),
        ("clock", {"now": "2026-11-23T10:00:00"}),
        ("clock", {"now": 1}),
        ("clock", {"now": "0001-01-01T00:00:00Z"}),
        ("clock", {"now": "9999-12-31T23:59:59Z"}),
        ("clock", {"now": "2998-01-01T00:00:00Z", "advance": "99999999h"}),
        ("clock", {"advance": "999999999h"}),
        ("clock", {"advance": "-1h"}),
        ("clock", {"advance": 3600}),
        ("clock", {"speed": -1}),
        ("clock", {"speed": 100_001}),
        ("clock", {"speed": float("nan")}),
        ("clock", {"speed": float("inf")}),
        ("clock", {"speed": 10**400}),
        ("clock", {"speed": True}),
        ("clock", {"speed": "fast"}),
        ("clock", {"speed": None}),
        ("clock", {"sped": 1}),
        ("clock", []),
        ("customers", {}),
        ("customers", {"action": "forget"}),
        ("customers", {"action": "entitle", "CustomerAWSAccountId": "me"}),
        ("customers", {"action": "entitle", "LicenseArn": "l-1"}),
        ("customers", {"action": "entitle", "CustomerIdentifier": 1}),
        ("customers", {"action": ["entitle"]}),
        ("faults", {}),
        ("faults", {"operation": "MeterUsage", "fault": "nonsense"}),
        ("faults", {"operation": "Nonsense", "fault": "throttle"}),
        ("faults", {"operation": "MeterUsage", "fault": "throttle", "count": "3"}),
        ("faults", {"operation": "MeterUsage", "fault": "throttle", "count": 1.5}),
        ("faults", {"operation": "MeterUsage", "fault": "throttle", "count": True}),
        ("faults", {"operation": None, "fault": "throttle"}),
        ("keys", {}),
        ("keys", {"rotate": False}),
        ("keys", {"rotate": 1}),
        ("reset", {"everything": True}),
        ("reset", []),
    ],
)
def test_malformed_control_is_refused(emulator: "RunningEmulator", path: str, members: object) -> None:
    """A malformed control request is a problem with a reason, and changes nothing."""
    before = {name: value for name, value in emulator.get("state").items() if name != "now"}
    status, problem = emulator.try_post(path, members)
    assert (400, 400) == (status, problem["status"])
    assert problem["detail"]
    assert before == {name: value for name, value in emulator.get("state").items() if name != "now"}


@pytest.mark.parametrize(
    ("path", "members", "expected"),
    [
        ("reset", {"hard": True}, ["hard", "True", "no member is allowed"]),
        ("clock", {"sped": 9}, ["sped", "9", "advance, now, speed"]),
        ("clock", {"now": "yesterday"}, ["now", "'yesterday'", "RFC 3339"]),
        ("clock", {"speed": -7}, ["speed", "-7", "0 to 100000"]),
        ("clock", {"now": "0001-01-01T00:00:00Z"}, ["now", "0001", "1970 to 2999"]),
        ("clock", {"advance": "99999999h", "now": "2998-01-01T00:00:00Z"}, ["99999999h", "1970 to 2999"]),
        ("customers", {"action": "forget"}, ["action", "'forget'", '"entitle", "unsubscribe"']),
        ("customers", {"action": "entitle", "CustomerAWSAccountId": "me"}, ["CustomerAWSAccountId", "'me'", "[0-9]+"]),
        ("faults", {"operation": "Nothing", "fault": "throttle"}, ["operation", "'Nothing'", "CheckoutLicense"]),
        ("faults", {"operation": "RegisterUsage", "fault": "unprocessed"}, ["'unprocessed'", "BatchMeterUsage"]),
        ("faults", {}, ["fault", "missing", "throttle"]),
        ("faults", {"fault": "throttle", "count": 1.5}, ["count", "1.5", "0 to 1000000"]),
        ("keys", {"rotate": "yes"}, ["rotate", "'yes'", "true"]),
        ("licenses", {"action": "lend"}, ["action", "'lend'", "grant"]),
    ],
)
def test_refusal_names_member_value_and_allowed(
    emulator: "RunningEmulator", path: str, members: dict[str, Any], expected: list[str]
) -> None:
    """A refused control request names the member, its value and what is allowed."""
    status, problem = emulator.try_post(path, members)
    assert 400 == status
    assert [] == [part for part in expected if part not in problem["detail"]], problem["detail"]


@pytest.mark.parametrize("path", ["state?full=1", "records?first=2", "records?last=x", "clock?now=1", "events?last=1"])
def test_unknown_query_is_refused(emulator: "RunningEmulator", path: str) -> None:
    """A query parameter that a path does not have would silently have no effect, so it is refused."""
    assert 400 == emulator.send("GET", f"/_emulator/{path}")[0]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "text/plain; application/json"},
        {"Content-Type": ""},
        {},
    ],
)
def test_body_of_another_type_is_refused(emulator: "RunningEmulator", headers: dict[str, str]) -> None:
    """A body that a foreign page may send without asking changes nothing, and the message has curl's option."""
    for path, body in (("reset", b"{}"), ("keys", b'{"rotate": true}'), ("clock", b'{"speed": 0}')):
        status, answer = emulator.send("POST", f"/_emulator/{path}", body, headers)
        assert 415 == status
        detail = json.loads(answer)["detail"]
        assert "--json" in detail
        assert "-H 'Content-Type: application/json' -d" in detail  # -d alone is what was refused
    assert 1 == emulator.get("state")["public_key_version"]
    assert 1.0 == emulator.get("clock")["speed"]


@pytest.mark.parametrize(
    ("method", "path", "status", "named"),
    [
        ("GET", "/_emulator/license", 404, "GET /_emulator/license: there is no such path; GET / is the console"),
        ("GET", "/_emulator/reset", 405, "GET /_emulator/reset: the method must be POST"),
        ("PUT", "/_emulator/clock", 405, "PUT /_emulator/clock: the method must be GET or HEAD or POST"),
    ],
)
def test_wrong_address_is_explained(
    emulator: "RunningEmulator", method: str, path: str, status: int, named: str
) -> None:
    """A wrong path or method is named, with what there is instead."""
    answered, answer = emulator.send(method, path)
    assert status == answered
    assert json.loads(answer)["detail"].startswith(named)


@pytest.mark.parametrize("media_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_body_is_taken(emulator: "RunningEmulator", media_type: str) -> None:
    """The media type is compared without its parameters and case; a reset needs no body."""
    assert 200 == emulator.send("POST", "/_emulator/reset", b"{}", {"Content-Type": media_type})[0]
    assert 200 == emulator.send("POST", "/_emulator/reset")[0]


def test_newest_records(emulator: "RunningEmulator", connect: "Connect") -> None:
    """A reader of many records may ask for the newest ones alone."""
    client = connect(emulator)
    emulator.freeze("2026-11-23T10:00:00Z")
    for name in ("a", "b", "c"):
        client.meter_usage(ProductCode="p", Timestamp=datetime(2026, 11, 23, 10, tzinfo=UTC), UsageDimension=name)
    found = {
        last: [each["UsageDimension"] for each in emulator.get(f"records?last={last}")["records"]] for last in (0, 2, 9)
    }
    assert {0: [], 2: ["b", "c"], 9: ["a", "b", "c"]} == found


def test_unknown_fault_lists_known(emulator: "RunningEmulator") -> None:
    """An unknown fault is answered by the list of those that there are."""
    _, problem = emulator.try_post("faults", {"operation": "MeterUsage", "fault": "nonsense"})
    assert [] == [name for name in ("throttle", "hs256", "InvalidTagException") if name not in problem["detail"]]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("PUT", "/", 405),
        ("POST", "/v1", 404),
        ("GET", "/_emulator", 404),
        ("GET", "/_emulator/nothing", 404),
        ("GET", "/_emulator/reset", 405),
        ("GET", "/_emulator/public-keys/2.pem", 404),
        ("GET", "/_emulator/public-keys/0.pem", 404),
        ("GET", "/_emulator/public-keys/x.pem", 404),
    ],
)
def test_unknown_path(emulator: "RunningEmulator", method: str, path: str, expected: int) -> None:
    """An unknown path is a problem in JSON."""
    status, body = emulator.send(method, path, b"" if method == "POST" else None)
    assert (expected, expected) == (status, json.loads(body)["status"])


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 10_000])
def test_control_body_is_no_json(emulator: "RunningEmulator", body: bytes) -> None:
    """A body that is no JSON is refused."""
    assert 400 == emulator.send("POST", "/_emulator/clock", body, JSON)[0]


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({}, b"", "UnknownOperationException"),
        ({"X-Amz-Target": "Other.MeterUsage"}, b"{}", "UnknownOperationException"),
        ({"X-Amz-Target": "AWSMPMeteringService.Nothing"}, b"{}", "UnknownOperationException"),
        (METERING, b"{}", "MissingAuthenticationTokenException"),
        ({**METERING, "Authorization": "Bearer x"}, b"{}", "IncompleteSignatureException"),
        (signed(), b"", "SerializationException"),
        (signed(), b"{", "SerializationException"),
        (signed(), b"[]", "SerializationException"),
        (signed(), b"null", "SerializationException"),
        (signed(), b"\xff\xfe", "SerializationException"),
        (signed(), b"[" * 100_000, "SerializationException"),
        (signed(), b'{"UsageQuantity": ' + b"9" * 10_000 + b"}", "SerializationException"),
        (signed(), b'{"UsageQuantity": NaN}', "SerializationException"),
        (signed(), b'{"Timestamp": 1e99999999999999999999}', "SerializationException"),
        (signed(), b"{}", "ValidationException"),
        (signed(), b'{"ProductCode": 1}', "SerializationException"),
        ({**signed(), "Content-Encoding": "gzip"}, gzip.compress(b"{}", mtime=0), "SerializationException"),
        (signed(), b" " * (8 * 1024 * 1024 + 1), "RequestEntityTooLargeException"),
        (signed("BatchMeterUsage"), b" " * (1024 * 1024), "RequestEntityTooLargeException"),
    ],
)
def test_malformed_call_is_refused(
    emulator: "RunningEmulator", headers: dict[str, str], body: bytes, expected: str
) -> None:
    """A malformed call is refused by AWS's error name and a status of the client's."""
    # Signed anew: the table may be older than the signing time may be, and of the day before.
    now = signed()
    fresh = {name: now[name] if name in ("X-Amz-Date", "Authorization") else text for name, text in headers.items()}
    fresh = fresh if "X-Amz-Date" in headers else headers
    status, answer = emulator.send("POST", "/", body, fresh)
    assert expected == json.loads(answer)["__type"]
    assert 400 <= status < 500


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", b"InvalidAction"),
        (b"Action=Nothing", b"InvalidAction"),
        (b"\xff", b"ValidationError"),
        (b"&".join(b"a=1" for _ in range(2000)), b"ValidationError"),
        (b"Action=AssumeRoleWithWebIdentity", b"ValidationError"),
        (b"Action=GetCallerIdentity", b"MissingAuthenticationToken"),
    ],
)
def test_malformed_sts_call_is_refused(emulator: "RunningEmulator", body: bytes, expected: bytes) -> None:
    """A malformed call of the token service is refused in its own XML."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    status, answer = emulator.send("POST", "/", body, headers)
    assert b"<Code>" + expected + b"</Code>" in answer
    assert 400 <= status < 500


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        *(("GET", path, None) for path in ("state", "clock", "faults", "records", "events", "nothing")),
        ("POST", "reset", b""),
        ("POST", "clock", b'{"speed": 1}'),
        ("POST", "clock", b"{"),
        ("POST", "customers", b'{"action": "entitle"}'),
        ("POST", "faults", b'{"fault": "throttle"}'),
        ("POST", "keys", b'{"rotate": true}'),
    ],
)
def test_json_ends_with_line_feed(emulator: "RunningEmulator", method: str, path: str, body: bytes | None) -> None:
    """Every JSON body of the control API, a problem too, is one line and ends with a line feed."""
    _, answer = emulator.send(method, f"/_emulator/{path}", body, JSON)
    assert answer == json.dumps(json.loads(answer)).encode() + b"\n"


def test_customers_in_state(emulator: "RunningEmulator") -> None:
    """Entitling gives a registration token, unsubscribing none; the state shows both."""
    first = emulator.post("customers", action="entitle", CustomerIdentifier="c-1")
    second = emulator.post("customers", action="unsubscribe", CustomerAWSAccountId="123456789012")
    assert (True, {"RegistrationToken": None}) == (bool(first["RegistrationToken"]), second)
    customers = emulator.get("state")["customers"]
    assert [True, False] == [customer["entitled"] for customer in customers]
    assert first["RegistrationToken"] not in json.dumps(emulator.get("state"))


def test_reset_keeps_seed_and_keys(start: "Start", connect: "Connect") -> None:
    """Reset forgets records, customers, faults, rotations and the clock; the seed and the key pair stay."""
    emulator = start(seed=Seed("p", frozenset({"d"})))
    client = connect(emulator)
    fresh = emulator.get("state")
    pem = emulator.send("GET", "/_emulator/public-keys/1.pem")
    emulator.freeze("2026-11-23T10:00:00Z")
    now = datetime(2026, 11, 23, 10, tzinfo=UTC)
    first = client.meter_usage(ProductCode="p", Timestamp=now, UsageDimension="d", UsageQuantity=1)
    client.register_usage(ProductCode="p", PublicKeyVersion=1)
    emulator.post("customers", action="unsubscribe")
    emulator.post("faults", operation="*", fault="throttle")
    emulator.post("keys", rotate=True)
    after = emulator.post("reset")
    assert {**fresh, "now": after["now"]} == after
    assert pem == emulator.send("GET", "/_emulator/public-keys/1.pem")
    emulator.freeze("2026-11-23T10:00:00Z")
    again = client.meter_usage(ProductCode="p", Timestamp=now, UsageDimension="d", UsageQuantity=2)
    assert first["MeteringRecordId"] == again["MeteringRecordId"]
    assert ["2"] == [record["UsageQuantity"] for record in emulator.get("records")["records"]]
