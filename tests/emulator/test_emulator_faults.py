"""Faults on order, as an SDK meets them."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sidecar.emulator.faults import BEHAVIORS, ERROR_NAMES, OPERATIONS, Faults

if TYPE_CHECKING:
    from tests.emulator.conftest import Cluster, Connect, RunningEmulator

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
FROZEN = "2026-11-23T12:30:00Z"


def meter(client: Any, **members: Any) -> Any:
    """Report usage."""
    return client.meter_usage(
        ProductCode="p", Timestamp=NOW - timedelta(hours=1), UsageDimension="d", UsageQuantity=1, **members
    )


@pytest.mark.parametrize(
    ("fault", "expected", "recorded"),
    [
        ("drop-response", ConnectionClosedError, 1),
        ("disconnect", ConnectionClosedError, 0),
        ("garbage", UnicodeDecodeError, 0),
        ("timeout", ReadTimeoutError, 0),
    ],
)
def test_answer_gets_lost(
    emulator: "RunningEmulator", connect: "Connect", fault: str, expected: type[Exception], recorded: int
) -> None:
    """A lost answer is seen as such; of these faults only drop-response has processed the call."""
    emulator.freeze(FROZEN)
    client = connect(emulator, timeout=1)
    emulator.post("faults", operation="MeterUsage", fault=fault)
    with pytest.raises(expected):
        meter(client)
    assert recorded == len(emulator.get("records")["records"])
    meter(client)
    assert 1 == len(emulator.get("records")["records"])


@pytest.mark.parametrize(
    ("fault", "members", "code", "status"),
    [
        ("throttle", {}, "ThrottlingException", 400),
        ("internal", {}, "InternalServiceErrorException", 500),
        ("access-denied", {}, "AccessDeniedException", 400),
        ("access-denied", {"DryRun": True}, "UnauthorizedException", 400),
        ("expired-token", {}, "ExpiredTokenException", 400),
        ("InvalidTag", {}, "InvalidTagException", 400),
        ("CustomerNotSubscribed", {}, "CustomerNotSubscribedException", 400),
    ],
)
def test_refusal_on_order(
    emulator: "RunningEmulator", connect: "Connect", fault: str, members: dict[str, Any], code: str, status: int
) -> None:
    """A fault with a plain name is the error that it stands for; nothing is recorded."""
    emulator.freeze(FROZEN)
    emulator.post("faults", operation="MeterUsage", fault=fault)
    with pytest.raises(ClientError) as raised:
        meter(connect(emulator), **members)
    response = raised.value.response
    assert (code, status) == (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"])
    assert [] == emulator.get("records")["records"]


def test_internal_error_after_processing(emulator: "RunningEmulator", connect: "Connect") -> None:
    """With internal-taken the call is processed, while its answer and the log have the 500 of `internal`."""
    emulator.freeze(FROZEN)
    client = connect(emulator)
    emulator.post("faults", operation="MeterUsage", fault="internal-taken")
    with pytest.raises(ClientError) as raised:
        meter(client, ClientToken="token")
    response = raised.value.response
    assert ("InternalServiceErrorException", 500) == (
        response["Error"]["Code"],
        response["ResponseMetadata"]["HTTPStatusCode"],
    )
    (record,) = emulator.get("records")["records"]
    (logged,) = emulator.get("events")["Records"]
    assert ("InternalServiceErrorException", None) == (logged["errorCode"], logged["responseElements"])
    assert record["MeteringRecordId"] == meter(client, ClientToken="token")["MeteringRecordId"]


def test_record_id_is_withheld(emulator: "RunningEmulator", connect: "Connect") -> None:
    """With no-record-id the usage is recorded but the answer does not say so."""
    emulator.freeze(FROZEN)
    emulator.post("faults", operation="MeterUsage", fault="no-record-id")
    assert "MeteringRecordId" not in meter(connect(emulator))
    assert 1 == len(emulator.get("records")["records"])


def test_dry_run_succeeds_plainly(emulator: "RunningEmulator", connect: "Connect") -> None:
    """With dry-run-success a dry run is answered by a plain success; only what is no dry run is recorded."""
    emulator.freeze(FROZEN)
    client = connect(emulator)
    emulator.post("faults", operation="MeterUsage", fault="dry-run-success", count=2)
    assert meter(client, DryRun=True)["MeteringRecordId"]
    assert [] == emulator.get("records")["records"]
    meter(client)
    assert 1 == len(emulator.get("records")["records"])


def test_unprocessed_records_come_back(emulator: "RunningEmulator", connect: "Connect") -> None:
    """With unprocessed the records come back as they were sent, and can be sent again."""
    emulator.freeze(FROZEN)
    client = connect(emulator)
    records = [
        {"Timestamp": NOW, "Dimension": "d", "QuantityAsDecimal": f"{index}.50", "CustomerIdentifier": f"c-{index}"}
        for index in range(3)
    ]
    emulator.post("faults", operation="BatchMeterUsage", fault="unprocessed")
    answer = client.batch_meter_usage(ProductCode="p", UsageRecords=records)
    assert (answer["Results"], answer["UnprocessedRecords"]) == ([], records)
    answer = client.batch_meter_usage(ProductCode="p", UsageRecords=answer["UnprocessedRecords"])
    assert ["Success"] * 3 == [result["Status"] for result in answer["Results"]]


def register(emulator: "RunningEmulator", client: Any, fault: str | None) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Register under a fault; returns header, claims and the token."""
    if fault is not None:
        emulator.post("faults", operation="RegisterUsage", fault=fault)
    token = client.register_usage(ProductCode="p", PublicKeyVersion=1, Nonce="n")["Signature"]
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    return header, claims, token


