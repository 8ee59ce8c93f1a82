"""Logs one line when the process runs out of file descriptors, instead of asyncio's hundreds a second.

While no descriptor is free, asyncio reports each connection that it cannot accept, up to a hundred times a second and
with a traceback each time, and then tries again by itself. Here the first report becomes one line, one line a
minute counts the rest, and one reports that descriptors are free again. Other reports go to the loop's own handler.
"""

import asyncio
import os
from typing import Any

import structlog

_REPORT = "socket.accept() out of system resource"
"""The message of asyncio, since 3.4."""
_AGAIN_SECONDS = 60.0
"""How often the count is logged while it lasts; real time, like the waits of asyncio."""
_POLL_SECONDS = 1.0
_ONE_ATTEMPT_SECONDS = 0.5
"""Reports for one socket within this time are one attempt: asyncio repeats it a hundred times in a row."""
_QUIET_POLLS = 3
"""Polls in a row that must find a free descriptor and no new report: asyncio tries to accept once a second."""
_CURE = (
    "Find what holds the connections, or raise the limit of open files (ulimit -n). Probes and the API answer again"
    " as soon as descriptors are free."
)

log = structlog.get_logger()


class DescriptorReports:
    """The exception handler of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._next_poll: asyncio.TimerHandle | None = None
        self._began_at = 0.0
        self._logged_at = 0.0
        self._attempts = 0
        self._attempted_at: dict[int, float] = {}
        """By the listening socket's number."""
        self._is_new = False
        self._quiet = 0

    def install(self) -> None:
        """Take the loop's reports from now on."""
        self._loop.set_exception_handler(self._handle)

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        fault = context.get("exception")
        if context.get("message") != _REPORT or not isinstance(fault, OSError):
            loop.default_exception_handler(context)
            return
        self._is_new = True
        now = loop.time()
        listening = context["socket"].fileno()
        if now - self._attempted_at.get(listening, -_ONE_ATTEMPT_SECONDS) >= _ONE_ATTEMPT_SECONDS:
            self._attempts += 1
            self._attempted_at[listening] = now
        if self._next_poll is None:
            self._began_at = self._logged_at = now
            log.error("descriptors.exhausted", detail=fault.strerror, attempts=self._attempts, cure=_CURE)
            self._next_poll = loop.call_later(_POLL_SECONDS, self._poll)

    def _poll(self) -> None:
        now = self._loop.time()
        self._quiet = self._quiet + 1 if not self._is_new and _has_free_descriptor() else 0
        self._is_new = False
        if self._quiet == _QUIET_POLLS:
            log.info("descriptors.recovered", attempts=self._attempts, lasted_seconds=round(now - self._began_at, 1))
            self._next_poll, self._attempts, self._quiet = None, 0, 0
            self._attempted_at.clear()
            return
        if now - self._logged_at >= _AGAIN_SECONDS:
            self._logged_at = now
            log.error("descriptors.exhausted", attempts=self._attempts, cure=_CURE)
        self._next_poll = self._loop.call_later(_POLL_SECONDS, self._poll)


def _has_free_descriptor() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return False
    return True
