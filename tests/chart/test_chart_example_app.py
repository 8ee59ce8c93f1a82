"""The example's app, as a process next to a real sidecar."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.commands.demo.environment import wait_for
from tests.support.processes import Emulator, Site, launch_emulator
from tests.support.rendering import CHARTS
from tests.support.tools import PATIENCE

pytestmark = pytest.mark.process


class App:
    """The app, its output in a file."""

    def __init__(self, log: Path, api: int, **variables: str) -> None:
        self._log = log
        environment = {**os.environ, "MARKETPLACE_SIDECAR_URL": f"http://127.0.0.1:{api}", "PORT": "0", **variables}
        with log.open("wb") as output:
            self.process = subprocess.Popen([sys.executable, CHARTS / "example/app.py"], stdout=output, env=environment)

    def counts(self, word: str) -> list[int]:
        """Return the numbers that it has logged behind a word."""
        return [int(number) for number in re.findall(rf"^{word} ([0-9]+)$", self._log.read_text("utf-8"), re.MULTILINE)]


@pytest.fixture
def own_emulator(tmp_path: Path) -> Iterator[Emulator]:
    """AWS's side."""
    emulator = launch_emulator(tmp_path / "emulator.log")
    yield emulator
    emulator.kill()


@pytest.fixture
def own_site(tmp_path: Path, own_emulator: Emulator) -> Iterator[Site]:
    """A product next to it."""
    site = Site(tmp_path / "site", own_emulator)
    yield site
    site.close()


def test_app_reports_and_ends(own_site: Site, tmp_path: Path) -> None:
    """With a number of events it reports that many, and ends by itself."""
    sidecar = own_site.start_entitled()
    app = App(tmp_path / "app.log", sidecar.api, EVENTS="3", INTERVAL="0.01")
    assert 0 == app.process.wait(PATIENCE)
    assert [3] == app.counts("ended after")
    assert "3" == sidecar.terms()["accepted"]


def test_app_waits_for_entitlement(own_site: Site, own_emulator: Emulator, tmp_path: Path) -> None:
    """Without the entitlement it reports nothing, and ends when it is told to."""
    own_emulator.post("customers", action="unsubscribe")
    sidecar = own_site.start()
    sidecar.await_entitlement(state="denied")
    app = App(tmp_path / "app.log", sidecar.api, INTERVAL="0.01")
    wait_for("the app to wait", lambda: "waiting for the entitlement" in (tmp_path / "app.log").read_text("utf-8"))
    app.process.send_signal(signal.SIGTERM)
    assert 0 == app.process.wait(PATIENCE)
    assert [] == app.counts("reported")


def test_app_lingers(own_site: Site, tmp_path: Path) -> None:
    """Told to end it continues for a while, and all of that is reported, too."""
    sidecar = own_site.start_entitled()
    app = App(tmp_path / "app.log", sidecar.api, INTERVAL="0.01", LINGER="0.5")
    wait_for("a report", lambda: app.counts("reported"))
    before = app.counts("reported")[-1]
    app.process.send_signal(signal.SIGTERM)
    assert 0 == app.process.wait(PATIENCE)
    (ended,) = app.counts("ended after")
    assert ended > before
    assert str(ended) == sidecar.terms()["accepted"]
