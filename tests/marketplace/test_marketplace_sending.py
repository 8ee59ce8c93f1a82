"""Whether a call that failed had left: judged against real peers that misbehave at each step of the way."""

import asyncio
import http.client
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.awsrequest
import botocore.httpsession
import pytest
import urllib3.connection

from sidecar.marketplace import (
    Endpoint,
    MarketplaceError,
    MarketplaceMeteringClient,
    MeterUsageRequest,
    NotSent,
    Taken,
)
from sidecar.marketplace.passage import never_left
from sidecar.marketplace.sdk import Connection
from sidecar.marketplace.sending import passage, watch
from sidecar.marketplace.wire import members, meter_usage_result
from tests.marketplace import fronts
from tests.marketplace.fronts import PAGE, TAKEN, Front, Step, answering, reading, saying, with_tls
from tests.support.certificates import Authority

REQUEST = MeterUsageRequest(
    product_code="code",
    timestamp=datetime(2026, 11, 23, 10, tzinfo=UTC),
    usage_dimension="requests",
    usage_quantity_as_decimal="1.5",
)
PATIENT = timedelta(minutes=1)
BRIEF = timedelta(milliseconds=300)
NO, UNKNOWN = Taken


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The authority that the SDK trusts, and static keys so that the token service is not asked."""
    authority = Authority(tmp_path, "authority")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    return authority


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Ends the peers of a test."""
    with ExitStack() as stack:
        yield stack


_made: list[Connection] = []


@pytest.fixture(autouse=True)
def _close_connections() -> Iterator[None]:
    yield
    while _made:
        _made.pop().close()


def direct(
    port: int, *, connect: timedelta = PATIENT, read: timedelta = PATIENT, host: str = "localhost"
) -> Connection:
    """Return the SDK's way to a front without a proxy."""
    url = f"https://{host}:{port}"
    _made.append(
        Connection(Endpoint(region_name="eu-west-1", endpoint_url=url, connect_timeout=connect, read_timeout=read))
    )
    return _made[-1]


def live(*, connect: timedelta = PATIENT, read: timedelta = PATIENT) -> Connection:
    """Return the SDK's way to AWS, which HTTPS_PROXY leads elsewhere."""
    _made.append(Connection(Endpoint(region_name="eu-west-1", connect_timeout=connect, read_timeout=read)))
    return _made[-1]


def meter(connection: Connection) -> str | None:
    """Make the call and return the metering record id."""
    return meter_usage_result(REQUEST, connection.send("MeterUsage", members(REQUEST))).metering_record_id


def fail(connection: Connection) -> MarketplaceError:
    """Return the error of a call."""
    with pytest.raises(MarketplaceError) as caught:
        meter(connection)
    assert (None, None) == (caught.value.__cause__, caught.value.__context__)
    return caught.value


def judged(error: MarketplaceError) -> tuple[str, Taken]:
    """Return what a test compares; the kinds of `NotSent` differ only in their cures."""
    return "NotSent" if isinstance(error, NotSent) else type(error).__name__, error.taken


BEFORE: Mapping[str, Step] = {
    "reset": fronts.reset,
    "closed": fronts.close,
    "plain http": fronts.speak_plainly,
    "closed after the hello": fronts.hang_up_on_hello,
    "half a TLS record": fronts.break_handshake,
}
"""What ends the way before the handshake is done."""

AFTER: Mapping[str, tuple[Step, str]] = {
    "closed before the request": (fronts.close, "NoAnswer"),
    "closed after the request": (reading(fronts.close), "NoAnswer"),
    "half a status line": (reading(saying(b"HTTP/1.1 20")), "NoAnswer"),
    "half a header": (reading(saying(b"HTTP/1.1 200 OK\r\nContent-Le")), "UnknownAnswer"),
    "half a body": (reading(saying(TAKEN[:-5])), "UnknownAnswer"),
    "garbage": (reading(saying(b"\x00\xff\xfe\r\n\r\n")), "NoAnswer"),
    "a page": (reading(saying(answering("200 OK", PAGE, "text/html"))), "UnknownAnswer"),
    "a proxy's page": (reading(saying(answering("502 Bad Gateway", PAGE, "text/html"))), "UnknownAnswer"),
    "a success without an id": (reading(saying(answering("200 OK", {}))), "UnknownAnswer"),
    "an internal error": (
        reading(saying(answering("500 Oops", {"__type": "InternalServiceErrorException"}))),
        "InternalServiceErrorException",
    ),
}
"""What ends the call once its first byte may have left, and how that is reported."""


