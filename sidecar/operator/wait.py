"""The `wait` command: returns when the product is entitled, for the entrypoint of an app.

Uses the standard library only. Asks the local API by long poll, over the unix socket where one is configured. Refuses
to give up before its time: a sidecar that is not up yet, a refusal and a wrong token may all pass; each is said once.
"""

import argparse
import http.client
import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sidecar.domain import durations
from sidecar.settings import ApiSettings, Problem, SettingsError, load

_POLL = 30
"""Seconds of one long poll."""
_GRACE = 5.0
"""Seconds beyond its poll in which an answer must come."""
_PAUSE = 0.25
"""Seconds between two tries where nothing answers."""
_LARGEST = 1024 * 1024
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was heard: entitled or not, the state if there is one, and a sentence for a person."""

    entitled: bool
    state: str | None
    sentence: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--config", metavar="FILE", help="the sidecar's configuration, which names the local API")
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=parse_timeout,
        help="give up with exit code 1 after so many seconds, or 90s, 5m, 1h (default: never)",
    )


def run(args: argparse.Namespace) -> int:
    """Return 0 once entitled, or 1 when the time is over; what is waited for goes to standard error."""
    api = load(args.config, os.environ).api
    if api.socket is None and api.port == 0:
        raise SettingsError([Problem("api.port", "0", "may be any port", "configure the port, or api.socket")])
    deadline = None if args.timeout is None else time.monotonic() + args.timeout
    return 0 if wait(api, deadline, _say) else 1


def wait(api: ApiSettings, deadline: float | None, say: Callable[[str], None]) -> bool:
    """Tell whether the product became entitled before `deadline` on the monotonic clock.

    Args:
        api: Where the local API listens.
        deadline: None waits for ever.
        say: Takes each change of what is waited for.
    """
    said = state = None
    while (left := _left(deadline)) > 0:
        answer = _ask(api, state, left)
        if answer.entitled:
            return True
        if answer.sentence != said:
            said = answer.sentence
            say(said)
        if answer.state in {None, state}:
            # A poll that ends early, as at the sidecar's own end, must not turn into a busy loop.
            time.sleep(min(_PAUSE, max(_left(deadline), 0)))
        state = answer.state
    return False


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


def _left(deadline: float | None) -> float:
    return float("inf") if deadline is None else deadline - time.monotonic()


def _ask(api: ApiSettings, state: str | None, left: float) -> _Answer:
    """Ask once; wait at the API for another state than the one that is known."""
    seconds = max(1, int(min(_POLL, left)))
    path = "/v1/entitlement" if state is None else f"/v1/entitlement?wait={seconds}s&state={state}"
    try:
        headers = _headers(api)
    except (OSError, ValueError) as error:
        return _Answer(entitled=False, state=None, sentence=f"api.token_file cannot be used: {error}")
    try:
        status, body = _get(api, path, headers, min(seconds + _GRACE, left))
        answer = json.loads(body)
    except (OSError, http.client.HTTPException) as error:
        return _Answer(
            entitled=False, state=None, sentence=f"the sidecar does not answer: {str(error) or type(error).__name__}"
        )
    except (ValueError, RecursionError):
        return _Answer(entitled=False, state=None, sentence="the sidecar's answer is not JSON")
    match answer:
        case {"entitled": bool(entitled), "state": str(now)} if status == http.HTTPStatus.OK:
            words = ": ".join(str(answer[name]) for name in ("reason", "detail") if answer.get(name))
            return _Answer(entitled, now if now.isalpha() else None, f"{now}: {words}" if words else now)
        case {"detail": str(detail)}:
            return _Answer(entitled=False, state=None, sentence=f"the sidecar refuses ({status}): {detail}")
        case _:
            return _Answer(entitled=False, state=None, sentence=f"the sidecar answered {status} without an entitlement")


def _headers(api: ApiSettings) -> dict[str, str]:
    if api.token_file is None:
        return {}
    words = api.token_file.read_text("ascii").split()
    if len(words) != 1:
        raise ValueError(f"{api.token_file} does not hold one token")
    return {"Authorization": f"Bearer {words[0]}"}


def _get(api: ApiSettings, path: str, headers: dict[str, str], timeout: float) -> tuple[int, bytes]:
    connection = (
        http.client.HTTPConnection(api.host, api.port, timeout=timeout)
        if api.socket is None
        else _UnixConnection(api.socket, timeout)
    )
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read(_LARGEST)
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def parse_timeout(text: str) -> float:
    """Return the seconds that a number or a duration names.

    Raises:
        argparse.ArgumentTypeError: It names neither.
    """
    if _SECONDS.fullmatch(text):
        return float(text)
    duration = durations.parse(text)
    if duration is None:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of seconds nor a duration such as 90s or 5m")
    return duration.total_seconds()
