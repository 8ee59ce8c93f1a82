"""Rows of several tables next to each other, in the order of a key that they share, without holding them.

Each statement returns its rows in the order of their first columns, which are the key. SQLite sorts in a temporary
file where the rows have no such order. Memory holds the rows of one key at a time.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from sidecar.domain.metering.quantity import parse_signed

Key = tuple[int, ...]
Row = tuple[Any, ...]


def plain_rows(connection: sqlite3.Connection, statement: str, *values: object) -> sqlite3.Cursor:
    """Return the cursor of rows that are tuples, which take less time than rows with names."""
    cursor = connection.cursor()
    cursor.row_factory = None
    return cursor.execute(statement, values)


def sums(rows: Iterable[Row], width: int) -> Iterator[tuple[Key, int]]:
    """Yield each key of `width` columns with the sum of the quantities in the column after it."""
    for key, members in groupby(rows, lambda row: row[:width]):
        yield key, sum(parse_signed(row[width]) for row in members)


class Following:
    """The sums of another table, read on as far as each key that is asked for; keys are asked for in their order."""

    def __init__(self, found: Iterator[tuple[Key, int]]) -> None:
        self._found = found
        self._head = next(found, None)

    def of(self, key: Key) -> int | None:
        """Return the sum of a key; None where the table has no row of it."""
        while self._head is not None and self._head[0] < key:
            self._head = next(self._found, None)
        return self._head[1] if self._head is not None and self._head[0] == key else None


def in_pairs(left: Iterator[tuple[Key, int]], right: Iterator[tuple[Key, int]]) -> Iterator[tuple[Key, int, int]]:
    """Yield each key of either side with both sums, 0 where a side has none."""
    here, there = next(left, None), next(right, None)
    while here is not None or there is not None:
        key = min(side[0] for side in (here, there) if side is not None)
        mine = theirs = 0
        if here is not None and here[0] == key:
            mine, here = here[1], next(left, None)
        if there is not None and there[0] == key:
            theirs, there = there[1], next(right, None)
        yield key, mine, theirs
