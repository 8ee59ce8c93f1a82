"""The addresses that the sidecar listens on, and the file with its callers' token."""

import asyncio
import errno
import os
import socket
import stat
from pathlib import Path

from sidecar.adapters.http import sockets
from sidecar.adapters.http.access import BearerToken, TokenFileUnusable
from sidecar.domain.check_result import Check, CheckResult
from sidecar.settings import ApiSettings, ProbeSettings

API = Check("api port", "The app asks and reports here; a sidecar that cannot listen does not start.")
PROBES = Check("probe port", "Kubernetes asks here whether the pod may run; without it the pod never gets ready.")
TOKEN_FILE = Check("api token", "With api.token_file set, the sidecar starts only if it holds the token.")

_LINK_LONGEST = 107
"""Bytes of a unix socket's path that the kernel takes."""


def check_api_port(api: ApiSettings, *, running: bool) -> CheckResult:
    """Judge the API's TCP port and, if named, its unix socket. `running`: the configured sidecar runs and has them."""
    port = _judge(API, "api.port", api.host, api.port, running=running)
    if api.socket is None:
        return port
    fault = _socket_fault(api.socket, running=running)
    if fault is not None:
        return API.fail(f"api.socket: {fault}", "Name a path in a folder that the sidecar's user may write.")
    return port


def check_probe_port(probes: ProbeSettings, *, running: bool) -> CheckResult:
    """Judge the probes' port. `running`: the configured sidecar runs and has it."""
    return _judge(PROBES, "probes.port", probes.host, probes.port, running=running)


def check_token_file(api: ApiSettings) -> CheckResult:
    """Judge the file of the callers' token; its content is not shown."""
    if api.token_file is None:
        return TOKEN_FILE.ok("no token is required; every container of the pod may call")
    try:
        asyncio.run(BearerToken(api.token_file).load())
    except TokenFileUnusable as unusable:
        return TOKEN_FILE.fail(str(unusable), "Mount the file there, readable, with one word in it.")
    return TOKEN_FILE.ok(f"{api.token_file} holds a token")


def _judge(check: Check, key: str, host: str, port: int, *, running: bool) -> CheckResult:
    if port == 0:
        return check.ok(f"any free port of {host}")
    shown = f"port {port} of {host}"
    try:
        bound = sockets.bind(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            if running:
                return check.ok(f"{shown} is held by the running sidecar")
            return check.fail(f"{shown} is in use by another process", f"Stop that process, or set another {key}.")
        cure = f"Set {key} above 1023." if error.errno == errno.EACCES else f"Correct the host of {key}."
        return check.fail(f"{shown} cannot be listened on: {error.strerror or error}", cure)
    for one in bound.sockets:
        one.close()
    absent = f"; this host does not have {', '.join(bound.absent)}" if bound.absent else ""
    return check.ok(f"{shown} is free{absent}")


def _socket_fault(path: Path, *, running: bool) -> str | None:
    if len(os.fsencode(path)) > _LINK_LONGEST:
        return f"{path} is longer than {_LINK_LONGEST} bytes"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"{path.parent} cannot be written"
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return f"something else than a socket is at {path}"
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(1)
            taken = caller.connect_ex(str(path)) == 0
    except FileNotFoundError:
        return None
    return f"another process listens on {path}" if taken and not running else None
