"""The `status` command: what it prints and how it ends, without a terminal and on one."""

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sidecar import cli
from sidecar.api_client import address_of
from sidecar.commands.status.screen import Page, compose
from sidecar.settings import ApiSettings
from sidecar.terminal.colors import Paint
from tests.commands.serving import Api, serving
from tests.commands.statuses import ILL, WELL, served
from tests.support.screens import INTERRUPT, SUSPEND, Screen, own_command


def config_of(folder: Path, port: int) -> str:
    """Write a configuration whose API is at a port, and return its path."""
    path = folder / "config.yaml"
    path.write_text(f"product: {{code: a, public_keys: {{1: /a.pem}}}}\napi: {{port: {port}}}\n")
    return str(path)


@pytest.fixture
def api() -> Api:
    """A sidecar that is well."""
    return Api(served())


@pytest.fixture
def settings(api: Api) -> Iterator[ApiSettings]:
    """Serve it."""
    with serving(api) as settings:
        yield settings


@pytest.mark.parametrize("status", [WELL, ILL])
def test_shown_is_clean(tmp_path: Path, capsys: pytest.CaptureFixture[str], status: Any) -> None:
    """What could be shown ends with 0, entitled or not: `doctor` judges."""
    with serving(Api(served(status))) as settings:
        assert 0 == cli.main(["status", "--config", config_of(tmp_path, settings.port)])
    shown = capsys.readouterr()
    assert shown.out.startswith("marketplace-sidecar 0.1.0, up 3h 20m")
    assert ("", False) == (shown.err, "\033" in shown.out)


def test_json_is_the_document(settings: ApiSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json prints /v1/status as it is, on one line."""
    assert 0 == cli.main(["status", "--json", "--config", config_of(tmp_path, settings.port)])
    assert served() == json.loads(capsys.readouterr().out)


def test_no_sidecar_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a sidecar the exit code is 1, and standard error shows where it was looked for and what to do."""
    config = config_of(tmp_path, 1)
    assert 1 == cli.main(["status", "--config", config])
    shown = capsys.readouterr()
    assert "" == shown.out
    assert shown.err.splitlines()[0].startswith("no answer from http://127.0.0.1:1: ")
    assert shown.err.splitlines()[1].startswith("cure: Start the sidecar with")

    assert 1 == cli.main(["status", "--json", "--config", config])
    document = json.loads(capsys.readouterr().out)
    assert document["answered"] is False
    assert {"reason", "cure", "since"} < document.keys()


@pytest.mark.parametrize("arguments", [["--watch", "0"], ["--watch", "soon"], ["--config", "/nowhere.yaml"]])
def test_bad_command_line_is_two(arguments: list[str]) -> None:
    """An interval of nothing, or no configuration, ends with 2."""
    assert 2 == cli.main(["status", *arguments])


def test_any_port_is_refused(tmp_path: Path) -> None:
    """Port 0 names no port to ask."""
    assert 2 == cli.main(["status", "--config", config_of(tmp_path, 0)])


def watched(config: str, *options: str) -> "subprocess.Popen[str]":
    """Start a watch without a terminal."""
    return subprocess.Popen(
        own_command("status", "--config", config, "--watch", "0.2", *options), stdout=subprocess.PIPE, text=True
    )


def test_watch_prints_documents(settings: ApiSettings, api: Api, tmp_path: Path) -> None:
    """--watch --json prints one document a line, each as soon as it is known."""
    api.answers = [served(), served(ILL)]
    with watched(config_of(tmp_path, settings.port), "--json") as watch:
        assert watch.stdout is not None
        states = [json.loads(watch.stdout.readline())["entitlement"]["state"] for _ in range(3)]
        watch.terminate()
    assert ["entitled", "suspended", "suspended"] == states


def test_watch_prints_blocks(settings: ApiSettings, tmp_path: Path) -> None:
    """Without a terminal one block comes below the other, in plain text."""
    with watched(config_of(tmp_path, settings.port)) as watch:
        assert watch.stdout is not None
        lines = [watch.stdout.readline() for _ in range(50)]
        watch.terminate()
    assert sum(line.startswith("marketplace-sidecar") for line in lines) >= 2
    assert "\033" not in "".join(lines)


@contextmanager
def on_terminal(config: str, *, lines: int = 24, **variables: str) -> Iterator[Screen]:
    """Watch on a terminal."""
    command = own_command("status", "--config", config, "--watch", "0.2")
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "", **variables}
    with Screen(command, environment, lines=lines) as screen:
        yield screen


