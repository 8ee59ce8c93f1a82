"""The containers of docs/compose.yaml run together as it describes them, without a container engine."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sidecar.commands.demo.environment import wait_for
from tests.image.conftest import CONFIGURATION, LEDGER
from tests.support.reading import read
from tests.support.tools import PATIENCE, need

if TYPE_CHECKING:
    from tests.image.conftest import Image

pytestmark = [pytest.mark.process, pytest.mark.machine]

COMPOSE: dict[str, Any] = yaml.safe_load(read("docs/compose.yaml"))
ASK = (
    "import sys, urllib.request; url, body = sys.argv[1:]; "
    "request = urllib.request.Request(url, body.encode() or None, {'Content-Type': 'application/json'}); "
    "sys.stdout.write(urllib.request.urlopen(request, timeout=30).read().decode())"
)


@dataclass
class Project:
    """The containers, all in the network namespace of a process that only holds it."""

    image: "Image"
    folder: Path
    holder: subprocess.Popen[str]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def command(self, service: str, arguments: list[str], entry: list[str] | None) -> list[str]:
        """Return how to start a process in a service's container, with its configs and its volume."""
        volumes = self.folder / service
        for name in (CONFIGURATION, LEDGER):
            (volumes / name).mkdir(parents=True, exist_ok=True)
        (volumes / LEDGER).chmod(0o777)
        for config in COMPOSE["services"][service]["configs"]:
            target = Path(config["target"].removeprefix("/"))
            assert CONFIGURATION == target.parent
            (volumes / target).write_text(COMPOSE["configs"][config["source"]]["content"], encoding="utf-8")
        contained = self.image.command(*arguments, volumes=volumes, entry=entry)
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", *contained]

    def start(self, service: str) -> None:
        """Start a service."""
        described = COMPOSE["services"][service]
        command = self.command(service, described.get("command", []), described.get("entrypoint"))
        with self.log(service).open("wb") as output:
            self.running[service] = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)

    def is_healthy(self, service: str) -> bool:
        """Run the health check of a service once."""
        kind, *check = COMPOSE["services"][service]["healthcheck"]["test"]
        assert "CMD" == kind
        ran = subprocess.run(self.command(service, check[1:], check[:1]), check=False, timeout=PATIENCE)
        return ran.returncode == 0

    def log(self, service: str) -> Path:
        """Return the file of a service's output."""
        return self.folder / f"{service}.log"

    def output(self, service: str) -> str:
        """Return what a service has written; it must be running."""
        text = self.log(service).read_text(encoding="utf-8")
        assert self.running[service].poll() is None, text
        return text

    def ask(self, path: str, body: str = "") -> Any:
        """Ask the emulator's control API inside the namespace."""
        inside = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", sys.executable, "-c", ASK]
        ran = subprocess.run(
            [*inside, f"http://127.0.0.1:8789/_emulator/{path}", body],
            capture_output=True,
            check=True,
            timeout=PATIENCE,
        )
        return json.loads(ran.stdout)


@pytest.fixture
def project(built: "Image", tmp_path: Path) -> Iterator[Project]:
    """The containers' namespace with a loopback interface, as an engine makes it."""
    for program in ("unshare", "nsenter", "ip"):
        need(program, "util-linux iproute2")
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert "up\n" == holder.stdout.readline()
    project = Project(built, tmp_path, holder)
    yield project
    for process in project.running.values():
        process.kill()
        process.wait()
    holder.kill()
    holder.wait()
    holder.stdout.close()


def test_containers_meter_together(project: Project) -> None:
    """The app starts with the gate, its usage is accepted, and an emulated hour later AWS's side holds it."""
    project.start("emulator")
    wait_for("the emulator", lambda: "listening on" in project.output("emulator"))
    project.start("sidecar")
    wait_for("the sidecar's health", lambda: project.output("sidecar") and project.is_healthy("sidecar"))
    project.start("app")
    wait_for("accepted usage", lambda: '"accepted": 1' in project.output("app"))

    project.ask("clock", '{"advance": "1h"}')

    def metered() -> list[Any]:
        return [record for record in project.ask("records")["records"] if record["UsageQuantity"] != "0"]

    (record,) = wait_for("the record", metered)
    assert ("0abc123example", "requests") == (record["ProductCode"], record["UsageDimension"])
    project.running["app"].kill()
    project.running["sidecar"].send_signal(signal.SIGTERM)
    assert 0 == project.running["sidecar"].wait(PATIENCE)


def test_sidecar_outlives_the_app() -> None:
    """Compose stops what depends on a service before the service: the app, then the sidecar, then the emulator."""
    services = COMPOSE["services"]
    assert "sidecar" in services["app"]["depends_on"]
    assert "emulator" in services["sidecar"]["depends_on"]


def test_services_share_the_namespace() -> None:
    """Sidecar and app are in the emulator's namespace, and the app waits for the gate."""
    services = COMPOSE["services"]
    assert ["emulator", "sidecar", "app"] == list(services)
    assert {"sidecar": {"condition": "service_healthy"}} == services["app"]["depends_on"]
    for name, service in services.items():
        assert (None if name == "emulator" else "service:emulator") == service.get("network_mode")
        assert ("marketplace-sidecar", True) == (service["image"], service["read_only"])
        assert {config["source"] for config in service["configs"]} <= COMPOSE["configs"].keys()
