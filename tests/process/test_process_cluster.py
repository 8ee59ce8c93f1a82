"""The whole sidecar in a pod, with an API server that plays the cluster: its end, its condition, its missing Role."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from sidecar.app import lifecycle as app
from sidecar.commands.demo.environment import free_port, wait_for
from sidecar.services.pod_reporter import READ_INTERVAL
from sidecar.settings import load
from tests.support.apiserver import EVENTS, HANG, POD, STATUS, ApiServer

if TYPE_CHECKING:
    from tests.support.processes import Ask, Emulator, Site

pytestmark = pytest.mark.process

HOUR = "2026-11-23T10:00:00Z"
GATE = "example.com/entitled"


class Pod:
    """One process of the sidecar in a pod."""

    def __init__(self, site: "Site", server: ApiServer, ask: "Ask", **changes: Any) -> None:
        self.port = free_port()
        api, gate, shutdown = {"port": self.port}, {"readiness_gate": GATE}, {"timeout": "20s"}
        groups: dict[str, Any] = {"api": api, "kubernetes": gate, "shutdown": shutdown}
        config = site.write(**groups | changes)
        self.settings = load(str(config), {})
        self.server = server
        self._ask = ask

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Event]:
        """Let the sidecar live, entitled, and end it as SIGTERM does; the event that it yields does so earlier."""
        stop, asked = asyncio.Event(), len(self.server.asked(POD))
        life = asyncio.create_task(app.run(self.settings, self.server.environ, stop, self.server.account))
        try:
            await self.await_true("an entitled pod", lambda: self.get("entitlement")["entitled"])
            # From then on the package is loaded, which may take longer than the question at shutdown may.
            await asyncio.to_thread(self.server.wait_for, POD, asked + 1)
            yield stop
        finally:
            stop.set()
            await life

    async def await_true(self, what: str, look: Any) -> Any:
        """Return the first true value of `look`."""
        return await asyncio.to_thread(wait_for, what, look)

    def get(self, name: str) -> Any:
        """Ask the local API."""
        return self._ask(self.port, "GET", f"/v1/{name}").document

    async def report(self, quantity: str) -> None:
        """Post usage."""
        event = {"dimension": "requests", "quantity": quantity}
        reply = await asyncio.to_thread(partial(self._ask, self.port, "POST", "/v1/usage", event))
        assert 202 == reply.status


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    """An API server that knows the pod."""
    server = ApiServer(tmp_path / "account")
    yield server
    server.close()


@pytest.fixture
def living(site: "Site", server: ApiServer, ask: "Ask") -> Pod:
    """A pod next to the emulator and the API server."""
    return Pod(site, server, ask)


def events_of(lines: Sequence[MutableMapping[str, Any]]) -> list[str]:
    """Return the names of the events that were logged so far."""
    return [line["event"] for line in lines]


async def test_restart_burns_no_hour(living: Pod, server: ApiServer, emulator: "Emulator") -> None:
    """A container that is restarted in a living pod leaves the hour open; when the pod is deleted it is submitted."""
    async with living.running():
        await living.report("3.25")
    assert {} == await asyncio.to_thread(emulator.held)
    server.pod["metadata"]["deletionTimestamp"] = "2026-11-23T10:30:00Z"
    async with living.running():
        await living.report("1")
    assert {(HOUR, "requests"): "4.25"} == await asyncio.to_thread(emulator.held)


async def test_late_status_of_a_job(living: Pod, server: ApiServer, emulator: "Emulator") -> None:
    """A Job whose completion the cluster shows only after the first questions of the drain submits its open hour."""
    server.pod["spec"]["restartPolicy"] = "Never"
    with structlog.testing.capture_logs() as lines:
        async with living.running() as stop:
            await living.report("7")
            stop.set()
            await living.await_true("an answer", lambda: "shutdown.cluster_asked" in events_of(lines))
            # Later than a drain ends that waits only for usage.
            await asyncio.to_thread(server.wait_for, POD, len(server.asked(POD)) + 3)
            server.pod["status"]["containerStatuses"][0]["state"] = {"terminated": {"exitCode": 0}}
    assert {(HOUR, "requests"): "7"} == await asyncio.to_thread(emulator.held)


async def test_drain_fits_grace(site: "Site", server: ApiServer, ask: "Ask", emulator: "Emulator") -> None:
    """Of 12 seconds' grace the ended hour that AWS holds up gets none: the open one is sealed and tried immediately."""
    loop = asyncio.get_running_loop()
    living = Pod(site, server, ask, shutdown={"timeout": "60s"})
    with structlog.testing.capture_logs() as lines:
        async with living.running():
            await living.report("2")
            await asyncio.to_thread(emulator.order, "MeterUsage", "throttle")
            await asyncio.to_thread(partial(emulator.post, "clock", advance="1h"))
            await living.await_true("the ended hour's record", lambda: living.get("records?status=sealed")["records"])
            await living.report("1")
            server.pod["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:12Z"
            server.date = "Mon, 23 Nov 2026 12:00:00 GMT"
            began_at = loop.time()
        took = loop.time() - began_at
    events = events_of(lines)
    order = ["shutdown.ended_hours_wait", "metering.hour_sealed", "shutdown.incomplete"]
    assert order == [event for event in events[events.index("sidecar.stopping") :] if event in order]
    # The time that the open hour is sure of, and not the minute of the configuration.
    assert took < 50


@pytest.mark.parametrize("fault", [None, 403])
async def test_plain_sidecar_takes_the_last_usage(
    living: Pod, server: ApiServer, emulator: "Emulator", fault: int | None
) -> None:
    """A regular container gets SIGTERM together with the app, and takes its usage until it has ended.

    `helm uninstall` takes the Role away before.
    """
    names = ("app", "marketplace-sidecar")
    server.pod["spec"] = {"restartPolicy": "Always", "containers": [{"name": name} for name in names]}
    server.pod["spec"]["terminationGracePeriodSeconds"] = 60
    running = [{"name": name, "state": {"running": {}}} for name in names]
    server.pod["status"]["containerStatuses"] = running
    with structlog.testing.capture_logs() as lines:
        async with living.running() as stop:
            # Then the pod was read.
            await asyncio.to_thread(server.wait_for, STATUS, 1)
            server.pod["metadata"]["deletionTimestamp"] = "2026-11-23T12:01:00Z"
            server.date = "Mon, 23 Nov 2026 12:00:00 GMT"
            server.faults = {} if fault is None else {POD: fault}
            stop.set()
            await living.await_true("the wait", lambda: "shutdown.app_awaited" in events_of(lines))
            await living.report("3.25")
            ended_at = (datetime.now(UTC) + timedelta(seconds=1)).isoformat(timespec="seconds")
            running[0]["state"] = {"terminated": {"exitCode": 0, "finishedAt": ended_at}}
            server.faults = {}
    assert {(HOUR, "requests"): "3.25"} == await asyncio.to_thread(emulator.held)


async def test_cluster_is_told(living: Pod, server: ApiServer) -> None:
    """The readiness gate turns true with the entitlement, again after a restart, and an event says it."""
    for _ in range(2):
        server.pod["status"]["conditions"] = []
        async with living.running():
            await living.await_true("the condition", lambda: (server.condition(GATE) or {}).get("status") == "True")
            await living.await_true("the event", lambda: server.events)
        assert "Registered" == server.condition(GATE)["reason"]
        assert {"Entitled"} == {event["reason"] for event in server.events.values()}
        server.events.clear()


async def test_missing_role_stops_nothing(living: Pod, server: ApiServer, emulator: "Emulator") -> None:
    """Without any rule of a Role the pod is entitled and metered; the status names each rule to add."""
    server.faults = {POD: 403, STATUS: 403, EVENTS: 403}
    async with living.running():
        await living.report("2")

        def rules() -> Any:
            findings = living.get("status")["faults"]
            return len(findings) == 3 and findings

        findings = await living.await_true("three findings", rules)
        assert {"kubernetes-forbidden"} == {finding["code"] for finding in findings}
        assert all("Role" in finding["cure"] for finding in findings)
        server.faults.clear()
        await living.await_true("no findings", lambda: living.get("status")["faults"] == [])
        server.faults = {POD: 403}
    assert {(HOUR, "requests"): "2"} == await asyncio.to_thread(emulator.held)


async def test_silent_cluster_stops_nothing(living: Pod, server: ApiServer, emulator: "Emulator") -> None:
    """While the API hangs the pod is entitled and metered, and its open hour is submitted at the end."""
    server.faults = {POD: HANG, STATUS: HANG, EVENTS: HANG}
    with structlog.testing.capture_logs() as lines:
        async with living.running():
            await living.report("2")
    assert {(HOUR, "requests"): "2"} == await asyncio.to_thread(emulator.held)
    assert ["unknown"] == [line["pod_ends"] for line in lines if line["event"] == "shutdown.cluster_asked"]


async def test_counter_of_deleted_pod(site: "Site", server: ApiServer, ask: "Ask", emulator: "Emulator") -> None:
    """Counters are read when the deletion is seen and until the app ends, long before their next regular sample."""
    registry = CollectorRegistry()
    page, _ = start_http_server(0, "127.0.0.1", registry)
    source = {"url": f"http://127.0.0.1:{page.server_port}/metrics", "metric": "served_total", "every": "10m"}
    dimension = {"name": "requests", "source": {"prometheus": source}}
    living = Pod(site, server, ask, metering={"dimensions": [dimension]})

    def billed(quantity: str) -> bool:
        return bool(living.get("status")["conservation"]["dimensions"]["requests"]["accepted"] == quantity)

    async with living.running():
        await living.await_true("the first page", lambda: living.get("status")["sources"][0]["last_sample_at"])
        Gauge("process_start_time_seconds", "Start.", registry=registry).set(time.time())
        counter = Counter("served", "What is sold.", registry=registry)
        counter.inc(3)
        asked = len(server.asked(POD))
        server.pod["metadata"]["deletionTimestamp"] = "2026-11-23T10:30:00Z"
        await living.await_true("the page of the deletion", lambda: billed("3"))
        counter.inc(4)
        await living.await_true("a later page", lambda: billed("7"))
        page.shutdown()
        page.server_close()
        await asyncio.sleep(READ_INTERVAL.total_seconds() + 1)
        await living.await_true("no fault", lambda: living.get("status")["faults"] == [])
    # One read saw the deletion; the other is the question at shutdown.
    assert asked + 2 == len(server.asked(POD))
    assert {(HOUR, "requests"): "7"} == await asyncio.to_thread(emulator.held)
