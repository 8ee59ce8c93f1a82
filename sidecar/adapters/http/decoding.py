"""Bytes to decoded JSON members, without a float in between.

Stricter than JSON asks where two readers could differ: a duplicate member, a byte order mark and a non-finite number
are refused. Numbers stay the digits that were sent.
"""

import json
from collections.abc import Sequence
from typing import NoReturn

from sidecar.adapters.http.problems import HttpProblem, ProblemKind
from sidecar.domain.metering.events import NumberText


def decode_document(body: bytes) -> object:
    """Return the JSON value in `body`.

    Raises:
        HttpProblem: malformed, saying where.
    """
    try:
        return decode_text(body.decode())
    except ValueError as fault:
        raise HttpProblem(ProblemKind.MALFORMED, f"the body is not JSON: {_text_fault(body) or fault}") from None


def _text_fault(body: bytes) -> str | None:
    """Return why a body is no text that JSON may be in, or None."""
    if not body.strip(b" \t\r\n"):
        return "it is empty"
    try:
        text = body.decode()
    except UnicodeDecodeError as fault:
        return f"byte {fault.start} is not UTF-8"
    return "it begins with a byte order mark" if text.startswith("\ufeff") else None


def decode_text(text: str) -> object:
    """Return the JSON value in `text`.

    Raises:
        ValueError: It is not valid; the message has the position.
    """
    value: object
    try:
        value, end = DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        end = -1
    if end == len(text):
        return value
    try:
        # White space around it, or a fault with its position.
        value = DECODER.decode(text)
    except json.JSONDecodeError as fault:
        raise ValueError(f"{fault.msg} at line {fault.lineno} column {fault.colno}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def _members(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has the same member twice")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


DECODER = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=NumberText, parse_float=NumberText, parse_constant=_refuse_constant
)
"""Decodes one value; what it raises is a ValueError, or a RecursionError for one that is nested too deeply."""
