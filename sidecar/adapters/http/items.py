"""Items of a large body, decoded one after the other: memory grows with one item, not with the body.

Decoded JSON takes up to forty times the bytes that carry it. The readers here hold one window of text at a time and
yield each item before they read the next one. A consumer that stops early leaves the rest of the body unread.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from json import JSONDecodeError
from types import TracebackType
from typing import Self

from sidecar.adapters.http.decoding import DECODER, decode_text
from sidecar.adapters.http.problems import HttpProblem, ProblemKind
from sidecar.domain.metering.events import InvalidUsage, UsageFault

MOST_ITEMS = 10_000
"""Items of one body."""
LARGEST_ITEM = 64 * 1024
"""Characters of one item of a large body: more than twice what a usage event with every member at its limit has."""

_WINDOW = 6 * LARGEST_ITEM
"""Bytes that are decoded at a time. They are at least 1.5 times `LARGEST_ITEM` in characters, so an item fits."""
_CUT_TOKEN = 16
"""How near to the end of a window a cut can cause an error: the longest token that it breaks is a pair of escapes."""
_MOST_LINES_NAMED = 10

_SPACE = re.compile(r"[ \t\n\r]*")
_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")
_SPACE_BYTES = re.compile(rb"[ \t\n\r]*")


def bounded(items: Iterable[object]) -> Iterator[object]:
    """Yield the items of a batch.

    Raises:
        HttpProblem: too-large: there are more than `MOST_ITEMS`.
    """
    for index, item in enumerate(items):
        if index == MOST_ITEMS:
            raise _too_many()
        yield item


def decode_one(body: bytes) -> object:
    """Return the one JSON value of a large body; raises HttpProblem (malformed, with the position, or too-large)."""
    with _Text(body) as text:
        value = text.value("the document")
        text.end()
    return value


def decode_array(body: bytes, otherwise: str) -> Iterator[object]:
    """Yield the items of a large body that is an array; `otherwise` is the reason of the fault for another value.

    Raises:
        HttpProblem: malformed, with the position, or too-large.
        InvalidUsage: The body is another JSON value.
    """
    with _Text(body) as text:
        if text.peek() == "[":
            yield from _array(text)
            text.end()
            return
        text.value("the document")
        text.end()
    raise InvalidUsage([UsageFault(0, "item", otherwise)])


def decode_items(body: bytes) -> Iterator[object]:
    """Yield the items of an array or of `{"events": [...]}`, or the one event that a large body is.

    Raises:
        HttpProblem: malformed, with the position, or too-large.
        InvalidUsage: There are members other than `events`, or `events` is no array.
    """
    with _Text(body) as text:
        match text.peek():
            case "[":
                yield from _array(text)
            case "{":
                yield from _object(text)
            case _:
                yield text.value("the document")
        text.end()


def decode_lines(body: bytes) -> Iterator[object]:
    """Yield the JSON value of each line of `body`; blank lines are passed over.

    Raises:
        HttpProblem: malformed, which names the lines that cannot be read, or too-large.
    """
    bad: list[str] = []
    faults = lines = 0
    start = 0
    try:
        start = _begin(body)
    except ValueError as fault:
        raise HttpProblem(ProblemKind.MALFORMED, f"the body is not NDJSON: {fault}") from None
    while start < len(body) and lines < MOST_ITEMS:
        lines += 1
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        if end - start > LARGEST_ITEM:
            raise _too_long(f"line {_line_of(body, start)}")
        try:
            value = decode_text(body[start:end].decode())
        except ValueError as fault:
            faults += 1
            if len(bad) < _MOST_LINES_NAMED:
                reason = _not_utf8(fault, start) if isinstance(fault, UnicodeDecodeError) else fault
                bad.append(f"line {_line_of(body, start)}: {reason}")
        else:
            if not faults:
                yield value
        start = _past_space(body, end)
    if faults:
        unnamed = faults - len(bad)
        least = "at least " if start < len(body) else ""
        more = f"; and {least}{unnamed} more" if unnamed else ""
        raise HttpProblem(ProblemKind.MALFORMED, f"the body is not NDJSON: {'; '.join(bad)}{more}")
    if start < len(body):
        raise _too_many()


def _array(text: "_Text") -> Iterator[object]:
    text.take("[", "Expecting value")
    if text.peek() != "]":
        yield text.value("item 0")
        index = 1
        while True:
            for item in text.following():
                yield item
                index += 1
            if text.peek() != ",":
                break
            text.take(",", "")
            yield text.value(f"item {index}")
            index += 1
    text.take("]", "Expecting ',' delimiter")


def _object(text: "_Text") -> Iterator[object]:
    """Yield the items of the member `events`; without it, yield the object as the one event that it is."""
    members: dict[str, object] = {}
    wraps = False
    spent = 0
    text.take("{", "Expecting value")
    while text.peek() != "}":
        if members or wraps:
            text.take(",", "Expecting ',' delimiter")
        began_at = text.offset
        name = text.name()
        text.take(":", "Expecting ':' delimiter")
        if name in members or (wraps and name == "events"):
            raise ValueError("an object has the same member twice")
        if name == "events":
            wraps = True
            is_array = text.peek() == "["
            if members or not is_array:
                raise InvalidUsage([*strangers(members), *([] if is_array else [NO_ARRAY])])
            yield from _array(text)
            continue
        members[name] = text.value("the document")
        spent += text.offset - began_at
        if spent > LARGEST_ITEM:
            raise _too_long("the document")
    text.take("}", "")
    if wraps and members:
        raise InvalidUsage(strangers(members))
    if not wraps:
        yield members


NO_ARRAY = UsageFault(0, "events", "must be an array")


def strangers(names: Iterable[str]) -> list[UsageFault]:
    """Return a fault for each member other than `events`."""
    return [UsageFault(0, name, "unknown member; only `events` is allowed") for name in names]


class _Text:
    """A body under a window that moves ahead; as a context it turns ValueError into the problem `malformed`."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._window = ""
        self._at = 0
        self._begin = 0
        """The byte of the body with which the window begins."""
        self._end = 0
        """The byte after the window."""
        self._passed = 0
        """Characters of windows that are left behind."""

    def __enter__(self) -> Self:
        try:
            _begin(self._body)
        except ValueError as fault:
            raise _malformed(fault) from None
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(fault, ValueError):
            raise _malformed(fault) from None

    @property
    def offset(self) -> int:
        """How many characters lie behind, apart from long white space."""
        return self._passed + self._at

    def peek(self) -> str:
        """Pass over white space and return the next character, which stays; an empty string at the end."""
        self._skip()
        return self._window[self._at : self._at + 1]

    def take(self, character: str, otherwise: str) -> None:
        """Pass over white space and `character`; `otherwise` is what is wrong where it is another one.

        Raises:
            ValueError: It is another one; the message has the position.
        """
        if self.peek() != character:
            raise self._wrong(otherwise, self._at)
        self._at += 1

    def name(self) -> str:
        """Return the name of a member.

        Raises:
            ValueError: It is missing; the message has the position.
            HttpProblem: too-large.
        """
        name = self.value("the document") if self.peek() == '"' else None
        if not isinstance(name, str):
            raise self._wrong("Expecting property name enclosed in double quotes", self._at)
        return name

    def value(self, what: str) -> object:
        """Return the next JSON value; `what` names it.

        Raises:
            ValueError: It is missing; the message has the position.
            HttpProblem: too-large.
        """
        self._skip()
        self._fill()
        is_cut = self._end < len(self._body)
        value: object
        try:
            value, end = DECODER.raw_decode(self._window, self._at)
        except JSONDecodeError as fault:
            near_end = fault.pos > len(self._window) - _CUT_TOKEN or fault.msg.startswith("Unterminated string")
            if is_cut and near_end:
                raise _too_long(what) from None
            raise self._wrong(fault.msg, fault.pos) from None
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        if end - self._at > LARGEST_ITEM:
            raise _too_long(what)
        self._at = end
        return value

    def following(self) -> Iterator[object]:
        """Yield the values that follow after commas and lie whole in the window; the first odd one is left to `value`.

        This is the short way for the many items of a plain batch; it reports nothing.
        """
        window = self._window
        until = len(window) if self._end == len(self._body) else len(window) - LARGEST_ITEM
        while (comma := _COMMA.match(window, self._at)) is not None and comma.end() < until:
            value: object
            try:
                value, end = DECODER.raw_decode(window, comma.end())
            except (ValueError, RecursionError):
                return
            if end - comma.end() > LARGEST_ITEM:
                return
            self._at = end
            yield value

    def end(self) -> None:
        """Check that nothing but white space is left.

        Raises:
            ValueError: More follows; the message has the position.
        """
        if self.peek():
            raise self._wrong("Extra data", self._at)

    def _skip(self) -> None:
        found = _SPACE.match(self._window, self._at)
        self._at = self._at if found is None else found.end()
        if self._at < len(self._window) or self._end == len(self._body):
            return
        # Mebibytes of white space are passed over where they are, not window by window.
        self._passed += self._at
        self._begin = self._end = _past_space(self._body, self._end)
        self._window, self._at = "", 0
        self._fill()

    def _fill(self) -> None:
        """Move the window ahead unless it holds a whole item or all that is left."""
        if self._end == len(self._body) or len(self._window) - self._at > LARGEST_ITEM:
            return
        behind = self._window[: self._at]
        self._begin += len(behind) if behind.isascii() else len(behind.encode())
        self._passed += self._at
        part = self._body[self._begin : self._begin + _WINDOW]
        try:
            self._window, used = codecs.utf_8_decode(part, "strict", self._begin + len(part) == len(self._body))
        except UnicodeDecodeError as fault:
            raise ValueError(_not_utf8(fault, self._begin)) from None
        self._at = 0
        self._end = self._begin + used

    def _wrong(self, message: str, position: int) -> ValueError:
        byte = self._begin + len(self._window[:position].encode())
        line_begin = self._body.rfind(b"\n", 0, byte) + 1
        column = len(self._body[line_begin:byte].decode(errors="replace")) + 1
        return ValueError(f"{message} at line {_line_of(self._body, byte)} column {column}")


def _begin(body: bytes) -> int:
    """Return where the text of a body begins."""
    start = _past_space(body, 0)
    if start == len(body):
        raise ValueError("it is empty")
    if body.startswith(codecs.BOM_UTF8):
        raise ValueError("it begins with a byte order mark")
    return start


def _past_space(body: bytes, start: int) -> int:
    found = _SPACE_BYTES.match(body, start)
    return start if found is None else found.end()


def _line_of(body: bytes, byte: int) -> int:
    return body.count(b"\n", 0, byte) + 1


def _not_utf8(fault: UnicodeDecodeError, begin: int) -> str:
    return f"byte {begin + fault.start} is not UTF-8"


def _malformed(fault: ValueError) -> HttpProblem:
    return HttpProblem(ProblemKind.MALFORMED, f"the body is not JSON: {fault}")


def _too_long(what: str) -> HttpProblem:
    return HttpProblem(
        ProblemKind.TOO_LARGE, f"{what} has over {LARGEST_ITEM} characters, more than any usage event needs"
    )


def _too_many() -> HttpProblem:
    return HttpProblem(
        ProblemKind.TOO_LARGE, f"a batch holds at most {MOST_ITEMS} events: send the events in several batches"
    )
