"""Start-up: the sidecar against the bare import of its libraries, and the small commands against bare python."""

import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.commands.demo.environment import Environment
from tests.bench.conftest import Bench, until_ready
from tests.bench.measuring import alternate, at_most, compare, judge, seconds, tell
from tests.bench.starting import LIBRARIES, SDK, first_answer, program

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("byte_code")]


@pytest.fixture
def byte_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both sides load byte code, as the image does, wherever the environment forbids to write it beside the source."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path))


def _python(code: str) -> float:
    """Return the seconds of a whole process that runs `code`."""
    return seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True))


def test_first_probe_answer(environment: Environment) -> None:
    """From the start of the process to an answer, on a new ledger at first and then on the one there is."""
    environment.write_configuration()
    first_answer(environment)
    _python(f"import {LIBRARIES}, {SDK}")
    measured = alternate(lambda: first_answer(environment) * 1000, lambda: _python(f"import {LIBRARIES}") * 1000)
    compare("start to first probe answer", "ms", at_most(1.35), measured)
    whole = [_python(f"import {LIBRARIES}, {SDK}") * 1000 for _ in measured[1]]
    tell(f"  baseline imports {LIBRARIES}; with {SDK}, loaded later, it takes {min(whole):.0f} ms at best")


@pytest.mark.parametrize(
    "arguments",
    [("healthcheck", "--url"), ("healthcheck", "--config"), ("wait", "--config")],
    ids=["healthcheck by address", "healthcheck", "wait"],
)
def test_command_overhead(bench: Bench, arguments: tuple[str, str]) -> None:
    """What the command takes of its own, asked of a sidecar that is ready: less a python that does nothing."""
    until_ready(bench.environment)
    name, option = arguments
    values = {
        "--url": f"http://127.0.0.1:{bench.environment.probes}",
        "--config": str(bench.environment.folder / "config.yaml"),
    }
    command = program(name, option, values[option])
    idle = [sys.executable, "-c", "pass"]
    for each in (command, idle):
        _processor(each)
    whole, bare = alternate(lambda: _processor(command) * 1000, lambda: _processor(idle) * 1000)
    own = [mine - theirs for mine, theirs in zip(whole, bare, strict=True)]
    judge(f"{name} {option}, own work", "ms", statistics.median(own), at_most(150))


def _processor(command: list[str]) -> float:
    """Return the seconds of processor time that a program takes to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