def is_verified(token: str, pem: bytes) -> bool:
    """Verify PS256 under a public key."""
    signed, _, signature = token.rpartition(".")
    key = load_pem_public_key(pem)
    assert isinstance(key, RSAPublicKey)
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
    try:
        key.verify(base64.urlsafe_b64decode(signature + "=="), signed.encode(), pss, hashes.SHA256())
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize(
    ("fault", "claim", "verified"),
    [
        (None, {}, True),
        ("wrong-nonce", {"nonce": "not-n"}, True),
        ("wrong-product", {"productCode": "px"}, True),
        ("wrong-version", {"publicKeyVersion": 2}, True),
        ("old-iat", {"iat": int(NOW.timestamp()) - 3600}, True),
        ("future-iat", {"iat": int(NOW.timestamp()) + 3600}, True),
        ("wrong-signature", {}, False),
    ],
)
def test_spoilt_claims(
    emulator: "RunningEmulator", connect: "Connect", fault: str | None, claim: dict[str, Any], *, verified: bool
) -> None:
    """Each fault of the signature spoils exactly one thing."""
    emulator.freeze(FROZEN)
    header, claims, token = register(emulator, connect(emulator), fault)
    pem = emulator.send("GET", "/_emulator/public-keys/1.pem")[1]
    expected = {"productCode": "p", "publicKeyVersion": 1, "nonce": "n", "iat": int(NOW.timestamp()), **claim}
    assert ({"alg": "PS256", "typ": "JWT"}, expected, verified) == (header, claims, is_verified(token, pem))


def test_unsigned_token(emulator: "RunningEmulator", connect: "Connect") -> None:
    """With alg-none the token shows it and has no signature."""
    header, _, token = register(emulator, connect(emulator), "alg-none")
    assert ("none", True) == (header["alg"], token.endswith("."))


