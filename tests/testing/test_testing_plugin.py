"""The pytest plugin, in a pytest of its own as a user's project runs it: found by its entry point."""

import signal
import tomllib
from typing import TYPE_CHECKING

import pytest

from sidecar.commands.demo.environment import wait_for
from sidecar.http_client import Listener, NoAnswer
from tests.support.reading import ROOT, blocks
from tests.support.tools import PATIENCE

if TYPE_CHECKING:
    from _pytest.pytester import Pytester, RunResult

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.process

DOCUMENT = "docs/testing.md"
CONTAINERS = "test_container.py"
PROGRAMS = ("conftest.py", "test_usage.py")


@pytest.fixture
def project(pytester: "Pytester", monkeypatch: pytest.MonkeyPatch) -> "Pytester":
    """A project into whose environment this source tree is installed, as its metadata says."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    metadata = pytester.path / "site" / "marketplace_sidecar-0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: marketplace-sidecar\nVersion: 0\n")
    lines = [line for group, named in points.items() for line in (f"[{group}]", *map(" = ".join, named.items()))]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{metadata.parent}")
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    return pytester


def run(project: "Pytester", *arguments: str) -> "RunResult":
    """Run the project's tests in a child process, by no plugin but those of the product and of pytest."""
    blocked = ("asyncio", "cov", "xdist", "timeout", "schemathesis", "hypothesispytest")
    return project.runpytest_subprocess("-v", *(f"-pno:{name}" for name in blocked), *arguments)


def answers(listener: Listener) -> bool:
    """Return whether there is a listener."""
    try:
        listener.get("/_emulator/clock", PATIENCE)
    except NoAnswer:
        return False
    return True


@pytest.mark.parametrize("names", [PROGRAMS[1:], PROGRAMS], ids=["default-product", "custom-price"])
def test_program_of_the_document_runs(project: "Pytester", names: tuple[str, ...]) -> None:
    """Every test that the document shows passes as it is, with its own product and with the document's conftest."""
    for block in blocks(DOCUMENT):
        if block.name in names:
            (project.path / block.name).write_text(block.text)
    assert {"passed": 3} == run(project).parseoutcomes()


STANDIN = """
import subprocess
import sys
import time


class DockerContainer:
    def __init__(self, image):
        assert image == "marketplace-sidecar"

    def with_exposed_ports(self, port):
        self.port = port
        return self

    def with_command(self, command):
        self.command = command.replace(f"--port {self.port}", "--port 0").split()
        return self

    def __enter__(self):
        command = [sys.executable, "-m", "sidecar", *self.command]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate()

    def get_container_host_ip(self):
        return "127.0.0.1"

    def get_exposed_port(self, port):
        assert port == self.port
        return self.actual


def wait_for_logs(container, text):
    for line in container.process.stdout:
        if text in line:
            container.actual = line.rpartition(":")[2].strip().strip("/")
            return
    raise AssertionError("the container has ended")
"""
"""What the document uses of Testcontainers, with a process in a container's place: no engine is needed."""


def test_program_with_containers_runs(project: "Pytester") -> None:
    """The Testcontainers example starts the emulator by its command, waits for its log line and reaches its port."""
    (program,) = (block for block in blocks(DOCUMENT) if block.name == CONTAINERS)
    project.makepyfile(**{"testcontainers/__init__": "", "testcontainers/core/__init__": ""})
    project.makepyfile(**{f"testcontainers/core/{name}": STANDIN for name in ("container", "waiting_utils")})
    (project.path / CONTAINERS).write_text(program.text)
    assert {"passed": 1} == run(project, CONTAINERS).parseoutcomes()


def test_processes_are_kept_apart_from_tests(project: "Pytester") -> None:
    """One emulator serves all tests of a configuration, fresh for each of them, and another one another product."""
    project.makepyfile(
        """
        import os
        from datetime import UTC, datetime, timedelta

        import pytest

        urls = {}

        def test_first(marketplace_emulator):
            urls["first"] = marketplace_emulator.url
            marketplace_emulator.clock.set(datetime(2030, 1, 1, tzinfo=UTC))
            marketplace_emulator.clock.advance(timedelta(hours=1))
            assert marketplace_emulator.clock.now.hour == 1
            marketplace_emulator.faults.add("MeterUsage", "throttle", 2)
            marketplace_emulator.customers.entitle(customer_identifier="c-1")

        def test_second(marketplace_emulator):
            assert urls["first"] == marketplace_emulator.url
            assert abs(marketplace_emulator.clock.now - datetime.now(UTC)) < timedelta(minutes=1)
            assert marketplace_emulator.faults.pending() == []
            assert marketplace_emulator.control("state")["customers"] == []
            assert marketplace_emulator.records() == []

        class TestOther:
            @pytest.fixture
            def marketplace_config(self):
                return {"product": {"code": "other", "pricing": "custom"}}

            def test_third(self, marketplace_emulator):
                assert urls["first"] != marketplace_emulator.url
                assert marketplace_emulator.control("state")["product_code"] == "other"
        """
    )
    assert {"passed": 3} == run(project).parseoutcomes()


