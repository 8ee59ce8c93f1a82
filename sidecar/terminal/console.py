"""Log lines for people: time, level and event in columns, then the other keys.

Sentences follow on lines below, then tracebacks. On a terminal a line breaks between words and values, unless one of
them is wider than the terminal. No value can contain a control sequence.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sidecar.terminal.colors import Color, Paint
from sidecar.terminal.text import pad, printable, width, wrap

_LEVELS = {
    "debug": Color.QUIET,
    "info": Color.GOOD,
    "warning": Color.DOUBTFUL,
    "error": Color.BAD,
    "critical": Color.BAD,
}
_EVENT = 26
_SENTENCES = ("detail", "why", "cure")
"""Keys with a sentence as the value."""
_PLACED = frozenset({"timestamp", "level", "event", "exception", "stack"})
_INDENT = " " * len("10:20:00Z warning ")
_NARROWEST = 30
"""Least columns for text behind the indentation, even on a narrower terminal."""
_CLOCK = slice(len("2026-11-23T"), len("2026-11-23T10:20:00"))


class ConsoleLines:
    """Renders events."""

    def __init__(self, paint: Paint, columns: Callable[[], int] | None = None) -> None:
        """Render for the number of columns that `columns` returns; None breaks no line, for files."""
        self._paint = paint
        self._columns = columns

    def __call__(self, _logger: Any, _method: str, event: Mapping[str, Any]) -> str:
        """Return the line of an event, without its end."""
        level = str(event.get("level", ""))
        values = {name: value for name, value in event.items() if name not in _PLACED and value is not None}
        sentences = [name for name in _SENTENCES if values.get(name)]
        pairs = [(f"{printable(name)}=", _shown(value)) for name, value in values.items() if name not in _SENTENCES]
        columns = None if self._columns is None else max(self._columns(), len(_INDENT) + _NARROWEST)
        head = len(_INDENT) + max(_EVENT, width(printable(str(event.get("event", ""))))) + 1
        words = self._words(pairs, head, columns)
        parts = [
            self._paint(f"{str(event.get('timestamp', ''))[_CLOCK]}Z", Color.QUIET),
            self._paint(pad(level, len("warning")), _LEVELS.get(level, Color.NAME)),
            self._paint(pad(printable(str(event.get("event", ""))), _EVENT if pairs else 0), Color.NAME),
        ]
        explained = [line for name in sentences for line in self._sentence(name, printable(str(values[name])), columns)]
        below = [str(event[name]) for name in ("stack", "exception") if event.get(name)]
        trace = [printable(line) for text in below for line in text.splitlines()]
        return "\n".join([f"{' '.join(parts)} {words}".rstrip(), *explained, *trace])

    def _words(self, pairs: Sequence[tuple[str, str]], head: int, columns: int | None) -> str:
        """Return the pairs behind the event, each in one piece; those that do not fit go on lines below."""
        text, at = "", head
        for name, value in pairs:
            cells = width(name) + width(value)
            if columns is not None and at > len(_INDENT) and at + cells > columns:
                text, at = f"{text.rstrip()}\n{_INDENT}", len(_INDENT)
            text += f"{self._paint(name, Color.QUIET)}{value} "
            at += cells + 1
        return text.rstrip()

    def _sentence(self, name: str, text: str, columns: int | None) -> list[str]:
        lines = [text] if columns is None else list(wrap(f"{name}: {text}", columns - len(_INDENT)))
        first = lines[0] if columns is None else lines[0].removeprefix(f"{name}:").lstrip()
        return [
            f"{_INDENT}{self._paint(f'{name}:', Color.QUIET)} {first}",
            *(f"{_INDENT}{line}" for line in lines[1:]),
        ]


def _shown(value: object) -> str:
    """Return a value for people; quotes separate one with spaces from the next key."""
    text = printable(str(value))
    return f'"{text}"' if " " in text or not text else text
