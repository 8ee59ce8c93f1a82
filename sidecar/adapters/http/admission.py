"""How much is let in at once, so that no client can use up the sidecar's memory or starve the others.

What is over a limit is answered 503 `overloaded` at once and never kept waiting: a client that backs off costs nothing.
"""

from types import TracebackType

from sidecar.adapters.http.problems import ProblemKind, busy

MOST_CONNECTIONS = 512
"""Open connections of one listener; the ledger needs file descriptors too."""
MOST_REQUESTS = 256
"""Requests that wait for the disk or for AWS."""
MOST_POLLS = 256
"""Long polls, counted apart so that they cannot keep usage out."""
MOST_BYTES = 32 * 1024 * 1024
"""Bytes of request bodies in memory."""

_RETRY_AFTER = 1


class ConcurrencyLimit:
    """A number of places; entering the context takes one, leaving gives it back."""

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self._taken = 0

    def __enter__(self) -> None:
        """Take a place.

        Raises:
            Problem: overloaded.
        """
        if self._taken >= self._limit:
            raise busy(ProblemKind.OVERLOADED, f"{self._limit} {self._what} are already running", _RETRY_AFTER)
        self._taken += 1

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        """Give the place back."""
        self._taken -= 1


class MemoryBudget:
    """The bytes set aside for request bodies."""

    def __init__(self, limit: int = MOST_BYTES) -> None:
        self._limit = limit
        self._held = 0

    def hold(self, size: int) -> None:
        """Take `size` bytes, to be given back by `release`.

        Raises:
            Problem: overloaded; nothing was taken.
        """
        if self._held + size > self._limit:
            raise busy(
                ProblemKind.OVERLOADED, "the bodies of the running requests fill the memory set aside", _RETRY_AFTER
            )
        self._held += size

    def release(self, size: int) -> None:
        """Give back what `hold` took."""
        self._held -= size