def test_watch_draws_in_place(settings: ApiSettings, api: Api, tmp_path: Path) -> None:
    """Each look is drawn over the one before and leaves nothing of it, without clearing the screen first."""
    api.answers = [served(ILL)]
    with on_terminal(config_of(tmp_path, settings.port)) as screen:
        screen.await_text("suspended: customer-not-entitled")
        assert not screen.cursor_is_shown
        api.answers = [served()]
        page = Page(address_of(settings), timedelta(hours=6), 79, Paint(on=False))
        expected = compose(served(), page)
        screen.await_for("the new look alone", lambda rows: rows == expected + [""] * (24 - len(expected)))
        assert b"\033[2J" not in screen.raw


def test_interrupt_leaves_clean_line(settings: ApiSettings, tmp_path: Path) -> None:
    """Ctrl-C ends with 130, gives the screen and the cursor back, and leaves the last look on clean lines."""
    with on_terminal(config_of(tmp_path, settings.port)) as screen:
        screen.await_text("entitled: registered")
        screen.press(INTERRUPT)
        assert 130 == screen.await_end()
        assert screen.cursor_is_shown
        assert 0 == screen.cursor_column
        left = screen.raw.rpartition(b"\033[?25h\033[?1049l")[2].decode()
        assert left.startswith("\033[1mmarketplace-sidecar")
        assert left.endswith("yes\r\n")
        assert "Traceback" not in left


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_gives_screen_back(settings: ApiSettings, tmp_path: Path, number: signal.Signals) -> None:
    """However it is ended, the terminal is as it was."""
    with on_terminal(config_of(tmp_path, settings.port)) as screen:
        screen.await_text("entitled: registered")
        screen.process.send_signal(number)
        assert screen.await_end() == 128 + number
        assert screen.cursor_is_shown
        assert screen.raw.count(b"\033[?1049h") == screen.raw.count(b"\033[?1049l") == 1


def test_window_may_change(settings: ApiSettings, tmp_path: Path) -> None:
    """A smaller window gets what fits, and shows that there is more; a larger one gets it all."""
    with on_terminal(config_of(tmp_path, settings.port)) as screen:
        screen.await_text("gigabytes")
        screen.resize(60, 8)
        rows = screen.await_text("more lines do not fit this terminal")
        assert rows[0].startswith("marketplace-sidecar 0.1.0")
        assert rows[-1].startswith("... ")
        screen.resize(100, 40)
        screen.await_for("everything", lambda rows: any("gigabytes" in row for row in rows) and "... " not in str(rows))


def test_absence_is_told(api: Api, tmp_path: Path) -> None:
    """A sidecar that goes away is reported with since when, over what it said last; so is its return."""
    with ExitStack() as stack:
        with serving(api) as settings:
            port = settings.port
            screen = stack.enter_context(on_terminal(config_of(tmp_path, port), lines=40))
            screen.await_text("entitled: registered")
        rows = screen.await_text("NO ANSWER since ")
        assert rows[0].startswith("NO ANSWER since 2")
        assert any(row.startswith("cure: Start the sidecar with") for row in rows)
        assert any("entitled: registered" in row for row in rows)
        with serving(api, port):
            rows = screen.await_text("answers again since ")
            assert rows[1].startswith("marketplace-sidecar 0.1.0")


def test_suspended_watch_gives_screen_back(settings: ApiSettings, tmp_path: Path) -> None:
    """Ctrl-Z gives the terminal back to the shell; fg draws again."""
    command = shlex.join(own_command("status", "--config", config_of(tmp_path, settings.port), "--watch", "0.2"))
    shell = ["bash", "--norc", "--noprofile", "-i"]
    with Screen(shell, {**os.environ, "TERM": "xterm", "PS1": "ready> "}) as screen:
        screen.press(f"{command}\n".encode())
        screen.await_text("entitled: registered")
        screen.press(SUSPEND)
        screen.await_text("Stopped")
        assert screen.cursor_is_shown
        assert screen.raw.count(b"\033[?1049h") == screen.raw.count(b"\033[?1049l") == 1
        screen.press(b"fg\n")
        screen.await_for("the watch", lambda rows: not screen.cursor_is_shown and "entitled: registered" in str(rows))
        screen.press(INTERRUPT)
        screen.await_for("the shell", lambda rows: screen.cursor_is_shown and rows[-1].startswith("ready>"))


def test_dumb_terminal_gets_blocks(settings: ApiSettings, tmp_path: Path) -> None:
    """A terminal that can do nothing gets plain blocks."""
    with on_terminal(config_of(tmp_path, settings.port), TERM="dumb") as screen:
        screen.await_text("entitled: registered")
        screen.press(INTERRUPT)
        assert 130 == screen.await_end()
        assert b"\033" not in screen.raw


def test_no_color_is_honored(settings: ApiSettings, tmp_path: Path) -> None:
    """NO_COLOR leaves the drawing and takes the colors."""
    with on_terminal(config_of(tmp_path, settings.port), NO_COLOR="1") as screen:
        screen.await_text("entitled: registered")
        assert b"\033[32m" not in screen.raw
