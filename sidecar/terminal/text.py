"""Text as a terminal may show it: printable characters only, cut and wrapped by the cells that they take.

An app chooses its event ids, and AWS its words: neither may move the cursor, colour what follows or hide a line.
"""

import unicodedata
from collections.abc import Iterator

_MORE = "..."
_WIDE = frozenset("WF")


def printable(text: str) -> str:
    """Return `text` with everything that a terminal would act upon written as an escape."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def width(text: str) -> int:
    """Return the cells that printable text takes: two for a wide character, none for one that joins the one before."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def fit(text: str, columns: int) -> str:
    """Return printable text cut to so many cells, with dots where something is left out."""
    if width(text) <= columns:
        return text
    more = _MORE if columns > len(_MORE) else ""
    return _head(text, columns - len(more)) + more


def pad(text: str, columns: int) -> str:
    """Return printable text filled up with spaces to so many cells."""
    return text + " " * (columns - width(text))


def wrap(text: str, columns: int) -> Iterator[str]:
    """Yield printable text in lines of at most so many cells, broken at spaces where that can be; at least one line."""
    columns = max(columns, 1)
    line = ""
    for word in text.split():
        joined = f"{line} {word}" if line else word
        if width(joined) <= columns:
            line = joined
            continue
        if line:
            yield line
        rest = word
        while width(rest) > columns:
            head = _head(rest, columns) or rest[0]
            yield head
            rest = rest[len(head) :]
        line = rest
    yield line


def pluralize(count: int, noun: str) -> str:
    """Return a number of things: `1 fault`, `2 faults`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _head(text: str, columns: int) -> str:
    """Return the longest beginning of `text` that takes at most so many cells."""
    taken = 0
    for index, each in enumerate(text):
        taken += _cells(each)
        if taken > columns:
            return text[:index]
    return text


def _cells(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1