@pytest.mark.parametrize("step", BEFORE)
def test_no_handshake_is_not_sent(authority: Authority, stack: ExitStack, step: str) -> None:
    """Whatever ends the connection before the TLS handshake is done, nothing of the request has left."""
    front = stack.enter_context(Front(BEFORE[step], context=authority.context("localhost")))
    assert ("NotSent", NO) == judged(fail(direct(front.port)))
    assert [] == front.requests


def test_silent_handshake_is_not_sent(authority: Authority, stack: ExitStack) -> None:
    """A peer that sends nothing to the hello is given up; the SDK's name for it is a read time-out."""
    front = stack.enter_context(Front(fronts.stay_silent, context=authority.context("localhost")))
    assert ("NotSent", NO) == judged(fail(direct(front.port, connect=BRIEF)))


@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_wrong_certificate_is_not_sent(authority: Authority, stack: ExitStack, tmp_path: Path, wrong: str) -> None:
    """A certificate of another server, or of another name, ends the call before the request."""
    signer = Authority(tmp_path, "stranger") if wrong == "authority" else authority
    name = "localhost" if wrong == "authority" else "elsewhere.example"
    front = stack.enter_context(Front(with_tls(reading(saying(TAKEN))), context=signer.context(name)))
    assert ("NotSent", NO) == judged(fail(direct(front.port)))
    # The peer may believe in the handshake, and then sees the connection end.
    assert not any(front.requests)


