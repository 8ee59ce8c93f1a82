"""Clients that mean harm, and what they cost the process that they are connected to."""

import http.client
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sidecar.commands.demo.environment import PATIENCE
from tests.support.processes import Reply, ask

MANY = 512
"""Connections of one attack."""
JSON = "application/json"
_TICK = os.sysconf("SC_CLK_TCK")


class Cost:
    """Memory and processor time of a process since this was made."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")  # the peak counts anew from here
        self._memory = self._status("VmHWM")
        self._seconds = self._cpu()

    @property
    def mebibytes(self) -> float:
        """By how much the peak of resident memory has grown."""
        return (self._status("VmHWM") - self._memory) / 1024

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all threads."""
        return self._cpu() - self._seconds

    def _status(self, name: str) -> int:
        text = Path(f"/proc/{self._pid}/status").read_text(encoding="ascii")
        found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
        assert found is not None
        return int(found[1])

    def _cpu(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK


@contextmanager
def connections(port: int, count: int = MANY, *, window: int | None = None) -> Iterator[list[socket.socket]]:
    """Open connections; `window` is the size of each receive buffer, for readers that do not read."""
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            one = stack.enter_context(socket.socket())
            if window is not None:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            one.settimeout(30)
            one.connect(("127.0.0.1", port))
            opened.append(one)
        yield opened


def push(one: socket.socket, data: bytes) -> bool:
    """Send what the other side takes; False once it has ended the connection."""
    one.settimeout(0)
    try:
        one.send(data)
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    return True


def answers(port: int, path: str = "/livez") -> int:
    """Return the status of a request on a connection of its own."""
    return ask(port, "GET", path).status


@contextmanager
def keep_alive(port: int) -> Iterator[Callable[[], int]]:
    """One connection that is never opened again; each call reports an event on it and returns the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.connect()
    connection.auto_open = 0

    def report() -> int:
        connection.request("POST", "/v1/usage", b'{"dimension": "requests"}', {"Content-Type": JSON})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    try:
        yield report
    finally:
        connection.close()


def post_bytes(port: int, body: bytes, media: str = JSON, path: str = "/v1/usage") -> Reply:
    """Post usage as it is, and return the answer, which may come before the whole body is sent."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("POST", path, body, {"Content-Type": media})
        answer = connection.getresponse()
        return Reply(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()
