"""The four operations as an application sees them: through boto3 over a socket."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sidecar.emulator.protocol.errors import MODELLED
from sidecar.emulator.state.customers import Name, named_customer
from sidecar.emulator.state.seed import Seed

if TYPE_CHECKING:
    from tests.emulator.conftest import Connect, RunningEmulator, Start

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
FROZEN = "2026-11-23T12:30:00Z"
USAGE = {"ProductCode": "prod", "Timestamp": NOW - timedelta(hours=1), "UsageDimension": "requests"}
CALLS: dict[str, dict[str, Any]] = {
    "RegisterUsage": {"ProductCode": "prod", "PublicKeyVersion": 1},
    "MeterUsage": USAGE,
    "BatchMeterUsage": {
        "ProductCode": "prod",
        "UsageRecords": [{"Timestamp": NOW, "Dimension": "d", "Quantity": 1, "CustomerIdentifier": "c"}],
    },
    "ResolveCustomer": {"RegistrationToken": "token"},
}


def call(client: Any, operation: str, **members: Any) -> Any:
    """Call an operation by its name."""
    method = next(python for python, name in client.meta.method_to_api_mapping.items() if name == operation)
    return getattr(client, method)(**{**CALLS[operation], **members})


def refused(client: Any, operation: str, **members: Any) -> ClientError:
    """Call an operation that must be refused; returns the SDK's exception."""
    with pytest.raises(ClientError) as raised:
        call(client, operation, **members)
    return raised.value


