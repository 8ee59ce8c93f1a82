"""A metering service's peer on a real socket, and a client of it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sidecar.marketplace import Endpoint, MarketplaceMeteringClient

Answer = Callable[[web.Request], web.StreamResponse]


@dataclass
class Peer:
    """An HTTP server that answers as told and keeps what it was sent."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    requests: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    silent: bool = False
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    @staticmethod
    def says(body: object, status: int = 200) -> Answer:
        """Answer with this body: JSON, or text as it is."""
        raw = body if isinstance(body, str) else json.dumps(body)
        headers = {"x-amzn-RequestId": "request-1", "Content-Type": "application/x-amz-json-1.1"}
        return lambda _: web.Response(status=status, body=raw.encode(), headers=headers)

    @staticmethod
    def fails(code: str, message: str = "words", status: int = 400) -> Answer:
        """Answer with an error of the service."""
        return Peer.says({"__type": code, "message": message}, status)

    @staticmethod
    def drops(request: web.Request) -> web.StreamResponse:
        """Take the request and close the connection without an answer."""
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Give the next answer, the last one again and again; or none until released."""
        self.bodies.append(await request.read())
        self.requests.append(request)
        self.heard.set()
        if self.silent:
            await self.released.wait()
        return (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])(request)

    def sent(self) -> list[tuple[str, Any]]:
        """Return the operation and the members of each request."""
        return [
            (request.headers["X-Amz-Target"].removeprefix("AWSMPMeteringService."), json.loads(body))
            for request, body in zip(self.requests, self.bodies, strict=True)
        ]


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    """A peer that listens."""
    peer = Peer()
    app = web.Application()
    app.router.add_post("/", peer.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    peer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield peer
    peer.released.set()
    await runner.cleanup()


@pytest.fixture
async def client(peer: Peer) -> AsyncIterator[MarketplaceMeteringClient]:
    """A client of the peer."""
    async with MarketplaceMeteringClient(Endpoint.emulated(peer.url, {})) as client:
        yield client
