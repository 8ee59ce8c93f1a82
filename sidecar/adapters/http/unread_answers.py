"""The answers that the clients of a listener leave unread: their memory is bounded in sum.

One client that reads slowly has its time, whatever the size of its answer. Where many leave theirs unread, those that
asked first lose their connections.
"""

from typing import Protocol

MOST_UNREAD = 16 * 1024 * 1024
"""Bytes of all answers of a listener that wait for their clients; one answer alone may have more."""


class Unread(Protocol):
    """A connection with a client that does not read."""

    requested_at: float

    @property
    def unread(self) -> int:
        """Bytes that wait for the client."""

    def cut(self) -> None:
        """End the connection immediately, with what its client has not read."""


class UnreadAnswers:
    """The connections of a listener that wait for their clients to read."""

    def __init__(self, limit: int = MOST_UNREAD) -> None:
        self._limit = limit
        self._waiting: set[Unread] = set()

    def add(self, connection: Unread) -> None:
        """Note that a client does not read, and cut those that asked first while all have too many bytes."""
        self._waiting.add(connection)
        total = sum(each.unread for each in self._waiting)
        for each in sorted(self._waiting - {connection}, key=lambda each: each.requested_at):
            if total <= self._limit:
                return
            total -= each.unread
            self._waiting.discard(each)
            each.cut()

    def discard(self, connection: Unread) -> None:
        """Note that a client has read, or is gone."""
        self._waiting.discard(connection)
