"""A counter that a real app exposes, read by a real sidecar: kills, restarts of the app, and the end of the pod."""

import signal
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from tests.support.processes import Emulator, Sidecar, Site

pytestmark = pytest.mark.process


class App(Collector):
    """An app that counts; a restart makes its counters anew."""

    def __init__(self) -> None:
        self.true = 0
        page = CollectorRegistry()
        self.restart()
        page.register(self)
        self._server, _ = start_http_server(0, "127.0.0.1", page)
        self.port = self._server.server_port

    def restart(self) -> None:
        """Start anew, with counters at zero."""
        self._registry = CollectorRegistry()
        Gauge("process_start_time_seconds", "Start.", registry=self._registry).set(time.time())
        self._counter = Counter("served", "What is sold.", ["tenant"], registry=self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield what the running process counts."""
        yield from self._registry.collect()

    def serve(self, count: int, tenant: str = "a") -> None:
        """Count so many requests."""
        self._counter.labels(tenant).inc(count)
        self.true += count

    def close(self) -> None:
        """Serve the page no more."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def app() -> Iterator[App]:
    """Return an app; the sidecar of a test starts before it counts."""
    made = App()
    yield made
    made.close()


def metering(app: App) -> dict[str, Any]:
    """Return the configuration that reads the app."""
    source = {
        "url": f"http://127.0.0.1:{app.port}/metrics",
        "metric": "served_total",
        "tags": {"tenant": "Customer"},
        "scale": "0.5",
        "every": "1s",
    }
    return {"dimensions": [{"name": "requests", "source": {"prometheus": source}}]}


def accepted(sidecar: "Sidecar") -> Decimal:
    """Return what is in the ledger."""
    return Decimal(sidecar.get("/v1/status")["conservation"]["dimensions"]["requests"]["accepted"])


def await_billed(sidecar: "Sidecar", quantity: str) -> None:
    """Wait until the ledger holds this quantity."""
    sidecar.await_for(f"{quantity} in the ledger", lambda: accepted(sidecar) == Decimal(quantity))


@pytest.mark.ending
def test_kills_and_restarts(site: "Site", app: App, emulator: "Emulator") -> None:
    """Killed and restarted processes of both sides bill each increment once, and the last page goes into the record."""
    sidecar = site.start_entitled(metering=metering(app))
    app.restart()
    app.serve(3)
    await_billed(sidecar, "1.5")
    sidecar.kill()
    app.serve(4)
    sidecar = site.start_entitled(metering=metering(app))
    await_billed(sidecar, "3.5")
    app.restart()
    app.serve(2)
    app.serve(1, "b")
    await_billed(sidecar, "5")
    (source,) = sidecar.get("/v1/status")["sources"]
    assert ("measuring", 2) == (source["state"], source["series"])
    app.serve(10)
    sidecar.signal(signal.SIGTERM)
    assert 0 == sidecar.await_end()
    assert [Decimal(app.true) / 2] == [Decimal(quantity) for quantity in emulator.held().values()]
