"""What the benchmarks start: the sidecar next to its emulator, registered, and aiohttp alone as the baseline."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from sidecar.commands.demo.environment import Environment, request, wait_for

HERE = Path(__file__).parent
MEMORY = Path("/dev/shm")


class Bench:
    """A registered sidecar, a bare server, and the load for both."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._loads = 0
        entitlement = request(environment.api, "GET", "/v1/entitlement").body
        self._bare = subprocess.Popen(
            [sys.executable, str(HERE / "bare.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._bare.stdin is not None
        assert self._bare.stdout is not None
        self._bare.stdin.write(entitlement)
        self._bare.stdin.close()
        self.bare_port = int(self._bare.stdout.readline())

    @property
    def pid(self) -> int:
        """The sidecar's process."""
        return process_of(self.environment).pid

    @property
    def bare_pid(self) -> int:
        """The bare server's process."""
        return self._bare.pid

    def drive(self, port: int, *options: str) -> dict[str, Any]:
        """Put the load of `load.py` on a port and return its figures."""
        self._loads += 1
        done = subprocess.run(
            [sys.executable, str(HERE / "load.py"), str(port), "--prefix", f"load-{self._loads}", *options],
            capture_output=True,
            check=False,
        )
        assert 0 == done.returncode, done.stderr.decode()
        figures: dict[str, Any] = json.loads(done.stdout)
        return figures

    def close(self) -> None:
        """End the bare server; the environment is closed by its maker."""
        self._bare.kill()
        self._bare.wait()
        assert self._bare.stdout is not None
        self._bare.stdout.close()


def process_of(environment: Environment) -> subprocess.Popen[bytes]:
    """Return the sidecar's process."""
    assert environment._sidecar is not None
    return environment._sidecar


def until_ready(environment: Environment) -> None:
    """Return once the sidecar is registered."""
    wait_for("the registration", lambda: request(environment.probes, "GET", "/readyz").status == 200)


@pytest.fixture
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """An emulator that runs, and a sidecar that can be started; on a memory file system unless told `disk`."""
    above = Path.cwd() / ".pytest_cache" if getattr(request, "param", "memory") == "disk" else MEMORY
    above.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=above, prefix="bench-") as folder:
        environment = Environment(Path(folder))
        try:
            environment.start_emulator()
            yield environment
        finally:
            environment.close()


@pytest.fixture
def bench(environment: Environment) -> Iterator[Bench]:
    """Both servers, the sidecar registered."""
    environment.start_sidecar()
    until_ready(environment)
    bench = Bench(environment)
    yield bench
    bench.close()
