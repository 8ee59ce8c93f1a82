"""Parsers of settings: each turns one entry into a typed value or raises `InvalidValue`.

A parser reads no other setting, no file and no network. It does not accept a number or a boolean of YAML 1.1 as text:
a tool that rewrites the file may have turned `on` into `true` and `1.0` into `1`.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from sidecar.domain import durations, sizes
from sidecar.settings.entry import Entry, Kind

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
Parser = Callable[[Entry], T]

_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_TRUE = frozenset({"true", "yes", "on"})
_FALSE = frozenset({"false", "no", "off"})
_PRODUCT_CODE = re.compile(r"[-a-zA-Z0-9/=:_.@]{1,255}", re.ASCII)
_PRODUCT_ID = re.compile(r"prod-[a-zA-Z0-9]{1,123}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_LISTED_NAME = re.compile(r".{1,255}", re.DOTALL)
_LABEL = r"[A-Za-z0-9_]([-A-Za-z0-9_]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?", re.ASCII)
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+){1,3}-[0-9]{1,2}", re.ASCII)
_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_CONDITION = re.compile(rf"([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_NAME}", re.ASCII)
AUTO = "auto"
"""The word that leaves a choice to the sidecar."""
_LONGEST_SOCKET = 107
"""Bytes of a path that fit a Linux socket address."""


class InvalidValue(Exception):
    """The entry is not a valid value; `reason` and `cure` are those of its problem."""

    def __init__(self, reason: str, cure: str) -> None:
        super().__init__(reason, cure)
        self.reason = reason
        self.cure = cure


def text(entry: Entry) -> str:
    """Read one line of printable text without space around it."""
    match entry.kind:
        case Kind.TEXT | Kind.VARIABLE:
            pass
        case Kind.NOTHING:
            raise InvalidValue("has no value", "write a value, or remove the key to use the default")
        case Kind.WHOLE | Kind.TRUTH | Kind.OTHER:
            raise InvalidValue("is not text in YAML", "put it in quotes")
        case Kind.LIST | Kind.MAP:
            raise InvalidValue("is not text", "give a single value")
    if not entry.text or entry.text != entry.text.strip() or not entry.text.isprintable():
        raise InvalidValue("is empty, or has space around it or control characters in it", "write it as plain text")
    return entry.text


def optional(parser: Parser[T]) -> Parser[T | None]:
    """Accept null too, and an empty variable as null."""
    return lambda entry: None if entry.kind is Kind.NOTHING or _is_blank(entry) else parser(entry)


def whole(least: int, most: int) -> Parser[int]:
    """Read a whole number in decimal digits; octal, hexadecimal and base 60 are refused."""

    def parse(entry: Entry) -> int:
        order = f"give a whole number from {least} to {most}"
        if entry.kind is Kind.TEXT and _WHOLE.fullmatch(entry.text):
            raise InvalidValue("is text", "write the number without quotes")
        if entry.kind not in {Kind.WHOLE, Kind.VARIABLE} or not _WHOLE.fullmatch(entry.text):
            raise InvalidValue("is not a whole number in plain digits", order)
        if not least <= int(entry.text) <= most:
            raise InvalidValue("is out of range", order)
        return int(entry.text)

    return parse


def flag(entry: Entry) -> bool:
    """Read a boolean."""
    if not _is_truth(entry):
        raise InvalidValue("is neither true nor false", "write true or false, without quotes")
    return entry.text.lower() in _TRUE


def choice(options: type[E]) -> Parser[E]:
    """Read one of the words of an enum; `true` and `false` may be among them in any of YAML's spellings."""

    def parse(entry: Entry) -> E:
        word = str(flag(entry)).lower() if _is_truth(entry) else entry.text
        for option in options:
            if word == option.value:
                return option
        words = [option.value for option in options]
        raise InvalidValue(f"is not one of {', '.join(words)}", suggest(word, words) or "use one of these words")

    return parse


def duration(least: timedelta, most: timedelta, because: str) -> Parser[timedelta]:
    """Read a duration in a range; `because` is the reason of the range."""

    def parse(entry: Entry) -> timedelta:
        number = entry.kind in {Kind.WHOLE, Kind.VARIABLE} and _WHOLE.fullmatch(entry.text)
        if number and entry.text != "0":
            raise InvalidValue("has no unit", f"write {entry.text}s, {entry.text}m, {entry.text}h or {entry.text}d")
        value = timedelta() if number else None
        if value is None and entry.kind in {Kind.TEXT, Kind.VARIABLE}:
            value = durations.parse(entry.text)
        if value is None:
            raise InvalidValue("is not a duration", "write a whole number and s, m, h or d, such as 90s, 30m or 24h")
        if not least <= value <= most:
            bounds = f"give {durations.render(least)} to {durations.render(most)}"
            raise InvalidValue(f"is out of range ({because})", bounds)
        return value

    return parse


def size(least: int) -> Parser[int]:
    """Read a size of at least so many bytes."""

    def parse(entry: Entry) -> int:
        if entry.kind is Kind.WHOLE:
            raise InvalidValue("has no unit", f"write the unit as well, such as {entry.text}MiB")
        value = sizes.parse(entry.text) if entry.kind in {Kind.TEXT, Kind.VARIABLE} else None
        if value is None:
            raise InvalidValue("is not a size", "write a whole number and KiB, MiB or GiB, such as 900MiB")
        if value < least:
            raise InvalidValue("is too small", f"give at least {sizes.render(least)}")
        return value

    return parse


