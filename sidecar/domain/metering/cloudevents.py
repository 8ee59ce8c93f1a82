"""Usage events in a CloudEvents 1.0 envelope, mapped to plain usage events.

id = source + `|` + id (`joined_id` defines it for a source with `|`), timestamp = time, and `data` holds the rest. The
mapping judges the envelope only; what it holds is judged by the same rules as any other event. Extension attributes are
allowed and ignored, as CloudEvents asks; anything in `data` that is not a member of a usage event is refused.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from urllib.parse import unquote

from sidecar.domain.metering.events import Dimension, UsageEvent
from sidecar.domain.metering.validation import LONGEST_ID, FaultList, fault_of_text, read_items

_DATA_MEMBERS = frozenset({"dimension", "quantity", "value", "tags"})
_REQUIRED = ("id", "source", "specversion", "type")
_JUDGED_APART = frozenset({*_REQUIRED, "data", "data_base64"})
_ATTRIBUTE_NAME = re.compile(r"[a-z0-9]+")
_JSON_TYPE = re.compile(r"application/json[ \t]*(;.*)?", re.IGNORECASE | re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


def read_envelopes(
    envelopes: Iterable[object], *, dimensions: Mapping[str, Dimension], now: datetime
) -> list[UsageEvent]:
    """Return the usage events in structured CloudEvents, in their order.

    JSON numbers come as NumberText; `now` is aware.

    Raises:
        InvalidUsage: At least one envelope, or the event in it, breaks a rule; lists the first faults.
    """
    found = FaultList()
    plain = ((index, _open(index, envelope, found)) for index, envelope in enumerate(envelopes))
    opened = ((index, members) for index, members in plain if members is not None)
    events = read_items(opened, dimensions=dimensions, now=now, found=found, time_member="time")
    found.refuse()
    return events


def envelope_of_headers(attributes: Iterable[tuple[str, str]], data: object) -> dict[str, object]:
    """Return the structured form of a binary-mode CloudEvent.

    `attributes` are the `ce-` headers, names without the prefix and in lower case, values as they stood.

    Raises:
        ValueError: An attribute is given twice, or its value is not percent-encoded UTF-8; names it.
    """
    envelope: dict[str, object] = {"data": data}
    for name, value in attributes:
        if name in envelope:
            raise ValueError(f"header ce-{name} is given twice, or is not the name of an attribute")
        try:
            envelope[name] = _decoded(value)
        except UnicodeError:
            raise ValueError(f"header ce-{name} is not percent-encoded UTF-8") from None
    return envelope


def _decoded(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = _QUOTED_PAIR.sub(r"\1", value[1:-1])
    decoded = unquote(value, errors="strict")
    decoded.encode()  # refuses bytes that the HTTP parser could not read as UTF-8
    return decoded


def _open(index: int, envelope: object, found: FaultList) -> dict[str, object] | None:
    """Return the members of the usage event in one envelope, or None when it holds none."""
    if type(envelope) is not dict:
        found.add(index, "item", "a CloudEvent is a JSON object")
        return None
    # A null attribute is one that is absent, by the JSON event format.
    present = {name: value for name, value in envelope.items() if value is not None}
    _check_required(index, present, found)
    _check_optional(index, present, found)
    members = _data(index, present, found)
    source, event_id = present.get("source"), present.get("id")
    if type(source) is str and type(event_id) is str and source and event_id:
        joined = joined_id(source, event_id)
        reason = fault_of_text(joined, LONGEST_ID)
        if reason is not None:
            found.add(index, "id", f"source + `|` + id {reason}")
        elif members is not None:
            members["id"] = joined
    if members is not None and "time" in present:
        members["timestamp"] = present["time"]
    return members


def joined_id(source: str, event_id: str) -> str:
    """Return the one id of a source and an id; no two pairs share one.

    A source without `|` ends at the first `|`, whatever the id holds. A source with `|`, which no URI reference may
    hold unescaped, is led by `|`, its length in characters and another `|`: an ordinary id never begins with `|`.
    """
    if "|" in source:
        return f"|{len(source)}|{source}|{event_id}"
    return f"{source}|{event_id}"


def _check_required(index: int, present: Mapping[str, object], found: FaultList) -> None:
    for name in _REQUIRED:
        value = present.get(name)
        if value is None:
            found.add(index, name, "required")
        elif type(value) is not str or not value:
            found.add(index, name, "must be a string that is not empty")
        elif name == "specversion" and value != "1.0":
            found.add(index, name, "must be 1.0")


def _check_optional(index: int, present: Mapping[str, object], found: FaultList) -> None:
    content_type = present.get("datacontenttype", "application/json")
    if type(content_type) is not str or _JSON_TYPE.fullmatch(content_type) is None:
        found.add(index, "datacontenttype", "must be application/json")
    if "data_base64" in present:
        found.add(index, "data_base64", "usage is JSON: use data")
    for name, value in present.items():
        if name in _JUDGED_APART:
            continue
        if _ATTRIBUTE_NAME.fullmatch(name) is None:
            found.add(index, name, "an attribute name is lower-case letters and digits")
        elif isinstance(value, (dict, list)):
            found.add(index, name, "an attribute is a string, a number or a boolean")


def _data(index: int, present: Mapping[str, object], found: FaultList) -> dict[str, object] | None:
    data = present.get("data")
    if type(data) is not dict:
        found.add(index, "data", "must be an object with `dimension` and `quantity` or `value`")
        return None
    for name in data.keys() - _DATA_MEMBERS:
        found.add(index, name, "unknown member of data")
    return {name: value for name, value in data.items() if name in _DATA_MEMBERS}
