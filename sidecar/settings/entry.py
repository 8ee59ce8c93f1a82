"""An entry of the configuration as written: its text, its kind in YAML, and its place.

Loads no YAML package: the types of the settings and their parsers need only entries.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

_SHOWN = 60
"""Characters of a value that a problem shows."""


class Kind(Enum):
    """The kind of an entry in YAML 1.1."""

    TEXT = auto()
    WHOLE = auto()
    TRUTH = auto()
    NOTHING = auto()  # null, ~ or no value at all
    OTHER = auto()  # a fraction, a date, binary or a foreign tag
    VARIABLE = auto()  # text that an environment variable holds; the type of its key reads it
    LIST = auto()
    MAP = auto()


@dataclass(frozen=True, slots=True)
class Entry:
    """One node of the file, or the value of a variable."""

    kind: Kind
    where: str
    text: str = ""
    """A scalar as written, without quotes."""
    items: tuple["Entry", ...] = ()
    members: Mapping[str, "Entry"] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The value for a person, short, with quotes where it is text."""
        match self.kind:
            case Kind.TEXT | Kind.VARIABLE:
                return quote(self.text)
            case Kind.LIST:
                return f"a list of {len(self.items)}"
            case Kind.MAP:
                return "a mapping"
            case Kind.NOTHING:
                return "null"
            case Kind.WHOLE | Kind.TRUTH | Kind.OTHER:
                return quote(self.text)[1:-1]


def quote(text: str) -> str:
    """Return text in quotes, short, with control characters escaped and an address with credentials hidden."""
    if "://" in text and "@" in text:
        return "'***'"
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
