"""The shapes of the four requests, and the check of a JSON value against them.

Refuses to judge meaning: it knows types, lengths and patterns only. The bounds of allocations and tags are left to
the rules, because the service has errors of its own for them; only an empty list of tags is refused here. Invariant:
what `check` returns holds no unknown member, no null and no text that cannot be written as UTF-8.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.instants import EPOCH
from sidecar.emulator.rules.quantities import DECIMAL_PATTERN


@dataclass(frozen=True)
class Text:
    """A string of `least` to `most` characters that matches `pattern` in full."""

    least: int = 0
    most: int | None = None
    pattern: re.Pattern[str] | None = None


@dataclass(frozen=True)
class Whole:
    """An integer from `least` to `most`."""

    least: int = 0
    most: int = 2_147_483_647


@dataclass(frozen=True)
class Flag:
    """True or false."""


@dataclass(frozen=True)
class Instant:
    """A point in time, on the wire seconds since 1970."""


@dataclass(frozen=True)
class Many:
    """A list of `least` to `most` items."""

    item: "Shape"
    most: int | None = None
    least: int = 0


@dataclass(frozen=True)
class Structure:
    """An object; members that it does not name are ignored, as the service ignores them.

    A closed one is a map with known keys: it takes no other.
    """

    members: Mapping[str, "Shape"]
    required: frozenset[str] = field(default_factory=frozenset)
    closed: bool = False


Shape = Text | Whole | Flag | Instant | Many | Structure

_PRODUCT_CODE = Text(0, 255, re.compile(r"[-a-zA-Z0-9/=:_.@]*"))
_DIMENSION = Text(1, 255)
_DECIMAL = Text(1, 17, DECIMAL_PATTERN)
ARN = re.compile(
    r"arn:aws[a-zA-Z-]*:[A-Za-z0-9][A-Za-z0-9_/.-]{0,62}:[A-Za-z0-9_/.-]{0,63}:[A-Za-z0-9_/.-]{0,63}"
    r":[A-Za-z0-9][A-Za-z0-9:_/+=,@.-]{0,1023}"
)
"""The name of any of AWS's resources, the same text in every service model."""
_TAG = Structure({"Key": Text(), "Value": Text()}, frozenset({"Key", "Value"}))
_ALLOCATION = Structure(
    {"AllocatedUsageQuantity": Whole(), "AllocatedUsageQuantityAsDecimal": _DECIMAL, "Tags": Many(_TAG, least=1)}
)
CUSTOMER: Mapping[str, Shape] = {
    "CustomerIdentifier": Text(0, 255),
    "CustomerAWSAccountId": Text(1, 255, re.compile(r"[0-9]+")),
    "LicenseArn": Text(pattern=ARN),
}
"""The members that name a customer, wherever they appear."""

_USAGE_RECORD = Structure(
    {
        "Timestamp": Instant(),
        "Dimension": _DIMENSION,
        "Quantity": Whole(),
        "QuantityAsDecimal": _DECIMAL,
        "UsageAllocations": Many(_ALLOCATION),
        **CUSTOMER,
    },
    frozenset({"Timestamp", "Dimension"}),
)

REQUESTS: Mapping[str, Structure] = {
    "RegisterUsage": Structure(
        {"ProductCode": _PRODUCT_CODE, "PublicKeyVersion": Whole(1), "Nonce": Text(0, 255)},
        frozenset({"ProductCode", "PublicKeyVersion"}),
    ),
    "MeterUsage": Structure(
        {
            "ProductCode": _PRODUCT_CODE,
            "Timestamp": Instant(),
            "UsageDimension": _DIMENSION,
            "UsageQuantity": Whole(),
            "UsageQuantityAsDecimal": _DECIMAL,
            "DryRun": Flag(),
            "UsageAllocations": Many(_ALLOCATION),
            "ClientToken": Text(1, 64),
        },
        frozenset({"ProductCode", "Timestamp", "UsageDimension"}),
    ),
    "BatchMeterUsage": Structure(
        {"ProductCode": _PRODUCT_CODE, "UsageRecords": Many(_USAGE_RECORD, 25)}, frozenset({"UsageRecords"})
    ),
    "ResolveCustomer": Structure({"RegistrationToken": Text(1)}, frozenset({"RegistrationToken"})),
}
"""The request of each operation, from the service model."""

