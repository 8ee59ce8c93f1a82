"""What a setting declares about itself, once, next to its type and default: its sentence, its range, how it is read.

The reader of the configuration parses a key by this, and the documents and the chart are generated from it. The
declaration of a group is the metadata of its dataclass fields.
"""

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, TypeVar

T = TypeVar("T")


class Group:
    """A group of settings: a frozen dataclass with `eq=False` and `repr=False`, which has these methods instead.

    `dataclass` would compile them for each group anew. With these, a short command such as `healthcheck` starts faster.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        named = (f"{each.name}={getattr(self, each.name)!r}" for each in fields(self))  # type: ignore[arg-type]
        return f"{type(self).__qualname__}({', '.join(named)})"

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, each.name) for each in fields(self))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One key of the configuration."""

    sentence: str
    """What the key changes, and when to change it."""
    least: Any = None
    most: Any = None
    """The range of a number or a duration, both ends included."""
    because: str = ""
    """Why no duration outside the range makes sense; completes the message about one."""
    parser: Callable[[Any], Any] | None = None
    """Reads the value. Without one the key's type decides: a boolean, a word of an enum, a number or a duration."""
    allowed: str = ""
    """The range in words, in Markdown, for a key with a parser."""
    missing: str = ""
    """What to do when the key is missing; empty for a key with a default."""


def setting(sentence: str, **declared: Any) -> Mapping[str, Any]:
    """Return the metadata of a field that is a setting; the arguments are the members of `Declaration`."""
    return {"setting": Declaration(sentence=sentence, **declared)}


def key(default: T, sentence: str, **declared: Any) -> T:
    """Return the field of a setting with a default; the further arguments are those of `setting`."""
    return field(default=default, metadata=setting(sentence, **declared))


def declaration_of(member: Field[Any]) -> Declaration:
    """Return what a field of a group declares."""
    declaration: Declaration = member.metadata["setting"]
    return declaration
