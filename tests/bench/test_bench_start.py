"""Start-up: the sidecar against the bare import of its libraries, and the small commands against bare python."""

import subprocess
import sys

import pytest

from sidecar.commands.demo.environment import Environment
from tests.bench.conftest import Bench, until_ready
from tests.bench.measuring import alternate, at_most, compare, judge, seconds, tell
from tests.bench.starting import LIBRARIES, SDK, first_answer, program

pytestmark = pytest.mark.timeout(300)


def _python(code: str) -> float:
    """Return the seconds of a whole process that runs `code`."""
    return seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True))


def test_first_probe_answer(environment: Environment) -> None:
    """From the start of the process to an answer, on a new ledger at first and then on the one there is."""
    environment.write_configuration()
    first_answer(environment)
    measured = alternate(lambda: first_answer(environment) * 1000, lambda: _python(f"import {LIBRARIES}") * 1000)
    compare("start to first probe answer", "ms", at_most(1.35), measured)
    whole = [_python(f"import {LIBRARIES}, {SDK}") * 1000 for _ in measured[1]]
    tell(f"  baseline imports {LIBRARIES}; with {SDK}, loaded later, it takes {min(whole):.0f} ms at best")


@pytest.mark.parametrize(
    "arguments",
    [("healthcheck", "--probe", "readyz"), ("wait", "--timeout", "5")],
    ids=["healthcheck", "wait"],
)
def test_command_overhead(bench: Bench, arguments: tuple[str, ...]) -> None:
    """What the command takes of its own, asked of a sidecar that is ready: less a python that does nothing."""
    until_ready(bench.environment)
    name, *options = arguments
    command = program(name, "--config", str(bench.environment.folder / "config.yaml"), *options)

    def ours() -> float:
        return seconds(lambda: subprocess.run(command, check=True, capture_output=True)) * 1000

    ours()
    whole, bare = alternate(ours, lambda: _python("pass") * 1000)
    own = sorted(mine - theirs for mine, theirs in zip(whole, bare, strict=True))
    judge(f"{name}, own work", "ms", own[len(own) // 2], at_most(150))
