"""Whom the client signs as toward an emulator."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from sidecar.marketplace import (
    CredentialsMissing,
    CredentialsRefused,
    MarketplaceError,
    MarketplaceMeteringClient,
    MeterUsageRequest,
    NotSent,
    RegisterUsageRequest,
    ResolveCustomerRequest,
    Taken,
    UsageRecord,
)

if TYPE_CHECKING:
    from tests.marketplace.conftest import Peer

HOUR = datetime(2026, 11, 23, 10, tzinfo=UTC)
EPOCH = HOUR.timestamp()
REGISTER = RegisterUsageRequest(product_code="code", public_key_version=1, nonce="secret  nonce")
USAGE = MeterUsageRequest(
    product_code="code", timestamp=HOUR, usage_dimension="requests", usage_quantity_as_decimal="1.50"
)
RESOLVE = ResolveCustomerRequest(registration_token="secret-token")
RECORD = UsageRecord(timestamp=HOUR, dimension="requests", quantity=1, customer_identifier="buyer")


def credential(request: web.Request) -> str:
    """Return the access key id that signed a request."""
    return request.headers["Authorization"].partition("Credential=")[2].partition("/")[0]


async def test_emulator_needs_no_keys(peer: "Peer", client: MarketplaceMeteringClient) -> None:
    """With no credentials at all an emulator is called with made-up ones, signed for the metering service."""
    peer.answers = [peer.says({"MeteringRecordId": "record-1"})]
    await client.meter_usage(USAGE)
    assert "emulator" == credential(peer.requests[0])
    assert "/us-east-1/aws-marketplace/aws4_request" in peer.requests[0].headers["Authorization"]
    assert "emulator" == await client.credentials_method()


async def test_emulator_takes_static_keys(
    peer: "Peer", client: MarketplaceMeteringClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Static keys in the environment sign the calls to an emulator, so several pods can be played."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPODONE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    peer.answers = [peer.says({"MeteringRecordId": "record-1"})]
    await client.meter_usage(USAGE)
    assert "AKIAPODONE" == credential(peer.requests[0])


GRANTED = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAPOD</AccessKeyId><SecretAccessKey>s</SecretAccessKey>
<SessionToken>session</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""


def denied(code: str) -> str:
    """Return an STS error."""
    return f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"


@pytest.fixture
def irsa(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The environment of a pod whose service account has a role; the token file."""
    token = tmp_path / "token"
    token.write_text("web-identity-token")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/meter")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    return token


@pytest.mark.usefixtures("irsa")
async def test_irsa_asks_the_emulator(peer: "Peer", client: MarketplaceMeteringClient) -> None:
    """In emulator mode the service account's token is traded at the emulator, and what it grants signs the call."""
    peer.answers = [peer.says(GRANTED), peer.says({"MeteringRecordId": "record-1"})]
    await client.meter_usage(USAGE)
    form = parse_qs(peer.bodies[0].decode())
    assert (["AssumeRoleWithWebIdentity"], ["web-identity-token"]) == (form["Action"], form["WebIdentityToken"])
    assert ("ASIAPOD", "session") == (credential(peer.requests[1]), peer.requests[1].headers["X-Amz-Security-Token"])


@pytest.mark.usefixtures("irsa")
@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("AccessDenied", 403, CredentialsRefused),
        ("InvalidIdentityToken", 400, CredentialsRefused),
        ("ExpiredTokenException", 400, CredentialsMissing),
        ("IDPCommunicationError", 400, CredentialsMissing),
        ("Throttling", 400, CredentialsMissing),
        ("InternalFailure", 500, CredentialsMissing),
    ],
)
async def test_refused_irsa_is_told(
    peer: "Peer", client: MarketplaceMeteringClient, code: str, status: int, expected: type[MarketplaceError]
) -> None:
    """A trade that STS refuses is a wrong set-up, one that may work later is retried; the call itself never left."""
    peer.answers = [peer.says(denied(code), status)]
    with pytest.raises(expected) as caught:
        await client.meter_usage(USAGE)
    assert (expected, code, Taken.NO) == (type(caught.value), caught.value.code, caught.value.taken)
    assert 1 == len(peer.requests)


@pytest.mark.usefixtures("irsa")
@pytest.mark.parametrize("answer", [None, ("<html/>", 200), ("", 502)])
async def test_unreachable_sts_was_not_sent(
    peer: "Peer", client: MarketplaceMeteringClient, answer: tuple[str, int] | None
) -> None:
    """When the trade of the token fails without a word, the metering call is still known not to have been sent."""
    peer.answers = [peer.drops if answer is None else peer.says(*answer)]
    with pytest.raises(NotSent if answer is None else CredentialsMissing) as caught:
        await client.meter_usage(USAGE)
    assert (Taken.NO, 1) == (caught.value.taken, len(peer.requests))


async def test_missing_token_file_is_told(peer: "Peer", client: MarketplaceMeteringClient, irsa: Path) -> None:
    """A projected token that is not there is missing credentials; once it is there the same client works."""
    await asyncio.to_thread(irsa.unlink)
    peer.answers = [peer.says(GRANTED), peer.says({"MeteringRecordId": "record-1"})]
    with pytest.raises(CredentialsMissing, match="token"):
        await client.meter_usage(USAGE)
    await asyncio.to_thread(irsa.write_text, "web-identity-token")
    assert "record-1" == (await client.meter_usage(USAGE)).metering_record_id
