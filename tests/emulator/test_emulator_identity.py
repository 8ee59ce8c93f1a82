"""Who calls: the token service and the check of signatures."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.sigv4 import SignedRequest, authenticate
from sidecar.emulator.protocol.sts import assume_role
from sidecar.emulator.state.entries import Session
from sidecar.emulator.state.seed import NO_SEED
from sidecar.emulator.state.store import State

if TYPE_CHECKING:
    from tests.emulator.conftest import Cluster, Connect, RunningEmulator, Start

ROLE_ARN = "arn:aws:iam::111122223333:role/team/metering"
SYSTEM_NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def assume(emulator: "RunningEmulator", connect: "Connect", token: str) -> Any:
    """Trade a token for credentials."""
    sts = connect(emulator, service="sts")
    return sts.assume_role_with_web_identity(RoleArn=ROLE_ARN, RoleSessionName="session", WebIdentityToken=token)


def connect_session(
    emulator: "RunningEmulator", connect: "Connect", credentials: dict[str, str], **changes: str
) -> Any:
    """Make a client with credentials of the token service, some of them changed."""
    arguments = {
        "key": credentials["AccessKeyId"],
        "secret": credentials["SecretAccessKey"],
        "token": credentials["SessionToken"],
    }
    return connect(emulator, **{**arguments, **changes})


def register(client: Any) -> None:
    """Make any call."""
    client.register_usage(ProductCode="p", PublicKeyVersion=1)


def test_service_account_gives_pod_identity(
    emulator: "RunningEmulator", cluster: "Cluster", monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the variables that a cluster sets, the SDK finds its way, and the pod UID is the caller's identity."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ROLE_ARN": ROLE_ARN,
        "AWS_ENDPOINT_URL": emulator.url,
    }.items():
        monkeypatch.setenv(name, value)
    now = datetime.now(UTC)
    for uid, quantity in (("uid-a", 1), ("uid-b", 2), ("uid-a", 1)):
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", cluster.token_file(uid))
        client = boto3.Session().client("meteringmarketplace", config=Config(retries={"total_max_attempts": 1}))
        client.meter_usage(ProductCode="p", Timestamp=now, UsageDimension="d", UsageQuantity=quantity)
        client.close()
    records = emulator.get("records")["records"]
    assert [("uid-a", "1"), ("uid-b", "2")] == [(record["Identity"], record["UsageQuantity"]) for record in records]
    event = emulator.get("events")["Records"][0]
    assert ("AssumedRole", "eu-west-1") == (event["userIdentity"]["type"], event["awsRegion"])
    assert event["userIdentity"]["arn"].startswith("arn:aws:sts::111122223333:assumed-role/metering/")


def test_credentials_expire_in_system_time(emulator: "RunningEmulator", connect: "Connect", cluster: "Cluster") -> None:
    """SDKs judge credentials by the system clock, so their expiry does not follow the emulated one."""
    emulator.post("clock", now="2031-01-01T00:00:00Z", speed=3600)
    answer = assume(emulator, connect, cluster.token())
    left = answer["Credentials"]["Expiration"] - datetime.now(UTC)
    assert timedelta(minutes=55) < left <= timedelta(hours=1)
    assert "system:serviceaccount:shop:app" == answer["SubjectFromWebIdentityToken"]
    register(connect_session(emulator, connect, answer["Credentials"]))


def test_subject_stands_in_for_pod(emulator: "RunningEmulator", connect: "Connect", cluster: "Cluster") -> None:
    """A token without a pod gives its subject as the identity."""
    credentials = assume(emulator, connect, cluster.token(None))["Credentials"]
    register(connect_session(emulator, connect, credentials))
    assert "system:serviceaccount:shop:app" == emulator.get("state")["registrations"][0]["Identity"]


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"exp": 1}, "ExpiredTokenException"),
        ({"aud": "https://kubernetes.default.svc"}, "InvalidIdentityTokenException"),
        ({"aud": []}, "InvalidIdentityTokenException"),
        ({"sub": ""}, "InvalidIdentityTokenException"),
        ({"sub": "a\n"}, "InvalidIdentityTokenException"),
        ({"aud": "sts.amazonaws.com"}, None),
        ({"exp": None}, None),
    ],
)
def test_web_identity_token_is_judged(
    emulator: "RunningEmulator",
    connect: "Connect",
    cluster: "Cluster",
    claims: dict[str, object],
    expected: str | None,
) -> None:
    """An expired token, one for another audience or one that names no pod is refused."""
    token = cluster.token(None, **claims)
    if expected is None:
        assume(emulator, connect, token)
        return
    with pytest.raises(ClientError) as raised:
        assume(emulator, connect, token)
    assert expected == type(raised.value).__name__


@given(st.text(max_size=200) | st.from_regex(r"[\w-]{0,40}\.[\w-]{0,80}\.[\w-]{0,40}", fullmatch=True))
def test_any_web_identity_token_is_read_or_refused(token: str) -> None:
    """Whatever is handed in as a token, the answer is an error of the client's."""
    form = {"RoleArn": ROLE_ARN, "RoleSessionName": "session", "WebIdentityToken": token}
    with pytest.raises(ServiceError) as raised:
        assume_role(State(NO_SEED), SYSTEM_NOW, form)
    assert "InvalidIdentityToken" == raised.value.code


