"""An aiohttp that lacks the inner members of the tested one: each request goes through its task, and is answered."""

import ast
import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from sidecar.adapters.http import client_connection, direct_connection
from sidecar.adapters.http.direct_connection import DirectConnection, can_answer_directly
from tests.support.http_fakes import Api, Wire, request

EVENT = '{"dimension": "requests"}'
REPORT = request("POST", "/v1/usage", EVENT, headers=["Content-Type: application/json"])
ASK = request("GET", "/v1/entitlement")


def _inner_members(path: str) -> set[str]:
    """Return the members of aiohttp's connection that a module uses and that are not public."""
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return {name for name in names & set(dir(web.RequestHandler)) if name.startswith("_") and not name.endswith("__")}


def test_members_are_listed() -> None:
    """What the direct way uses is asked for, and the other way uses public members only."""
    assert set(direct_connection._MEMBERS) == _inner_members(direct_connection.__file__)
    assert set() == _inner_members(client_connection.__file__)


def test_tested_version_is_installed() -> None:
    """With the locked aiohttp small requests are answered directly."""
    assert can_answer_directly()


@pytest.fixture(params=["member", "version"])
def other_aiohttp(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let aiohttp lack a member, or have another version."""
    if request.param == "member":
        monkeypatch.setattr(direct_connection, "_MEMBERS", (*direct_connection._MEMBERS, "_renamed"))
    else:
        monkeypatch.setattr("aiohttp.__version__", "3.15.0")


@pytest.mark.usefixtures("other_aiohttp")
async def test_requests_go_through_the_task(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests on one connection are answered in their order, also when the first waits for the disk."""

    def unused(*_: object) -> None:
        raise AssertionError("a plain connection answers nothing directly")

    monkeypatch.setattr(DirectConnection, "__init__", unused)
    api.intake.gate = asyncio.Event()
    wire = await Wire.open(api.port)
    wire.send(REPORT + ASK + request("GET", "/v1/status") + REPORT)
    await api.intake.entered.wait()
    api.intake.gate.set()
    assert [202, 200, 200, 202] == [(await wire.receive()).status for _ in range(4)]
    assert 2 == len(api.intake.batches)
    wire.send(b"NO HTTP\r\n\r\n")
    assert "malformed" == (await wire.receive()).problem
    assert await wire.at_end()
    await wire.close()
    assert (0, 0) == (api.server._reports._taken, api.server._memory._held)


@pytest.mark.usefixtures("other_aiohttp")
async def test_gone_client_ends_its_poll(api: Api) -> None:
    """A long poll ends with its client, and gives its place back."""
    wire = await Wire.open(api.port)
    wire.send(request("GET", "/v1/entitlement?wait=5m"))
    await api.gate.until_waiting(1)
    await wire.close()
    while api.server._poll_limit._taken:  # noqa: ASYNC110 - the server sends no signal
        await asyncio.sleep(0)
    assert 202 == (await api.report(EVENT)).status
