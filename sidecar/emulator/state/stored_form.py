"""Entries as JSON, and back, by their field types.

Refuses what it did not write. Invariant: reading what was written gives an equal entry.
"""

from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from sidecar.emulator.protocol.instants import format_instant, parse_instant
from sidecar.emulator.state.entries import Entry

_KINDS: dict[str, type[Entry]] = {kind.__name__: kind for kind in get_args(Entry)}


def write_entry(entry: Entry) -> dict[str, Any]:
    """Make an object of JSON types, the entry's kind under `kind`."""
    written: dict[str, Any] = _write(entry)
    return {"kind": type(entry).__name__, **written}


def read_entry(stored: Any) -> Entry:
    """Read what `write_entry` made; raises ValueError."""
    try:
        members = dict(stored)
        kind = _KINDS[members.pop("kind")]
        entry: Entry = _read(kind, members)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"is not an entry of this emulator: {error!r}") from error
    return entry


def _write(value: Any) -> Any:
    if is_dataclass(value):
        return {item.name: _write(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, datetime):
        return format_instant(value)
    if isinstance(value, tuple):
        return [_write(item) for item in value]
    return value


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(annotation: Any, value: Any) -> Any:
    if isinstance(annotation, UnionType):
        return None if value is None else _read(get_args(annotation)[0], value)
    if get_origin(annotation) is tuple:
        return tuple(_read(get_args(annotation)[0], item) for item in value)
    if annotation is datetime:
        return parse_instant(value)
    if is_dataclass(annotation) and isinstance(annotation, type):
        hints = _hints(annotation)
        return annotation(**{name: _read(hints[name], item) for name, item in value.items()})
    return value
