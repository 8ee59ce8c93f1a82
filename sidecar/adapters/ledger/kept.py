"""Values that the ledger keeps one of, as JSON by the types of their fields: the proof for the next process."""

import json
import sqlite3
from dataclasses import MISSING, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from sidecar.adapters.ledger.store import Store, recall
from sidecar.domain import timestamps

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def write_kept(store: Store, key: str, value: "DataclassInstance") -> None:
    """Keep `value` in place of what was there."""
    members = {field.name: getattr(value, field.name) for field in fields(value)}
    store.remember(key, json.dumps(members, default=timestamps.render))


def read_kept(connection: sqlite3.Connection, key: str, kind: type[T]) -> T | None:
    """Return what was kept last, or None; what is not a value of `kind` counts as none, for it proves nothing."""
    text = recall(connection, key)
    if text is None:
        return None
    try:
        kept, types = json.loads(text), get_type_hints(kind)
        # A field with a default may be missing: an earlier version did not know it.
        known = [field.name for field in fields(kind) if field.default is MISSING or field.name in kept]
        return kind(**{name: _read(types[name], kept[name]) for name in known})
    except (ValueError, KeyError, TypeError):
        return None


def _read(annotation: Any, value: Any) -> Any:
    options = get_args(annotation)
    if options and value is None:
        return None
    kind = options[0] if options else annotation
    if kind is datetime:
        return datetime.fromisoformat(value)
    return value is True if kind is bool else kind(value)
