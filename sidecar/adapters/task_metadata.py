"""The ARN of an ECS task, from the metadata endpoint that ECS names.

In the first seconds of a task the endpoint may refuse the connection, hang, or answer 429 or 500. Requests are retried
with full jitter until the time-out; an address that is not an http URL is refused without a call.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus

from sidecar.domain.backoff import full_jitter
from sidecar.http_client import Listener, NoAnswer

PATIENCE = 20.0
"""Seconds within which the endpoint must name the task."""
_TIMEOUT = 2.0
"""Seconds that one answer may take."""
_FIRST_WAIT = timedelta(seconds=0.25)
_LONGEST_WAIT = timedelta(seconds=2)
_LARGEST = 1024 * 1024
"""Bytes of the task's description that are read; it lists every container."""


class NoTaskArn(Exception):
    """The endpoint did not name the task; the message has the reason."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How requests are retried: for how long, and with which clock, wait and random numbers."""

    patience: float = PATIENCE
    monotonic: Callable[[], float] = time.monotonic
    rest: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random


def task_arn(base: str, pace: Pace) -> str:
    """Return the task's ARN. Blocks for `pace.patience` and one answer at most.

    `base` is the address in ECS_CONTAINER_METADATA_URI_V4.

    Raises:
        NoTaskArn: The time-out passed, or the address is not an http URL.
    """
    url = f"{base.rstrip('/')}/task"
    try:
        listener, path = Listener.of_url(url)
    except ValueError as error:
        raise NoTaskArn(f"{url} cannot be read: {error}") from error
    deadline = pace.monotonic() + pace.patience
    attempt = 0
    while True:
        try:
            return _ask(url, listener, path)
        except NoTaskArn as failed:
            wait = full_jitter(attempt, base=_FIRST_WAIT, cap=_LONGEST_WAIT, draw=pace.random()).total_seconds()
            if pace.monotonic() + wait >= deadline:
                raise NoTaskArn(f"{failed}; asked {attempt + 1} times within {pace.patience:g} s") from failed
        pace.rest(wait)
        attempt += 1


def _ask(url: str, listener: Listener, path: str) -> str:
    try:
        response = listener.send("GET", path, _TIMEOUT, largest=_LARGEST)
        task = response.document() if response.status == HTTPStatus.OK else None
    except NoAnswer as error:
        raise NoTaskArn(f"{url} cannot be read: {error}") from error
    except ValueError as error:
        raise NoTaskArn(f"{url} cannot be read: the answer is not JSON: {error}") from error
    match task:
        case {"TaskARN": str(arn)} if arn.startswith("arn:"):
            return arn
        case _:
            raise NoTaskArn(f"{url} gave status {response.status} and no TaskARN")
