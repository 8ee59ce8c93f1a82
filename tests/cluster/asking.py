"""How the tests ask: HTTP to an address of the node, and waiting for an answer that is wanted."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from tests.support import tools

PATIENCE = tools.PATIENCE
"""Real seconds within which anything awaited must happen; machines with a node on them are slow now and then."""

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes

    @property
    def document(self) -> Any:
        """The JSON of the body."""
        return json.loads(self.body)


def ask(url: str, document: object = None) -> Reply:
    """GET an address, or POST a document to it.

    Raises:
        OSError: No answer came.
        http.client.HTTPException: The answer broke off.
    """
    body = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return Reply(answer.status, answer.read())
    except urllib.error.HTTPError as answer:
        with answer:
            return Reply(answer.code, answer.read())


def await_for(what: str, look: Callable[[], Found | None], patience: float = PATIENCE) -> Found:
    """Return the first true value that `look` gives; who does not answer yet is asked again."""
    deadline = time.monotonic() + patience
    last: object = "nothing"
    while True:
        try:
            found = look()
        except (OSError, http.client.HTTPException, HTTPError, ApiException) as error:
            found, last = None, error
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:.0f} s for {what} in vain; the last fault was {last}")
        time.sleep(0.2)
