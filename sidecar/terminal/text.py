"""Text for a terminal: printable characters only, cut and wrapped by the cells that they take.

Event ids come from the app and messages from AWS: neither may move the cursor, color the following text or hide a line.
"""

import unicodedata
from collections.abc import Iterator

_MORE = "..."
_WIDE = frozenset("WF")


def printable(text: str) -> str:
    """Return `text` with each character that controls a terminal as an escape."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def width(text: str) -> int:
    """Return the cells that printable text takes: two for a wide character, none for a combining one."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def fit(text: str, columns: int) -> str:
    """Return printable text cut to a number of cells; dots mark a cut."""
    if width(text) <= columns:
        return text
    more = _MORE if columns > len(_MORE) else ""
    return _head(text, columns - len(more)) + more


def pad(text: str, columns: int) -> str:
    """Return printable text padded with spaces to a number of cells."""
    return text + " " * (columns - width(text))


def wrap(text: str, columns: int) -> Iterator[str]:
    """Yield printable text in lines of at most `columns` cells, broken at spaces if possible; at least one line."""
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


def _head(text: str, columns: int) -> str:
    """Return the longest beginning of `text` that takes at most `columns` cells."""
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