def test_public_key_as_secret(emulator: "RunningEmulator", connect: "Connect") -> None:
    """With hs256 the token is an HMAC whose secret is the public key."""
    header, _, token = register(emulator, connect(emulator), "hs256")
    signed, _, signature = token.rpartition(".")
    pem = emulator.send("GET", "/_emulator/public-keys/1.pem")[1]
    mac = hmac.new(pem, signed.encode(), hashlib.sha256).digest()
    assert (header["alg"], mac) == ("HS256", base64.urlsafe_b64decode(signature + "=="))


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("throttle", "Throttling"),
        ("internal", "InternalFailure"),
        ("access-denied", "AccessDenied"),
        ("expired-token", "ExpiredTokenException"),
        ("IDPRejectedClaim", "IDPRejectedClaim"),
    ],
)
def test_token_service_fails(emulator: "RunningEmulator", connect: "Connect", fault: str, code: str) -> None:
    """The token service can be made to fail, too."""
    emulator.post("faults", operation="AssumeRoleWithWebIdentity", fault=fault)
    with pytest.raises(ClientError) as raised:
        connect(emulator, service="sts").assume_role_with_web_identity(
            RoleArn="arn:aws:iam::111122223333:role/r", RoleSessionName="session", WebIdentityToken="a.b.c"
        )
    assert code == raised.value.response["Error"]["Code"]


@pytest.mark.parametrize("fault", ["drop-response", "disconnect"])
def test_token_service_hangs_up(
    emulator: "RunningEmulator", connect: "Connect", cluster: "Cluster", fault: str
) -> None:
    """The token service can lose its answer, too."""
    emulator.post("faults", operation="AssumeRoleWithWebIdentity", fault=fault)
    with pytest.raises(ConnectionClosedError):
        connect(emulator, service="sts").assume_role_with_web_identity(
            RoleArn="arn:aws:iam::111122223333:role/r", RoleSessionName="session", WebIdentityToken=cluster.token()
        )


def test_faults_happen_in_order() -> None:
    """An operation's own faults come first, in order and as often as asked, then those for any operation."""
    faults = Faults()
    faults.add("*", "internal")
    faults.add("MeterUsage", "throttle", 2)
    faults.add("MeterUsage", "InvalidTag")
    faults.add("RegisterUsage", "hs256")
    taken = [faults.take("MeterUsage") for _ in range(5)]
    assert ["throttle", "throttle", "InvalidTagException", "internal", None] == taken
    assert [{"operation": "RegisterUsage", "fault": "hs256", "count": 1}] == list(faults.pending())


def test_fault_waits_for_what_fits() -> None:
    """A fault for any operation waits for one that it can happen to."""
    faults = Faults()
    faults.add("*", "unprocessed")
    assert [None, "unprocessed"] == [faults.take("MeterUsage"), faults.take("BatchMeterUsage")]


def test_faults_are_withdrawn() -> None:
    """A count of 0 withdraws this fault of this operation only."""
    faults = Faults()
    for operation in ("MeterUsage", "RegisterUsage"):
        faults.add(operation, "throttle", 3)
    faults.add("MeterUsage", "throttle", 0)
    assert [None, "throttle"] == [faults.take("MeterUsage"), faults.take("RegisterUsage")]


@pytest.mark.parametrize("fault", [*BEHAVIORS, *sorted(ERROR_NAMES)])
def test_every_fault_is_taken(fault: str) -> None:
    """Every known fault can be asked for, for every operation that it fits."""
    for operation in BEHAVIORS.get(fault, OPERATIONS):
        faults = Faults()
        faults.add(operation, fault)
        assert fault == faults.take(operation)


@pytest.mark.parametrize(
    ("operation", "fault", "count", "expected"),
    [
        ("Meter", "throttle", 1, "operation: 'Meter': must be one of"),
        ("MeterUsage", "trottle", 1, "must be one of throttle"),
        ("MeterUsage", "Duplicate", 1, "DuplicateRequestException, .*UnauthorizedException"),
        ("MeterUsage", "hs256", 1, "can happen only to RegisterUsage"),
        ("MeterUsage", "throttle", -1, "count: -1: must be"),
        ("MeterUsage", "throttle", 1_000_001, "count: 1000001: must be"),
    ],
)
def test_fault_is_refused(operation: str, fault: str, count: int, expected: str) -> None:
    """Unknown operations and faults are refused, with the known ones."""
    with pytest.raises(ValueError, match=expected):
        Faults().add(operation, fault, count)
