"""Addresses of the sidecar's listeners, as one beside it asks them."""

import ipaddress

from sidecar.adapters.http.sockets import authority


def reachable(host: str) -> str:
    """Return the loopback address for a host that means every address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def other_loopback(host: str) -> str | None:
    """Return the loopback address of the other family, or None for a host that is none of the two."""
    return {"127.0.0.1": "::1", "::1": "127.0.0.1"}.get(host)


def http_url(host: str, port: int) -> str:
    """Return the URL of a listener; an IPv6 address stands in brackets."""
    return f"http://{authority(host, port)}"
