"""Sources that count what the app counts: the settings of a counter."""

import re
from decimal import Decimal

from sidecar.domain.metering.sources import Otlp
from sidecar.domain.metering.validation import LARGEST_TAG_SET, is_tag_key
from sidecar.settings import values
from sidecar.settings.entry import Entry, Kind
from sidecar.settings.section import Section

_LONGEST_NAME = 255
_SCALE = re.compile(r"(0|[1-9][0-9]{0,9})(\.[0-9]{1,12})?", re.ASCII)

TagNames = tuple[tuple[str, str], ...]


def read_otlp(members: Section) -> Otlp:
    """Return a source `otlp`."""
    return Otlp(
        members.demand("metric", "", _metric, "name the counter, as the app's OpenTelemetry SDK exports it"),
        members.read("tags", (), _tags),
        members.read("scale", Decimal(1), _scale),
    )


def _metric(entry: Entry) -> str:
    """Read the name of a counter."""
    name = values.text(entry)
    if len(name) > _LONGEST_NAME:
        raise values.InvalidValue(f"is longer than {_LONGEST_NAME} characters", "name the counter as it is exported")
    return name


def _tags(entry: Entry) -> TagNames:
    """Read a mapping from labels, or attributes, to the tag keys that their values get."""
    example = "write {tenant: Customer}: the attribute, and the tag key of its value"
    if entry.kind is not Kind.MAP:
        raise values.InvalidValue("is not a mapping", example)
    if len(entry.members) > LARGEST_TAG_SET:
        raise values.InvalidValue(f"has more than {LARGEST_TAG_SET} tags, AWS's limit", "name fewer of them")
    found = tuple((name, values.text(member)) for name, member in entry.members.items())
    for name, key in found:
        if not name or not is_tag_key(key):
            rule = r"a tag key is 1 to 100 letters, digits, spaces and +-=._:\/@"
            raise values.InvalidValue(f"has an invalid tag key for {name}: {key}", rule)
    if len({key for _, key in found}) < len(found):
        raise values.InvalidValue("uses a tag key twice", "give each attribute a tag key of its own")
    return found


def _scale(entry: Entry) -> Decimal:
    """Read what a counter is multiplied by."""
    text = entry.text if entry.kind is Kind.WHOLE else values.text(entry)
    if not _SCALE.fullmatch(text) or not Decimal(text):
        order = 'write digits in quotes, such as "0.001", with at most 10 before the point and 12 after it'
        raise values.InvalidValue("is not a positive decimal", order)
    return Decimal(text)
