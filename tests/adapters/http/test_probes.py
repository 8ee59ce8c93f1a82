"""The probe listener."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from sidecar.adapters.http.listening import PortInUse
from sidecar.adapters.http.probe_connection import LARGEST_HEAD, MOST_HEADERS, Ask
from sidecar.adapters.http.probe_listener import ProbeListener
from sidecar.adapters.http.probes import ProbeServer
from sidecar.adapters.http.replies import Reply, reply
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.status import ProbeAnswer, Status
from tests.support.http_fakes import Answer, FakeHealth, Wire, request


def expose(status: Status) -> bytes:
    """Stand for the metrics of `status`."""
    return f"marketplace_test {status.accepted_events}\n".encode()


@dataclass
class ThreeVerdicts(FakeHealth):
    """Health whose three verdicts differ."""

    def started(self) -> ProbeAnswer:
        """Tell that nothing has started."""
        return ProbeAnswer(ok=False, reason="pending", sentence="AWS has not answered yet.")

    def ready(self) -> ProbeAnswer:
        """Tell that metering gates."""
        return ProbeAnswer(ok=False, reason="metering-failing", sentence="No record was taken for 2 h.")


@dataclass
class Probes:
    """A running probe listener."""

    health: FakeHealth
    server: ProbeServer

    async def ask(self, target: str, method: str = "GET", host: str = "10.0.0.7:8788") -> Answer:
        """Send one request, by default as the kubelet does: to the pod's address."""
        wire = await Wire.open(self.server.port)
        try:
            wire.send(request(method, target, host=host))
            return await wire.receive(body=method != "HEAD")
        finally:
            await wire.close()


@pytest.fixture
async def probes() -> AsyncIterator[Probes]:
    """Start a probe listener for one test."""
    health = ThreeVerdicts()
    server = ProbeServer(host="127.0.0.1", port=0, health=health, expose=expose)
    await server.start()
    yield Probes(health, server)
    await server.stop(timedelta(seconds=5))


@pytest.mark.parametrize(
    ("path", "status", "document"),
    [
        ("/livez", 200, {"status": "ok", "code": "entitled", "reason": "All is well."}),
        ("/startupz", 503, {"status": "fail", "code": "pending", "reason": "AWS has not answered yet."}),
        (
            "/readyz",
            503,
            {"status": "fail", "code": "metering-failing", "reason": "No record was taken for 2 h."},
        ),
    ],
)
async def test_verdicts_told(probes: Probes, path: str, status: int, document: dict[str, str]) -> None:
    """Each probe shows its own verdict, the reason as a sentence, to any Host."""
    answer = await probes.ask(path)
    assert (status, "application/json", document) == (answer.status, answer.headers["content-type"], answer.document)
    assert (await probes.ask(f"{path}?verbose", method="HEAD")).status == status


async def test_verdict_judged_each_time(probes: Probes) -> None:
    """A verdict is never remembered."""
    assert 200 == (await probes.ask("/livez")).status
    probes.health.verdict = ProbeAnswer(ok=False, reason="stalled", sentence="A loop has ended.")
    assert 503 == (await probes.ask("/livez")).status


async def test_metrics_exposed(probes: Probes) -> None:
    """The metrics are the Prometheus text of the present status."""
    answer = await probes.ask("/metrics")
    assert (200, b"marketplace_test 7\n") == (answer.status, answer.body)
    assert "text/plain; version=0.0.4; charset=utf-8" == answer.headers["content-type"]


async def test_metrics_without_ledger(probes: Probes) -> None:
    """When the ledger cannot be read the scrape fails, and the probes go on."""
    probes.health.refusal = LedgerUnavailable("the disk is gone")
    assert "ledger-unavailable" == (await probes.ask("/metrics")).problem
    assert 200 == (await probes.ask("/livez")).status


@pytest.mark.parametrize("path", ["/", "/v1/entitlement", "/v1/usage", "/v1/status", "/openapi.json", "/healthz"])
async def test_nothing_else_there(probes: Probes, path: str) -> None:
    """Nothing of the local API can be reached on the pod's address."""
    assert "not-found" == (await probes.ask(path)).problem


