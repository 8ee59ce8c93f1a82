"""The sockets and connections of the probe listener: few at a time, and never so full that a probe gets no answer."""

import asyncio
from contextlib import suppress

from sidecar.adapters.http.listening import Accepting
from sidecar.adapters.http.probe_connection import Ask, ProbeConnection, Stage

MOST_CONNECTIONS = 256
"""Open connections. Above this number the one that has been idle longest goes."""

_IDLE = frozenset({Stage.HEAD, Stage.WRITE, Stage.LINGER})


class ProbeListener(Accepting):
    """Takes connections on the addresses of one host and hands their requests to `ask`."""

    def __init__(self, ask: Ask, *, most_connections: int = MOST_CONNECTIONS) -> None:
        super().__init__()
        self._ask = ask
        self._most_connections = most_connections
        # Insertion order is age: a connection moves to the end when its stage changes.
        self._idle: dict[ProbeConnection, None] = {}
        self._busy: dict[ProbeConnection, None] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __call__(self) -> ProbeConnection:
        """Return the protocol of a new connection."""
        return ProbeConnection(self._ask, self._sort)

    def _sort(self, connection: ProbeConnection) -> None:
        self._idle.pop(connection, None)
        self._busy.pop(connection, None)
        if connection.stage is Stage.CLOSED:
            if not self._idle and not self._busy:
                self._empty.set()
            return
        self._empty.clear()
        (self._idle if connection.stage in _IDLE else self._busy)[connection] = None
        if len(self._idle) + len(self._busy) > self._most_connections:
            # The newest never goes: it may be the kubelet's.
            oldest = next(each for each in (*self._idle, *self._busy) if each is not connection)
            self._idle.pop(oldest, None)
            self._busy.pop(oldest, None)
            oldest.cut()

    async def stop(self, seconds: float) -> None:
        """Take no more connections, finish the answers that are on the way, then close; at most `seconds`."""
        if not self.close_sockets():
            return
        await asyncio.sleep(0)  # what was accepted a moment ago becomes a connection first
        for connection in list(self._idle):
            if connection.stage is Stage.HEAD:
                connection.cut()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        for connection in [*self._idle, *self._busy]:
            connection.cut()
