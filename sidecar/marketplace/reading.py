"""From the members of any service's answer to our types, by the annotations of the types.

Pure translation: it judges nothing. Whatever an answer lacks or garbles becomes `UnknownAnswer`, because what cannot be
read must never look like what is missing.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from sidecar.marketplace.errors import UnknownAnswer

T = TypeVar("T")
Members = Mapping[str, Any]
"""A structure of the service, as the SDK takes and returns it."""
_CAPITALS = frozenset({"aws", "sku"})
_INSTANT = re.compile(r"(-?\d{4,})(-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = re.compile(r"\d{1,11}(\.\d{1,9})?", re.ASCII)
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)


@cache
def member_name(field: str) -> str:
    """Return the service's name for a field: `customer_aws_account_id` is `CustomerAWSAccountId`."""
    return "".join(word.upper() if word in _CAPITALS else word.capitalize() for word in field.split("_"))


def request_id(answer: Members) -> str | None:
    """Return AWS's id of the request that `answer` belongs to; it is what AWS Support asks for."""
    return text_of(answer.get("ResponseMetadata") or {}, "RequestId")


def text_of(structure: Members, name: str) -> str | None:
    """Return a member that is text, None without it; raises UnknownAnswer."""
    value = structure.get(name)
    if value is not None and not isinstance(value, str):
        raise UnknownAnswer(f"{name} in the answer is not text", request_id=request_id(structure))
    return value


def read(kind: type[T], answer: Members) -> T:
    """Return an answer as `kind`, with AWS's request id if `kind` has a place for it.

    Raises:
        UnknownAnswer: A member is missing or garbled, or AWS's request id is: then something else has answered.
    """
    if request_id(answer) is None:
        raise UnknownAnswer("the answer has no request id, so it is not AWS's")
    return read_structure(kind, answer)


def read_structure(kind: type[T], structure: Members) -> T:
    """Return a structure as `kind`; raises UnknownAnswer if a member is missing or garbled."""
    found: T = _structure(kind, structure, kind.__name__)
    return found


def read_page(kind: type[T], answer: Members, list_member: str) -> T:
    """Return one page of a list, also an empty one; raises UnknownAnswer if it is garbled or has no list."""
    if answer.get(list_member) is None:
        raise UnknownAnswer(f"the answer has no {list_member}", request_id=request_id(answer))
    return read(kind, answer)


def instant(text: str) -> datetime:
    """Read ISO 8601 with an offset, or seconds since 1970 as text, which AWS sends for a license's creation.

    A year that the calendar cannot hold becomes the calendar's edge: an issuer may write any.

    Raises:
        ValueError: It is neither.
    """
    if _EPOCH.fullmatch(text):
        return datetime.fromtimestamp(float(text), UTC)
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise ValueError("is no instant")
    year, rest, fraction, offset = match.groups()
    if year.startswith("-") or int(year) < 1:
        return _EARLIEST
    if len(year.lstrip("0")) > 4:
        return _LATEST
    fraction = (fraction or "")[:7]
    local = datetime.fromisoformat(f"{int(year):04}{rest}{fraction}")
    hours, minutes = (0, 0) if offset == "Z" else (int(offset[:3]), int(offset[0] + offset[4:]))
    try:
        return local.replace(tzinfo=UTC) - timedelta(hours=hours, minutes=minutes)
    except OverflowError:
        return _LATEST if hours < 0 or minutes < 0 else _EARLIEST


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _structure(kind: Any, value: Any, path: str) -> Any:
    if not isinstance(value, Mapping):
        raise UnknownAnswer(f"{path} in the answer is no structure")
    hints = _hints(kind)
    found: dict[str, Any] = {}
    for field in fields(kind):
        if field.name == "request_id":
            found[field.name] = request_id(value)
            continue
        name = member_name(field.name)
        given = value.get(name)
        if given is not None:
            found[field.name] = _value(hints[field.name], given, f"{path}.{name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise UnknownAnswer(f"{path}.{name} is missing in the answer", request_id=request_id(value))
    return kind(**found)


def _value(hint: Any, value: Any, path: str) -> Any:
    kind = _kind(hint)
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise UnknownAnswer(f"{path} in the answer is no list")
        return tuple(_value(get_args(kind)[0], each, f"{path}[{index}]") for index, each in enumerate(value))
    if is_dataclass(kind):
        return _structure(kind, value, path)
    if kind is datetime:
        return _instant(value, path)
    if kind is float and type(value) is int:
        value = float(value)  # JSON has one kind of number
    expected = kind if kind in {bool, int, float} else str
    if type(value) is not expected:
        raise UnknownAnswer(f"{path} in the answer is no {expected.__name__}")
    return kind(value) if issubclass(kind, StrEnum) and value in list(kind) else value


def _kind(hint: Any) -> Any:
    """Return the type that an annotation means: of `Unit | str | None` the enumeration."""
    if not isinstance(hint, UnionType):
        return hint
    kinds = [each for each in get_args(hint) if each is not NoneType]
    return next((each for each in kinds if isinstance(each, type) and issubclass(each, StrEnum)), kinds[0])


def _instant(value: Any, path: str) -> datetime | None:
    if isinstance(value, datetime):
        return value.astimezone(UTC)  # the SDK has parsed it
    try:
        return instant(value)
    except (TypeError, ValueError) as error:
        if path.endswith(".CreateTime"):
            return None  # it only orders licenses, and AWS does not keep to the model there
        raise UnknownAnswer(f"{path} in the answer is no instant") from error
