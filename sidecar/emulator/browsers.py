"""Which requests of web browsers the emulator takes: those of its own console.

A page of another origin must not move the clock or arm a fault, neither by a form nor after its name was bound to this
address (DNS rebinding). Browsers send an Origin with each request that may change something. Programs send none and
use any host name, because pods reach the emulator by the name of its service: so the Host alone decides nothing.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

_OWN_SITE = ("same-origin", "none")
_PRIVATE = (".localhost", ".local", ".internal", ".svc", ".cluster.local", ".test")
"""Ends of host names that public DNS does not have, so nobody can bind them to this address from outside."""


def find_fault(headers: Mapping[str, str], listens_on: str) -> str | None:
    """Return why a request is refused; None if it may pass.

    Args:
        headers: The headers of the request.
        listens_on: The host that the emulator was started with.
    """
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
    host = headers.get("Host", "")
    if origin is not None and _place(origin) != f"http://{host}".lower():
        return f"Origin: {origin!r}: must be http://{host}; use the console at its own address"
    if site is not None and site not in _OWN_SITE:
        return f"Sec-Fetch-Site: {site!r}: must be same-origin or none; use the console at its own address"
    if origin is not None and not _is_private(host, listens_on):
        return (
            f"Origin: {origin!r}: a page may be at an IP address, localhost, a name without a dot, the name given by "
            f"--host, or a name that ends in {', '.join(_PRIVATE)}"
        )
    return None


def _place(origin: str) -> str | None:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.netloc}".lower()


def _is_private(host: str, listens_on: str) -> bool:
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if not name:
        return False
    if "." not in name or name == listens_on.lower() or name.endswith(_PRIVATE):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
