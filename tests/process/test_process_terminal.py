"""The sidecar in front of a person: a log to read, a line that shows how it goes, a terminal that holds up nothing."""

import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from sidecar.commands.demo.environment import wait_for
from tests.support.processes import Emulator, Site, ask, environment
from tests.support.screens import INTERRUPT, PAUSE, RESUME, Screen, own_command

pytestmark = pytest.mark.process

EVENT = {"id": "e-1", "dimension": "requests", "quantity": "1.5"}
ESCAPE = b"\033"


class LiveTerminal(Screen):
    """A sidecar on a terminal."""

    @property
    def api(self) -> int:
        """The port of its API, as its log has it."""
        found = re.search(rb"api=\S*127\.0\.0\.1:(\d+)|\"api\": \"127\.0\.0\.1:(\d+)\"", self.raw)
        assert found is not None, self.raw
        return int(found[1] or found[2])

    def get(self, path: str) -> Any:
        """Ask the local API."""
        return ask(self.api, "GET", path).document


@contextmanager
def attended(
    site: Site, variables: Mapping[str, str] | None = None, *, log: str = "auto", columns: int = 160
) -> Iterator[LiveTerminal]:
    """Run a sidecar on a terminal, until it is entitled."""
    arguments = own_command("run", "--config", str(site.write(log={"format": log})))
    with LiveTerminal(
        arguments, environment(**{"NO_COLOR": "", "TERM": "xterm", **(variables or {})}), columns=columns
    ) as screen:
        screen.await_text("registration.entitled")
        yield screen


def accepted(screen: LiveTerminal) -> Any:
    """Return the records that AWS took."""
    return screen.get("/v1/records?status=accepted")["records"]


def use_and_pass(screen: LiveTerminal, emulator: Emulator) -> None:
    """Report usage, and let its hour end."""
    assert 202 == ask(screen.api, "POST", "/v1/usage", [EVENT]).status
    emulator.post("clock", advance="1h")


def test_line_stands_below_log(site: Site, emulator: Emulator) -> None:
    """The last row shows how it goes, the log scrolls above it, and the cursor waits at its left edge."""
    with attended(site) as screen:
        screen.await_text("entitled | ")
        use_and_pass(screen, emulator)
        screen.await_text("metering.record_accepted")
        rows = screen.await_for("the line", lambda rows: [row for row in rows if row][-1].startswith("entitled | "))

        shown = [row for row in rows if row]
        assert 1 == sum(row.startswith("entitled | ") for row in shown)
        assert re.fullmatch(r"\d\d:\d\d:\d\dZ info    sidecar\.started +version=.*", shown[0])
        assert re.search(r"metering ok \| .*events/s \| no faults$", shown[-1])
        assert (0, True) == (screen.cursor_column, screen.cursor_is_shown)


def test_line_tells_open_usage(site: Site) -> None:
    """What is used shows within a second or two."""
    with attended(site) as screen:
        assert 202 == ask(screen.api, "POST", "/v1/usage", [EVENT]).status
        screen.await_text("open requests 1.5")


def test_line_tells_faults(site: Site, emulator: Emulator) -> None:
    """A fault stands right after the state, with the hour that waits and the time it has left."""
    with attended(site) as screen:
        emulator.order("MeterUsage", "UnauthorizedException")
        use_and_pass(screen, emulator)
        rows = screen.await_for("the fault", lambda rows: any(row.startswith("entitled | 1 fault: ") for row in rows))
        assert any(re.match(r"entitled \| 1 fault: \w+ \| metering ok \| unsent from", row) for row in rows)


def test_line_is_gone_at_end(site: Site) -> None:
    """Ctrl-C drains; the log stays on the screen, the line does not."""
    with attended(site) as screen:
        screen.await_text("entitled | ")
        screen.press(INTERRUPT)

        assert 0 == screen.await_end()
        shown = [row for row in screen.rows if row]
        assert "sidecar.stopped" in shown[-1]
        assert not any("| metering" in row for row in shown)


