"""Colors, on terminals that support them and without NO_COLOR (no-color.org)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TextIO


class Color(StrEnum):
    """The meaning of a color; the value is the parameters of its SGR sequence."""

    GOOD = "32"  # green
    DOUBTFUL = "33"  # yellow
    BAD = "31;1"  # bold red
    QUIET = "2"  # faint
    NAME = "1"  # bold


@dataclass(frozen=True, slots=True)
class Paint:
    """Colors text, or returns it unchanged."""

    on: bool

    def __call__(self, text: str, color: Color) -> str:
        """Return `text` in a color."""
        return f"\033[{color}m{text}\033[0m" if self.on and text else text


def wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether output on a terminal of this environment has colors."""
    return not environ.get("NO_COLOR") and not is_dumb(environ)


def is_dumb(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether the terminal only prints line after line, without cursor movement."""
    return environ.get("TERM", "dumb") in {"dumb", ""}


def paint_for(stream: TextIO) -> Paint:
    """Return the paint for text that goes to `stream`."""
    return Paint(stream.isatty() and wanted())