def read_token(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Decode a compact token without judging it."""
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    return header, claims


def verify(token: str, pem: bytes) -> None:
    """Verify PS256 under a public key."""
    signed, _, signature = token.rpartition(".")
    key = load_pem_public_key(pem)
    assert isinstance(key, RSAPublicKey)
    assert 3072 == key.key_size
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
    key.verify(base64.urlsafe_b64decode(signature + "=="), signed.encode(), pss, hashes.SHA256())


def test_registration_is_signed(emulator: "RunningEmulator", connect: "Connect") -> None:
    """RegisterUsage answers with AWS's claims, signed PS256 by the key that the emulator publishes."""
    emulator.freeze(FROZEN)
    answer = call(connect(emulator), "RegisterUsage", Nonce="n-1")
    assert "PublicKeyRotationTimestamp" not in answer
    header, claims = read_token(answer["Signature"])
    assert {"alg": "PS256", "typ": "JWT"} == header
    assert {"productCode": "prod", "publicKeyVersion": 1, "nonce": "n-1", "iat": int(NOW.timestamp())} == claims
    status, pem = emulator.send("GET", "/_emulator/public-keys/1.pem")
    assert (200, b"-----BEGIN PUBLIC KEY-----") == (status, pem.splitlines()[0])
    verify(answer["Signature"], pem)


def test_nonce_is_optional(emulator: "RunningEmulator", connect: "Connect") -> None:
    """Without a nonce the token has none."""
    _, claims = read_token(call(connect(emulator), "RegisterUsage")["Signature"])
    assert {"productCode", "publicKeyVersion", "iat"} == claims.keys()


def test_rotated_key_says_so(emulator: "RunningEmulator", connect: "Connect") -> None:
    """After a rotation the old version still signs, and says since when it has expired."""
    emulator.freeze(FROZEN)
    client = connect(emulator)
    code = refused(client, "RegisterUsage", PublicKeyVersion=2).response["Error"]["Code"]
    assert "InvalidPublicKeyVersionException" == code
    old_pem = emulator.send("GET", "/_emulator/public-keys/1.pem")[1]
    emulator.post("keys", rotate=True)
    old, new = call(client, "RegisterUsage"), call(client, "RegisterUsage", PublicKeyVersion=2)
    assert (NOW, None) == (old["PublicKeyRotationTimestamp"], new.get("PublicKeyRotationTimestamp"))
    verify(old["Signature"], old_pem)
    verify(new["Signature"], emulator.send("GET", "/_emulator/public-keys/2.pem")[1])
    assert 404 == emulator.send("GET", "/_emulator/public-keys/3.pem")[0]


def test_registered_pod_stays_in(emulator: "RunningEmulator", connect: "Connect") -> None:
    """After unsubscribing new pods are refused, registered ones never again, and metering is refused to all."""
    emulator.freeze(FROZEN)
    old, new = connect(emulator, "AKIAOLD"), connect(emulator, "AKIANEW")
    call(old, "RegisterUsage")
    emulator.post("customers", action="unsubscribe")
    call(old, "RegisterUsage")
    assert isinstance(refused(new, "RegisterUsage"), new.exceptions.CustomerNotEntitledException)
    assert isinstance(refused(old, "MeterUsage"), old.exceptions.CustomerNotEntitledException)
    emulator.post("customers", action="entitle")
    call(new, "RegisterUsage")
    call(old, "MeterUsage")


def test_usage_is_recorded_once(emulator: "RunningEmulator", connect: "Connect") -> None:
    """The same usage, whole or decimal, is one record; another quantity for the hour is a duplicate."""
    emulator.freeze(FROZEN)
    client = connect(emulator)
    first = call(client, "MeterUsage", UsageQuantity=17, ClientToken="t-1")
    again = call(client, "MeterUsage", UsageQuantityAsDecimal="17.00")
    assert first["MeteringRecordId"] == again["MeteringRecordId"]
    duplicate = refused(client, "MeterUsage", UsageQuantityAsDecimal="17.000001")
    assert isinstance(duplicate, client.exceptions.DuplicateRequestException)
    conflict = refused(client, "MeterUsage", UsageQuantity=17, UsageDimension="other", ClientToken="t-1")
    assert isinstance(conflict, client.exceptions.IdempotencyConflictException)
    assert emulator.get("records") == {
        "records": [
            {
                "MeteringRecordId": first["MeteringRecordId"],
                "Operation": "MeterUsage",
                "ProductCode": "prod",
                "UsageDimension": "requests",
                "Timestamp": "2026-11-23T11:00:00Z",
                "UsageQuantity": "17",
                "UsageAllocations": [],
                "ClientToken": "t-1",
                "Identity": "AKIAPODONE",
                "ReceivedAt": FROZEN,
            }
        ]
    }


def test_pods_have_slots_of_their_own(emulator: "RunningEmulator", connect: "Connect") -> None:
    """Two pods report the same hour and dimension without meeting."""
    emulator.freeze(FROZEN)
    for key, quantity in (("AKIAONE", 1), ("AKIATWO", 2)):
        call(connect(emulator, key), "MeterUsage", UsageQuantity=quantity)
    records = emulator.get("records")["records"]
    assert [("AKIAONE", "1"), ("AKIATWO", "2")] == [(record["Identity"], record["UsageQuantity"]) for record in records]


def test_allocations_are_recorded(emulator: "RunningEmulator", connect: "Connect") -> None:
    """Decimal allocations that add up are kept with their tags; those that do not are refused."""
    emulator.freeze(FROZEN)
    client = connect(emulator)
    tagged = {"AllocatedUsageQuantityAsDecimal": "0.1", "Tags": [{"Key": "Team", "Value": "IT"}]}
    rest = {"AllocatedUsageQuantityAsDecimal": "0.2"}
    refusal = refused(client, "MeterUsage", UsageQuantityAsDecimal="0.300001", UsageAllocations=[tagged, rest])
    assert isinstance(refusal, client.exceptions.InvalidUsageAllocationsException)
    call(client, "MeterUsage", UsageQuantityAsDecimal="0.3", UsageAllocations=[tagged, rest])
    assert [
        {"AllocatedUsageQuantity": "0.1", "Tags": [{"Key": "Team", "Value": "IT"}]},
        {"AllocatedUsageQuantity": "0.2", "Tags": []},
    ] == emulator.get("records")["records"][0]["UsageAllocations"]


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (NOW - timedelta(hours=6), None),
        (NOW - timedelta(hours=6, seconds=1), "TimestampOutOfBoundsException"),
        (NOW + timedelta(seconds=1), "TimestampOutOfBoundsException"),
    ],
)
def test_usage_window(
    emulator: "RunningEmulator", connect: "Connect", timestamp: datetime, expected: str | None
) -> None:
    """Usage is taken until six hours after its timestamp."""
    emulator.freeze(FROZEN)
    client = connect(emulator)
    if expected is None:
        call(client, "MeterUsage", Timestamp=timestamp)
    else:
        refusal = refused(client, "MeterUsage", Timestamp=timestamp)
        assert isinstance(refusal, client.exceptions.TimestampOutOfBoundsException)