def test_second_interrupt_clears_line(site: Site, emulator: Emulator) -> None:
    """A second Ctrl-C ends immediately, and takes the line along."""
    with attended(site) as screen:
        screen.await_text("entitled | ")
        emulator.order("MeterUsage", "UnauthorizedException")
        use_and_pass(screen, emulator)
        screen.await_text("metering.refused")
        screen.press(INTERRUPT)
        screen.await_text("sidecar.stopping")
        screen.press(INTERRUPT)

        assert 130 == screen.await_end()
        assert not any("| metering" in row for row in screen.rows)


def test_line_follows_width(site: Site) -> None:
    """A narrower window cuts the line, so it never wraps."""
    with attended(site) as screen:
        screen.await_text("no faults")
        # The screen stays wide: a full line that is on its way to it must not wrap.
        screen.announce(40, 24)
        rows = screen.await_for(
            "a cut line", lambda rows: any(r.startswith("entitled | ") and "events" not in r for r in rows)
        )
        (line,) = (row for row in rows if "entitled | " in row)
        assert len(line) < 40


def test_paused_terminal_holds_up_nothing(site: Site, emulator: Emulator) -> None:
    """While a person has paused the terminal usage is taken and billed; afterwards the log has it all."""
    with attended(site) as screen:
        screen.await_text("entitled | ")
        screen.press(PAUSE)
        use_and_pass(screen, emulator)
        wait_for("the record", lambda: accepted(screen))
        screen.read()
        assert b"metering.record_accepted" not in screen.raw

        screen.press(RESUME)
        screen.await_text("metering.record_accepted")


def test_paused_terminal_holds_up_no_end(site: Site) -> None:
    """A paused terminal does not keep the sidecar from its end."""
    with attended(site) as screen:
        screen.await_text("entitled | ")
        screen.press(PAUSE)
        screen.process.terminate()

        assert 0 == screen.await_end()


def test_background_job_leaves_prompt_alone(site: Site) -> None:
    """In the background the log continues, and the status line does not appear until the process is in front again."""
    command = shlex.join(own_command("run", "--config", str(site.write(log={"format": "auto"}))))
    shell = ["bash", "--norc", "--noprofile", "-i"]
    with Screen(shell, environment(TERM="xterm", PS1="ready> "), columns=160) as screen:
        screen.press(f"{command} &\n".encode())
        screen.await_text("registration.entitled")
        assert b"| metering" not in screen.raw
        screen.press(b"fg\n")
        screen.await_text("entitled | metering ok")
        screen.press(INTERRUPT)
        screen.await_text("sidecar.stopped")
        screen.await_for("the prompt", lambda rows: [row for row in rows if row][-1] == "ready>")


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_terminal_is_respected(site: Site, variables: dict[str, str]) -> None:
    """NO_COLOR leaves the line without colors; a dumb terminal gets the log and nothing else."""
    with attended(site, variables) as screen:
        if "TERM" not in variables:
            screen.await_text("entitled | ")
        assert 202 == ask(screen.api, "POST", "/v1/usage", [EVENT]).status
        screen.press(INTERRUPT)
        assert 0 == screen.await_end()

        assert b"\033[3" not in screen.raw
        assert (ESCAPE in screen.raw) == ("TERM" not in variables)


def test_json_has_no_line(site: Site) -> None:
    """A log that is JSON stays JSON on a terminal, too."""
    with attended(site, log="json", columns=1000) as screen:
        screen.press(INTERRUPT)
        assert 0 == screen.await_end()

        assert ESCAPE not in screen.raw
        assert all(row.startswith(("{", "^C{")) for row in screen.rows if row)


@pytest.mark.ending
def test_nothing_is_loaded_in_pod(site: Site) -> None:
    """Without a terminal none of it is loaded."""
    sidecar = site.start_entitled(variables={"PYTHONPROFILEIMPORTTIME": "1"})
    sidecar.signal()
    assert 0 == sidecar.await_end()

    assert "sidecar.app.lifecycle" in sidecar.log
    assert not re.search(r"sidecar\.(operator\.live|terminal)", sidecar.log)
