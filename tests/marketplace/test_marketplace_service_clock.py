"""The service's clock, read from real answers."""

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from sidecar.marketplace import Endpoint, MarketplaceError, MarketplaceMeteringClient, RegisterUsageRequest
from sidecar.marketplace.service_clock import ServiceClock

if TYPE_CHECKING:
    from tests.marketplace.conftest import Answer, Peer

NOW = datetime(2026, 11, 23, 10, 20, tzinfo=UTC)
REGISTER = RegisterUsageRequest(product_code="code", public_key_version=1, nonce="nonce")
SIGNED: dict[str, object] = {"Signature": "a.b.c"}


def dated(answer: "Answer", off: timedelta) -> "Answer":
    """Let an answer be dated as by a clock that differs so from `NOW`."""

    def answer_dated(request: web.Request) -> web.StreamResponse:
        response = answer(request)
        response.headers["Date"] = format_datetime(NOW + off, usegmt=True)
        return response

    return answer_dated


def anonymous(answer: "Answer") -> "Answer":
    """Let an answer have no id of a request, like one that a proxy gives."""

    def answer_anonymous(request: web.Request) -> web.StreamResponse:
        response = answer(request)
        del response.headers["x-amzn-RequestId"]
        return response

    return answer_anonymous


@pytest.fixture
async def watched(peer: "Peer") -> AsyncIterator[MarketplaceMeteringClient]:
    """A client that compares the peer's clock with one that stands at `NOW`."""
    async with MarketplaceMeteringClient(Endpoint.emulated(peer.url, {}), ServiceClock(lambda: NOW)) as client:
        yield client


async def ask(client: MarketplaceMeteringClient, peer: "Peer", answer: "Answer") -> timedelta | None:
    """Make one call, however it ends, and return the skew that is known then."""
    peer.answers = [answer]
    with suppress(MarketplaceError):
        await client.register_usage(REGISTER)
    return None if client.service_clock is None else client.service_clock.skew


async def test_every_answer_tells_skew(watched: MarketplaceMeteringClient, peer: "Peer") -> None:
    """Successes and errors have the service's time, and the last one counts."""
    ahead = dated(peer.says(SIGNED), timedelta(minutes=-3))
    assert timedelta(minutes=3, seconds=-1) == await ask(watched, peer, ahead)
    behind = dated(peer.fails("ThrottlingException"), timedelta(minutes=3))
    assert timedelta(minutes=-3) == await ask(watched, peer, behind)
    assert timedelta() == await ask(watched, peer, dated(peer.says(SIGNED), timedelta()))


def test_age_is_in_real_seconds() -> None:
    """The age of the last answer does not follow the clock that is compared: it may be repaired meanwhile."""
    now, real = NOW, 10.0
    clock = ServiceClock(lambda: now, lambda: real)
    assert (None, None) == (clock.skew, clock.age)
    clock.note(clock.asked(), NOW - timedelta(minutes=3))
    now, real = NOW - timedelta(minutes=3), 40.0
    clock.note(clock.asked(), None)
    assert (timedelta(minutes=2, seconds=59), timedelta(seconds=30)) == (clock.skew, clock.age)


async def test_clients_share_what_they_know(watched: MarketplaceMeteringClient, peer: "Peer") -> None:
    """The newest answer of any client that has the clock counts."""
    async with MarketplaceMeteringClient(watched.endpoint, watched.service_clock) as other:
        await ask(watched, peer, dated(peer.says(SIGNED), timedelta(minutes=-3)))
        assert timedelta() == await ask(other, peer, dated(peer.says(SIGNED), timedelta()))
    assert watched.service_clock is not None
    assert timedelta() == watched.service_clock.skew


async def test_others_tell_nothing(watched: MarketplaceMeteringClient, peer: "Peer") -> None:
    """No answer, an answer of another server and one without a readable date leave the last skew as it was."""
    off = timedelta(minutes=-9)
    assert await ask(watched, peer, peer.drops) is None
    assert await ask(watched, peer, anonymous(dated(peer.fails("Forbidden", status=403), off))) is None
    known = await ask(watched, peer, dated(peer.says(SIGNED), timedelta()))
    assert known == await ask(watched, peer, anonymous(dated(peer.says(SIGNED), off)))


async def test_unwatched_clock_is_unknown(client: MarketplaceMeteringClient, peer: "Peer") -> None:
    """A client that was given no clock compares nothing, as next to an emulator."""
    assert await ask(client, peer, dated(peer.says(SIGNED), timedelta(minutes=-9))) is None