def test_rotated_key_and_many_records(project: "Pytester") -> None:
    """A product with its second key opens the gate, and all records are returned, on however many pages they are."""
    project.makepyfile(
        """
        from datetime import timedelta

        import pytest

        NAMES = [f"d{number}" for number in range(8)]

        @pytest.fixture
        def marketplace_config():
            return {
                "product": {"code": "p", "public_key_version": 2},
                "metering": {"dimensions": [{"name": name} for name in NAMES]},
            }

        def test_all(marketplace_emulator, marketplace_sidecar, monkeypatch):
            monkeypatch.setattr("sidecar.testing.marketplace._PAGE", 3)
            assert marketplace_sidecar.wait_entitled()["state"] == "entitled"
            marketplace_sidecar.post("/v1/usage", [{"dimension": name, "quantity": "1"} for name in NAMES])
            marketplace_emulator.clock.advance(timedelta(hours=1))
            records = marketplace_sidecar.wait_records(len(NAMES))
            assert {record["dimension"] for record in records} == set(NAMES)
        """
    )
    assert {"passed": 1} == run(project).parseoutcomes()


def test_modules_of_the_project_hide_none_of_the_product(project: "Pytester") -> None:
    """The folder that the tests run in may have files that are named like a library, such as `yaml.py`."""
    folder = project.mkdir("folder")
    for name in ("yaml", "aiohttp", "sidecar"):
        (folder / f"{name}.py").write_text("raise RuntimeError('the module of the project')")
    project.makepyfile(
        """
        def test_first(monkeypatch, request):
            monkeypatch.chdir("folder")
            assert request.getfixturevalue("marketplace_emulator").records() == []
        """
    )
    assert {"passed": 1} == run(project).parseoutcomes()


def test_killed_run_leaves_no_process(project: "Pytester") -> None:
    """The emulator ends with a test run that was killed."""
    project.makepyfile(
        """
        import os
        import pathlib
        import signal

        def test_killed(marketplace_emulator):
            pathlib.Path("url").write_text(marketplace_emulator.url)
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert -signal.SIGKILL == run(project).ret
    listener, _ = Listener.of_url((project.path / "url").read_text())
    wait_for("the end of the emulator", lambda: not answers(listener))


def test_unused_fixtures_load_nothing(project: "Pytester") -> None:
    """A run without the fixtures starts no process, and loads none of the product's libraries."""
    project.makepyfile(
        """
        import sys

        def test_nothing_is_loaded(request):
            assert request.config.pluginmanager.has_plugin("marketplace-sidecar")
            ours = {name for name in sys.modules if name.split(".")[0] == "sidecar"}
            assert ours == {"sidecar", "sidecar.testing", "sidecar.testing.plugin"}
            others = {"aiohttp", "boto3", "botocore", "cryptography", "kubernetes", "prometheus_client", "structlog"}
            assert not others & sys.modules.keys()
        """
    )
    assert {"passed": 1} == run(project).parseoutcomes()


def test_failed_start_shows_the_reason(project: "Pytester") -> None:
    """A configuration that the emulator or the sidecar refuses is the error of the test, with the product's words."""
    project.makepyfile(
        """
        import pytest

        @pytest.fixture
        def marketplace_config(request):
            return request.param

        BAD_SEED = {"product": {"code": "p q"}}
        BAD_SIDECAR = {"product": {"code": "p"}, "metering": {"dimensions": [{"name": "d", "aggregation": "product"}]}}

        @pytest.mark.parametrize("marketplace_config", [BAD_SEED], indirect=True)
        def test_emulator(marketplace_emulator): ...

        @pytest.mark.parametrize("marketplace_config", [BAD_SIDECAR], indirect=True)
        def test_sidecar(marketplace_sidecar): ...
        """
    )
    result = run(project)
    assert {"errors": 2} == result.parseoutcomes()
    result.stdout.fnmatch_lines(["*The process ended with code 2 before the emulator's address.*"])
    result.stdout.fnmatch_lines(["*product.code: 'p q'*"])
    result.stdout.fnmatch_lines(["*The process ended with code 2 before the sidecar's start.*"])
    result.stdout.fnmatch_lines(["*metering.dimensions*aggregation*"])
