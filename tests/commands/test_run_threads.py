"""How the threads of the sidecar's process share the interpreter with its event loop."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.commands import run
from sidecar.exit_codes import ExitCode
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
