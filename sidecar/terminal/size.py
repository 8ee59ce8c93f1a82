"""The present size of a terminal. Ignores COLUMNS: a shell sets it once, and the window may be resized later."""

import os
from typing import TextIO

_USUAL = os.terminal_size((80, 24))


def size_of(stream: TextIO | int) -> os.terminal_size:
    """Return columns and lines of the terminal behind `stream`, 80x24 for what has no size."""
    try:
        found = os.get_terminal_size(stream if isinstance(stream, int) else stream.fileno())
    except (OSError, ValueError):
        return _USUAL
    return os.terminal_size((found.columns or _USUAL.columns, found.lines or _USUAL.lines))


def columns_of(stream: TextIO) -> int:
    """Return the columns of a line that does not touch the terminal's edge, where some terminals wrap."""
    return max(size_of(stream).columns - 1, 1)
