"""The wait command against a real listener, over TCP and a unix socket."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from sidecar import cli
from sidecar.commands import wait as command
from sidecar.commands.arguments import parse_seconds
from sidecar.commands.demo.environment import free_port
from sidecar.settings import ApiSettings
from tests.commands.serving import Api, UnixServer, handler_of, serving
from tests.support.processes import environment
from tests.support.tools import PATIENCE

PENDING = {"entitled": False, "state": "pending", "reason": "registering", "detail": "AWS has not answered yet."}
DENIED = {"entitled": False, "state": "denied", "reason": "customer-not-entitled", "detail": "Subscribe first."}
ENTITLED = {"entitled": True, "state": "entitled", "reason": "registered", "detail": "AWS said so."}


@pytest.fixture(name="api")
def _api() -> Api:
    """Become entitled at the third question."""
    return Api(PENDING, DENIED, ENTITLED)


@pytest.fixture(name="settings")
def _settings(api: Api) -> Iterator[ApiSettings]:
    """Serve the script on a free port."""
    with serving(api) as settings:
        yield settings


def wait(settings: ApiSettings, seconds: float = PATIENCE) -> tuple[bool, list[str]]:
    """Wait, and return the outcome and the output."""
    said: list[str] = []
    return command.wait(settings, time.monotonic() + seconds, said.append), said


def test_returns_when_entitled(api: Api, settings: ApiSettings) -> None:
    """Each state is waited out by a long poll and reported once; entitled ends it."""
    assert (
        True,
        ["pending: registering: AWS has not answered yet.", "denied: customer-not-entitled: Subscribe first."],
    ) == wait(settings)
    queries = [parse_qs(urlsplit(path).query) for path in api.asked]
    assert [None, ["pending"], ["denied"]] == [query.get("state") for query in queries]
    assert queries[2]["wait"] in (["29s"], ["30s"])


def test_gives_up_in_time(api: Api, settings: ApiSettings) -> None:
    """A denial is waited for until the time is over, without asking faster than four times a second."""
    api.answers = [DENIED]
    began = time.monotonic()
    assert (False, ["denied: customer-not-entitled: Subscribe first."]) == wait(settings, 1)
    assert 1 <= time.monotonic() - began
    assert len(api.asked) <= 6


def test_no_time_is_no_question(api: Api, settings: ApiSettings) -> None:
    """A time-out of zero ends immediately."""
    assert (False, []) == wait(settings, 0)
    assert [] == api.asked


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"<html>", "the sidecar's answer is not JSON"),
        (b"\xff\xfe", "the sidecar's answer is not JSON"),
        (b"[" * 100000, "the sidecar's answer is not JSON"),
        ([], "the sidecar answered 200 without an entitlement"),
        ({"entitled": "yes", "state": "entitled"}, "the sidecar answered 200 without an entitlement"),
        ({"entitled": 1, "state": "entitled"}, "the sidecar answered 200 without an entitlement"),
    ],
)
def test_nonsense_is_not_entitled(api: Api, settings: ApiSettings, answer: object, said: str) -> None:
    """Only `"entitled": true` lets the app start; anything else is reported and asked again."""
    api.answers = [answer, ENTITLED]
    assert wait(settings) == (True, [said])


def test_odd_state_is_not_sent_back(api: Api, settings: ApiSettings) -> None:
    """A state that is no word does not end up in the next address."""
    api.answers = [{"entitled": False, "state": "a&b c\r\n"}, ENTITLED]
    assert wait(settings)[0]
    assert ["/v1/entitlement"] * 2 == api.asked


def test_sidecar_may_come_later(api: Api) -> None:
    """A port without a listener is tried until there is one."""
    port = free_port()
    api.answers = [ENTITLED]
    refused = Event()
    outcome: list[bool] = []
    waiting = Thread(
        target=lambda: outcome.append(
            command.wait(ApiSettings(port=port), time.monotonic() + PATIENCE, lambda _: refused.set())
        )
    )
    waiting.start()
    assert refused.wait(PATIENCE)
    with serving(api, port):
        waiting.join()
    assert [True] == outcome


def test_unix_socket_is_preferred(api: Api, tmp_path: Path) -> None:
    """Where a unix socket is configured it is asked, under the name localhost."""
    path = tmp_path / "api.sock"
    with UnixServer(str(path), handler_of(api)) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        assert wait(ApiSettings(port=1, socket=path))[0]
        server.shutdown()
        thread.join()
    assert {"localhost"} == api.hosts


def test_missing_socket_is_retried(tmp_path: Path) -> None:
    """A socket that is not there yet is no fault until the time is over."""
    entitled, said = wait(ApiSettings(socket=tmp_path / "none.sock"), 0.3)
    assert not entitled
    assert said[0].startswith(f"the sidecar does not answer at {tmp_path}/none.sock: no such file or directory. ")
    assert "marketplace-sidecar run" in said[0]
    assert "Errno" not in said[0]


def test_token_is_shown(api: Api, settings: ApiSettings, tmp_path: Path) -> None:
    """The token of the file is sent as bearer, without its line end."""
    path = tmp_path / "token"
    path.write_text("t0ken\n")
    api.token = "t0ken"
    assert wait(ApiSettings(port=settings.port, token_file=path))[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"other", "the sidecar refuses the request (401): send the token"),
        (b"", "api.token_file cannot be used: {path} does not hold exactly one token"),
        (b"two words", "api.token_file cannot be used: {path} does not hold exactly one token"),
        (None, "api.token_file cannot be used: [Errno 2] No such file or directory: '{path}'"),
    ],
)
def test_wrong_token_is_said(api: Api, settings: ApiSettings, tmp_path: Path, content: bytes | None, said: str) -> None:
    """A token that cannot be read or is refused is named, and may still become right."""
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    api.token = "t0ken"
    entitled, messages = wait(ApiSettings(port=settings.port, token_file=path), 2)
    # On a busy machine the last question may have no answer within the rest of the time.
    assert (False, True) == (entitled, said.format(path=path) in messages)


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("1.5", 1.5), ("90s", 90), ("5m", 300), ("1h", 3600)])
def test_timeout_is_seconds_or_duration(settings: ApiSettings, tmp_path: Path, text: str, seconds: float) -> None:
    """--timeout takes a number of seconds or a duration."""
    assert parse_seconds(text) == seconds


def config_of(folder: Path, api: str) -> str:
    """Write a configuration with the given API and return its path."""
    path = folder / "config.yaml"
    path.write_text(f"product: {{code: a, public_keys: {{1: /a.pem}}}}\napi: {api}\n")
    return str(path)


def test_exit_code_tells(api: Api, settings: ApiSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command ends with 0 when entitled and 1 when the time is over."""
    config = config_of(tmp_path, f"{{port: {settings.port}}}")
    assert 0 == cli.main(["wait", "--config", config])
    api.answers = [DENIED]
    assert 1 == cli.main(["wait", "--config", config, "--timeout", "0.2"])
    assert "denied: customer-not-entitled: Subscribe first." == capsys.readouterr().err.splitlines()[-1]


def test_any_port_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Port 0 names no port to ask."""
    assert 2 == cli.main(["wait", "--config", config_of(tmp_path, "{port: 0}")])
    assert "api.port = 0" in capsys.readouterr().err


@pytest.fixture(name="_interruptible")
def _interruptible_fixture() -> Iterator[None]:
    """Have SIGINT mean what it means in a terminal, even in a background job: a child does not inherit its neglect."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_interrupt_is_quiet(api: Api, settings: ApiSettings, tmp_path: Path) -> None:
    """An interrupt ends the wait with 130 and no traceback, also in the middle of a request."""
    api.answers = [PENDING]
    config = config_of(tmp_path, f"{{port: {settings.port}}}")
    command = [sys.executable, "-m", "sidecar", "wait", "--config", config]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert api.first.wait(PATIENCE)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=PATIENCE)
    assert 130 == process.returncode
    assert "Traceback" not in told
