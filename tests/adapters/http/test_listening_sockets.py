"""On which addresses a listener listens."""

import asyncio
import errno
import socket
from contextlib import ExitStack, closing
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from sidecar.adapters.http import sockets
from sidecar.adapters.http.listening import CannotListen, PortInUse
from sidecar.adapters.http.probes import ProbeServer
from tests.support.http_fakes import FakeHealth, request


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


LOOPBACKS = ["127.0.0.1", "::1"] if _has_ipv6() else ["127.0.0.1"]


def probes(host: str, port: int = 0) -> ProbeServer:
    """Return a probe listener."""
    return ProbeServer(host=host, port=port, health=FakeHealth(), expose=lambda _: b"")


def ports(bound: sockets.Bound) -> list[int]:
    """Return the port of each socket, and close them."""
    found = [one.getsockname()[1] for one in bound.sockets]
    for one in bound.sockets:
        one.close()
    return found


class NoFamily(socket.socket):
    """Sockets on a host that lacks one family of addresses."""

    absent = socket.AF_INET6

    def __init__(self, family: int = -1, kind: int = -1, protocol: int = -1, fileno: int | None = None) -> None:
        if family == self.absent:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        super().__init__(family, kind, protocol, fileno)


class NoIPv4(NoFamily):
    """Sockets on a host with IPv6 alone."""

    absent = socket.AF_INET


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_every_family_answers(host: str) -> None:
    """A host that means every address takes connections of each family that there is, on one port."""
    server = probes(host)
    await server.start()
    for address in LOOPBACKS:
        assert (await _ask(address, server.port)).startswith(b"HTTP/1.1 200 OK\r\n")
    await server.stop(timedelta(seconds=5))


async def _ask(address: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(request("GET", "/livez", host="pod"))
    answered = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answered


@pytest.mark.parametrize(
    ("lacking", "family"), [(NoFamily, socket.AF_INET), *([(NoIPv4, socket.AF_INET6)] if len(LOOPBACKS) == 2 else [])]
)
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_missing_family_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, host: str, lacking: type[NoFamily], family: socket.AddressFamily
) -> None:
    """A pod without IPv6, or with IPv6 alone, listens on what it has; the family that it lacks is not worth a line."""
    monkeypatch.setattr(socket, "socket", lacking)
    bound = sockets.bind(host, 0)
    assert ([family], []) == ([one.family for one in bound.sockets], list(bound.absent))
    assert 1 == len(ports(bound))


def named(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name have these addresses."""
    found = [
        (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 0)) for each in addresses
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


async def test_name_listens_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with several addresses is listened on at those that are here, on one port; each other one is logged."""
    here = ["127.0.0.1", "127.0.0.2"]
    named(monkeypatch, "203.0.113.1", *here, "127.0.0.1", "2001:db8::1")
    server = probes("pod.local")
    with capture_logs() as lines:
        await server.start()
    monkeypatch.undo()
    assert ["203.0.113.1", "2001:db8::1"] == [
        line["address"] for line in lines if line["event"] == "listener.address_absent"
    ]
    for address in here:
        assert (await _ask(address, server.port)).startswith(b"HTTP/1.1 200 OK\r\n")
    await server.stop(timedelta(seconds=5))


async def test_name_that_is_nowhere_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name none of whose addresses is here cannot be listened on."""
    named(monkeypatch, "203.0.113.1", "203.0.113.2")
    with pytest.raises(CannotListen, match=r"probes\.port: cannot listen on pod\.local"):
        await probes("pod.local").start()


@pytest.mark.parametrize("taken", LOOPBACKS)
async def test_port_in_use_on_one_family(taken: str) -> None:
    """A port that another process has on one of the addresses is in use, and nothing is kept of the others."""
    with socket.create_server((taken, 0), family=socket.AF_INET6 if ":" in taken else socket.AF_INET) as other:
        port = other.getsockname()[1]
        for _ in range(2):
            with pytest.raises(PortInUse, match=f"probes.port: port {port} of 0.0.0.0 is in use"):
                await probes("0.0.0.0", port).start()
    for address in LOOPBACKS:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as free:
            free.bind((address, port))


def test_free_port_is_free_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the port that is free for the first address is in use on the second, another one is taken."""
    with ExitStack() as stack:
        first = stack.enter_context(closing(socket.create_server(("127.0.0.2", 0))))
        taken = first.getsockname()[1]
        offered = iter([taken])
        bind = socket.socket.bind

        def bind_first(self: socket.socket, address: tuple[str, int]) -> None:
            bind(self, (address[0], next(offered, 0)) if address == ("127.0.0.1", 0) else address)

        class Offering(socket.socket):
            pass

        monkeypatch.setattr(Offering, "bind", bind_first, raising=False)
        monkeypatch.setattr(socket, "socket", Offering)
        named(monkeypatch, "127.0.0.1", "127.0.0.2")
        one, two = ports(sockets.bind("pod.local", 0))
    assert one == two != taken
