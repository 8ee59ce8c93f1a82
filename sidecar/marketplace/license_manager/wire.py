"""From the members of License Manager's answers to our types.

Pure translation, by the annotations of the types: it judges no license. Whatever an answer lacks or garbles becomes
`UnknownAnswer`, because a license that cannot be read must never look like a license that is missing.
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
from sidecar.marketplace.license_manager.types import (
    CheckoutLicenseRequest,
    CheckoutLicenseResponse,
    CheckoutType,
    ExtendLicenseConsumptionRequest,
    ExtendLicenseConsumptionResponse,
    ListReceivedLicensesResponse,
)
from sidecar.marketplace.wire import Members, member_name, request_id

T = TypeVar("T")

_INSTANT = re.compile(
    r"(-?\d{4,})(-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)",
    re.ASCII,
)
_EPOCH = re.compile(r"\d{1,11}(\.\d{1,9})?", re.ASCII)
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)


def read(kind: type[T], answer: Members) -> T:
    """Return an answer as `kind`, with AWS's request id if `kind` has a place for it.

    Raises:
        UnknownAnswer: A member is missing or garbled, or AWS's request id is: then something else has answered.
    """
    if request_id(answer) is None:
        raise UnknownAnswer("the answer has no request id, so it is not AWS's")
    found: T = _structure(kind, answer, kind.__name__)
    return found


def licenses_page(answer: Members) -> ListReceivedLicensesResponse:
    """Read one page of ListReceivedLicenses.

    Raises:
        UnknownAnswer: It is garbled or has no list; an empty list is one.
    """
    if answer.get("Licenses") is None:
        raise UnknownAnswer("the answer has no Licenses", request_id=request_id(answer))
    return read(ListReceivedLicensesResponse, answer)


def checkout_response(request: CheckoutLicenseRequest, answer: Members) -> CheckoutLicenseResponse:
    """Read the answer of CheckoutLicense.

    Raises:
        UnknownAnswer: It is garbled, allows nothing, or lacks the token of a provisional checkout.
    """
    response = read(CheckoutLicenseResponse, answer)
    if request.checkout_type is CheckoutType.PROVISIONAL and not response.license_consumption_token:
        raise UnknownAnswer("the answer has no LicenseConsumptionToken", request_id=request_id(answer))
    if not response.entitlements_allowed:
        raise UnknownAnswer("the answer has no EntitlementsAllowed", request_id=request_id(answer))
    return response


def extend_response(request: ExtendLicenseConsumptionRequest, answer: Members) -> ExtendLicenseConsumptionResponse:
    """Read the answer of ExtendLicenseConsumption. A dry run that succeeds plainly has extended nothing.

    Raises:
        UnknownAnswer: It is garbled or has no token, and it was no dry run.
    """
    if request.dry_run:
        return ExtendLicenseConsumptionResponse(request_id=request_id(answer))
    response = read(ExtendLicenseConsumptionResponse, answer)
    if not response.license_consumption_token:
        raise UnknownAnswer("the answer has no LicenseConsumptionToken", request_id=request_id(answer))
    return response


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
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise UnknownAnswer(f"{path} in the answer is no list")
        return tuple(_value(get_args(hint)[0], each, f"{path}[{index}]") for index, each in enumerate(value))
    kind = _kind(hint)
    if is_dataclass(kind):
        return _structure(kind, value, path)
    if kind is bool or kind is int:
        if type(value) is not kind:
            raise UnknownAnswer(f"{path} in the answer is no {kind.__name__}")
        return value
    if not isinstance(value, str):
        raise UnknownAnswer(f"{path} in the answer is not text")
    if kind is datetime:
        return _instant(value, path)
    return kind(value) if kind is not str and value in list(kind) else value


def _kind(hint: Any) -> Any:
    """Return the type that an annotation means: of `Unit | str | None` the enumeration."""
    if not isinstance(hint, UnionType):
        return hint
    kinds = [each for each in get_args(hint) if each is not NoneType]
    return next((each for each in kinds if issubclass(each, StrEnum)), kinds[0])


def _instant(text: str, path: str) -> datetime | None:
    try:
        return instant(text)
    except ValueError as error:
        if path.endswith(".CreateTime"):
            return None  # it only orders licenses, and AWS does not keep to the model there
        raise UnknownAnswer(f"{path} in the answer is no instant") from error