def test_dry_run_reports_by_an_error(emulator: "RunningEmulator", connect: "Connect") -> None:
    """A permitted dry run is the error DryRunOperation and records nothing."""
    emulator.freeze(FROZEN)
    refusal = refused(connect(emulator), "MeterUsage", DryRun=True)
    assert "DryRunOperation" == refusal.response["Error"]["Code"]
    assert 400 == refusal.response["ResponseMetadata"]["HTTPStatusCode"]
    assert [] == emulator.get("records")["records"]


@pytest.mark.parametrize(
    "members",
    [
        {"UsageQuantity": 1, "UsageQuantityAsDecimal": "1"},
        {"UsageQuantity": 2_147_483_648},
        {"UsageQuantityAsDecimal": "-1"},
        {"UsageQuantityAsDecimal": "1.1234567"},
    ],
)
def test_sdk_lets_bad_quantities_through(
    emulator: "RunningEmulator", connect: "Connect", members: dict[str, Any]
) -> None:
    """What the SDK does not check is refused here, as a fault of the client."""
    emulator.freeze(FROZEN)
    refusal = refused(connect(emulator), "MeterUsage", **members)
    assert "ValidationException" == refusal.response["Error"]["Code"]


def test_seeded_product_only(start: "Start", connect: "Connect") -> None:
    """With a seed, other products and dimensions are refused by the modelled errors."""
    emulator = start(seed=Seed("prod", frozenset({"requests"})))
    emulator.freeze(FROZEN)
    client = connect(emulator)
    call(client, "MeterUsage")
    for operation in ("RegisterUsage", "MeterUsage"):
        assert isinstance(
            refused(client, operation, ProductCode="other"), client.exceptions.InvalidProductCodeException
        )
    refusal = refused(client, "MeterUsage", UsageDimension="other")
    assert isinstance(refusal, client.exceptions.InvalidUsageDimensionException)


def test_batch_statuses(emulator: "RunningEmulator", connect: "Connect") -> None:
    """Each record of a batch comes back as it was sent, with its own status."""
    emulator.freeze(FROZEN)
    client = connect(emulator)
    emulator.post("customers", action="entitle", CustomerIdentifier="c-1")
    record = {"Timestamp": NOW - timedelta(hours=1), "Dimension": "users", "CustomerIdentifier": "c-1"}
    sent = [
        {**record, "Quantity": 3},
        {**record, "QuantityAsDecimal": "3.0"},
        {**record, "Quantity": 4},
        {**record, "CustomerIdentifier": "stranger", "Quantity": 1},
    ]
    answer = call(client, "BatchMeterUsage", UsageRecords=sent)
    assert [] == answer["UnprocessedRecords"]
    assert sent == [result["UsageRecord"] for result in answer["Results"]]
    assert [
        "Success",
        "Success",
        "DuplicateRecord",
        "CustomerNotSubscribed",
    ] == [result["Status"] for result in answer["Results"]]
    assert [True, True, False, False] == [bool(result.get("MeteringRecordId")) for result in answer["Results"]]


