"""The emulator and the sidecar as real processes, and HTTP to both."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sidecar.commands.demo.environment import wait_for
from tests.support.measuring import unmeasured
from tests.support.tools import PATIENCE

NOON = "2026-11-23T10:20:00Z"
"""What the emulated clock shows when a test begins: far from the ends of its hour."""

_FOREIGN = re.compile(
    r"(AWS|SIDECAR|KUBERNETES|ECS|POD)_.*|(HTTPS?|ALL|NO)_PROXY|PYTHONPROFILEIMPORTTIME", re.IGNORECASE
)


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without anything that the sidecar or the SDK reads, and `variables`."""
    kept = {name: value for name, value in os.environ.items() if not _FOREIGN.fullmatch(name)}
    if "PYTHONPROFILEIMPORTTIME" in variables:
        # A coverage measurement would be among the imports that are looked at.
        kept = {name: value for name, value in kept.items() if not name.startswith("COVERAGE_")}
    return {**kept, "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", **variables}


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` laid over it, group by group."""
    merged = dict(deepcopy(base))
    for key, value in changes.items():
        known = merged.get(key)
        merged[key] = merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The JSON of the body."""
        return json.loads(self.body)


class _Connection(http.client.HTTPConnection):
    """HTTP to a port of this machine, or over a unix socket."""

    def __init__(self, address: int | Path) -> None:
        super().__init__("127.0.0.1", address if isinstance(address, int) else None, timeout=PATIENCE)
        self._address = address

    def connect(self) -> None:
        if isinstance(self._address, int):
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self._address))


def ask(
    address: int | Path, method: str, path: str, message: object = None, headers: Mapping[str, str] | None = None
) -> Reply:
    """Send one HTTP request with a JSON body, or none."""
    connection = _Connection(address)
    try:
        body = None if message is None else json.dumps(message)
        typed = {} if message is None else {"Content-Type": "application/json"}
        connection.request(method, path, body, {**typed, **(headers or {})})
        answer = connection.getresponse()
        return Reply(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


Ask = Callable[..., Reply]


class Running:
    """One of the product's commands as a process, its output in a file."""

    def __init__(
        self,
        log: Path,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        program: Sequence[str] = ("-m", "sidecar"),
    ) -> None:
        self.log_file = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(**variables),
            )

    @property
    def log(self) -> str:
        """Everything that it has written so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith('{"') and line.endswith("}")]
        return [line for line in lines if line.get("event") == name]

    def await_event(self, name: str) -> dict[str, Any]:
        """Return the first log line of an event as soon as it is written."""
        return self.await_for(f"the log line {name}", lambda: self.events(name))[0]  # type: ignore[no-any-return]

    def await_for(self, what: str, look: Any) -> Any:
        """Return the first true value of `look`; a process that has ended gives none any more."""

        def look_while_alive() -> Any:
            found = look()
            if not found and self.process.poll() is not None:
                raise AssertionError(f"the process ended with {self.process.returncode} before {what}")
            return found

        return wait_for(what, look_while_alive)

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def await_end(self) -> int:
        """Return the exit code once it has ended by itself."""
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it with SIGKILL: no handler of it runs."""
        self.process.kill()
        self.process.wait()


class Emulator(Running):
    """AWS's side."""

    port = 0

    def await_start(self) -> None:
        """Return once it takes connections."""
        found = self.await_for("the emulator", lambda: re.search(r"listening on http://[^\s:]+:([0-9]+)", self.log))
        self.port = int(found[1])

    @property
    def url(self) -> str:
        """Its address as `marketplace.endpoint_url`."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> Any:
        """Ask the control API."""
        return ask(self.port, "GET", f"/_emulator/{path}").document

    def post(self, path: str, **members: object) -> Any:
        """Send a command to the control API."""
        reply = ask(self.port, "POST", f"/_emulator/{path}", members)
        assert 200 == reply.status, reply.body
        return reply.document

    def begin(self) -> None:
        """Forget everything but the keys, and stand at `NOON`."""
        self.post("reset")
        self.post("customers", action="entitle")
        self.post("clock", now=NOON, speed=1)

    def public_key(self) -> bytes:
        """Return the key that a seller finds in the listing."""
        return ask(self.port, "GET", "/_emulator/public-keys/1.pem").body

    def order(self, operation: str, fault: str, count: int = 1_000_000) -> None:
        """Let the next calls of an operation go wrong; 0 withdraws the fault."""
        self.post("faults", operation=operation, fault=fault, count=count)

    def calls(self, operation: str) -> list[dict[str, Any]]:
        """Return the calls of an operation that were processed, refused ones included."""
        return [event for event in self.get("events")["Records"] if event["eventName"] == operation]

    def held(self) -> dict[tuple[str, str], str]:
        """Return the quantities that AWS's side holds, by hour and dimension."""
        records = self.get("records")["records"]
        held = {(record["Timestamp"], record["UsageDimension"]): record["UsageQuantity"] for record in records}
        assert len(held) == len(records), records
        return held


class Sidecar(Running):
    """A running sidecar."""

    api = probes = 0

    def await_start(self) -> None:
        """Return once its listeners take connections."""
        started = self.await_event("sidecar.started")
        self.api, self.probes = (int(started[name].rpartition(":")[2]) for name in ("api", "probes"))

    def get(self, path: str) -> Any:
        """Ask the local API."""
        reply = ask(self.api, "GET", path)
        assert 200 == reply.status, reply.body
        return reply.document

    def post(self, path: str, message: object) -> Reply:
        """Post to the local API."""
        return ask(self.api, "POST", path, message)

    def probe(self, name: str) -> Reply:
        """Ask a probe."""
        return ask(self.probes, "GET", f"/{name}")

    def report(self, *events: Mapping[str, object]) -> tuple[int, int]:
        """Post usage events; how many were accepted, and how many were duplicates."""
        reply = self.post("/v1/usage", events)
        assert 202 == reply.status, reply.body
        return reply.document["accepted"], reply.document["duplicates"]

    def await_entitlement(self, **members: object) -> Any:
        """Return the entitlement as soon as it has these members."""

        def look() -> Any:
            found = self.get("/v1/entitlement")
            return found if members.items() <= found.items() else None

        return self.await_for(f"the entitlement {members}", look)

    def await_records(self, count: int, status: str = "accepted") -> list[dict[str, Any]]:
        """Return the records of a status as soon as there are `count` of them."""

        def look() -> Any:
            records = self.get(f"/v1/records?status={status}")["records"]
            return records if len(records) >= count else None

        records: list[dict[str, Any]] = self.await_for(f"{count} {status} records", look)
        assert count == len(records), records
        return records

    def await_clock(self, instant: str) -> None:
        """Return once its clock has reached an instant."""
        self.await_for(f"the clock at {instant}", lambda: parse(self.get("/v1/status")["now"]) >= parse(instant))

    def terms(self, dimension: str = "requests") -> dict[str, str]:
        """Return the terms of the conservation law that are not zero; they must balance."""
        conservation = self.get("/v1/status")["conservation"]
        assert conservation["balanced"] is True
        return {name: value for name, value in conservation["dimensions"][dimension].items() if value != "0"}


def parse(instant: str) -> datetime:
    """Read an instant."""
    return datetime.fromisoformat(instant)


@dataclass
class Site:
    """One seller's product in one place: configuration, key and ledger, on which sidecars can be started."""

    folder: Path
    emulator: Emulator
    changes: Mapping[str, Any] = field(default_factory=dict)
    program: Sequence[str] = ("-m", "sidecar")
    """What the interpreter runs as the product."""
    running: list[Running] = field(default_factory=list)
    measured: bool = False
    """Coverage measures the sidecars: they end by themselves. Of a killed one it keeps nothing, and costs its start."""

    def __post_init__(self) -> None:
        """Write the key."""
        self.folder.mkdir(exist_ok=True)
        self.key.write_bytes(self.emulator.public_key())

    @property
    def key(self) -> Path:
        """The seller's public key."""
        return self.folder / "1.pem"

    @property
    def ledger(self) -> Path:
        """The ledger's file."""
        return self.folder / "ledger.db"

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Return the configuration: free ports, no waiting after the hour."""
        base = {
            "product": {"code": "0abc123example", "public_key_version": 1, "public_keys": {"1": str(self.key)}},
            "metering": {
                "dimensions": [{"name": "requests", "aggregation": "sum"}],
                "settle": "0s",
                "spread": "0s",
            },
            "ledger": {"path": str(self.ledger)},
            "api": {"port": 0},
            "probes": {"host": "127.0.0.1", "port": 0},
            "marketplace": {"mode": "emulator", "endpoint_url": self.emulator.url},
            "log": {"level": "debug", "format": "json"},
        }
        return merge(merge(base, self.changes), changes)

    def write(self, name: str = "config.yaml", **changes: Any) -> Path:
        """Write the configuration and return its path; JSON is YAML."""
        path = self.folder / name
        path.write_text(json.dumps(self.settings(**changes)), encoding="utf-8")
        return path

    def launch(self, config: Path, **variables: str) -> Sidecar:
        """Start a sidecar and wait for nothing."""
        return self._launch(config, variables, measured=self.measured)

    def _launch(self, config: Path, variables: Mapping[str, str], *, measured: bool) -> Sidecar:
        log = self.folder / f"sidecar-{len(self.running)}.log"
        with nullcontext() if measured else unmeasured():
            sidecar = Sidecar(log, ("run", "--config", str(config)), variables, self.program)
        self.running.append(sidecar)
        return sidecar

    def start(self, *, variables: Mapping[str, str] | None = None, **changes: Any) -> Sidecar:
        """Start a sidecar and wait for its listeners."""
        sidecar = self.launch(self.write(**changes), **(variables or {}))
        sidecar.await_start()
        return sidecar

    def start_entitled(self, *, variables: Mapping[str, str] | None = None, **changes: Any) -> Sidecar:
        """Start a sidecar and wait until it is entitled."""
        sidecar = self.start(variables=variables, **changes)
        sidecar.await_entitlement(entitled=True)
        return sidecar

    def refuse(self, config: Path | None = None, /, **variables: str) -> tuple[int, str]:
        """Start a sidecar that cannot run; its exit code and what it says."""
        sidecar = self._launch(config or self.write(), variables, measured=True)
        return sidecar.await_end(), sidecar.log

    def advance(self, sidecar: Sidecar, by: str) -> None:
        """Let emulated time pass; return once the sidecar knows."""
        sidecar.await_clock(self.emulator.post("clock", advance=by)["now"])

    def command(self, *arguments: str, **variables: str) -> Running:
        """Start another of the product's commands."""
        command = Running(self.folder / f"command-{len(self.running)}.log", arguments, variables, self.program)
        self.running.append(command)
        return command

    def reach(self, sidecar: Sidecar) -> Path:
        """Write the configuration with the ports that a sidecar took, for the commands that ask it."""
        ports = {"api": {"port": sidecar.api}, "probes": {"port": sidecar.probes}}
        return self.write("reach.yaml", **ports)

    def close(self) -> None:
        """End what still runs; what must end well was ended by the test."""
        for running in self.running:
            running.kill()


@dataclass
class Sites:
    """The sites of one test."""

    folder: Path
    made: list[Site] = field(default_factory=list)
    measured: bool = False

    def make(self, emulator: Emulator, **changes: Any) -> Site:
        """Make a site next to an emulator."""
        site = Site(self.folder / f"site-{len(self.made)}", emulator, changes, measured=self.measured)
        self.made.append(site)
        return site


def launch_emulator(log: Path, *arguments: str) -> Emulator:
    """Start an emulator on a free port; coverage measures emulators in tests/emulator."""
    with unmeasured():
        emulator = Emulator(log, ("emulator", "--port", "0", *arguments), {})
    try:
        emulator.await_start()
    except BaseException:
        emulator.kill()
        raise
    return emulator