def test_unreachable_is_not_sent(authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A refused connection, an unknown name and a missing file of certificates are no attempts."""
    with fronts.refusing_port() as port:
        assert ("NotSent", NO) == judged(fail(direct(port)))
        assert ("NotSent", NO) == judged(fail(direct(port, host="nowhere.invalid")))
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "missing.pem"))
        assert ("NotSent", NO) == judged(fail(direct(port)))
    assert authority.bundle.is_file()


@pytest.mark.parametrize("step", AFTER)
def test_after_handshake_leaves_doubt(authority: Authority, stack: ExitStack, step: str) -> None:
    """Once the first byte was handed to the connection, only a refusal by AWS proves that nothing was taken."""
    doing, name = AFTER[step]
    front = stack.enter_context(Front(with_tls(doing), context=authority.context("localhost")))
    assert (name, UNKNOWN) == judged(fail(direct(front.port)))


def test_silence_after_request_leaves_doubt(authority: Authority, stack: ExitStack) -> None:
    """A peer that has read the request and says nothing may have taken it."""
    script = with_tls(reading(fronts.stay_silent))
    front = stack.enter_context(Front(script, context=authority.context("localhost")))
    assert ("NoAnswer", UNKNOWN) == judged(fail(direct(front.port, read=BRIEF)))


@pytest.mark.parametrize("step", ["closed after the request", "half a body", "garbage", "an internal error"])
def test_kept_connection_leaves_doubt(authority: Authority, stack: ExitStack, step: str) -> None:
    """The same holds for the second call on a connection that is kept, where nothing connects or shakes hands."""
    (doing, name), used = AFTER[step], []

    def keep(connection: Any, front: Front) -> None:
        reading(saying(TAKEN))(connection, front)
        used.append(connection)
        doing(connection, front)

    front = stack.enter_context(Front(with_tls(keep), context=authority.context("localhost")))
    connection = direct(front.port)
    assert "record-1" == meter(connection)
    assert (name, UNKNOWN) == judged(fail(connection))
    assert (1, 2) == (len(used), len(front.requests))


@pytest.mark.parametrize("step", BEFORE)
def test_closed_connection_is_made_anew(authority: Authority, stack: ExitStack, step: str) -> None:
    """A call after one that was answered is judged by its own connection, not by what the last one sent."""
    closed = threading.Event()

    def answer_and_close(connection: Any, front: Front) -> None:
        reading(saying(TAKEN))(connection, front)
        connection.close()
        closed.set()

    script = (with_tls(answer_and_close), BEFORE[step])
    front = stack.enter_context(Front(*script, context=authority.context("localhost")))
    connection = direct(front.port)
    meter(connection)
    assert closed.wait(60)
    assert ("NotSent", NO) == judged(fail(connection))
    assert 1 == len(front.requests)


def test_calls_are_told_apart(authority: Authority, stack: ExitStack) -> None:
    """Of calls that run at the same time each knows only what it has sent itself."""
    taking = with_tls(reading(fronts.close))
    script = (fronts.reset, taking, fronts.speak_plainly, taking, fronts.close, taking, fronts.reset, taking)
    front = stack.enter_context(Front(*script, context=authority.context("localhost")))
    connection = direct(front.port)
    with ThreadPoolExecutor(4) as threads:
        errors = list(threads.map(lambda _: fail(connection), range(len(script))))
    assert [("NoAnswer", UNKNOWN)] * 4 + [("NotSent", NO)] * 4 == sorted(map(judged, errors))
    assert 4 == len(front.requests)


def proxied(monkeypatch: pytest.MonkeyPatch, proxy: Front | int, scheme: str = "http") -> None:
    """Lead live calls through a proxy."""
    port = proxy if isinstance(proxy, int) else proxy.port
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://localhost:{port}")


REFUSING: Mapping[str, Step] = {
    "reset": fronts.reset,
    "closed": fronts.close,
    "closed after CONNECT": reading(fronts.close),
    "407": reading(saying(answering("407 Proxy Authentication Required", PAGE, "text/html"))),
    "502": reading(saying(answering("502 Bad Gateway", PAGE, "text/html"))),
    "503": reading(saying(answering("503 Service Unavailable", PAGE, "text/html"))),
    "504": reading(saying(answering("504 Gateway Timeout", PAGE, "text/html"))),
    "garbage": reading(saying(b"\x00\xff\r\n\r\n")),
    "tunnel, then closed": reading(saying(b"HTTP/1.1 200 OK\r\n\r\n")),
    "tunnel, then a page": reading(saying(b"HTTP/1.1 200 OK\r\n\r\n" + answering("200 OK", PAGE, "text/html"))),
}
"""What a proxy does instead of making a tunnel that leads to AWS."""


@pytest.mark.parametrize("step", REFUSING)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_refusing_proxy_is_not_sent(
    authority: Authority, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, step: str, scheme: str
) -> None:
    """A proxy that refuses, resets or leads nowhere got the CONNECT at most, and never the request."""
    doing = REFUSING[step]
    script = with_tls(doing) if scheme == "https" else doing
    proxy = stack.enter_context(Front(script, context=authority.context("localhost")))
    proxied(monkeypatch, proxy, scheme)
    assert ("NotSent", NO) == judged(fail(live()))
    assert all(request == b"" or request.startswith(b"CONNECT ") for request in proxy.requests)


def test_silent_proxy_is_not_sent(authority: Authority, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that sends nothing to CONNECT is given up; nothing of the request has left."""
    proxy = stack.enter_context(Front(reading(fronts.stay_silent), context=authority.context("localhost")))
    proxied(monkeypatch, proxy)
    assert ("NotSent", NO) == judged(fail(live(connect=BRIEF)))


@pytest.mark.parametrize("url", ["http://[::1", "http://proxy:port", "http://a b:1", "://", "http://"])
def test_broken_proxy_url_is_not_sent(authority: Authority, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A proxy's URL that does not parse leads nowhere."""
    monkeypatch.setenv("HTTPS_PROXY", url)
    assert NO is fail(live(connect=BRIEF)).taken
    assert authority.bundle.is_file()


def test_absent_proxy_is_not_sent(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses the connection got nothing."""
    with fronts.refusing_port() as port:
        proxied(monkeypatch, port)
        assert ("NotSent", NO) == judged(fail(live()))
    assert authority.bundle.is_file()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("step", [*BEFORE, *AFTER])
def test_tunnel_is_judged_by_its_end(
    authority: Authority, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, scheme: str, step: str
) -> None:
    """Behind a proxy, an HTTPS one too, a call has left once it was handed to the connection with AWS's name."""
    if step in BEFORE:
        doing, expected = BEFORE[step], ("NotSent", NO)
    else:
        (after, name) = AFTER[step]
        doing, expected = with_tls(after), (name, UNKNOWN)
    front = stack.enter_context(Front(doing, context=authority.context(fronts.HOST)))
    tunnel = fronts.tunnelling(front.port)
    script = with_tls(tunnel) if scheme == "https" else tunnel
    proxied(monkeypatch, stack.enter_context(Front(script, context=authority.context("localhost"))), scheme)
    assert expected == judged(fail(live()))


def test_kept_tunnel_leaves_doubt(authority: Authority, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second call through a kept tunnel, whose answer an HTTPS proxy loses, is no fault of the proxy's."""
    script = with_tls(reading(saying(TAKEN), fronts.close))
    front = stack.enter_context(Front(script, context=authority.context(fronts.HOST)))
    tunnel = with_tls(fronts.tunnelling(front.port))
    proxied(monkeypatch, stack.enter_context(Front(tunnel, context=authority.context("localhost"))), "https")
    connection = live()
    assert "record-1" == meter(connection)
    assert ("NoAnswer", UNKNOWN) == judged(fail(connection))
    assert 2 == len(front.requests)


def test_token_service_is_not_the_call(
    authority: Authority, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is sent for credentials is not the call: a token service that fails leaves nothing in doubt."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    token = tmp_path / "token"
    token.write_text("web-identity-token")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/meter")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    front = stack.enter_context(Front(with_tls(reading(fronts.close)), context=authority.context("localhost")))
    error = fail(direct(front.port))
    assert ("NotSent", NO) == judged(error)
    assert [True] == [b"AssumeRoleWithWebIdentity" in request for request in front.requests]


def test_private_parts_are_there(authority: Authority) -> None:
    """The members of the SDK and of urllib3 that the watch relies on exist; without them every call counts as sent."""
    client = direct(1).make_client("meteringmarketplace", endpoint_url="https://localhost:1")
    assert watch(client)
    pools = client._endpoint.http_session._manager.pool_classes_by_scheme
    for scheme, pool in pools.items():
        assert issubclass(pool.ConnectionCls, urllib3.connection.HTTPConnection)
        assert "sidecar.marketplace.sending" == pool.__module__, scheme
    source = inspect.getsource(botocore.httpsession.URLLib3Session._get_proxy_manager)
    assert "proxy_manager.pool_classes_by_scheme = self._pool_classes_by_scheme" in source
    assert issubclass(botocore.awsrequest.AWSHTTPSConnection, http.client.HTTPConnection)
    assert "self.connect()" in inspect.getsource(http.client.HTTPConnection.send)
    assert authority.bundle.is_file()


@pytest.mark.parametrize(
    "break_it",
    [
        lambda client: delattr(client, "_endpoint"),
        lambda client: delattr(client._endpoint.http_session, "_pool_classes_by_scheme"),
        lambda client: setattr(client._endpoint.http_session._manager, "pool_classes_by_scheme", {}),
    ],
)
def test_unwatched_calls_count_as_sent(authority: Authority, break_it: Callable[[Any], None]) -> None:
    """With another SDK whose connections cannot be watched, nothing is ever believed not to have left."""
    client = direct(1).make_client("meteringmarketplace", endpoint_url="https://localhost:1")
    break_it(client)
    assert not watch(client)
    with passage(watched=False) as call:
        assert call.sent
    assert authority.bundle.is_file()


async def cut_off(client: MarketplaceMeteringClient, reached: threading.Event) -> asyncio.CancelledError:
    """Cancel a call once it has come so far, and return the cancellation."""
    call = asyncio.create_task(client.meter_usage(REQUEST))
    await asyncio.to_thread(reached.wait)
    call.cancel()
    with pytest.raises(asyncio.CancelledError) as cut:
        await call
    return cut.value


async def test_call_given_up_sends_nothing(authority: Authority, stack: ExitStack) -> None:
    """A call that is cancelled while it connects sends nothing later; one that waits for a thread neither."""
    hello, given_up, gone = threading.Event(), threading.Event(), threading.Event()

    def shake_late(connection: Any, front: Front) -> None:
        hello.set()
        given_up.wait()
        try:
            with_tls(reading(fronts.close))(connection, front)
        finally:
            gone.set()

    front = stack.enter_context(Front(shake_late, context=authority.context("localhost")))
    endpoint = Endpoint(region_name="eu-west-1", endpoint_url=f"https://localhost:{front.port}", max_pool_connections=1)
    async with MarketplaceMeteringClient(endpoint) as client:
        cuts = [await cut_off(client, hello)]
        behind = asyncio.create_task(client.meter_usage(REQUEST))
        await asyncio.sleep(0)
        behind.cancel()
        with pytest.raises(asyncio.CancelledError) as cut:
            await behind
        cuts.append(cut.value)
        given_up.set()
        await asyncio.to_thread(gone.wait)
    assert [True, True] == [never_left(each) for each in cuts]
    assert not any(front.requests)


async def test_cancelled_call_that_left(authority: Authority, stack: ExitStack) -> None:
    """A call that is cancelled after its first byte may be taken."""
    arrived = threading.Event()

    def note(connection: Any, front: Front) -> None:
        arrived.set()
        fronts.stay_silent(connection, front)

    front = stack.enter_context(Front(with_tls(reading(note)), context=authority.context("localhost")))
    async with MarketplaceMeteringClient(
        Endpoint(region_name="eu-west-1", endpoint_url=f"https://localhost:{front.port}")
    ) as client:
        assert not never_left(await cut_off(client, arrived))


def test_not_sent_is_told_in_words(authority: Authority, stack: ExitStack) -> None:
    """The error of a call that never left keeps the SDK's words, which name the cause."""
    front = stack.enter_context(Front(fronts.speak_plainly, context=authority.context("localhost")))
    error = fail(direct(front.port))
    assert isinstance(error, NotSent)
    assert "SSL" in str(error)
