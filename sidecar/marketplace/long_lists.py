"""Puts the long list of a request into its body in place of the SDK's serializer, which visits each member of an item.

For the 2,500 allocations of a record the serializer computes for 10 ms and more, and the event loop shares the
interpreter with it; the standard library's encoder takes a third of that. The SDK serializes the request without the
list, and a hook adds the list to the body before the request is signed.
"""

import json
from collections.abc import Mapping
from typing import Any

_AT_ONCE = 100
"""So many items are encoded without a break; no other thread of the interpreter runs meanwhile."""
_CONTEXT = "marketplace_sidecar_lists"


class EncodedList(bytes):
    """A list as JSON."""


def encode(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a request with each long list encoded. Its items must be JSON as they are."""
    return {
        name: _encode(value) if isinstance(value, list) and len(value) > _AT_ONCE else value
        for name, value in members.items()
    }


def accept_encoded(client: Any) -> None:
    """Let a client of the SDK take encoded lists as members of its operations."""
    client.meta.events.register("before-parameter-build", _take_out)
    client.meta.events.register("before-call", _put_in)


def _encode(items: list[Any]) -> EncodedList:
    parts = (json.dumps(items[start : start + _AT_ONCE])[1:-1] for start in range(0, len(items), _AT_ONCE))
    return EncodedList(f"[{', '.join(parts)}]".encode())


def _take_out(params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
    found = {name: value for name, value in params.items() if isinstance(value, EncodedList)}
    if model.service_model.resolved_protocol != "json":
        params.update({name: json.loads(value) for name, value in found.items()})
        found = {}
    for name in found:
        del params[name]
    context[_CONTEXT] = found


def _put_in(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    for name, value in context[_CONTEXT].items():
        params["body"] = b'%s, "%s": %s}' % (params["body"][:-1], name.encode(), value)