def test_batch_by_license(start: "Start", connect: "Connect") -> None:
    """Customers known by account and license are billed without a product code; a mismatch is an invalid license."""
    arn = "arn:aws:license-manager::294406891311:license:l-1"
    customer = named_customer(Name(None, "123456789012", arn), entitled=True)
    emulator = start(seed=Seed("prod", None, customers=(customer,)))
    emulator.freeze(FROZEN)
    client = connect(emulator)
    record = {"Timestamp": NOW, "Dimension": "d", "LicenseArn": arn, "CustomerAWSAccountId": "123456789012"}
    answer = client.batch_meter_usage(UsageRecords=[record])
    assert ["Success"] == [result["Status"] for result in answer["Results"]]
    with pytest.raises(client.exceptions.InvalidLicenseException):
        client.batch_meter_usage(UsageRecords=[{**record, "CustomerAWSAccountId": "999999999999"}])
    assert emulator.get("records")["records"][0]["LicenseArn"] == arn


def test_batch_month_end(emulator: "RunningEmulator", connect: "Connect") -> None:
    """Last month's usage is taken until 06:00 UTC on the first."""
    client = connect(emulator)
    record = {"Timestamp": datetime(2026, 11, 30, 23, 30, tzinfo=UTC), "Dimension": "d", "CustomerIdentifier": "c"}
    emulator.freeze("2026-12-01T05:59:59Z")
    call(client, "BatchMeterUsage", UsageRecords=[{**record, "Quantity": 1}])
    emulator.post("clock", advance="1s")
    refusal = refused(client, "BatchMeterUsage", UsageRecords=[{**record, "Quantity": 1}])
    assert isinstance(refusal, client.exceptions.TimestampOutOfBoundsException)


def test_batch_is_bounded(emulator: "RunningEmulator", connect: "Connect") -> None:
    """More than 25 records, or 1 MB, is refused."""
    emulator.freeze(FROZEN)
    client = connect(emulator)
    record = {"Timestamp": NOW, "Dimension": "d", "Quantity": 1, "CustomerIdentifier": "c"}
    too_many = refused(client, "BatchMeterUsage", UsageRecords=[record] * 26)
    assert "ValidationException" == too_many.response["Error"]["Code"]
    allocations = [{"AllocatedUsageQuantity": 0, "Tags": [{"Key": "k", "Value": "v" * 256}]}] * 2500
    too_large = refused(client, "BatchMeterUsage", UsageRecords=[{**record, "UsageAllocations": allocations}] * 2)
    assert "RequestEntityTooLargeException" == too_large.response["Error"]["Code"]


def test_registration_token_is_resolved(emulator: "RunningEmulator", connect: "Connect") -> None:
    """A registration token gives the buyer, for an hour."""
    emulator.freeze(FROZEN)
    client = connect(emulator)
    token = emulator.post("customers", action="entitle", CustomerIdentifier="c-1")["RegistrationToken"]
    buyer = client.resolve_customer(RegistrationToken=token)
    assert "c-1" == buyer["CustomerIdentifier"]
    assert buyer["CustomerAWSAccountId"].isdecimal()
    assert buyer["LicenseArn"].startswith("arn:aws:license-manager:")
    assert buyer["Metadata"]["AgreementId"].startswith("agmt-")
    assert buyer["ProductCode"]
    assert isinstance(refused(client, "ResolveCustomer"), client.exceptions.InvalidTokenException)
    emulator.post("clock", advance="1h")
    with pytest.raises(client.exceptions.ExpiredTokenException):
        client.resolve_customer(RegistrationToken=token)


@pytest.mark.parametrize(("operation", "error"), [(name, error) for name in MODELLED for error in MODELLED[name]])
def test_modelled_error_is_recognized(start: "Start", connect: "Connect", operation: str, error: str) -> None:
    """Every modelled error can be asked for, and the SDK raises its own exception class with the message."""
    emulator = start()
    emulator.freeze(FROZEN)
    client = connect(emulator)
    emulator.post("faults", operation=operation, fault=error)
    refusal = refused(client, operation)
    assert isinstance(refusal, getattr(client.exceptions, error))
    metadata = refusal.response["ResponseMetadata"]
    assert metadata["HTTPStatusCode"] == (500 if error == "InternalServiceErrorException" else 400)
    assert 36 == len(metadata["RequestId"])
    assert refusal.response["Error"]["Message"]