@pytest.mark.parametrize(
    "change",
    [
        {"RoleArn": "metering"},
        {"RoleSessionName": "a b"},
        {"RoleSessionName": "a"},
        {"DurationSeconds": "899"},
        {"DurationSeconds": "43201"},
        {"DurationSeconds": "soon"},
    ],
)
def test_role_request_is_judged(cluster: "Cluster", change: dict[str, str]) -> None:
    """Role, session name and duration must be as STS wants them."""
    form = {"RoleArn": ROLE_ARN, "RoleSessionName": "session", "WebIdentityToken": cluster.token(), **change}
    with pytest.raises(ServiceError) as raised:
        assume_role(State(), datetime.now(UTC), form)
    assert "ValidationError" == raised.value.code


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"secret": "wrong"}, "InvalidSignatureException"),
        ({"token": "wrong"}, "UnrecognizedClientException"),
        ({"token": None}, "UnrecognizedClientException"),
        ({"key": "ASIAEMULATORAAAAAAAA"}, "UnrecognizedClientException"),
    ],
)
def test_handed_out_credentials_are_checked(
    emulator: "RunningEmulator",
    connect: "Connect",
    cluster: "Cluster",
    changes: dict[str, Any],
    expected: str,
) -> None:
    """Credentials of the token service must be used exactly as they were handed out."""
    credentials = assume(emulator, connect, cluster.token())["Credentials"]
    with pytest.raises(ClientError) as raised:
        register(connect_session(emulator, connect, credentials, **changes))
    assert raised.value.response["Error"]["Code"] == expected


def test_irsa_only_refuses_keys(start: "Start", connect: "Connect", cluster: "Cluster") -> None:
    """With irsa-only, pods with keys of their own are on no supported platform; sellers' calls go on."""
    emulator = start(identity="irsa-only")
    client = connect(emulator)
    with pytest.raises(client.exceptions.PlatformNotSupportedException):
        register(client)
    with pytest.raises(ClientError) as raised:
        client.meter_usage(ProductCode="p", Timestamp=datetime.now(UTC), UsageDimension="d")
    assert "PlatformNotSupportedException" == raised.value.response["Error"]["Code"]
    client.batch_meter_usage(ProductCode="p", UsageRecords=[])
    register(connect_session(emulator, connect, assume(emulator, connect, cluster.token())["Credentials"]))


def test_caller_identity(emulator: "RunningEmulator", connect: "Connect", cluster: "Cluster") -> None:
    """GetCallerIdentity names the role, and refuses wrong secrets by STS's own error name."""
    credentials = assume(emulator, connect, cluster.token())["Credentials"]
    identity = connect_session(emulator, connect, credentials, service="sts").get_caller_identity()
    assert (
        "111122223333",
        "arn:aws:sts::111122223333:assumed-role/metering/session",
    ) == (identity["Account"], identity["Arn"])
    with pytest.raises(ClientError) as raised:
        connect_session(emulator, connect, credentials, service="sts", secret="wrong").get_caller_identity()
    assert "SignatureDoesNotMatch" == raised.value.response["Error"]["Code"]


def signed_headers(body: bytes, *, signed_at: datetime, service: str = "aws-marketplace") -> dict[str, str]:
    """Sign by hand, with an unknown secret."""
    stamp = signed_at.strftime("%Y%m%dT%H%M%SZ")
    signature = hmac.new(b"any", hashlib.sha256(body).digest(), "sha256").hexdigest()
    return {
        "host": "h",
        "x-amz-date": stamp,
        "authorization": f"AWS4-HMAC-SHA256 Credential=AKIA1/{stamp[:8]}/eu-west-1/{service}/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={signature}",
    }


