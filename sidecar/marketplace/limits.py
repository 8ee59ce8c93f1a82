"""The bounds of the service model, and the checks that a single member can fail.

The SDK checks little more than types and minimums. No reason repeats a value, since tags, nonces and tokens must not
reach a log. It refuses to know which members a request has (see `validation`).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from sidecar.domain.metering import quantity
from sidecar.marketplace.errors import RequestFault

_DECIMAL: Final = r"^(0|[1-9][0-9]{0,9})(\.[0-9]{1,6})?$"
_TAG: Final = r"^[a-zA-Z0-9 +\-=._:\\/@]+$"
"""The documented tag characters. The model's own text, read as a regular expression, accepts others: its ` -=` is a
range, and its backslash only escapes the slash. What AWS does with a backslash is not documented."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The bounds of one shape of the model: of a number's value, a text's characters or a list's items."""

    minimum: int | None = None
    maximum: int | None = None
    pattern: str | None = None


LIMITS: Final[Mapping[str, Limit]] = MappingProxyType(
    {
        "AllocatedUsageQuantity": Limit(0, quantity.LARGEST_WHOLE),
        "AllocatedUsageQuantityAsDecimalString": Limit(1, 17, _DECIMAL),
        "ClientToken": Limit(1, 64),
        "CustomerAWSAccountId": Limit(1, 255, r"^[0-9]+$"),
        "CustomerIdentifier": Limit(0, 255, r"[\s\S]*"),
        "LicenseArn": Limit(
            pattern=r"^arn:aws[a-zA-Z-]*:[A-Za-z0-9][A-Za-z0-9_/.-]{0,62}:[A-Za-z0-9_/.-]{0,63}:[A-Za-z0-9_/.-]{0,63}"
            r":[A-Za-z0-9][A-Za-z0-9:_/+=,@.-]{0,1023}$"
        ),
        "NonEmptyString": Limit(pattern=r"[\s\S]+"),
        "Nonce": Limit(maximum=255, pattern=r"[\s\S]*"),
        "ProductCode": Limit(0, 255, r"^[-a-zA-Z0-9/=:_.@]*$"),
        "TagKey": Limit(1, 100, _TAG),
        "TagList": Limit(1, 5),
        "TagValue": Limit(1, 256, _TAG),
        "UsageAllocations": Limit(1, 2500),
        "UsageDimension": Limit(1, 255, r"[\s\S]+"),
        "UsageQuantity": Limit(0, quantity.LARGEST_WHOLE),
        "UsageQuantityAsDecimalString": Limit(1, 17, _DECIMAL),
        "UsageRecordList": Limit(0, 25),
        "VersionInteger": Limit(minimum=1),
    }
)
"""Every bound of the service model that a request can break, by the name of its shape."""


def exact_quantity(whole: object, decimal: object) -> int | None:
    """Return a quantity in millionths: the decimal, else the whole number, else 0; None when it is malformed."""
    if decimal is not None:
        return quantity.parse(decimal) if isinstance(decimal, str) else None
    if whole is None:
        return 0
    return whole * quantity.MILLION if isinstance(whole, int) else None


def check_items(path: str, value: object, shape: str | Limit, kind: type) -> Iterator[RequestFault]:
    """Yield what is wrong with a list: its type, its length, the type of its items."""
    limit = _limit(shape)
    if not isinstance(value, list | tuple):
        yield RequestFault(path, f"must be a tuple of {kind.__name__}")
        return
    outside = _outside(path, len(value), limit, "items")
    if outside is not None:
        yield outside
    for index, item in enumerate(value):
        if not isinstance(item, kind):
            yield RequestFault(f"{path}[{index}]", f"must be a {kind.__name__}")


def check_each(
    path: str, value: Any, shape: str | Limit, kind: type, check: Callable[[str, Any], Iterable[RequestFault]]
) -> Iterator[RequestFault]:
    """Yield what is wrong with a list, else what `check` finds in each of its items."""
    wrong = list(check_items(path, value, shape, kind))
    yield from wrong
    if not wrong:
        for index, item in enumerate(value):
            yield from check(f"{path}[{index}]", item)


def check_flag(path: str, value: object) -> Iterator[RequestFault]:
    """Yield what is wrong with an optional truth value: its type."""
    if value is not None and not isinstance(value, bool):
        yield RequestFault(path, "must be true or false")


def check_text(path: str, value: object, shape: str | Limit, *, optional: bool = False) -> Iterator[RequestFault]:
    """Yield what is wrong with a text: its type, its length, else its pattern, else its encoding."""
    if value is None and optional:
        return
    if not isinstance(value, str):
        yield RequestFault(path, "must be text")
        return
    limit = _limit(shape)
    outside = _outside(path, len(value), limit, "characters")
    if outside is not None:
        yield outside
    elif limit.pattern is not None and _compiled(limit.pattern).fullmatch(value) is None:
        yield RequestFault(path, f"must match {limit.pattern}")
    elif not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        yield RequestFault(path, "must be valid Unicode")


def check_whole_number(
    path: str, value: object, shape: str | Limit, *, optional: bool = False
) -> Iterator[RequestFault]:
    """Yield what is wrong with a number: its type or its range."""
    if value is None and optional:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        yield RequestFault(path, "must be a whole number")
        return
    outside = _outside(path, value, _limit(shape), "")
    if outside is not None:
        yield outside


def _limit(shape: str | Limit) -> Limit:
    """Return the bounds themselves, or those of a shape of the metering model by its name."""
    return LIMITS[shape] if isinstance(shape, str) else shape


# No generator, and no search for the pattern: a record has 2,500 allocations with three texts each.
def _outside(path: str, size: int, limit: Limit, unit: str) -> RequestFault | None:
    if limit.minimum is not None and size < limit.minimum:
        return RequestFault(path, f"must be at least {limit.minimum} {unit}".rstrip())
    if limit.maximum is not None and size > limit.maximum:
        return RequestFault(path, f"must be at most {limit.maximum} {unit}".rstrip())
    return None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def check_timestamp(path: str, value: object) -> Iterator[RequestFault]:
    """Yield what is wrong with an instant."""
    if not isinstance(value, datetime) or value.tzinfo is None or value.utcoffset() is None:
        yield RequestFault(path, "must be a datetime with an offset from UTC")
        return
    try:
        value.astimezone(UTC)
    except OverflowError:
        yield RequestFault(path, "is outside the calendar when expressed in UTC")
