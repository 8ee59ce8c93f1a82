"""Client of a running sidecar's local API, over TCP or its unix socket.

Sends the token of `api.token_file` if there is one, and asks once.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from sidecar.domain.plaintext import ForeignText, plain
from sidecar.http_client import Listener, NoAnswer, Response, http_url
from sidecar.settings import ApiSettings, Problem, SettingsError

_TIMEOUT = 2.0
"""Seconds in which the status must come: the sidecar reads it from memory and one small file."""


class TokenUnusable(Exception):
    """The configured token cannot be read; the message names the reason."""


class NoStatus(Exception):
    """No sidecar returned its status; holds the reason and the cure."""

    def __init__(self, reason: str, cure: str) -> None:
        super().__init__(reason)
        self.cure = cure


def require_address(api: ApiSettings) -> None:
    """Refuse a configuration without the address of the API; raises SettingsError if the port is 0."""
    if api.socket is None and api.port == 0:
        reason = "means any free port, so the API cannot be found"
        raise SettingsError([Problem("api.port", "0", reason, "configure the port, or api.socket")])


def address_of(api: ApiSettings) -> str:
    """Return the address of the API, for a person."""
    return http_url(api.host, api.port) if api.socket is None else str(api.socket)


def get(api: ApiSettings, path: str, timeout: float) -> Response:
    """Send one GET to the API and return the response.

    `timeout` is the seconds that the answer may take. A unix socket takes precedence.

    Raises:
        TokenUnusable: `api.token_file` cannot be read.
        NoAnswer: There is no response.
    """
    return Listener(api.host, api.port, api.socket).get(path, timeout, _headers(api))


def fetch_status(api: ApiSettings) -> Mapping[str, Any]:
    """Return the document of `/v1/status`; raises NoStatus with the reason and the cure."""
    address = address_of(api)
    try:
        response = get(api, "/v1/status", _TIMEOUT)
    except TokenUnusable as error:
        cure = "Run this command as a user who may read the file, or correct api.token_file."
        raise NoStatus(str(error), cure) from error
    except NoAnswer as error:
        raise NoStatus(
            f"no answer from {address}: {error}",
            "Start the sidecar with `marketplace-sidecar run`. If it is running, run this command in its pod (the API "
            "listens on loopback only) and with its configuration (--config).",
        ) from error
    if response.status == HTTPStatus.UNAUTHORIZED:
        raise NoStatus(f"{address} refuses the token", "Set api.token_file to the file that the sidecar reads.")
    try:
        document = response.document()
    except ValueError:
        document = None
    if response.status != HTTPStatus.OK or not isinstance(document, dict) or "conservation" not in document:
        raise NoStatus(
            f"{address} answers {response.status} without a status, so it is not a sidecar",
            "Check api.port and api.socket: another program listens there.",
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
        raise TokenUnusable(f"api.token_file cannot be used: {api.token_file} does not hold exactly one token")
    return {"Authorization": f"Bearer {words[0]}"}
