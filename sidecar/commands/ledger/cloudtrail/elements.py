"""The objects of a JSON document that is too large to hold: those of its array, or one after the other.

The standard decoder does the work, on a window of the text. The streaming parser ijson was tried and not taken: the
paths that it keeps take memory by the square of the depth: 100 kB of brackets end the process.
"""

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, TextIO

WINDOW = 1024 * 1024
"""Characters read at a time."""
LARGEST = 32 * WINDOW
"""Characters of one object; CloudTrail's have 256 KiB at most."""

_LIST = re.compile(r'"(Records|Events)"\s*:\s*\[')
_LISTS = frozenset({"Records", "Events"})
_OBJECT = re.compile(r'"(eventSource|CloudTrailEvent)"\s*:')
_MARKS = frozenset("{,")
"""What comes next most of the time: the beginning of an object, or what separates two."""
_BLANK = re.compile(r"[ \t\n\r]*")


def elements(text: TextIO) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a top-level array, of the array under `Records` or `Events`, or of a run of objects.

    Numbers with a fraction become exact decimals.

    Raises:
        ValueError: The text is not JSON to its end, or holds something else than objects.
        RecursionError: An object is nested too deeply.
    """
    window = _Window(text)
    listed, single = _LIST.search(window.text), _OBJECT.search(window.text)
    if window.next() == "[":
        window.position += 1
        yield from _array(window)
        _expect(window, "")
    elif listed is not None and (single is None or listed.start() < single.start()):
        window.position = listed.end()
        yield from _array(window)
        window.finish_object()
    else:
        while True:
            yield window.take()
            if not window.next():
                return


def _array(window: "_Window") -> Iterator[Mapping[str, Any]]:
    """Yield the objects up to the bracket that ends their array."""
    if window.next() == "]":
        window.position += 1
        return
    while True:
        yield window.take()
        if window.next() == "]":
            window.position += 1
            return
        _expect(window, ",")
        window.position += 1


def _expect(window: "_Window", character: str) -> None:
    found = window.next()
    if found != character:
        raise ValueError(f"{found or 'the end'!r} is where {character or 'the end'!r} should be")


class _Window:
    """A part of the text that moves on."""

    def __init__(self, text: TextIO) -> None:
        self._file = text
        self._decoder = json.JSONDecoder(parse_float=Decimal)
        self.text = text.read(WINDOW)
        self.position = 0

    def next(self) -> str:
        """Move to the next character that is no blank and return it; empty at the end."""
        if (here := self.text[self.position : self.position + 1]) in _MARKS:
            return here
        while True:
            blank = _BLANK.match(self.text, self.position)
            self.position = self.position if blank is None else blank.end()
            if self.position < len(self.text) or not self._read_on():
                return self.text[self.position : self.position + 1]

    def take(self) -> Mapping[str, Any]:
        """Return the object that begins here, and move behind it."""
        if (found := self.next()) != "{":
            raise ValueError(f"{found or 'the end'!r} is where an object should be")
        while True:
            try:
                value, self.position = self._decoder.raw_decode(self.text, self.position)
            except ValueError:
                # It may only be cut off by the window's end.
                if not self._read_on():
                    raise
            else:
                taken: Mapping[str, Any] = value
                return taken

    def finish_object(self) -> None:
        """Read what follows the array in the object that holds it: more members, or nothing."""
        while self._read_on():
            pass
        rest = self.text[self.position :].strip()
        members = json.loads(f"{{{rest.removeprefix(',')}" if rest != "}" else "{}")
        if not _LISTS.isdisjoint(members):
            raise ValueError("it has a second list of events")

    def _read_on(self) -> bool:
        """Drop what was read and add what follows; return whether anything does."""
        more = self._file.read(WINDOW)
        self.text, self.position = self.text[self.position :] + more, 0
        if len(self.text) > LARGEST:
            raise ValueError(f"an object has more than {LARGEST} characters")
        return bool(more)
