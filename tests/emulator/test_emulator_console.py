"""The console: whole in the package, from this address alone, and with every choice of the control API."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar.emulator.command import environment
from sidecar.emulator.console_page import FOLDER
from sidecar.emulator.faults import BEHAVIORS, ERROR_NAMES, OPERATIONS
from sidecar.emulator.protocol.errors import UNMODELLED
from sidecar.emulator.state.license_changes import ACTIONS
from sidecar.emulator.state.license_members import RECEIVED
from tests.support.reading import ROOT

if TYPE_CHECKING:
    from tests.emulator.conftest import RunningEmulator

FILES = sorted(path.name for path in FOLDER.iterdir())


def sources(suffix: str) -> str:
    """Return all files of a kind."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob(f"*{suffix}")))


def test_page_is_served(emulator: "RunningEmulator") -> None:
    """`GET /` is the page, and `HEAD /` too."""
    assert (200, (FOLDER / "index.html").read_bytes()) == emulator.send("GET", "/")
    assert 200 == emulator.send("HEAD", "/")[0]


@pytest.mark.parametrize("name", FILES)
def test_file_is_served(emulator: "RunningEmulator", name: str) -> None:
    """Each file of the folder is served, byte for byte."""
    assert (200, (FOLDER / name).read_bytes()) == emulator.send("GET", f"/_emulator/console/{name}")


@pytest.mark.parametrize("name", ["", "nothing.js", "..%2fserver.py", "console_page.py", "%2e%2e/control.py"])
def test_other_file_is_not_served(emulator: "RunningEmulator", name: str) -> None:
    """Nothing else of the package is served."""
    assert 404 == emulator.send("GET", f"/_emulator/console/{name}")[0]


def test_wheel_has_the_files(tmp_path: Path) -> None:
    """The installed package has the page: the wheel holds each file."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert 0 == built.returncode, built.stderr
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert [] == [name for name in FILES if f"sidecar/emulator/console/{name}" not in names]


def test_page_needs_no_other_address() -> None:
    """Page, styles and scripts name no other address but the name space of SVG, and have no inline script or style."""
    assert ["http://www.w3.org/2000/svg"] == re.findall(r"https?://[\w./-]+", sources(".js") + sources(".css"))
    page = sources(".html")
    assert [] == re.findall(r"https?://|<style|style=|\son\w+=|<script(?![^>]*\bsrc=)", page)


def test_scripts_make_no_markup() -> None:
    """What a caller sent is shown as text: no script makes markup or code of text."""
    assert [] == re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", sources(".js")
    )


def test_elements_of_the_scripts_are_on_the_page() -> None:
    """Each element that a script looks for is on the page."""
    known = set(re.findall(r'\bid="([\w-]+)"', sources(".html")))
    assert set(re.findall(r'byId\("([\w-]+)"\)', sources(".js"))) <= known


def test_page_has_no_external_requests_by_policy(emulator: "RunningEmulator") -> None:
    """The browser is told to load nothing from elsewhere, to run no inline script and to show the page in no frame."""
    headers = emulator.headers("/")
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert ("'none'", "'self'", "'self'", "'none'") == tuple(
        policy[name] for name in ("default-src", "script-src", "connect-src", "frame-ancestors")
    )
    assert ("nosniff", "no-referrer", None) == (
        headers["X-Content-Type-Options"],
        headers["Referrer-Policy"],
        headers.get("Access-Control-Allow-Origin"),
    )


def test_choices_are_complete(emulator: "RunningEmulator") -> None:
    """The page offers each operation, fault, error and license action that the control API takes."""
    choices = emulator.get("console/choices.json")
    assert list(OPERATIONS) == choices["operations"]
    assert {name: sorted(operations) for name, operations in BEHAVIORS.items()} == choices["faults"]
    assert set(OPERATIONS) == set(choices["errors"])
    assert ERROR_NAMES - {*UNMODELLED} == {name for names in choices["errors"].values() for name in names}
    assert {name: sorted(members) for name, members in ACTIONS.items()} == choices["license_actions"]
    assert list(RECEIVED) == choices["received"]


def test_page_has_the_environment_of_the_command() -> None:
    """What the page offers to copy sets the variables that the start prints."""
    names = set(re.findall(r"AWS_[A-Z_]+", (FOLDER / "sdks.js").read_text(encoding="utf-8")))
    assert set(environment("http://127.0.0.1:8789")) == names


def test_calls_tell_what_is_kept(emulator: "RunningEmulator") -> None:
    """A reader learns the oldest and the newest number, so it notices a reset and another process."""
    empty = json.loads(emulator.send("GET", "/_emulator/calls")[1])
    assert {"calls": [], "first": None, "last": 0} == empty
    emulator.send("POST", "/", b"{}")
    emulator.send("POST", "/", b"{}")
    assert (1, 2) == (emulator.get("calls")["first"], emulator.get("calls")["last"])
    emulator.post("reset")
    assert {"calls": [], "first": None, "last": 2} == emulator.get("calls")