_CALENDAR_START_S = -62_135_596_800
_CALENDAR_END_S = 253_402_300_800


def check(shape: Shape, value: Any) -> Any:
    """Return the value with nulls and unknown members left out and timestamps as datetimes.

    Messages name the place of a fault but never the value, which may be a secret.

    Raises:
        ServiceError: SerializationException for a wrong type, ValidationException that lists every broken bound.
    """
    faults: list[str] = []
    checked = _check(shape, value, "", faults)
    if faults:
        count = f"{len(faults)} validation error{'s' if len(faults) > 1 else ''} detected: "
        raise ServiceError("ValidationException", count + "; ".join(faults[:50]))
    return checked


def _check(shape: Shape, value: Any, path: str, faults: list[str]) -> Any:
    match shape:
        case Text():
            return _check_text(shape, value, path, faults)
        case Whole():
            return _check_whole(shape, value, path, faults)
        case Flag():
            return _check_flag(value, path)
        case Instant():
            return _check_instant(value, path)
        case Many():
            return _check_many(shape, value, path, faults)
        case Structure():
            return _check_structure(shape, value, path, faults)


def _check_text(shape: Text, value: Any, path: str, faults: list[str]) -> str:
    if not isinstance(value, str):
        raise _wrong_type(path, "a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _wrong_type(path, "Unicode text") from error
    if len(value) < shape.least:
        faults.append(f"Value at '{path}' must have at least {shape.least} characters")
    elif shape.most is not None and len(value) > shape.most:
        faults.append(f"Value at '{path}' must have at most {shape.most} characters")
    elif shape.pattern is not None and shape.pattern.fullmatch(value) is None:
        faults.append(f"Value at '{path}' must match {shape.pattern.pattern}")
    return value


def _check_whole(shape: Whole, value: Any, path: str, faults: list[str]) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(path, "an integer")
    if not shape.least <= value <= shape.most:
        faults.append(f"Value at '{path}' must be from {shape.least} to {shape.most}")
    return value


def _check_flag(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong_type(path, "a boolean")
    return value


def _check_many(shape: Many, value: Any, path: str, faults: list[str]) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong_type(path, "a list")
    if shape.most is not None and len(value) > shape.most:
        faults.append(f"Value at '{path}' must have at most {shape.most} items")
    if len(value) < shape.least:
        faults.append(f"Value at '{path}' must have at least {shape.least} items")
    return [_check(shape.item, item, f"{path}[{index}]", faults) for index, item in enumerate(value)]


def _check_structure(shape: Structure, value: Any, path: str, faults: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong_type(path, "an object")
    checked = {}
    if shape.closed and value.keys() - shape.members.keys():
        faults.append(f"Value at '{path}' must have no key but {', '.join(shape.members)}")
    for name, member in shape.members.items():
        where = f"{path}.{name}" if path else name
        if value.get(name) is not None:
            checked[name] = _check(member, value[name], where, faults)
        elif name in shape.required:
            faults.append(f"Value null at '{where}' must not be null")
    return checked


def _check_instant(value: Any, path: str) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise _wrong_type(path, "a timestamp in seconds since 1970")
    # Seconds that no calendar knows become its ends, and the rules then find them out of bounds.
    if value >= _CALENDAR_END_S:
        return datetime.max.replace(tzinfo=UTC)
    if value < _CALENDAR_START_S:
        return datetime.min.replace(tzinfo=UTC)
    return EPOCH + timedelta(microseconds=int(value * 1_000_000))


def _wrong_type(path: str, expected: str) -> ServiceError:
    return ServiceError("SerializationException", f"Value at '{path}' is not {expected}.")
