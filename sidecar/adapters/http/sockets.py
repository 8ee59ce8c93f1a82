"""The sockets of a listener: every address of its host, all with one port.

A host that means every address (`0.0.0.0` or `::`) means it for every family: neither of the two takes connections of
the other family under asyncio, and a pod may have either family or both. A name may have addresses that this host does
not have; the listener takes those that are here.
"""

import errno
import ipaddress
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

BACKLOG = 1024
"""Connections that the kernel keeps until they are accepted: a dropped one tries again after a second, too late for a
probe."""
SEND_BUFFER = 64 * 1024
"""Bytes that the kernel keeps for a client that does not read, of which it takes twice as many. Left to itself it takes
megabytes for each client, from the memory of the container."""

_EVERY = ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"))
_NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT})
"""The address, or its whole family, is not one of this host's."""
_FREE_PORT_TRIES = 20

Place = tuple[socket.AddressFamily, str]
"""A family and an address."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What was bound for one host."""

    sockets: Sequence[socket.socket]
    absent: Sequence[str]
    """Addresses of the host's name that this host does not have; a family that it lacks altogether is none."""


def bind(host: str, port: int) -> Bound:
    """Return sockets that are bound and do not listen yet, one for each address; port 0 takes one free port for all.

    Looks the name up, which blocks where the host is a name.

    Raises:
        OSError: The name has no address, none of its addresses is here, or the port is in use on one of them.
    """
    places = places_of(host)
    tries = _FREE_PORT_TRIES if port == 0 else 1
    while True:
        tries -= 1
        try:
            return _bind_all(places, port)
        except OSError as fault:
            # A port that is free for the first address may be in use on the next.
            if not tries or fault.errno != errno.EADDRINUSE:
                raise


def places_of(host: str) -> list[Place]:
    """Return the addresses of `host`, each once; raises OSError if the name has none."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return list(dict.fromkeys((family, str(place[0])) for family, _, _, _, place in found))
    if address.is_unspecified:
        return list(_EVERY)
    return [(socket.AF_INET if address.version == 4 else socket.AF_INET6, host)]


def _bind_all(places: Sequence[Place], port: int) -> Bound:
    bound: list[socket.socket] = []
    absent: list[str] = []
    last: OSError | None = None
    with ExitStack() as closing:
        for family, address in places:
            try:
                one = closing.enter_context(_bind_one(family, address, port))
            except OSError as fault:
                if fault.errno not in _NOT_HERE:
                    raise
                if (family, address) not in _EVERY:
                    absent.append(address)
                last = fault
                continue
            bound.append(one)
            port = int(one.getsockname()[1])
        if last is not None and not bound:
            raise last
        closing.pop_all()
    return Bound(bound, absent)


def _bind_one(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setblocking(False)  # noqa: FBT003 - the only parameter
        # Connections that have just ended are no obstacle to a restart.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)  # connections inherit it
        if family == socket.AF_INET6:
            # IPv4 has a socket of its own, whatever the kernel's default is.
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((address, port))
    except BaseException:
        one.close()
        raise
    return one
