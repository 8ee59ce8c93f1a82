"""Limits of concurrent work. They keep a client from exhausting the sidecar's memory or starving the others.

Work over a limit is answered with 503 `overloaded` immediately and never waits: a client that backs off costs nothing.
"""

from types import TracebackType

from sidecar.adapters.http.problems import ProblemKind, busy

MOST_CONNECTIONS = 512
"""Open connections of one listener; the ledger needs file descriptors too. Where all are taken, one that waits for its
client gives way to a new one."""
MOST_REPORTS = 256
"""Reports of usage that wait for the disk. A request counts once its body has arrived."""
MOST_CALLS = 64
"""Requests that wait for AWS: in an outage each of them may wait for long."""
MOST_QUESTIONS = 32
"""Questions that the ledger answers."""
MOST_EXPORTS = 16
"""OpenTelemetry exports that are read one by one, or wait for it: they take no place of other reports."""
MOST_POLLS = MOST_CONNECTIONS - MOST_REPORTS - MOST_CALLS - MOST_QUESTIONS - MOST_EXPORTS
"""Long polls of all listeners: they leave a place for each of the other requests."""
MOST_BYTES = 32 * 1024 * 1024
"""Bytes of request bodies in memory."""
MOST_EXPORT_BYTES = 16 * 1024 * 1024
"""Bytes of exports in memory, as they were sent."""

_RETRY_AFTER = 1


class ConcurrencyLimit:
    """The concurrent uses of one thing; each is a context."""

    def __init__(self, limit: int, what: str, *, closes: bool = False) -> None:
        """Make the limit; `closes` takes the connection from a client that asks for more."""
        self._limit = limit
        self._what = what
        self._closes = closes
        self._taken = 0

    def begin(self) -> None:
        """Begin a use, which `end` ends.

        Raises:
            Problem: overloaded.
        """
        if self._taken >= self._limit:
            detail = f"{self._limit} {self._what} are already running"
            raise busy(ProblemKind.OVERLOADED, detail, _RETRY_AFTER, closes=self._closes)
        self._taken += 1

    def end(self) -> None:
        """End a use."""
        self._taken -= 1

    def __enter__(self) -> None:
        """Begin a use; raises as `begin` does."""
        self.begin()

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        """End the use."""
        self.end()


class MemoryBudget:
    """The memory for request bodies, in bytes."""

    def __init__(self, limit: int = MOST_BYTES) -> None:
        self._limit = limit
        self._held = 0

    def hold(self, size: int) -> None:
        """Reserve `size` bytes until `release`.

        Raises:
            Problem: overloaded; nothing was taken.
        """
        if self._held + size > self._limit:
            raise busy(
                ProblemKind.OVERLOADED, "the bodies of the running requests fill the memory set aside", _RETRY_AFTER
            )
        self._held += size

    def release(self, size: int) -> None:
        """Return the bytes of one `hold`."""
        self._held -= size
