"""What the client makes of errors, garbage and silence."""

import ssl
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import create_server
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sidecar.marketplace import (
    ERRORS,
    BatchMeterUsageRequest,
    Endpoint,
    MarketplaceError,
    MarketplaceMeteringClient,
    MeterUsageRequest,
    NoAnswer,
    NotSent,
    RegisterUsageRequest,
    ResolveCustomerRequest,
    Taken,
    UnknownAnswer,
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


@pytest.mark.parametrize("code", sorted(ERRORS.keys() - {"ExpiredTokenException", "InvalidTokenException"}))
async def test_error_answers_have_their_class(peer: "Peer", client: MarketplaceMeteringClient, code: str) -> None:
    """Each error of the service arrives as its class, after exactly one attempt, known not to have been taken."""
    peer.answers = [peer.fails(f"com.amazonaws.marketplace#{code}", status=500 if "Internal" in code else 400)]
    with pytest.raises(ERRORS[code]) as caught:
        await client.meter_usage(USAGE)
    assert (code, "words", "request-1") == (caught.value.code, caught.value.message, caught.value.request_id)
    assert 1 == len(peer.requests)


HOLLOW = ["", "null", "[]", "{}", '"text"', "{", "<html></html>", "\x00", '{"__type": 5}', "{}garbage"]


@pytest.mark.parametrize("body", [*HOLLOW, '{"MeteringRecordId": ""}', '{"MeteringRecordId": 5}'])
async def test_hollow_success_is_none(peer: "Peer", client: MarketplaceMeteringClient, body: str) -> None:
    """A 200 without a metering record id is no success: it is retried, and the request may have been taken."""
    peer.answers = [peer.says(body)]
    with pytest.raises(UnknownAnswer) as caught:
        await client.meter_usage(USAGE)
    assert Taken.UNKNOWN is caught.value.taken


@pytest.mark.parametrize(
    "body", [*HOLLOW, '{"Signature": ""}', '{"Signature": "s", "PublicKeyRotationTimestamp": "x"}']
)
async def test_hollow_registration_is_none(peer: "Peer", client: MarketplaceMeteringClient, body: str) -> None:
    """A 200 without a signature is no registration."""
    peer.answers = [peer.says(body)]
    with pytest.raises(UnknownAnswer):
        await client.register_usage(REGISTER)


@pytest.mark.parametrize(
    "body",
    [
        *HOLLOW,
        '{"Results": [1]}',
        '{"Results": {}, "UnprocessedRecords": 1}',
        '{"Results": [{"Status": "DuplicateRecord", "UsageRecord": {}}]}',
        '{"Results": [{"Status": "DuplicateRecord", "UsageRecord": {"Timestamp": 0}}]}',
    ],
)
async def test_garbled_batch_is_none(peer: "Peer", client: MarketplaceMeteringClient, body: str) -> None:
    """An unreadable answer settles no record of a batch and is reported as such."""
    peer.answers = [peer.says(body)]
    with pytest.raises(UnknownAnswer):
        await client.batch_meter_usage(BatchMeterUsageRequest(usage_records=(RECORD,), product_code="code"))


@pytest.mark.parametrize(
    "body",
    [
        *HOLLOW,
        '{"ProductCode": "code"}',
        '{"CustomerIdentifier": "buyer"}',
        '{"ProductCode": "code", "CustomerIdentifier": "", "CustomerAWSAccountId": ""}',
        '{"ProductCode": "code", "CustomerIdentifier": ""}',
    ],
)
async def test_anonymous_customer_is_none(peer: "Peer", client: MarketplaceMeteringClient, body: str) -> None:
    """An answer that names no product or no buyer resolves none."""
    peer.answers = [peer.says(body)]
    with pytest.raises(UnknownAnswer):
        await client.resolve_customer(RESOLVE)


@pytest.mark.parametrize("status", [302, 400, 403, 404, 413, 429, 500, 502, 503])
@pytest.mark.parametrize("body", ["<html>secret-page</html>", "", "{}", "[]", '{"__type": 5}'])
async def test_foreign_errors_are_unknown(
    peer: "Peer", client: MarketplaceMeteringClient, status: int, body: str
) -> None:
    """An error page of something else is never a refusal; its text is not passed on."""
    peer.answers = [peer.says(body, status)]
    with pytest.raises(UnknownAnswer) as caught:
        await client.meter_usage(USAGE)
    assert Taken.UNKNOWN is caught.value.taken
    assert "secret-page" not in str(caught.value)
    assert 1 == len(peer.requests)


async def test_dropped_answer_leaves_doubt(peer: "Peer", client: MarketplaceMeteringClient) -> None:
    """A connection that ends after the request leaves open whether it was taken, and nothing is repeated."""
    peer.answers = [peer.drops]
    with pytest.raises(NoAnswer) as caught:
        await client.meter_usage(USAGE)
    assert (Taken.UNKNOWN, 1) == (caught.value.taken, len(peer.requests))


async def test_silence_leaves_doubt(peer: "Peer") -> None:
    """An answer that does not come in time leaves open whether the request was taken."""
    peer.silent = True
    peer.answers = [peer.says({})]
    async with MarketplaceMeteringClient(
        replace(Endpoint.emulated(peer.url, {}), read_timeout=timedelta(milliseconds=200))
    ) as client:
        with pytest.raises(NoAnswer) as caught:
            await client.meter_usage(USAGE)
    assert (Taken.UNKNOWN, 1) == (caught.value.taken, len(peer.requests))


async def test_refused_connection_was_not_sent() -> None:
    """A call that reaches no server is known not to have been taken."""
    with closing(create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    async with MarketplaceMeteringClient(Endpoint.emulated(f"http://127.0.0.1:{port}", {})) as client:
        with pytest.raises(NotSent) as caught:
            await client.meter_usage(USAGE)
    assert Taken.NO is caught.value.taken


@pytest.fixture
async def tls_peer(tmp_path: Path) -> AsyncIterator[str]:
    """A peer with a certificate of an unknown authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(HOUR - timedelta(days=3650))
        .not_valid_after(HOUR + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file = tmp_path / "peer.pem"
    file.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_untrusted_certificate_was_not_sent(tls_peer: str) -> None:
    """A request is not sent to a peer whose certificate is not trusted."""
    async with MarketplaceMeteringClient(Endpoint.emulated(tls_peer, {})) as client:
        with pytest.raises(NotSent):
            await client.meter_usage(USAGE)


async def test_plain_peer_was_not_sent(peer: "Peer") -> None:
    """A peer that speaks plain HTTP where TLS is expected gets nothing of the request."""
    async with MarketplaceMeteringClient(Endpoint.emulated(peer.url.replace("http:", "https:"), {})) as client:
        with pytest.raises(NotSent):
            await client.meter_usage(USAGE)
    assert [] == peer.requests


async def test_secrets_leave_no_trace(peer: "Peer", client: MarketplaceMeteringClient) -> None:
    """No error repeats a nonce or a token, not even when the service does, and drags no SDK exception along."""
    peer.answers = [
        peer.fails("ThrottlingException", "x" * 488 + "secret  nonce"),
        peer.fails("InvalidTokenException", "bad secret-token"),
    ]
    for call in (client.register_usage(REGISTER), client.resolve_customer(RESOLVE)):
        with pytest.raises(MarketplaceError) as caught:
            await call
        assert "secret" not in repr(caught.value) + str(caught.value)
        assert (None, None) == (caught.value.__cause__, caught.value.__context__)
