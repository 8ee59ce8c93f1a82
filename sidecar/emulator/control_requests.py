"""The bodies of control requests: JSON objects without unknown members."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import web

Parsed = TypeVar("Parsed")


class ControlError(Exception):
    """An invalid control request; the message names the member and the reason."""


async def read_members(request: web.Request, known: set[str]) -> dict[str, Any]:
    """Return the members of a request.

    Raises:
        ControlError: The body is no object, or has a member that is not among `known`.
    """
    try:
        members = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise ControlError("the body is not JSON") from error
    if not isinstance(members, dict):
        raise ControlError("the body must be an object")
    unknown = ", ".join(f"{name}: {members[name]!r}" for name in sorted(members.keys() - known))
    if unknown:
        raise ControlError(f"unknown: {unknown}; known: {', '.join(sorted(known))}")
    return members


def parse_member(members: dict[str, Any], name: str, parse: Callable[[str], Parsed]) -> Parsed:
    """Return the member `name`, which is a string, as `parse` reads it.

    Raises:
        ControlError: It is not a string, or `parse` refuses it.
    """
    if not isinstance(members[name], str):
        raise ControlError(f"{name}: must be a string")
    try:
        return parse(members[name])
    except ValueError as error:
        raise ControlError(f"{name}: {error}") from error
