"""The probe listener: health for the kubelet, metrics for Prometheus, on the pod's own address.

Answers from the first moment, 503 with the reason until there is better news. Takes no input, shows no usage, and has
nothing else on it, because other pods can reach it.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from aiohttp import hdrs

from sidecar.adapters.http.ports import Health
from sidecar.adapters.http.probe_listener import ProbeListener
from sidecar.adapters.http.problems import HttpProblem, ProblemKind, answer, busy
from sidecar.adapters.http.replies import Reply, reply, reply_json
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.status import ProbeAnswer, Status

EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
"""The Prometheus text format."""

_METHODS = (hdrs.METH_GET, hdrs.METH_HEAD)


class ProbeServer:
    """The listener of `probes`."""

    def __init__(self, *, host: str, port: int, health: Health, expose: Callable[[Status], bytes]) -> None:
        """Prepare the listener; `expose` renders a status in the Prometheus text format."""
        self._host = host
        self._port = port
        self._health = health
        self._expose = expose
        self._listener: ProbeListener | None = None
        self._scrape: asyncio.Task[Reply] | None = None
        self._verdicts = {"/livez": health.alive, "/startupz": health.started, "/readyz": health.ready}

    async def start(self) -> None:
        """Listen.

        Raises:
            PortInUse: Another process has `probes.port`.
            CannotListen: The address cannot be listened on.
        """
        listener = ProbeListener(self._answer)
        await listener.listen_tcp(self._host, self._port, "probes.port")
        self._listener = listener

    @property
    def port(self) -> int:
        """The TCP port in use."""
        if self._listener is None:
            raise RuntimeError("not started")
        return self._listener.port

    async def stop(self, timeout: timedelta) -> None:
        """Take no more connections, answer what is running within `timeout` of real time, close."""
        if self._listener is not None:
            await self._listener.stop(timeout.total_seconds())
            self._listener = None
        if self._scrape is not None:
            self._scrape.cancel()
            await asyncio.wait([self._scrape])

    async def _answer(self, method: str, path: str) -> Reply:
        judge = self._verdicts.get(path)
        if judge is None and path != "/metrics":
            return answer(HttpProblem(ProblemKind.NOT_FOUND, "there are /livez, /startupz, /readyz and /metrics"))
        if method not in _METHODS:
            allow = ", ".join(_METHODS)
            return answer(
                HttpProblem(ProblemKind.METHOD_NOT_ALLOWED, f"this path accepts {allow}", headers={hdrs.ALLOW: allow})
            )
        return await self._metrics() if judge is None else _verdict(judge())

    async def _metrics(self) -> Reply:
        """Return the metrics; scrapes that come while one is running share its answer, and so the ledger's time."""
        if self._scrape is None:
            self._scrape = asyncio.create_task(self._expose_status(), name="scrape")
            self._scrape.add_done_callback(self._end_scrape)
        return await asyncio.shield(self._scrape)

    def _end_scrape(self, _: "asyncio.Task[Reply]") -> None:
        self._scrape = None

    async def _expose_status(self) -> Reply:
        try:
            status = await self._health.status()
        except LedgerUnavailable as refusal:
            return answer(busy(ProblemKind.LEDGER_UNAVAILABLE, str(refusal), refusal.retry_after))
        return reply(self._expose(status), media_type=EXPOSITION)


def _verdict(verdict: ProbeAnswer) -> Reply:
    return reply_json(
        {
            "status": "ok" if verdict.ok else "fail",
            "code": verdict.reason,
            "reason": verdict.sentence,
        },
        status=200 if verdict.ok else 503,
    )
