"""Asks the sidecar that runs beside the one who asks: the configured local API, over TCP or its unix socket.

Uses the standard library's HTTP client only, so that `wait` starts as fast as the interpreter. Follows neither proxies
nor redirects, asks once, and shows the token of `api.token_file` where there is one.
"""

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.addresses import explain_silence, http_url
from sidecar.domain.plaintext import ForeignText, plain
from sidecar.settings import ApiSettings, Problem, SettingsError

_TIMEOUT = 2.0
"""Seconds in which the status must come: it is read from memory and one small file."""
_LARGEST = 4 * 1024 * 1024


class NoAnswer(Exception):  # noqa: N818 - named as it is told
    """Nobody has answered; the message says why."""


class TokenUnusable(Exception):  # noqa: N818 - named as it is told
    """The token that must be shown cannot be read; the message says why."""


class NoStatus(Exception):  # noqa: N818 - named as it is told
    """There is no status to be had."""

    def __init__(self, reason: str, cure: str) -> None:
        super().__init__(reason)
        self.cure = cure


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whatever it says."""

    status: int
    body: bytes

    def document(self) -> Any:
        """Return what the body holds.

        Raises:
            ValueError: It is not JSON.
        """
        try:
            return json.loads(self.body)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


def require_place(api: ApiSettings) -> None:
    """Refuse a configuration that does not say where the API is.

    Raises:
        SettingsError: Its port is any free one.
    """
    if api.socket is None and api.port == 0:
        raise SettingsError([Problem("api.port", "0", "may be any port", "configure the port, or api.socket")])


def place_of(api: ApiSettings) -> str:
    """Return where the API is looked for, for a person."""
    if api.socket is not None:
        return str(api.socket)
    return http_url(api.host, api.port)


def ask(api: ApiSettings, path: str, timeout: float) -> Reply:
    """Send one GET and return the answer.

    Args:
        api: Where the API listens; the unix socket goes first.
        path: Path and query.
        timeout: The seconds that connecting and each read may take.

    Raises:
        TokenUnusable: `api.token_file` cannot be read.
        NoAnswer: Nobody has answered.
    """
    headers = _headers(api)
    connection = (
        http.client.HTTPConnection(api.host, api.port, timeout=timeout)
        if api.socket is None
        else _UnixConnection(api.socket, timeout)
    )
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return Reply(response.status, response.read(_LARGEST))
    except (OSError, http.client.HTTPException, ValueError) as error:
        # A ValueError is a token that no header can hold.
        raise NoAnswer(explain_silence(error)) from error
    finally:
        connection.close()


def fetch_status(api: ApiSettings) -> Mapping[str, Any]:
    """Return the document of `/v1/status`.

    Raises:
        NoStatus: With the reason and the cure.
    """
    place = place_of(api)
    try:
        reply = ask(api, "/v1/status", _TIMEOUT)
    except TokenUnusable as error:
        raise NoStatus(str(error), "Run this as a user who may read the file, or correct api.token_file.") from error
    except NoAnswer as error:
        raise NoStatus(
            f"no answer from {place}: {error}",
            "Start it with `marketplace-sidecar run`. If it runs, ask with its own configuration (--config), and in its"
            " pod: the API is on loopback only.",
        ) from error
    if reply.status == http.HTTPStatus.UNAUTHORIZED:
        raise NoStatus(f"{place} refuses the token", "Name in api.token_file the file that the sidecar reads.")
    try:
        document = reply.document()
    except ValueError:
        document = None
    if reply.status != http.HTTPStatus.OK or not isinstance(document, dict) or "conservation" not in document:
        raise NoStatus(
            f"{place} answers {reply.status} without a status: it is no sidecar",
            "Look at api.port and api.socket: something else listens there.",
        )
    return document


def _headers(api: ApiSettings) -> dict[str, str]:
    if api.token_file is None:
        return {}
    try:
        words = plain(api.token_file.read_bytes()).decode("ascii").split()
    except (OSError, ValueError, ForeignText) as error:
        raise TokenUnusable(f"api.token_file cannot be used: {error}") from error
    if len(words) != 1:
        raise TokenUnusable(f"api.token_file cannot be used: {api.token_file} does not hold one token")
    return {"Authorization": f"Bearer {words[0]}"}


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