class Matching:
    """Reads text that matches a pattern in full. The chart's schema takes the pattern from here."""

    __slots__ = ("cure", "pattern", "reason")

    def __init__(self, pattern: re.Pattern[str], reason: str, cure: str) -> None:
        """Take the pattern, and reason and cure of the problem with text that does not match it."""
        self.pattern = pattern
        self.reason = reason
        self.cure = cure

    def __call__(self, entry: Entry) -> str:
        """Read the entry."""
        if not self.pattern.fullmatch(text(entry)):
            raise InvalidValue(self.reason, self.cure)
        return entry.text


product_code = Matching(
    _PRODUCT_CODE, "is not a product code", "take the code of the listing: 1 to 255 letters, digits and -/=:_.@"
)
"""Reads an AWS Marketplace product code (RegisterUsage's model)."""
product_id = Matching(
    _PRODUCT_ID,
    "is not a product ID",
    "take the product ID of the listing, such as prod-abcdefghijklm, or a UUID on older listings; it is not the "
    "product code",
)
"""Reads the product ID of a listing, which License Manager calls ProductSKU."""
region = Matching(
    _REGION, "is not the name of an AWS Region", "write it as us-east-1, or null to use that of the environment"
)
"""Reads the name of an AWS Region; whether Marketplace serves it is checked at the first call."""
condition = Matching(
    _CONDITION,
    "is not the type of a pod condition",
    "use the name under readinessGates, such as example.com/entitled",
)
"""Reads the type of a pod condition."""
entitlement_name = Matching(
    _LISTED_NAME, "is longer than 255 characters", "take the entitlement's API name from the listing"
)
"""Reads the API name of a contract's entitlement."""
dimension_name = Matching(
    _LISTED_NAME, "is longer than 255 characters", "take the dimension's API name from the listing"
)
"""Reads the API name of a dimension (MeterUsage's model)."""


def license_region(entry: Entry) -> str:
    """Read the name of a Region, or `auto`."""
    return entry.text if text(entry) == AUTO else region(entry)


def path(entry: Entry) -> Path:
    """Read the path of a file."""
    if text(entry).endswith("/"):
        raise InvalidValue("names a folder", "name a file in it")
    return Path(entry.text)


def ledger_path(entry: Entry) -> Path:
    """Read the path of the ledger; refuses SQLite's names for databases without a file."""
    if text(entry).startswith((":", "file:")):
        raise InvalidValue("is not the path of a file", "name a file on a volume that outlives the container")
    return path(entry)


def socket_path(entry: Entry) -> Path:
    """Read the path of a unix socket."""
    if len(text(entry).encode()) > _LONGEST_SOCKET:
        raise InvalidValue(
            f"is longer than {_LONGEST_SOCKET} bytes, more than a socket address holds", "use a shorter path"
        )
    return path(entry)


def host(entry: Entry) -> str:
    """Read an IP address or a host name to listen on."""
    if _address(text(entry)) is None and not _is_host_name(entry.text):
        raise InvalidValue("is not an IP address or a host name", "use an address such as 0.0.0.0, :: or 127.0.0.1")
    return entry.text


def is_loopback(name: str) -> bool:
    """Return whether a host is this pod itself, whatever its resolver says."""
    address = _address(name)
    return name == "localhost" or (address is not None and address.is_loopback)


def loopback_host(entry: Entry) -> str:
    """Read a host that only this pod can reach."""
    if not is_loopback(text(entry)):
        raise InvalidValue(
            "is reachable from other pods, which must not use the API", "use 127.0.0.1, ::1 or localhost"
        )
    return entry.text


def endpoint_url(entry: Entry) -> str:
    """Read the address of an emulator, returned without a slash at its end."""
    cure = "write it as http://host:port"
    if "@" in text(entry):
        raise InvalidValue("contains a user name or password", cure)
    try:
        parts = urlsplit(entry.text)
        named = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        raise InvalidValue("is not a URL", cure) from None
    if not named or " " in entry.text or (_address(parts.hostname or "") is None and not _is_host_name(parts.hostname)):
        raise InvalidValue("is not the URL of an HTTP service", cure)
    if parts.path.strip("/") or parts.query or parts.fragment or entry.text.endswith(("?", "#")):
        raise InvalidValue("has more than scheme, host and port", cure)
    return entry.text.rstrip("/")


def suggest(word: str, words: Iterable[str]) -> str | None:
    """Return a question that names the most similar word, None without one."""
    import difflib  # noqa: PLC0415 - only when something is wrong already

    alike = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f"did you mean {alike[0]}?" if alike else None


def _is_blank(entry: Entry) -> bool:
    return entry.kind is Kind.VARIABLE and not entry.text


def _is_truth(entry: Entry) -> bool:
    match entry.kind:
        case Kind.TRUTH:
            return True
        case Kind.VARIABLE:
            return entry.text.lower() in _TRUE | _FALSE
        case _:
            return False


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _is_host_name(name: str | None) -> bool:
    if name is None or len(name) > 253 or not _HOST.fullmatch(name):
        return False
    # A last label of digits only is a mistyped IPv4 address.
    return not name.rstrip(".").rpartition(".")[2].isdigit()
