"""Parts of the ledger that are small enough to be sorted in memory, each read at one instant.

A proof of a whole ledger would otherwise sort in a temporary file, and the image has no folder for one. Or it would
hold one instant for long, and the log of a running sidecar would grow meanwhile.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

MOST_ROWS = 50_000
"""Of one window: they take a few MiB while they are sorted."""


@contextmanager
def one_instant(connection: sqlite3.Connection) -> Iterator[None]:
    """Read everything in the block at one instant, which is the caller's if the caller is in a transaction."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.rollback()


def windows(connection: sqlite3.Connection, keys: str) -> Iterator[tuple[int, int]]:
    """Yield ranges that cover all keys: from a number on, and before another.

    A range has at most `MOST_ROWS` rows, unless it is one number.

    Args:
        connection: The ledger.
        keys: A SELECT of the key of each row: one column `key` of whole numbers.
    """
    first, last = connection.execute(f"SELECT min(key), max(key) FROM ({keys})").fetchone()
    waiting = [] if first is None else [(first, last + 1)]
    while waiting:
        low, high = waiting.pop()
        rows = f"SELECT 1 FROM ({keys}) WHERE key >= ? AND key < ? LIMIT ?"
        (count,) = connection.execute(f"SELECT count(*) FROM ({rows})", (low, high, MOST_ROWS + 1)).fetchone()
        if count > MOST_ROWS and high - low > 1:
            middle = (low + high) // 2
            waiting += [(middle, high), (low, middle)]
        elif count:
            yield low, high