async def test_only_reads(probes: Probes) -> None:
    """Nothing can be sent to a probe."""
    answer = await probes.ask("/livez", method="POST")
    assert ("method-not-allowed", "GET, HEAD") == (answer.problem, answer.headers["allow"])


async def test_each_answer_ends_connection(probes: Probes) -> None:
    """A connection carries one request: the answer shows it, and requests after the first are not read."""
    wire = await Wire.open(probes.server.port)
    wire.send(request("GET", "/livez") * 3)
    answer = await wire.receive()
    assert ("close", b"\n") == (answer.headers["connection"], answer.body[-1:])
    assert await wire.at_end()
    await wire.close()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"GET /livez HTTP/1.1\r\nHost: pod\r\nA: " + b"a" * LARGEST_HEAD, "headers-too-large"),
        (b"GET /livez HTTP/1.1\r\n" + b"A: b\r\n" * (MOST_HEADERS + 1) + b"\r\n", "headers-too-large"),
        (b"G" * (LARGEST_HEAD + 1), "headers-too-large"),
        (b"GET /livez HTTP/1.1\r\nno colon\r\n\r\n", "malformed"),
        (b"GET /livez HTTP/1.1\r\nA: \x00\r\n\r\n", "malformed"),
        (b"GET /livez\r\n\r\n", "malformed"),
        (b"GET livez HTTP/1.1\r\n\r\n", "malformed"),
        (b"GET ftp://pod/livez HTTP/1.1\r\n\r\n", "malformed"),
        (b"GET /livez HTTP/2.0\r\n\r\n", "malformed"),
        (b"G!T /livez HTTP/1.1\r\n\r\n", "malformed"),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "malformed"),
        (b"GET /\xff HTTP/1.1\r\n\r\n", "malformed"),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else value,
)
async def test_broken_requests_refused(probes: Probes, data: bytes, problem: str) -> None:
    """What is no small HTTP request is a problem document that reaches a client which is still sending."""
    with capture_logs() as lines:
        wire = await Wire.open(probes.server.port)
        wire.send(data)
        wire.send(b"x" * 100_000)
        assert problem == (await wire.receive()).problem
        await wire.close()
    assert not lines


@pytest.mark.parametrize(
    "data",
    [
        b"GET /livez HTTP/1.0\r\n\r\n",
        b"\r\n\r\nGET /livez HTTP/1.1\r\nHost: pod\r\n\r\n",
        b"GET http://10.0.0.7:8788/livez?verbose HTTP/1.1\r\nHost: pod\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nAuthorization: Bearer " + b"t" * 3000 + b"\r\nHost: pod\r\n\r\n",
    ],
    ids=lambda data: repr(data[:40]),
)
async def test_plain_requests_taken(probes: Probes, data: bytes) -> None:
    """Old clients, proxies' clients and scrapers with a token are answered, in whatever parts their request comes."""
    for parts in ([data], [data[index : index + 1] for index in range(len(data))]):
        wire = await Wire.open(probes.server.port)
        for part in parts:
            wire.send(part)
        assert 200 == (await wire.receive()).status
        await wire.close()


@given(st.binary(max_size=200) | st.from_regex(rb"(GET|POST|HEAD) /(livez|metrics)?[ -~]{0,9}( HTTP/1\.[01])?\r\n"))
@settings(max_examples=40, deadline=None)
def test_any_bytes_leave_it_standing(data: bytes) -> None:
    """Whatever arrives, no answer is a 500 and the next client is served."""

    async def throw() -> None:
        server = ProbeServer(host="127.0.0.1", port=0, health=FakeHealth(), expose=expose)
        await server.start()
        wire = await Wire.open(server.port)
        wire.send(data + b"\r\n\r\n")
        wire.hang_up_sending()
        assert not (await wire.rest()).startswith(b"HTTP/1.1 500")
        await wire.close()
        assert 200 == (await Probes(FakeHealth(), server).ask("/livez")).status
        await server.stop(timedelta(seconds=5))

    asyncio.run(throw())


