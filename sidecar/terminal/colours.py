"""Colours, where they are wanted: on a terminal that has them, and not against NO_COLOR (no-color.org)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TextIO


class Colour(StrEnum):
    """What a colour says, as the parameters of an SGR sequence."""

    GOOD = "32"  # green
    DOUBTFUL = "33"  # yellow
    BAD = "31;1"  # bold red
    QUIET = "2"  # faint
    NAME = "1"  # bold


@dataclass(frozen=True, slots=True)
class Paint:
    """Colours text, or leaves it as it is."""

    on: bool

    def __call__(self, text: str, colour: Colour) -> str:
        """Return `text` in a colour."""
        return f"\033[{colour}m{text}\033[0m" if self.on and text else text


def wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a terminal of this environment is to have colours."""
    return not environ.get("NO_COLOR") and not is_dumb(environ)


def is_dumb(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the terminal can do no more than take one line after the other."""
    return environ.get("TERM", "dumb") in {"dumb", ""}


def paint_for(stream: TextIO) -> Paint:
    """Return the paint for what is written to `stream`."""
    return Paint(stream.isatty() and wanted())
