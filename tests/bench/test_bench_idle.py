"""What a sidecar costs that has nothing to do: memory next to a process with the same libraries, and processor time."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar.commands.demo.environment import Environment, request, wait_for
from tests.bench.conftest import process_of, until_ready
from tests.bench.measuring import at_most, compare, cpu_seconds, judge, memory, tell
from tests.bench.starting import LIBRARIES, SDK
from tests.support.apiserver import POD, ApiServer

pytestmark = pytest.mark.timeout(600)

IDLE = float(os.environ.get("BENCH_IDLE_SECONDS", "30"))
SETTLED = 3.0
"""Seconds after which a process has done what belongs to its start."""
ROUNDS = 3

_SAME_LIBRARIES = f"""
import {LIBRARIES}, {SDK}
client = boto3.Session(region_name="us-east-1").client(
    "meteringmarketplace", aws_access_key_id="key", aws_secret_access_key="secret"
)
print(flush=True)
input()
"""


@contextmanager
def _same_libraries() -> Iterator[int]:
    """A process that has loaded what the sidecar loads and made one client of the SDK; its id."""
    with subprocess.Popen(
        [sys.executable, "-c", _SAME_LIBRARIES], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


@contextmanager
def _live(environment: Environment) -> Iterator[int]:
    """A sidecar that asks AWS nothing and follows the system's clock, as in production between two hours; its id."""
    text = environment.write_configuration().read_text(encoding="utf-8")
    path = environment.folder / "live.yaml"
    emulated = text[text.index("marketplace:") :]
    path.write_text(text.replace(emulated, "entitlement: {check: none}\n"), encoding="utf-8")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SIDECAR_"))}
    with subprocess.Popen(
        [sys.executable, "-m", "sidecar", "run", "--config", str(path)],
        env={**variables, "AWS_REGION": "us-east-1", "POD_UID": "bench"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        until_ready(environment)
        yield process.pid
        process.kill()


def test_idle_memory(environment: Environment) -> None:
    """Registered and idle, next to a process that loaded the same libraries and made one client of the SDK."""
    measured: dict[str, tuple[list[float], list[float]]] = {"Rss": ([], []), "Pss": ([], [])}
    for _ in range(ROUNDS):
        environment.start_sidecar()
        until_ready(environment)
        time.sleep(SETTLED)
        assert environment._sidecar is not None
        ours = memory(environment._sidecar.pid)
        environment.kill_sidecar()
        with _same_libraries() as baseline:
            time.sleep(SETTLED)
            theirs = memory(baseline)
        for kind, (mine, bare) in measured.items():
            mine.append(ours[kind])
            bare.append(theirs[kind])
    for kind, sides in measured.items():
        compare(f"idle memory, {kind}", "MiB", at_most(1.25), sides)


def test_pod_memory(environment: Environment) -> None:
    """Registered in a pod, after the first requests to the cluster's API; beside the same process outside a cluster."""
    inside: list[float] = []
    outside: list[float] = []
    for number in range(ROUNDS):
        server = ApiServer(environment.folder / f"account-{number}")
        try:
            with _in_pod(environment, server) as pid:
                server.wait_for(POD)
                time.sleep(SETTLED)
                inside.append(memory(pid)["Rss"])
        finally:
            server.close()
        environment.start_sidecar()
        until_ready(environment)
        time.sleep(SETTLED)
        outside.append(memory(process_of(environment).pid)["Rss"])
        environment.kill_sidecar()
    judge("memory in a pod, Rss", "MiB", statistics.median(inside), at_most(80))
    compare("the cluster's client, Rss", "MiB", at_most(1.05), (inside, outside))


@contextmanager
def _in_pod(environment: Environment, server: ApiServer) -> Iterator[int]:
    """A sidecar that reports to an API server; its id."""
    path = environment.write_configuration()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.live_pod", "run", "--config", str(path)],
        env={**os.environ, **server.environ, "ACCOUNT": str(server.account), "NAMES": os.devnull},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        until_ready(environment)
        yield process.pid
        process.kill()


def test_idle_processor(environment: Environment) -> None:
    """Processor time of an idle sidecar, as in production, and while it follows an emulator's clock."""
    with _live(environment) as pid:
        time.sleep(SETTLED)
        judge("idle processor", "% core", _share(pid), at_most(0.5))
        _tell_wakeups(pid)
    environment.start_sidecar()
    until_ready(environment)
    time.sleep(SETTLED)
    assert environment._sidecar is not None
    tell(
        f"  while it asks an emulator for its clock four times a second: {_share(environment._sidecar.pid):.2f} % core"
    )


def _share(pid: int) -> float:
    """Return the percentage of one core that a process uses."""
    before, began = cpu_seconds(pid), time.perf_counter()
    time.sleep(IDLE)
    return (cpu_seconds(pid) - before) / (time.perf_counter() - began) * 100


def _tell_wakeups(pid: int) -> None:
    """Print how often a second the threads of a process wake."""
    before, began = _switches(pid), time.perf_counter()
    time.sleep(5)
    tell(f"  it wakes {(_switches(pid) - before) / (time.perf_counter() - began):.1f} times a second")


def _switches(pid: int) -> int:
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        text = (task / "status").read_text(encoding="ascii")
        total += int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return total


def test_first_request_after_idle(environment: Environment) -> None:
    """A gate that was not asked for a while answers as fast as ever."""
    with _live(environment):
        wait_for("the gate", lambda: request(environment.api, "GET", "/v1/entitlement").document()["entitled"])
        time.sleep(SETTLED)
        began = time.perf_counter()
        request(environment.api, "GET", "/v1/entitlement")
        tell(f"first GET /v1/entitlement after {SETTLED:g} idle seconds: {(time.perf_counter() - began) * 1000:.1f} ms")
