"""What the OpenAPI document cannot say of usage, for the tool that makes requests from it.

Usage is dated near the clock, a JSON number is sent without exponent, and two members share one limit.
"""

import json
import math
from typing import Any

import schemathesis
from hypothesis import strategies as st

_NEAR_THE_CLOCK = st.integers(0, 6 * 24).map(lambda hours: f"2026-11-{17 + hours // 24:02d}T{hours % 24:02d}:00:00Z")

schemathesis.openapi.format("date-time", _NEAR_THE_CLOCK)


@schemathesis.hook
def map_body(_context: object, body: object) -> object:
    """Bring quantities to tenths, and a source and an id that are each short enough to 255 characters together."""
    return _within_rules(body)


def _within_rules(value: Any) -> Any:
    if isinstance(value, list):
        return [_within_rules(item) for item in value]
    if not isinstance(value, dict):
        return value
    members = {name: _within_rules(item) for name, item in value.items()}
    quantity = members.get("quantity")
    if isinstance(quantity, float):
        members["quantity"] = math.floor(quantity * 10) / 10
    event_id, source = members.get("id"), members.get("source")
    if isinstance(event_id, str) and isinstance(source, str) and 0 < len(event_id) <= 253 and len(source) <= 253:
        members["source"] = source[: 254 - len(event_id)]
    return members


@schemathesis.serializer("application/x-ndjson")
def one_line(_context: object, value: object) -> bytes:
    """Send the event as the one line of an NDJSON body."""
    return json.dumps(value).encode() + b"\n"
