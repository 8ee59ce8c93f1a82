"""The probe listener."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from sidecar.adapters.http.listening import PortInUse
from sidecar.adapters.http.probes import ProbeServer
from sidecar.domain.status import Status, Verdict
from sidecar.domain.usage import LedgerUnavailable
from tests.adapters.http.fakes import Answer, FakeHealth, Wire, request


def expose(status: Status) -> bytes:
    """Stand for the metrics of `status`."""
    return f"marketplace_test {status.accepted_events}\n".encode()


@dataclass
class ThreeVerdicts(FakeHealth):
    """Health whose three verdicts differ."""

    def started(self) -> Verdict:
        """Tell that nothing has started."""
        return Verdict(ok=False, reason="pending", sentence="AWS has not answered yet.")

    def ready(self) -> Verdict:
        """Tell that metering gates."""
        return Verdict(ok=False, reason="metering-failing", sentence="No record was taken for 2 h.")


@dataclass
class Probes:
    """A running probe listener."""

    health: FakeHealth
    server: ProbeServer

    async def ask(self, target: str, method: str = "GET", host: str = "10.0.0.7:8788") -> Answer:
        """Send one request, by default as the kubelet does: to the pod's address."""
        wire = await Wire.open(self.server.port)
        wire.send(request(method, target, host=host))
        answer = await wire.receive(body=method != "HEAD")
        await wire.close()
        return answer


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
    """Each probe tells its own verdict, the reason as a sentence, to any Host."""
    answer = await probes.ask(path)
    assert (status, "application/json", document) == (answer.status, answer.headers["content-type"], answer.document)
    assert (await probes.ask(f"{path}?verbose", method="HEAD")).status == status


async def test_verdict_judged_each_time(probes: Probes) -> None:
    """A verdict is never remembered."""
    assert (await probes.ask("/livez")).status == 200
    probes.health.verdict = Verdict(ok=False, reason="stalled", sentence="A loop has ended.")
    assert (await probes.ask("/livez")).status == 503


async def test_metrics_exposed(probes: Probes) -> None:
    """The metrics are the Prometheus text of the present status."""
    answer = await probes.ask("/metrics")
    assert (answer.status, answer.body) == (200, b"marketplace_test 7\n")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_metrics_without_ledger(probes: Probes) -> None:
    """When the ledger cannot be read the scrape fails, and the probes go on."""
    probes.health.refusal = LedgerUnavailable("the disk is gone")
    assert (await probes.ask("/metrics")).problem == "ledger-unavailable"
    assert (await probes.ask("/livez")).status == 200


@pytest.mark.parametrize("path", ["/", "/v1/entitlement", "/v1/usage", "/v1/status", "/openapi.json", "/healthz"])
async def test_nothing_else_there(probes: Probes, path: str) -> None:
    """Nothing of the local API can be reached on the pod's address."""
    assert (await probes.ask(path)).problem == "not-found"


async def test_only_reads(probes: Probes) -> None:
    """Nothing can be sent to a probe."""
    answer = await probes.ask("/livez", method="POST")
    assert (answer.problem, answer.headers["allow"]) == ("method-not-allowed", "GET, HEAD")


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
