"""How the threads of the sidecar's process share the interpreter with its event loop."""

import gc
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from sidecar.adapters.http.otlp_exports import EXPORT_THREADS
from sidecar.adapters.http.usage_requests import USAGE_THREADS
from sidecar.adapters.kubernetes.address import CLUSTER_THREADS
from sidecar.commands import run
from sidecar.exit_codes import ExitCode
from sidecar.marketplace.service_client import CALL_THREADS
from sidecar.services.scraping import SCRAPE_THREADS
from sidecar.settings import load


@pytest.fixture(autouse=True)
def _interpreter() -> Iterator[None]:
    """Give this process its own settings back."""
    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*threshold)


def test_loop_waits_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the sidecar runs, threads yield the interpreter sooner than by default, and full collections are rare."""
    default, (youngest, middle, oldest) = sys.getswitchinterval(), gc.get_threshold()
    found: list[tuple[float, tuple[int, int, int]]] = []

    async def live(*_: object, **__: object) -> None:
        found.append((sys.getswitchinterval(), gc.get_threshold()))

    monkeypatch.setattr("sidecar.app.lifecycle.run", live)
    path = tmp_path / "config.yaml"
    path.write_text("product: {code: 0abc}\nentitlement: {check: none}\n")
    assert ExitCode.CLEAN == run._live_to_exit(load(str(path), {}), None)
    ((interval, threshold),) = found
    assert interval == pytest.approx(default / 10)
    assert (youngest, middle, 10 * oldest) == threshold


@pytest.mark.parametrize("threads", [EXPORT_THREADS, SCRAPE_THREADS, USAGE_THREADS, CALL_THREADS, CLUSTER_THREADS])
def test_hanging_thread_is_left(threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that hangs does not keep the process after its drain; one that has ended is no reason to end it so."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(run, "_IDLE_ENDS", 0.0)
    hanging = Event()
    with ThreadPoolExecutor(1, threads) as pool:
        pool.submit(hanging.wait)
        try:
            run._leave(ExitCode.CLEAN)
        finally:
            hanging.set()
    run._leave(ExitCode.CLEAN)
    assert [ExitCode.CLEAN] == codes
