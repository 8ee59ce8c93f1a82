"""A task of ECS played with real processes: the task definition decides what starts, when, and who ends first."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.commands.demo.environment import free_port, wait_for
from sidecar.commands.ecs.definition import IMAGE_PROGRAM
from tests.support.processes import environment
from tests.support.tools import PATIENCE

if TYPE_CHECKING:
    from tests.support.processes import Emulator, Site

pytestmark = pytest.mark.process

ROLE = "arn:aws:iam::111122223333:role/metering"
TASK = "arn:aws:ecs:eu-west-1:111122223333:task/shop/0123456789abcdef"
CHOICES = ("--family", "shop", "--app-image", "acme/shop", "--sidecar-image", "acme/metering", "--task-role-arn", ROLE)
MOUNTED = "/var/lib/marketplace-sidecar"
APP = """\
import json, os, signal, sys, urllib.request

def report(name, quantity):
    body = json.dumps({"id": name, "dimension": "requests", "quantity": quantity}).encode()
    url = os.environ["MARKETPLACE_SIDECAR_URL"] + "/v1/usage"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    print(name, urllib.request.urlopen(request).status, flush=True)

def end(*_):
    report("last-words", "0.25")
    sys.exit(0)

signal.signal(signal.SIGTERM, end)
report("first", "2")
while True:
    signal.pause()
"""
"""An app that reports something at its start, and something more when it is told to end."""


@pytest.fixture(name="metadata_uri")
def _metadata_uri() -> Iterator[str]:
    """ECS's metadata endpoint, which names the task."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"TaskARN": TASK}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v4/1"
        server.shutdown()
        thread.join()


class Task:
    """Does what ECS's agent does with a task definition on Fargate."""

    def __init__(self, folder: Path, definition: Mapping[str, Any], given: Mapping[str, str]) -> None:
        self.folder = folder
        self.containers = {each["name"]: each for each in definition["containerDefinitions"]}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._given = {**given, "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE", "AWS_REGION": "eu-west-1"}

    def start(self, name: str, *command: str) -> None:
        """Start a container's command with the container's environment."""
        with self.log(name).open("wb") as output:
            self.running[name] = subprocess.Popen(
                [sys.executable, *command], stdout=output, stderr=output, env=self._environment(name)
            )

    def healthy(self, name: str) -> bool:
        """Run a container's health check as it stands in the definition."""
        kind, program, *arguments = self.containers[name]["healthCheck"]["command"]
        assert (kind, program) == ("CMD", IMAGE_PROGRAM[0])
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self._environment(name),
            capture_output=True,
            check=False,
            timeout=PATIENCE,
        )
        return done.returncode == 0

    def startable(self, name: str) -> bool:
        """Return whether everything that a container depends on is as it must be."""
        conditions = [(each["containerName"], each["condition"]) for each in self.containers[name].get("dependsOn", ())]
        assert {condition for _, condition in conditions} <= {"HEALTHY"}
        return all(self.healthy(other) for other, _ in conditions)

    def stop(self) -> dict[str, int]:
        """Stop in the reverse order of the dependencies, each within its stopTimeout; the exit codes in that order."""
        dependents = sorted(self.containers, key=lambda name: "dependsOn" not in self.containers[name])
        codes = {}
        for name in dependents:
            self.running[name].send_signal(signal.SIGTERM)
            codes[name] = self.running[name].wait(self.containers[name]["stopTimeout"])
        return codes

    def log(self, name: str) -> Path:
        """Return the file with a container's output."""
        return self.folder / f"{name}.log"

    def close(self) -> None:
        """End what still runs."""
        for process in self.running.values():
            process.kill()
            process.wait()

    def _environment(self, name: str) -> dict[str, str]:
        own = {each["name"]: each["value"] for each in self.containers[name]["environment"]}
        return environment(**self._given, **own)


@pytest.fixture(name="task")
def _task(site: "Site", metadata_uri: str, tmp_path: Path) -> Iterator[Task]:
    """A task of the product, of which nothing runs yet."""
    folder = tmp_path / "volume"
    folder.mkdir()
    config = site.write(
        api={"port": free_port()},
        probes={"port": free_port()},
        ledger={"path": f"{MOUNTED}/ledger.db"},
    )
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", "ecs", "task-definition", "--config", str(config), *CHOICES],
        capture_output=True,
        check=True,
        env=environment(),
        timeout=PATIENCE,
    )
    definition = json.loads(done.stdout)
    (mount,) = definition["containerDefinitions"][0]["mountPoints"]
    assert MOUNTED == mount["containerPath"]
    # What ECS mounts there lies elsewhere on this machine; the image brings its configuration.
    given = {
        "SIDECAR_LEDGER__PATH": str(folder / "ledger.db"),
        "SIDECAR_CONFIG": str(config),
        "ECS_CONTAINER_METADATA_URI_V4": metadata_uri,
        "AWS_ACCESS_KEY_ID": "task",
        "AWS_SECRET_ACCESS_KEY": "any",
    }
    task = Task(tmp_path, definition, given)
    yield task
    task.close()


def test_task_lives_and_ends(task: Task, emulator: "Emulator") -> None:
    """The app starts only once entitled, and is stopped first; everything that it reported is at AWS."""
    emulator.post("customers", action="unsubscribe")
    task.start("marketplace-sidecar", "-m", "sidecar", "run")
    wait_for("the refusal", lambda: "registration.denied" in task.log("marketplace-sidecar").read_text())
    assert not task.startable("app")
    emulator.post("customers", action="entitle")
    emulator.post("clock", advance="6m")
    wait_for("a good health check", lambda: task.startable("app"))
    task.start("app", "-c", APP)
    wait_for("the app's first report", lambda: "first 202" in task.log("app").read_text())

    assert [("app", 0), ("marketplace-sidecar", 0)] == list(task.stop().items())

    assert "last-words 202" in task.log("app").read_text()
    assert {"requests": "2.25"} == {dimension: held for (_, dimension), held in emulator.held().items()}
    assert TASK in task.log("marketplace-sidecar").read_text()
    assert '"check": "shutdown"' not in task.log("marketplace-sidecar").read_text()


def test_certification_is_a_task(task: Task, emulator: "Emulator", tmp_path: Path) -> None:
    """With another command the same task definition certifies, under the task's own identity, and no app starts."""
    report = tmp_path / "certify.json"
    task.start("marketplace-sidecar", "-m", "sidecar", "certify", "--yes", "--json", "--report", str(report))
    assert not task.startable("app")

    assert 0 == task.running["marketplace-sidecar"].wait(PATIENCE)

    assert TASK == json.loads(report.read_text())["subject"]["pod"]
    assert ["1"] == [*emulator.held().values()]