def refusal(headers: dict[str, str]) -> str | None:
    """Return why a request with these headers is not authenticated."""
    request = SignedRequest("POST", "/", "", headers, b"{}")
    try:
        authenticate(request, "aws-marketplace", {}, SYSTEM_NOW)
    except ServiceError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        (timedelta(), None),
        (timedelta(minutes=15), None),
        (timedelta(minutes=-15), None),
        (timedelta(minutes=16), "InvalidSignatureException"),
        (timedelta(minutes=-16), "InvalidSignatureException"),
    ],
)
def test_signing_time(ahead: timedelta, expected: str | None) -> None:
    """The signing time may be a quarter of an hour off."""
    assert expected == refusal(signed_headers(b"{}", signed_at=SYSTEM_NOW + ahead))


def test_other_service_is_refused() -> None:
    """A signature for another service is none for this one."""
    assert "InvalidSignatureException" == refusal(signed_headers(b"{}", signed_at=SYSTEM_NOW, service="s3"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        ("AKIA1/", "/"),
        ("AKIA1/", "AKIA1/x/"),
        ("/aws4_request", ""),
        ("host;x-amz-date", "host"),
        ("SignedHeaders", "Signed"),
        ("Signature=", "Signature=0"),
        (", ", " "),
    ],
)
def test_incomplete_signature(old: str, new: str) -> None:
    """An Authorization header that lacks a part or has a malformed one is refused."""
    headers = signed_headers(b"{}", signed_at=SYSTEM_NOW)
    headers["authorization"] = headers["authorization"].replace(old, new)
    assert "IncompleteSignatureException" == refusal(headers)


@pytest.mark.parametrize("stamp", ["", "20261123", "20261123T120000", "20261323T120000Z"])
def test_signing_time_is_needed(stamp: str) -> None:
    """X-Amz-Date must be there and be a time."""
    assert "IncompleteSignatureException" == refusal(
        {**signed_headers(b"{}", signed_at=SYSTEM_NOW), "x-amz-date": stamp}
    )


def test_unsigned_is_refused() -> None:
    """No Authorization header is a missing token."""
    assert "MissingAuthenticationTokenException" == refusal({})


@given(st.text(alphabet=st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=200))
def test_any_authorization_is_refused(header: str) -> None:
    """Whatever text stands in the Authorization header, the answer is an error of the client's."""
    headers = {**signed_headers(b"{}", signed_at=SYSTEM_NOW), "authorization": header}
    assert "IncompleteSignatureException" == refusal(headers)


def test_scope_date_is_signing_date() -> None:
    """The date of the credential scope must be that of the signing time."""
    headers = signed_headers(b"{}", signed_at=SYSTEM_NOW)
    headers["authorization"] = headers["authorization"].replace("20261123", "20261122")
    assert "InvalidSignatureException" == refusal(headers)


def sign(session: Session) -> SignedRequest:
    """Sign a request as botocore does, at the time that it is."""
    request = AWSRequest("POST", "http://h/?b=2&a=1%20x", data=b"{}")
    credentials = Credentials(session.access_key_id, session.secret_access_key, session.session_token)
    SigV4Auth(credentials, "aws-marketplace", "eu-west-1").add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    stamp: str = request.context["timestamp"]
    return SignedRequest("POST", "/", "b=2&a=1%20x", {"host": "h", "x-amz-date": stamp, **headers}, b"{}")


@pytest.mark.parametrize(("age_s", "expected"), [(899, None), (900, "ExpiredTokenException")])
def test_session_ends(cluster: "Cluster", age_s: int, expected: str | None) -> None:
    """Handed-out credentials are good until the duration that was asked for has passed."""
    state = State()
    now = datetime.now(UTC).replace(microsecond=0)
    form = {"RoleArn": ROLE_ARN, "RoleSessionName": "session", "WebIdentityToken": cluster.token()}
    session, _ = assume_role(state, now, {**form, "DurationSeconds": "900"})
    code = None
    try:
        caller = authenticate(sign(session), "aws-marketplace", state.sessions, now + timedelta(seconds=age_s))
    except ServiceError as error:
        code = error.code
    else:
        assert "pod-1" == caller.identity
    assert expected == code
