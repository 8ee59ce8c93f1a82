"""The `healthcheck` command: one request to a probe of the running sidecar, for images without a shell and for ECS.

Uses the standard library only and reads no configuration when it is given an address, so that a check that runs every
few seconds costs next to nothing. Follows neither proxies nor redirects.
"""

import argparse
import http.client
import json
import os
import socket
import sys
from urllib.parse import urlsplit

from sidecar.exit_codes import ExitCode
from sidecar.operator.addresses import http_url, other_loopback, reachable
from sidecar.settings import ProbeSettings, Problem, SettingsError, load
from sidecar.terminal.text import printable

_TIMEOUT = 5.0
"""Seconds that the connection or a read may take."""
_LARGEST = 65536
_PROBES = ("livez", "startupz", "readyz")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--config", metavar="FILE", help="the sidecar's configuration, which names the probe listener")
    parser.add_argument(
        "--url", metavar="U", help="the probe listener instead, or with a path the very address to ask; no file is read"
    )
    parser.add_argument(
        "--probe",
        choices=_PROBES,
        default="startupz",
        help="what to ask (default: startupz; it stays good when a later refusal or a fault of metering closes readyz, "
        "so that ECS does not kill a task that still has usage to report)",
    )


def run(args: argparse.Namespace) -> int:
    """Return 0 when the probe answers 200..399, else 1 with the reason on standard error."""
    host, port, path = _parse(args.url) if args.url is not None else _configured(load(args.config, os.environ).probes)
    reason = ask(host, port, path or f"/{args.probe}")
    if reason is None:
        return ExitCode.CLEAN
    sys.stderr.write(f"{printable(reason)}\n")
    return ExitCode.FAILED


def ask(host: str, port: int, path: str) -> str | None:
    """Return None when the probe says yes, else its reason or why there is none.

    A loopback address that this host does not have, as `::1` in a pod without IPv6, gives way to the other family's.
    """
    other = other_loopback(host)
    if other is not None and not _exists(host):
        host = other
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read(_LARGEST)
    except (OSError, http.client.HTTPException) as error:
        return f"no answer from {http_url(host, port)}{path}: {str(error) or type(error).__name__}"
    finally:
        connection.close()
    if 200 <= response.status < 400:
        return None
    return _sentence(body) or f"{http_url(host, port)}{path} answered {response.status}"


def _exists(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as bound:
            bound.bind((address, 0))
    except OSError:
        return False
    return True


def _sentence(body: bytes) -> str | None:
    try:
        match json.loads(body):
            case {"reason": str(reason)}:
                return reason
            case _:
                return None
    except (ValueError, RecursionError):
        return None


def _parse(url: str) -> tuple[str, int, str]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port, parts = None, 0, urlsplit("")
    if parts.scheme != "http" or not host:
        raise SettingsError([Problem("--url", repr(url), "is not an http URL", "write it as http://127.0.0.1:8788")])
    query = f"?{parts.query}" if parts.query else ""
    return host, port, f"{parts.path}{query}" if parts.path.strip("/") else ""


def _configured(probes: ProbeSettings) -> tuple[str, int, str]:
    if probes.port == 0:
        raise SettingsError([Problem("probes.port", "0", "may be any port", "name the one in use with --url")])
    return reachable(probes.host), probes.port, ""
