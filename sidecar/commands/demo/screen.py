"""The output of the demonstration."""

import sys
from collections.abc import Iterator

from sidecar.terminal.colors import Color, paint_for
from sidecar.terminal.size import columns_of
from sidecar.terminal.text import fit, width, wrap

_INDENT = "       "
"""Of the further lines of a text, below its first word."""


class Screen:
    """The output of the demonstration: colored on a terminal, plain lines in a log."""

    def __init__(self) -> None:
        self._paint = paint_for(sys.stdout)
        self._step = 0

    def step(self, text: str) -> None:
        """Print the title of the next step."""
        self._step += 1
        self._print(f"\n{self._step}. {text}", Color.NAME)

    def note(self, text: str) -> None:
        """Print what happens."""
        self._print(f"   {text}")

    def good(self, text: str) -> None:
        """Print a result that is right."""
        self._print(f"   ok  {text}", Color.GOOD)

    def bad(self, text: str) -> None:
        """Print a result that is wrong."""
        self._print(f"   BAD {text}", Color.BAD)

    def progress(self, text: str) -> None:
        """Show progress: one line that changes on a terminal, nothing in a log."""
        if self._paint.on:
            sys.stdout.write(f"\r\033[K{fit(f'   {text}', columns_of(sys.stdout))}")
            sys.stdout.flush()

    def _print(self, text: str, color: Color | None = None) -> None:
        over = "\r\033[K" if self._paint.on else ""
        for line in self._lines(text):
            sys.stdout.write(f"{over}{line if color is None else self._paint(line, color)}\n")
        sys.stdout.flush()

    def _lines(self, text: str) -> Iterator[str]:
        """Yield the text in lines that fit the terminal, indented like the first; a log gets one line."""
        columns = columns_of(sys.stdout)
        if not sys.stdout.isatty() or width(text) <= columns:
            yield text
            return
        body = text.lstrip()
        start = text[: len(text) - len(body)]
        if "\n" in start:
            yield ""
            start = start.rpartition("\n")[2]
        for line in wrap(body, columns - len(start)):
            yield f"{start}{line}"
            start = " " * len(_INDENT)
