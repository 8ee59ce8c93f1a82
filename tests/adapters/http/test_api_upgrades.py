"""Requests that ask for another protocol, as Java's client does on each connection: the header is passed over."""

import asyncio

import pytest

from sidecar.adapters.http.direct_connection import DirectConnection
from tests.support.http_fakes import Api, Wire, request

JSON = "Content-Type: application/json"
EVENT = '{"dimension": "requests"}'
REPORT = request("POST", "/v1/usage", EVENT, headers=[JSON])
JAVA = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA"]
UPGRADES = {
    "h2c": JAVA,
    "websocket": ["Connection: upgrade", "upgrade: websocket"],
    "several": ["Connection: upgrade", "Upgrade: TLS/1.0, websocket", "UPGRADE:h2c"],
    "without Connection": ["Upgrade: h2c"],
}


def _chunked(*headers: str) -> bytes:
    lines = ["POST /v1/usage HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked", JSON, *headers, "", ""]
    return "\r\n".join(lines).encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (len(EVENT), EVENT.encode())


def _asked(kind: str, headers: list[str]) -> bytes:
    match kind:
        case "question":
            return request("GET", "/v1/entitlement", headers=headers)
        case "report":
            return request("POST", "/v1/usage", EVENT, headers=[JSON, *headers])
        case "large report":
            return request("POST", "/v1/usage", EVENT + " " * 100_000, headers=[JSON, *headers])
        case _:
            return _chunked(*headers)


@pytest.mark.parametrize("kind", ["question", "report", "large report", "chunks"])
@pytest.mark.parametrize("headers", UPGRADES.values(), ids=UPGRADES.keys())
async def test_upgrade_is_passed_over(api: Api, headers: list[str], kind: str) -> None:
    """The request is taken once and answered, and so is the next one, also where its bytes come with the first."""
    wire = await Wire.open(api.port)
    asked = _asked(kind, headers)
    for together in (False, True):
        wire.send(asked)
        if together:
            wire.send(REPORT)
        assert (await wire.receive()).status in {200, 202}
        if not together:
            wire.send(REPORT)
        assert 202 == (await wire.receive()).status
    assert (2 if kind == "question" else 4) == len(api.intake.batches)
    await wire.close()


@pytest.mark.parametrize("kind", ["question", "report", "large report", "chunks"])
async def test_upgrade_in_pieces_ends_the_connection(api: Api, kind: str) -> None:
    """Where the head comes in pieces, the request is taken once; its answer says that nothing after it is."""
    wire = await Wire.open(api.port)
    wire.send(REPORT)
    assert 202 == (await wire.receive()).status
    asked = _asked(kind, JAVA)
    cut = asked.index(b"Upgrade: ") + 4
    wire.send(asked[:cut])
    (connection,) = api.server._listeners[0].connections
    assert isinstance(connection, DirectConnection)
    while not connection._head:  # noqa: ASYNC110 - no signal
        await asyncio.sleep(0)
    wire.send(asked[cut:] + REPORT)
    answer = await wire.receive()
    assert "close" == answer.headers["connection"]
    assert answer.status in {200, 202}
    assert await wire.at_end()
    assert (1 if kind == "question" else 2) == len(api.intake.batches)
    await wire.close()


async def test_body_is_no_header(api: Api) -> None:
    """A line of the body that looks like the header stays in the body."""
    wire = await Wire.open(api.port)
    wire.send(request("POST", "/v1/usage", EVENT + "\r\nUpgrade: h2c\r\n\r\n", headers=[JSON]) + REPORT)
    assert "malformed" == (await wire.receive()).problem
    assert 202 == (await wire.receive()).status
    await wire.close()
