"""The bodies and queries of control requests: JSON objects and parameters without unknown members.

Refuses a body whose media type is not JSON: a foreign web page sends the other types without a question to the server
(see `sidecar.emulator.browsers`). Each message has the member, its value and what is allowed.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from aiohttp import web

Parsed = TypeVar("Parsed")

_QUERIES: Mapping[str, Collection[str]] = {"/_emulator/calls": ("after",), "/_emulator/records": ("last",)}
"""The query parameters of each path that has any."""
_COUNT = re.compile(r"\d{1,12}", re.ASCII)


class ControlError(Exception):
    """An invalid control request; the message names the member, its value and the reason."""

    def __init__(self, message: str, *, status: int = 400, kind: str = "malformed") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


async def read_members(request: web.Request, known: Collection[str], *, optional: bool = False) -> dict[str, Any]:
    """Return the members of a request; none if it has no body and the body is `optional`.

    Raises:
        ControlError: The body is not a JSON object by its media type and content, or has a member that is not among
            `known`.
    """
    body = await request.read()
    if optional and not body:
        return {}
    if body and request.content_type != "application/json":
        given = repr(request.headers["Content-Type"]) if "Content-Type" in request.headers else "is missing"
        raise ControlError(
            f"Content-Type: {given:.100}: must be application/json; with curl write --json, or before curl 7.82"
            " -H 'Content-Type: application/json' -d",
            status=415,
            kind="unsupported-media-type",
        )
    try:
        members = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ControlError("the body is not JSON") from error
    if not isinstance(members, dict):
        raise ControlError(f"the body: {members!r:.100}: must be an object")
    unknown = ", ".join(f"{name}: {members[name]!r:.100}" for name in sorted(members.keys() - set(known)))
    if unknown:
        allowed = f"known: {', '.join(sorted(known))}" if known else "no member is allowed here"
        raise ControlError(f"unknown: {unknown}; {allowed}")
    return members


def parse_member(members: dict[str, Any], name: str, parse: Callable[[str], Parsed]) -> Parsed:
    """Return the member `name`, which is a string, as `parse` reads it.

    Raises:
        ControlError: It is not a string, or `parse` refuses it.
    """
    value = members[name]
    if not isinstance(value, str):
        raise ControlError(f"{name}: {value!r:.100}: must be a string")
    try:
        return parse(value)
    except ValueError as error:
        raise ControlError(f"{name}: {value!r:.100}: {error}") from error


def read_choice(members: Mapping[str, Any], name: str, allowed: Collection[object]) -> Any:
    """Return the member `name`, which is one of `allowed`.

    Raises:
        ControlError: It is missing or something else.
    """
    value = members.get(name)
    # By type as well: 1 is not true.
    if not any(type(each) is type(value) and each == value for each in allowed):
        given = f"{value!r:.100}: must be" if name in members else "is missing; give"
        raise ControlError(f"{name}: {given} one of {', '.join(json.dumps(each) for each in allowed)}")
    return value


def check_query(request: web.Request) -> None:
    """Refuse query parameters that the path does not have.

    Raises:
        ControlError: There is one, or one appears twice.
    """
    known = _QUERIES.get(request.path, ())
    for name, value in request.query.items():
        if name not in known:
            allowed = f"allowed: {', '.join(known)}" if known else "no parameter is allowed here"
            raise ControlError(f"unknown query parameter: {name}: {value!r:.100}; {allowed}")
        if len(request.query.getall(name)) > 1:
            raise ControlError(f"query parameter: {name}: {value!r:.100}: appears twice")


def read_count(request: web.Request, name: str) -> int | None:
    """Return a whole number of the query; None if it is missing.

    Raises:
        ControlError: It is something else.
    """
    text = request.query.get(name)
    if text is None:
        return None
    if _COUNT.fullmatch(text) is None:
        raise ControlError(f"query parameter: {name}: {text!r:.100}: must be a whole number from 0")
    return int(text)
