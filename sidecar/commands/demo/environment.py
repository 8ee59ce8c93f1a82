"""The environment of the demonstration: the emulator and the sidecar as real processes, and HTTP to both of them.

Everything is in one temporary folder, which is removed at the end, however the scenario ends.
"""

import json
import os
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sidecar.domain.web_identity import POD_IDENTITY_VARIABLE, TOKEN_VARIABLE
from sidecar.http_client import Listener, Response

_POD = "demo-pod"
PATIENCE = 120.0
"""Real seconds after which a wait counts as a hang: a busy machine may take many times the usual 2."""
_PORTS = range(20_000, 30_000)
"""Below the ports of outgoing connections, 32768 and above on Linux, and below those of Kubernetes' services."""
_GIVEN: set[tuple[str, int]] = set()
"""Addresses and ports that this process was given."""

CONFIGURATION = """\
product:
  code: 0abc123example
  public_key_version: 1
  public_keys: {{1: {folder}/1.pem}}
metering:
  dimensions:
    - {{name: requests, aggregation: sum}}
    - {{name: gigabytes, aggregation: sum}}
  settle: 5m
  spread: 5m
ledger: {{path: {folder}/ledger.db}}
api: {{port: {api}}}
probes: {{host: 127.0.0.1, port: {probes}}}
shutdown: {{timeout: 15s}}
marketplace: {{mode: emulator, endpoint_url: "http://127.0.0.1:{emulator}"}}
"""


class ScenarioError(Exception):
    """A step of the scenario failed, or did not happen in time; the message names it."""


class Environment:
    """The two processes and their addresses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.api, self.probes = free_port(), free_port()
        self.emulator = 0
        self._processes: list[subprocess.Popen[bytes]] = []
        self._sidecar: subprocess.Popen[bytes] | None = None

    def start_emulator(self) -> None:
        """Start the emulator and fetch the public key that a seller finds in the listing."""
        log = self.folder / "emulator.log"
        self._spawn("emulator", "--port", "0", log=log)
        self.emulator = int(wait_for("the emulator", lambda: _listening_port(log)))
        self.write_configuration()
        key = request(self.emulator, "GET", "/_emulator/public-keys/1.pem")
        (self.folder / "1.pem").write_bytes(key.body)

    def write_configuration(self) -> Path:
        """Write the sidecar's configuration and return its path."""
        path = self.folder / "config.yaml"
        text = CONFIGURATION.format(folder=self.folder, api=self.api, probes=self.probes, emulator=self.emulator)
        path.write_text(text, encoding="utf-8")
        return path

    def start_sidecar(self) -> None:
        """Start the sidecar on its ledger, new or left by an earlier process."""
        path = self.write_configuration()
        self._sidecar = self._spawn("run", "--config", str(path), log=self.folder / "sidecar.log")
        wait_for("the sidecar's probes", lambda: request(self.probes, "GET", "/livez").status == 200)

    def kill_sidecar(self) -> None:
        """End the sidecar with SIGKILL, which runs none of its handlers."""
        if self._sidecar is not None:
            self._sidecar.kill()
            self._sidecar.wait()

    def stop_sidecar(self) -> int:
        """Terminate the sidecar and return its exit code."""
        if self._sidecar is None:
            return 0
        self._sidecar.terminate()
        return self._sidecar.wait(PATIENCE)

    def close(self) -> None:
        """End every process that is still running."""
        for process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                process.kill()
                process.wait()

    def command(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run one of the sidecar's commands to its end."""
        return subprocess.run(_program(*arguments), input=stdin, capture_output=True, check=False, timeout=PATIENCE)

    def control(self, path: str, message: Mapping[str, object]) -> Any:
        """Send a message to the emulator's control API and return its answer."""
        return request(self.emulator, "POST", path, message).document()

    def _spawn(self, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            process = subprocess.Popen(
                _program(*arguments), stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=_environment()
            )
        self._processes.append(process)
        return process


def request(port: int, method: str, path: str, message: object = None) -> Response:
    """Send one HTTP request to a port of this machine; raises NoAnswer if there is no response."""
    body = None if message is None else json.dumps(message)
    return Listener("127.0.0.1", port).send(method, path, 5, headers={"Content-Type": "application/json"}, body=body)


def wait_for(what: str, read: Callable[[], Any]) -> Any:
    """Return the first true value of `read`, called until then; no answer counts as not yet.

    Raises:
        ScenarioError: There was none within `PATIENCE`.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(OSError):
            found = read()
            if found:
                return found
        time.sleep(0.02)
    raise ScenarioError(f"{what} did not come within {PATIENCE:.0f} s")


def _environment() -> dict[str, str]:
    """Return this process's environment with a pod identity of its own, also where it runs in a pod."""
    kept = {name: value for name, value in os.environ.items() if name not in {TOKEN_VARIABLE, POD_IDENTITY_VARIABLE}}
    return {**kept, "POD_UID": _POD}


def _program(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "sidecar", *arguments]


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port of an address of this machine that is free at the moment.

    It is below the ports that the kernel gives to outgoing connections: one of those could take it before its use. A
    process gets each port once: two listeners may be given theirs before either listens.
    """
    for port in random.sample(_PORTS, len(_PORTS)):
        if (address, port) in _GIVEN:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind((address, port))
            _GIVEN.add((address, port))
            return port
    raise ScenarioError(f"no port from {_PORTS.start} to {_PORTS.stop - 1} of {address} is free")


def _listening_port(log: Path) -> str | None:
    match = re.search(rb"listening on http://[^\s:]+:([0-9]+)", log.read_bytes())
    return None if match is None else match[1].decode()
