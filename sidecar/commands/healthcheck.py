"""The `healthcheck` command: one request to a probe of the running sidecar, for images without a shell and for ECS.

With --url it uses the standard library only, and neither reads a configuration nor loads its types: a check that runs
every few seconds must cost next to nothing.
"""

import argparse
import os
import socket
import sys

from sidecar.exit_codes import ExitCode
from sidecar.http_client import Listener, NoAnswer, Response, http_url, other_loopback, reachable
from sidecar.terminal.text import printable

_TIMEOUT = 5.0
"""Seconds that the answer may take."""
_LARGEST = 65536
_CURE = (
    "Start the sidecar with `marketplace-sidecar run`, or correct the address: --url, or probes.host and probes.port "
    "of the configuration."
)
_PROBES = ("livez", "startupz", "readyz")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--config", metavar="FILE", help="the sidecar's configuration, which names the probe listener")
    parser.add_argument(
        "--url",
        metavar="U",
        help="the URL of the probe listener, or of one probe (with a path); no configuration is read then",
    )
    parser.add_argument(
        "--probe",
        choices=_PROBES,
        default="startupz",
        help="the probe to request (default: startupz, which stays good after the start; readyz fails while the gate "
        "is closed, and ECS would stop a task that still has usage to submit)",
    )


def run(args: argparse.Namespace) -> int:
    """Return 0 when the probe answers 200..399, else 1 with the reason on standard error."""
    if args.url is not None:
        listener, path = _parse(args.url)
    else:
        listener, path = _configured(args.config), ""
    reason = check(listener, path or f"/{args.probe}")
    if reason is None:
        return ExitCode.CLEAN
    sys.stderr.write(f"{printable(reason)}\n")
    return ExitCode.FAILED


def check(listener: Listener, path: str) -> str | None:
    """Return None when the probe answers 200..399, else its reason, or why there is no answer.

    A loopback address that this host lacks, such as `::1` in a pod without IPv6, is replaced by the other family's.
    """
    other = other_loopback(listener.host)
    if other is not None and not _exists(listener.host):
        listener = Listener(other, listener.port)
    url = f"{http_url(listener.host, listener.port)}{path}"
    try:
        response = listener.send("GET", path, _TIMEOUT, largest=_LARGEST)
    except NoAnswer as error:
        return f"no answer from {url}: {error}. {_CURE}"
    if 200 <= response.status < 400:
        return None
    return _reason(response) or f"{url} answered {response.status}"


def _exists(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as bound:
            bound.bind((address, 0))
    except OSError:
        return False
    return True


def _reason(response: Response) -> str | None:
    try:
        match response.document():
            case {"reason": str(reason)}:
                return reason
            case _:
                return None
    except ValueError:
        return None


def _parse(url: str) -> tuple[Listener, str]:
    """Return the listener and the path of a URL; an empty path where the URL has none."""
    try:
        listener, path = Listener.of_url(url)
    except ValueError as error:
        from sidecar.settings import Problem, SettingsError  # noqa: PLC0415 - see above

        problem = Problem("--url", repr(url), "is not an http URL", "write it as http://127.0.0.1:8788")
        raise SettingsError([problem]) from error
    return listener, path if path.partition("?")[0].strip("/") else ""


def _configured(path: str | None) -> Listener:
    """Return the probe listener that a configuration names."""
    from sidecar.settings import Problem, SettingsError, load  # noqa: PLC0415 - see above

    probes = load(path, os.environ).probes
    if probes.port == 0:
        reason = "means any free port, so the probes cannot be found"
        raise SettingsError([Problem("probes.port", "0", reason, "name the actual address with --url")])
    return Listener(reachable(probes.host), probes.port)
