"""The entitlements of a customer in AWS's members, in a control request and in a seed file.

Refuses an unknown member and a value outside the service model; the message has the member, the value and what is
allowed.
"""

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sidecar.emulator.protocol.instants import format_instant, read_instant
from sidecar.emulator.state.entries import CustomerEntitlement

_MEMBERS = ("Dimension", "Value", "ExpirationDate")
KINDS = ("IntegerValue", "DoubleValue", "BooleanValue", "StringValue")
"""The members of a value, of which it has one."""
_LARGEST_INTEGER = 2**31 - 1
_LARGEST_DOUBLE = sys.float_info.max


def read_entitlements(value: Any) -> tuple[CustomerEntitlement, ...]:
    """Read a list of entitlements.

    Raises:
        ValueError: A member is missing, unknown or not valid; the message begins with its path.
    """
    if not isinstance(value, list):
        raise ValueError(f"entitlements: {value!r}: must be a list")  # noqa: TRY004 - a fault of the document
    return tuple(_read(f"entitlements[{index}]", each) for index, each in enumerate(value))


def show_entitlement(entitlement: CustomerEntitlement) -> dict[str, Any]:
    """Return an entitlement in the members that `read_entitlements` takes."""
    shown: dict[str, Any] = {"Dimension": entitlement.dimension, "Value": {entitlement.kind: entitlement.value}}
    if entitlement.expires_at is not None:
        shown["ExpirationDate"] = format_instant(entitlement.expires_at)
    return shown


def _read(path: str, given: Any) -> CustomerEntitlement:
    if not isinstance(given, dict):
        raise ValueError(f"{path}: {given!r}: must be an object")  # noqa: TRY004 - a fault of the document
    for name in given.keys() - set(_MEMBERS):
        raise ValueError(f"{path}.{name}: {given[name]!r}: is not a member; allowed are {', '.join(_MEMBERS)}")
    dimension = given.get("Dimension")
    if not isinstance(dimension, str) or not dimension.strip():
        raise ValueError(f"{path}.Dimension: {dimension!r}: must be the name of a dimension")
    kind, value = _read_value(f"{path}.Value", given.get("Value"))
    return CustomerEntitlement(dimension, kind, value, _read_expiration(f"{path}.ExpirationDate", given))


def _read_value(path: str, given: Any) -> tuple[str, int | float | bool | str]:
    if not isinstance(given, dict) or len(given) != 1 or not given.keys() <= set(KINDS):
        raise ValueError(f"{path}: {given!r}: must be an object with exactly one of {', '.join(KINDS)}")
    ((kind, value),) = given.items()
    match kind, value:
        case ("BooleanValue", bool()) | ("StringValue", str()):
            return kind, value
        case "IntegerValue", int() if not isinstance(value, bool) and abs(value) <= _LARGEST_INTEGER:
            return kind, value
        case "DoubleValue", int() | float() if not isinstance(value, bool) and abs(value) <= _LARGEST_DOUBLE:
            return kind, float(value)
        case _:
            allowed = {
                "BooleanValue": "true or false",
                "StringValue": "text",
                "IntegerValue": f"an integer from -{_LARGEST_INTEGER} to {_LARGEST_INTEGER}",
                "DoubleValue": "a finite number",
            }
            raise ValueError(f"{path}.{kind}: {value!r}: must be {allowed[kind]}")


def _read_expiration(path: str, given: Mapping[str, Any]) -> datetime | None:
    value = given.get("ExpirationDate")
    if value is None:
        return None
    try:
        return read_instant(value)
    except ValueError as error:
        raise ValueError(f"{path}: {value!r}: {error}") from error
