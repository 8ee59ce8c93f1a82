"""Sources that count what the app counts: which counters of its page, or of its exports, are billed."""

import re
from datetime import timedelta
from decimal import Decimal
from urllib.parse import urlsplit

from sidecar.domain.declaration import Declaration
from sidecar.domain.metering.events import Tags
from sidecar.domain.metering.sources import Otlp, Prometheus
from sidecar.domain.metering.validation import LARGEST_TAG_SET, is_tag_key
from sidecar.settings import values
from sidecar.settings.entry import Entry, Kind
from sidecar.settings.section import Reading, Section

EVERY = Declaration(
    sentence="Time between two samples of a page.",
    least=timedelta(seconds=1),
    most=timedelta(minutes=10),
    because="a reset hides what was counted since",
)
"""Range of `every`."""
_URL = "write the page of a container of this pod, such as http://127.0.0.1:9090/metrics"
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_LONGEST_NAME = 255
_SCALE = re.compile(r"(0|[1-9][0-9]{0,9})(\.[0-9]{1,12})?", re.ASCII)


def read_prometheus(reading: Reading, members: Section) -> Prometheus:
    """Return the source; its problems go to `reading`."""
    source = Prometheus(
        url=members.demand("url", "", _url, _URL),
        metric=members.demand("metric", "", _metric, "name the samples of a counter, such as http_requests_total"),
        match=_read_labels(reading, members, "match", _expression),
        tags=_read_labels(reading, members, "tags", _tag_key),
        scale=members.read("scale", Decimal(1), _scale),
        every=members.read("every", timedelta(seconds=15), values.duration(EVERY.least, EVERY.most, EVERY.because)),
    )
    if source.metric.endswith("_bucket") and "le" not in dict(source.match):
        words = "counts each observation in several buckets"
        reading.complain(members.dotted("metric"), None, words, "name one bucket in match, such as {le: \\+Inf}")
    return source


def read_otlp(reading: Reading, members: Section) -> Otlp:
    """Return the source; its problems go to `reading`."""
    return Otlp(
        metric=members.demand("metric", "", _instrument, "name the counter, as the app's OpenTelemetry SDK exports it"),
        tags=_read_pairs(reading, members, "tags", _tag_key),
        scale=members.read("scale", Decimal(1), _scale),
    )


def _read_labels(
    reading: Reading, members: Section, name: str, parser: values.Parser[str]
) -> tuple[tuple[str, str], ...]:
    """Return a mapping of labels, in the file's order."""
    found = _read_pairs(reading, members, name, parser)
    for label, _ in found:
        if not _LABEL.fullmatch(label):
            key = members.dotted(f"{name}.{label}")
            reading.complain(key, None, "is not the name of a label", "use letters, digits and _")
    return found


def _read_pairs(
    reading: Reading, members: Section, name: str, parser: values.Parser[str]
) -> tuple[tuple[str, str], ...]:
    """Return a mapping from labels, or attributes, in the file's order."""
    entry = members.take(name)
    if entry is None or entry.kind is Kind.NOTHING:
        return ()
    key = members.dotted(name)
    if entry.kind is not Kind.MAP:
        reading.complain(key, entry, "is not a mapping", "write it as {label: text}")
        return ()
    found = tuple((label, members.parse(f"{key}.{label}", value, "", parser)) for label, value in entry.members.items())
    if name == "tags":
        _judge_tags(reading, key, entry, found)
    return found


def _judge_tags(reading: Reading, key: str, entry: Entry, tags: Tags) -> None:
    if len(tags) > LARGEST_TAG_SET:
        reading.complain(key, entry, f"is more than {LARGEST_TAG_SET} tags, AWS's limit", "leave some out")
    if len({tag for _, tag in tags}) < len(tags):
        reading.complain(key, entry, "uses a tag key twice", "give each of them a tag key of its own")


def _tag_key(entry: Entry) -> str:
    """Read the key of a tag."""
    if not is_tag_key(values.text(entry)):
        raise values.InvalidValue("is not a tag key", r"use 1 to 100 letters, digits, spaces and +-=._:\/@")
    return entry.text


def _scale(entry: Entry) -> Decimal:
    """Read the factor between a counter and the dimension's unit; text, because a number of YAML is not exact."""
    if entry.kind not in {Kind.TEXT, Kind.WHOLE} or not _SCALE.fullmatch(entry.text) or not Decimal(entry.text):
        raise values.InvalidValue("is not a positive decimal in quotes", 'write it like "0.001" or "1"')
    return Decimal(entry.text)


def _url(entry: Entry) -> str:
    """Read the address of a page in this pod: that of another pod would be billed by every pod that reads it."""
    try:
        parts = urlsplit(values.text(entry))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise values.InvalidValue("is not a URL", _URL) from None
    if parts.scheme != "http" or not host or port == 0 or parts.username is not None or parts.fragment:
        raise values.InvalidValue("is not an http URL without user and fragment", _URL)
    if not values.is_loopback(host):
        raise values.InvalidValue("is outside of this pod, and every pod would bill it", _URL)
    if not parts.path.isascii() or not parts.query.isascii() or " " in entry.text:
        raise values.InvalidValue("has characters that no URL has", "escape them with %")
    return entry.text


def _metric(entry: Entry) -> str:
    if not _METRIC.fullmatch(values.text(entry)):
        raise values.InvalidValue("is not the name of a metric", "name its samples, such as http_requests_total")
    return entry.text


def _instrument(entry: Entry) -> str:
    """Read the name of a counter of OpenTelemetry."""
    name = values.text(entry)
    if len(name) > _LONGEST_NAME:
        raise values.InvalidValue(f"is longer than {_LONGEST_NAME} characters", "name the counter as it is exported")
    return name


def _expression(entry: Entry) -> str:
    try:
        re.compile(values.text(entry))
    except re.error as error:
        raise values.InvalidValue(f"is not a regular expression: {error}", "correct it") from None
    return entry.text