def test_quotas_throttle(start: "Start", connect: "Connect") -> None:
    """When asked for, calls beyond the published rates are throttled until emulated time has passed."""
    emulator = start(quotas=True)
    emulator.freeze(FROZEN)
    client, other_region = connect(emulator), connect(emulator, region="us-east-1")
    for operation, rate in (("RegisterUsage", 5), ("MeterUsage", 10), ("BatchMeterUsage", 10)):
        for _ in range(rate):
            call(client, operation)
        assert isinstance(refused(client, operation), client.exceptions.ThrottlingException)
        call(other_region, operation)
    emulator.post("clock", advance="1s")
    call(client, "RegisterUsage")


def test_no_quotas_unless_asked(emulator: "RunningEmulator", connect: "Connect") -> None:
    """Without the flag nothing is throttled."""
    emulator.freeze(FROZEN)
    client = connect(emulator)
    for _ in range(12):
        assert call(client, "MeterUsage")["MeteringRecordId"]


def test_large_request_is_left_out_of_the_log(emulator: "RunningEmulator", connect: "Connect") -> None:
    """As CloudTrail, the log leaves out the parameters of a request over 100 KB; it has AWS's receipt."""
    emulator.freeze(FROZEN)
    tags = [[{"Key": "Team", "Value": f"team-{number:05}-{'x' * 100}"}] for number in range(600)]
    shares = [{"AllocatedUsageQuantity": 1, "Tags": each} for each in tags]
    record = call(connect(emulator), "MeterUsage", UsageQuantity=600, UsageAllocations=shares)
    (event,) = emulator.get("events")["Records"]
    receipt = {"meteringRecordId": record["MeteringRecordId"]}
    assert ({"omitted": True}, receipt) == (event["requestParameters"], event["responseElements"])


def test_events_show_calls_without_secrets(emulator: "RunningEmulator", connect: "Connect") -> None:
    """The log has CloudTrail's fields for every call, refused ones too, and no nonce, token or signature."""
    emulator.freeze(FROZEN)
    client = connect(emulator)
    signature = call(client, "RegisterUsage", Nonce="secret-nonce")["Signature"]
    record = call(client, "MeterUsage", UsageQuantity=3, ClientToken="secret-token")
    refused(client, "MeterUsage", UsageQuantity=4)
    refused(client, "ResolveCustomer", RegistrationToken="secret-registration")
    answer = emulator.get("events")
    registered, metered, duplicate, resolved = answer["Records"]
    assert {"metering-marketplace.amazonaws.com"} == {event["eventSource"] for event in answer["Records"]}
    assert (
        "RegisterUsage",
        {"productCode": "prod", "publicKeyVersion": 1},
    ) == (registered["eventName"], registered["requestParameters"])
    assert {
        "productCode": "prod",
        "timestamp": "2026-11-23T11:30:00Z",
        "usageDimension": "requests",
        "usageQuantity": "3",
        "dryRun": False,
    } == metered["requestParameters"]
    assert metered["responseElements"] == {"meteringRecordId": record["MeteringRecordId"]}
    assert metered["requestID"] == record["ResponseMetadata"]["RequestId"]
    assert ("eu-central-1", FROZEN) == (metered["awsRegion"], metered["eventTime"])
    assert ("DuplicateRequestException", None) == (duplicate["errorCode"], duplicate["responseElements"])
    assert "InvalidTokenException" == resolved["errorCode"]
    told = json.dumps(answer)
    assert [] == [text for text in ("secret", signature, signature.split(".")[2]) if text in told]
