"""Log lines for a person: time, level and event in columns, then what else there is to say.

Sentences stand below the line that they explain, tracebacks below these. Nothing in it drives the terminal.
"""

from collections.abc import Mapping
from typing import Any

from sidecar.terminal.colours import Colour, Paint
from sidecar.terminal.text import pad, printable

_LEVELS = {
    "debug": Colour.QUIET,
    "info": Colour.GOOD,
    "warning": Colour.DOUBTFUL,
    "error": Colour.BAD,
    "critical": Colour.BAD,
}
_EVENT = 26
_SENTENCES = ("detail", "why", "cure")
"""Keys whose values are sentences."""
_PLACED = frozenset({"timestamp", "level", "event", "exception", "stack"})
_INDENT = " " * len("10:20:00Z warning ")
_CLOCK = slice(len("2026-11-23T"), len("2026-11-23T10:20:00"))


class ConsoleLines:
    """Renders events."""

    def __init__(self, paint: Paint) -> None:
        self._paint = paint

    def __call__(self, _logger: Any, _method: str, event: Mapping[str, Any]) -> str:
        """Return the line of an event, without its end."""
        level = str(event.get("level", ""))
        said = {name: value for name, value in event.items() if name not in _PLACED and value is not None}
        sentences = [name for name in _SENTENCES if said.get(name)]
        words = " ".join(
            f"{self._paint(f'{printable(name)}=', Colour.QUIET)}{_shown(value)}"
            for name, value in said.items()
            if name not in _SENTENCES
        )
        parts = [
            self._paint(f"{str(event.get('timestamp', ''))[_CLOCK]}Z", Colour.QUIET),
            self._paint(pad(level, len("warning")), _LEVELS.get(level, Colour.NAME)),
            self._paint(pad(printable(str(event.get("event", ""))), _EVENT if words else 0), Colour.NAME),
        ]
        told = [f"{_INDENT}{self._paint(f'{name}:', Colour.QUIET)} {printable(str(said[name]))}" for name in sentences]
        below = [str(event[name]) for name in ("stack", "exception") if event.get(name)]
        trace = [printable(line) for text in below for line in text.splitlines()]
        return "\n".join([f"{' '.join(parts)} {words}".rstrip(), *told, *trace])


def _shown(value: object) -> str:
    """Return a value as people write it; one with spaces is told from the next key by quotes."""
    text = printable(str(value))
    return f'"{text}"' if " " in text or not text else text
