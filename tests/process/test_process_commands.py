"""The commands next to `run`, against running processes."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar import __version__
from sidecar.commands.ecs.definition import IMAGE_PROGRAM
from tests.support.processes import environment

if TYPE_CHECKING:
    from tests.support.processes import Emulator, Running, Site, Sites

pytestmark = pytest.mark.process

README = Path(__file__).parents[2] / "README.md"
TRACED = {"PYTHONPROFILEIMPORTTIME": "1"}


def imported(running: "Running") -> set[str]:
    """Return the top-level packages that a traced process has imported so far."""
    return set(re.findall(r"^import time: +[0-9]+ \| +[0-9]+ \| +(\w+)", running.log, re.MULTILINE))


def test_image_program_is_isolated(tmp_path: Path) -> None:
    """Started as the image starts it, no variable of the interpreter puts other code in the product's place."""
    for name in ("sitecustomize.py", "sidecar.py", "startup.py"):
        (tmp_path / name).write_text("raise SystemExit('taken over')\n", encoding="utf-8")
    variables = {"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "startup.py"), "PYTHONINSPECT": "1"}
    program, *arguments = IMAGE_PROGRAM
    assert program.endswith("/python")
    ran = subprocess.run(
        [sys.executable, *arguments, "--version"],
        env={**environment(**variables), "PYTHONHOME": "/nowhere"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (0, f"marketplace-sidecar {__version__}\n") == (ran.returncode, ran.stdout), ran.stderr


def test_commands_follow_gate(site: "Site", emulator: "Emulator") -> None:
    """`healthcheck` and `wait` say no while the gate is closed and yes once it opens, without loading an SDK."""
    emulator.post("customers", action="unsubscribe")
    sidecar = site.start()
    sidecar.await_entitlement(state="denied")
    config = str(site.reach(sidecar))
    for probe, expected in (("livez", 0), ("startupz", 1), ("readyz", 1)):
        assert expected == site.command("healthcheck", "--config", config, "--probe", probe).await_end()
    impatient = site.command("wait", "--config", config, "--timeout", "2")
    assert 1 == impatient.await_end()
    assert "denied: customer-not-entitled" in impatient.log
    waiting = site.command("wait", "--config", config, **TRACED)
    waiting.await_for("its first answer", lambda: "denied: customer-not-entitled" in waiting.log)
    emulator.post("customers", action="entitle")
    emulator.post("clock", advance="5m")
    assert 0 == waiting.await_end()
    url = f"http://127.0.0.1:{sidecar.probes}"
    checked = site.command("healthcheck", "--url", url, "--probe", "readyz", **TRACED)
    assert 0 == checked.await_end()
    refused = site.command("verify-token", "--public-key", str(site.key), **TRACED)
    assert 1 == refused.await_end()
    for command in (waiting, checked, refused):
        found = imported(command)
        assert "argparse" in found
        assert found.isdisjoint({"boto3", "botocore", "aiohttp", "kubernetes", "structlog", "sqlite3"})
    sidecar.kill()
    assert 1 == site.command("healthcheck", "--url", url).await_end()


def test_kubernetes_stays_out(site: "Site") -> None:
    """Outside a pod `run` never loads the Kubernetes client; the SDK only after the probes answer."""
    sidecar = site.start_entitled(variables=TRACED)
    found = imported(sidecar)
    assert "kubernetes" not in found
    assert {"boto3", "aiohttp"} <= found
    before, _, _ = sidecar.log.partition('"sidecar.started"')
    assert "botocore" not in before


def test_openapi_is_printed(site: "Site") -> None:
    """`openapi` prints an OpenAPI 3.1 document of the paths that the sidecar serves."""
    printed = site.command("openapi")
    assert 0 == printed.await_end()
    document = json.loads(printed.log)
    assert document["openapi"].startswith("3.1")
    served = site.start().get("/openapi.json")
    assert served["paths"].keys() == document["paths"].keys()


def test_demo_ends_well(sites: "Sites", emulator: "Emulator") -> None:
    """`demo` shows the whole path and ends by itself with 0; the README shows its output, except for the figures."""
    demo = sites.make(emulator).command("demo")
    assert 0 == demo.await_end(), demo.log
    assert "the buyer is charged exactly what the app reported" in demo.log
    shown = README.read_text().partition("$ make demo\n")[2].partition("```")[0]
    assert set() == _without_figures(shown) - {"..."} - _without_figures(demo.log)


def _without_figures(text: str) -> set[str]:
    """Return the different lines of an output, with one mark for each run of figures and hexadecimal digits."""
    marked = (re.sub(r"\b[0-9a-f]{8}\b|[0-9][0-9.]*", "#", line) for line in text.splitlines())
    return {" ".join(line.split()) for line in marked}
