"""The `wait` command: returns when the product is entitled, for the entrypoint of an app.

Asks the local API by long poll. Keeps asking until its time-out, because a sidecar that has not started yet, a refusal
and a wrong token may all pass; it reports each of them once. Its answer is the exit code; `status --json` prints the
document behind it.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from sidecar.api_client import TokenUnusable, address_of, get, require_address
from sidecar.commands.arguments import parse_seconds
from sidecar.exit_codes import ExitCode
from sidecar.http_client import NoAnswer
from sidecar.settings import ApiSettings, load
from sidecar.terminal.text import printable

_POLL = 30
"""Seconds of one long poll."""
_GRACE = 5.0
"""Seconds beyond its poll in which an answer must come."""
_CURE = (
    "This command keeps asking. If no sidecar starts, start one with `marketplace-sidecar run`, or name its "
    "configuration with --config."
)
_PAUSE = 0.25
"""Seconds between two requests while there is no answer."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """One answer: a sentence for a person, the state if it names one, and whether the product is entitled."""

    sentence: str
    state: str | None = None
    entitled: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--config", metavar="FILE", help="the sidecar's configuration, which names the local API")
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=parse_seconds,
        help="exit with code 1 after this time, in seconds or as 90s, 5m, 1h (default: wait without limit)",
    )


def run(args: argparse.Namespace) -> int:
    """Return 0 once entitled, or 1 at the time-out; the reason for waiting goes to standard error."""
    api = load(args.config, os.environ).api
    require_address(api)
    deadline = None if args.timeout is None else time.monotonic() + args.timeout
    return ExitCode.CLEAN if wait(api, deadline, _report) else ExitCode.FAILED


def wait(api: ApiSettings, deadline: float | None, report: Callable[[str], None]) -> bool:
    """Return whether the product became entitled before `deadline` on the monotonic clock.

    Without a `deadline` it waits without limit. `report` gets the reason for waiting, each time it changes.
    """
    reported = state = None
    while (left := _left(deadline)) > 0:
        answer = _ask(api, state, left)
        if answer.entitled:
            return True
        if answer.sentence != reported:
            reported = answer.sentence
            report(reported)
        if answer.state in {None, state}:
            # A poll that ends early, as it does when the sidecar ends, must not turn into a busy loop.
            time.sleep(min(_PAUSE, max(_left(deadline), 0)))
        state = answer.state
    return False


def _report(sentence: str) -> None:
    sys.stderr.write(f"{printable(sentence)}\n")
    sys.stderr.flush()


def _left(deadline: float | None) -> float:
    return float("inf") if deadline is None else deadline - time.monotonic()


def _ask(api: ApiSettings, state: str | None, left: float) -> _Answer:
    """Send one request; the API answers it when the state is no longer `state`."""
    seconds = max(1, int(min(_POLL, left)))
    path = "/v1/entitlement" if state is None else f"/v1/entitlement?wait={seconds}s&state={state}"
    try:
        response = get(api, path, min(seconds + _GRACE, left))
        answer = response.document()
    except TokenUnusable as error:
        return _Answer(str(error))
    except NoAnswer as error:
        return _Answer(f"the sidecar does not answer at {address_of(api)}: {error}. {_CURE}")
    except ValueError:
        return _Answer("the sidecar's answer is not JSON")
    match answer:
        case {"entitled": bool(entitled), "state": str(now)} if response.status == HTTPStatus.OK:
            words = ": ".join(str(answer[name]) for name in ("reason", "detail") if answer.get(name))
            return _Answer(f"{now}: {words}" if words else now, now if now.isalpha() else None, entitled)
        case {"detail": str(detail)}:
            return _Answer(f"the sidecar refuses the request ({response.status}): {detail}")
        case _:
            return _Answer(f"the sidecar answered {response.status} without an entitlement")
