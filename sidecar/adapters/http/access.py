"""Access to the local API: callers must name this host, and hold the token if one is configured.

A browser can be made to send requests to 127.0.0.1 under a foreign name (DNS rebinding); the Host header shows
that. The token is compared in constant time, is never logged, and follows its file when that is rotated.
"""

import asyncio
import hmac
import re
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from aiohttp import hdrs, web

from sidecar.adapters.http.media import Head
from sidecar.adapters.http.problems import HttpProblem, ProblemKind
from sidecar.domain.plaintext import ForeignText, plain

LOOK_AGAIN_SECONDS = 1.0
"""How soon a changed token file is noticed, in real time."""
_LONGEST_TOKEN_FILE = 4096

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]*)?")
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +(\S+)")


class TokenFileUnusable(Exception):
    """The file of `api.token_file` gives no token; the message has its path and the reason."""


def check_host(request: web.BaseRequest) -> None:
    """Refuse a request that names anything but the loopback interface.

    Raises:
        HttpProblem: misdirected, or malformed when no host is named at all.
    """
    if request.headers.get(hdrs.HOST) is None:
        raise HttpProblem(ProblemKind.MALFORMED, "the Host header is missing; send it")
    # A target that is a whole URL names a host of its own, and may contradict the header.
    if not names_loopback(request) or not (request.raw_path.startswith("/") or is_loopback(request.url.authority)):
        raise HttpProblem(ProblemKind.MISDIRECTED, "address the API as localhost, 127.0.0.1 or [::1]")


def names_loopback(head: Head) -> bool:
    """Return whether the Host header names the loopback interface."""
    return is_loopback(head.headers.get(hdrs.HOST, ""))


@lru_cache(maxsize=64)  # clients send the same few headers again and again
def is_loopback(authority: str) -> bool:
    """Return whether `authority`, a host with an optional port, is a name or address of the loopback interface."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return False
    host = match[1].lower()
    if host == "localhost":
        return True
    try:
        address: IPv4Address | IPv6Address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    return address.is_loopback and (host[0] == "[") is (address.version == 6)


class BearerToken:
    """The token of `api.token_file`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = b""
        self._version: tuple[int, int, int] | None = None
        self._look_again_at = 0.0

    async def load(self) -> None:
        """Read the token for the first time; raises TokenFileUnusable if there is none to read."""
        await asyncio.to_thread(self._read)

    @property
    def is_due(self) -> bool:
        """Whether the file is to be looked at again, which `check` does."""
        return asyncio.get_running_loop().time() >= self._look_again_at

    async def check(self, request: web.BaseRequest) -> None:
        """Refuse a request without the token; raises HttpProblem (unauthorized)."""
        if self.is_due:
            self._look_again_at = asyncio.get_running_loop().time() + LOOK_AGAIN_SECONDS
            # Between two versions of a mounted secret the file may be missing: the last one still counts.
            with suppress(TokenFileUnusable):
                await asyncio.to_thread(self._read)
        self.compare(request.headers.get(hdrs.AUTHORIZATION))

    def compare(self, authorization: str | None) -> None:
        """Refuse a header without the token as it was read last; raises HttpProblem (unauthorized)."""
        match = _BEARER.fullmatch(authorization or "")
        given = match[1].encode(errors="surrogateescape") if match is not None else b""
        if not hmac.compare_digest(given, self._token):
            raise HttpProblem(
                ProblemKind.UNAUTHORIZED,
                "send the header `Authorization: Bearer <token>` with the token in the file of api.token_file",
                headers={hdrs.WWW_AUTHENTICATE: "Bearer"},
            )

    def _read(self) -> None:
        try:
            seen = self._path.stat()
            version = (seen.st_mtime_ns, seen.st_ino, seen.st_size)
            if version == self._version:
                return
            with self._path.open("rb") as file:
                token = plain(file.read(_LONGEST_TOKEN_FILE + 1)).strip()
        except ForeignText as form:
            raise TokenFileUnusable(f"api.token_file: {self._path} is {form}; save it as plain text") from form
        except OSError as fault:
            raise TokenFileUnusable(f"api.token_file: cannot read {self._path}: {fault.strerror}") from fault
        if not token or len(token) > _LONGEST_TOKEN_FILE or len(token.split()) != 1:
            raise TokenFileUnusable(f"api.token_file: {self._path} must hold one word of at most 4096 bytes")
        self._token, self._version = token, version
