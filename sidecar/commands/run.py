"""The `run` command: the sidecar itself, from its configuration to its exit code."""

import argparse
import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from sidecar import logs
from sidecar.adapters.descriptors import DescriptorReports
from sidecar.adapters.http.access import TokenFileUnusable
from sidecar.adapters.http.listening import CannotListen
from sidecar.adapters.http.otlp_exports import EXPORT_THREADS
from sidecar.adapters.http.usage_requests import USAGE_THREADS
from sidecar.adapters.kubernetes.address import CLUSTER_THREADS
from sidecar.adapters.ledger.file import LedgerUnusable
from sidecar.adapters.pod import PodRefused, PodUnknown
from sidecar.adapters.signature import UnusableKeys
from sidecar.app import lifecycle as app
from sidecar.commands.arguments import add_config
from sidecar.commands.preflight import Obstacle, obstacles, refuse_all
from sidecar.exit_codes import ExitCode
from sidecar.marketplace import UnsupportedRegion
from sidecar.marketplace.service_client import CALL_THREADS
from sidecar.services.registrar import DeniedExit
from sidecar.services.scraping import SCRAPE_THREADS
from sidecar.settings import Settings, SettingsError, load

if TYPE_CHECKING:
    from sidecar.commands.live import LiveTerminal

_IDLE_ENDS = 0.5
"""Seconds in which a thread without a call ends."""
_MAY_HANG = (CALL_THREADS, CLUSTER_THREADS, EXPORT_THREADS, SCRAPE_THREADS, USAGE_THREADS)
"""Threads that wait for others, or read what others sent."""
_SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread that computes gives the interpreter to one that waits; 0.005 by default. The event loop
gives the interpreter away at each system call, and then waits this long for each thread that computes."""
_FULL_COLLECTION_AFTER = 100
"""Collections of the middle generation before a full one; 10 by default. A full collection stops every thread for 20 to
45 ms, and each record with 2,500 tag sets caused one. What is part of a cycle, and has become old, waits for it."""

log = structlog.get_logger()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Run the sidecar until a signal ends it; return its exit code."""
    try:
        settings = load(args.config, os.environ)
    except SettingsError as error:
        raise refuse_all(error, os.environ) from None
    if not sys.stderr.isatty():
        logs.configure(settings.log.level, settings.log.format)
        return _leave(_run(settings))
    from sidecar.commands.live import LiveTerminal  # noqa: PLC0415 - not in a pod

    with LiveTerminal(settings, sys.stderr) as terminal:
        logs.configure(settings.log.level, settings.log.format, terminal.stream)
        code = _run(settings, terminal)
    return _leave(code)


def _run(settings: Settings, terminal: "LiveTerminal | None" = None) -> int:
    found = list(obstacles(settings, os.environ))
    for obstacle in found:
        _fail("sidecar.bad_setup", obstacle, ExitCode.BAD_COMMAND)
    return ExitCode.BAD_COMMAND if found else _live_to_exit(settings, terminal)


def _live_to_exit(settings: Settings, terminal: "LiveTerminal | None") -> int:
    _favor_the_loop()
    try:
        asyncio.run(_live(settings, terminal))
    except (UnusableKeys, UnsupportedRegion, CannotListen, TokenFileUnusable) as error:
        return _fail("sidecar.bad_setup", error, ExitCode.BAD_COMMAND)
    except PodRefused as error:
        return _fail("pod.refused", error, ExitCode.BAD_COMMAND)
    except LedgerUnusable as error:
        return _fail("ledger.unusable", error, ExitCode.LEDGER_UNUSABLE)
    except PodUnknown as error:
        return _fail("pod.unknown", error, ExitCode.FAILED)
    except DeniedExit as denied:
        return _fail("registration.exit", denied, ExitCode.NOT_ENTITLED)
    return ExitCode.CLEAN


def _favor_the_loop() -> None:
    """Shorten the time for which the process's other threads hold up the event loop, which answers the probes."""
    sys.setswitchinterval(_SWITCH_INTERVAL)
    youngest, middle, _ = gc.get_threshold()
    gc.set_threshold(youngest, middle, _FULL_COLLECTION_AFTER)


def _leave(code: int) -> int:
    """Return the code; if a call, or the reading of a body, still hangs, end the process immediately instead.

    The interpreter would wait for the end of the thread, which may lie after the grace period of the pod.
    What it holds is not acknowledged and not needed any more, and everything that was accepted is on disk.
    """
    for thread in threading.enumerate():
        if thread.name.startswith(_MAY_HANG):
            thread.join(_IDLE_ENDS)
            if thread.is_alive():
                sys.stderr.flush()
                os._exit(code)
    return code


def _fail(event: str, error: Exception | Obstacle, code: int) -> int:
    log.error(event, detail=str(error))
    return code


async def _live(settings: Settings, terminal: "LiveTerminal | None") -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    DescriptorReports(loop).install()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal(stop, number, terminal))
    follow = None if terminal is None else terminal.follow
    await app.run(settings, os.environ, stop, follow=follow)


def _on_signal(
    stop: asyncio.Event, number: signal.Signals, terminal: "LiveTerminal | None" = None
) -> Callable[[], None]:
    def receive() -> None:
        if stop.is_set():
            # A second signal: everything that was accepted is on disk, so the process may end immediately.
            if terminal is not None:
                terminal.close()
            sys.stderr.flush()
            os._exit(128 + number)
        stop.set()

    return receive