async def test_fault_is_logged(probes: Probes) -> None:
    """An unforeseen fault is a 500 problem that shows nothing of itself, and one line in the log."""
    probes.health.refusal = RuntimeError("secret")
    with capture_logs() as lines:
        answer = await probes.ask("/metrics")
    assert (500, "internal-error") == (answer.status, answer.problem)
    assert b"secret" not in answer.body
    assert ["api.request_failed"] == [line["event"] for line in lines]


async def test_scrapes_share_one_reading(probes: Probes) -> None:
    """Scrapes that come while one is running get its answer, so they cost the ledger one reading."""
    probes.health.gate = asyncio.Event()
    asked = [asyncio.ensure_future(probes.ask("/metrics")) for _ in range(20)]
    await probes.health.entered.wait()
    assert 200 == (await probes.ask("/livez")).status
    probes.health.gate.set()
    assert [200] * 20 == [answer.status for answer in await asyncio.gather(*asked)]
    assert probes.health.readings < 20
    assert 200 == (await probes.ask("/metrics")).status


@asynccontextmanager
async def listening(ask: Ask, most_connections: int) -> AsyncIterator[int]:
    """Serve `ask` to a number of connections."""
    listener = ProbeListener(ask, most_connections=most_connections)
    await listener.listen_tcp("127.0.0.1", 0, "probes.port")
    yield listener.port
    await listener.stop(5)
    await listener.stop(5)


async def test_oldest_idle_goes_first() -> None:
    """When all places are taken the connection that has been idle longest goes; one that waits for its answer stays."""
    released = asyncio.Event()
    entered = asyncio.Event()

    async def ask(_method: str, path: str) -> Reply:
        if path == "/slow":
            entered.set()
            await released.wait()
        return reply(b"here")

    async with listening(ask, 3) as port:
        busy = await Wire.open(port)
        busy.send(request("GET", "/slow"))
        await entered.wait()
        idle = [await Wire.open(port) for _ in range(3)]
        assert await idle[0].at_end()
        for wire in idle[1:]:
            wire.send(request("GET", "/"))
            assert b"here" == (await wire.receive()).body
        released.set()
        assert b"here" == (await busy.receive()).body
        for wire in (busy, *idle):
            await wire.close()


async def test_oldest_goes_where_all_wait() -> None:
    """Where every connection waits for its answer the oldest goes, so a probe still gets in."""

    async def ask(_method: str, path: str) -> Reply:
        if path == "/slow":
            await asyncio.Event().wait()
        return reply(b"here")

    async with listening(ask, 2) as port:
        waiting = [await Wire.open(port) for _ in range(2)]
        for wire in waiting:
            wire.send(request("GET", "/slow"))
        probe = await Wire.open(port)
        probe.send(request("GET", "/"))
        assert b"here" == (await probe.receive()).body
        for wire in (probe, *waiting):
            await wire.close()


async def test_stop_lets_scrapes_finish(probes: Probes) -> None:
    """A scrape that is running when the sidecar stops is still answered."""
    probes.health.gate = asyncio.Event()
    running = asyncio.ensure_future(probes.ask("/metrics"))
    idle = await Wire.open(probes.server.port)
    await probes.health.entered.wait()
    stopping = asyncio.ensure_future(probes.server.stop(timedelta(seconds=5)))
    assert await idle.at_end()
    probes.health.gate.set()
    assert 200 == (await running).status
    await stopping
    await idle.close()


async def test_stop_ends_in_time(probes: Probes) -> None:
    """A scrape that does not end is cut off when the time is over."""
    probes.health.gate = asyncio.Event()
    running = asyncio.ensure_future(probes.ask("/metrics"))
    await probes.health.entered.wait()
    await probes.server.stop(timedelta(milliseconds=50))
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await running


async def test_port_in_use_named(probes: Probes) -> None:
    """A port that another process has is named with its key."""
    port = probes.server.port
    with pytest.raises(PortInUse, match=f"probes.port: port {port} of 127.0.0.1"):
        await ProbeServer(host="127.0.0.1", port=port, health=probes.health, expose=expose).start()


async def test_stop_before_start() -> None:
    """Stopping what never started is no fault."""
    server = ProbeServer(host="127.0.0.1", port=0, health=FakeHealth(), expose=expose)
    await server.stop(timedelta())
    with pytest.raises(RuntimeError, match="not started"):
        _ = server.port
