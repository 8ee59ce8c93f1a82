"""The `wait` command: returns when the product is entitled, for the entrypoint of an app.

Asks the local API by long poll. Refuses to give up before its time: a sidecar that is not up yet, a refusal and a wrong
token may all pass; each is said once. Its answer is the exit code; the document behind it is that of `status --json`.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from sidecar.api_client import NoAnswer, TokenUnusable, ask, place_of, require_place
from sidecar.commands.arguments import parse_seconds
from sidecar.exit_codes import ExitCode
from sidecar.settings import ApiSettings, load
from sidecar.terminal.text import printable

_POLL = 30
"""Seconds of one long poll."""
_GRACE = 5.0
"""Seconds beyond its poll in which an answer must come."""
_CURE = (
    "This command goes on asking; if no sidecar starts, run `marketplace-sidecar run`, or name its configuration with "
    "--config."
)
_PAUSE = 0.25
"""Seconds between two tries where nothing answers."""


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
        type=parse_seconds,
        help="give up with exit code 1 after so many seconds, or 90s, 5m, 1h (default: never)",
    )


def run(args: argparse.Namespace) -> int:
    """Return 0 once entitled, or 1 when the time is over; what is waited for goes to standard error."""
    api = load(args.config, os.environ).api
    require_place(api)
    deadline = None if args.timeout is None else time.monotonic() + args.timeout
    return ExitCode.CLEAN if wait(api, deadline, _say) else ExitCode.FAILED


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
    sys.stderr.write(f"{printable(sentence)}\n")
    sys.stderr.flush()


def _left(deadline: float | None) -> float:
    return float("inf") if deadline is None else deadline - time.monotonic()


def _ask(api: ApiSettings, state: str | None, left: float) -> _Answer:
    """Ask once; wait at the API for another state than the one that is known."""
    seconds = max(1, int(min(_POLL, left)))
    path = "/v1/entitlement" if state is None else f"/v1/entitlement?wait={seconds}s&state={state}"
    try:
        reply = ask(api, path, min(seconds + _GRACE, left))
        answer = reply.document()
    except TokenUnusable as error:
        return _Answer(entitled=False, state=None, sentence=str(error))
    except NoAnswer as error:
        words = f"the sidecar does not answer at {place_of(api)}: {error}. {_CURE}"
        return _Answer(entitled=False, state=None, sentence=words)
    except ValueError:
        return _Answer(entitled=False, state=None, sentence="the sidecar's answer is not JSON")
    match answer:
        case {"entitled": bool(entitled), "state": str(now)} if reply.status == HTTPStatus.OK:
            words = ": ".join(str(answer[name]) for name in ("reason", "detail") if answer.get(name))
            return _Answer(entitled, now if now.isalpha() else None, f"{now}: {words}" if words else now)
        case {"detail": str(detail)}:
            return _Answer(entitled=False, state=None, sentence=f"the sidecar refuses ({reply.status}): {detail}")
        case _:
            words = f"the sidecar answered {reply.status} without an entitlement"
            return _Answer(entitled=False, state=None, sentence=words)
