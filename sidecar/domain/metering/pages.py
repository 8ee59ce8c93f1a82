"""Pages of counters: the text of a page read into samples of the series that a source wants.

Reads the Prometheus text format 0.0.4 and OpenMetrics 1.0. prometheus-client's own parser takes two seconds for 50,000
series, so this module reads the lines of the one metric itself and skips all others; a test compares both. A page is
read whole or refused: whatever could hide or invent usage raises `PageUnusable`. It is searched as bytes, and a line at
a time is decoded: a text, or a list of all lines, can take ten times the room of the page.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import NamedTuple

from sidecar.domain.metering.events import Tags
from sidecar.domain.metering.series import SeriesSample, shortest
from sidecar.domain.metering.sources import Prometheus
from sidecar.domain.metering.validation import is_tag_value

MOST_SERIES = 50_000
"""Series of one source that are kept: the ledger and the memory of the process are bounded by it."""
_MOST_KNOWN = 2 * MOST_SERIES
"""Series of which the meaning is kept for the next page, with those that are not wanted."""
_MOST_STARTS = 4 * MOST_SERIES
"""Start times of a page, with those of series that are not wanted."""
OPENMETRICS = "application/openmetrics-text"
PROCESS_START = "process_start_time_seconds"

_SAMPLE = re.compile(
    r'(\{(?:[^"{}]++|"(?:[^"\\]++|\\.)*+")*+\})?[ \t]+([^ \t]++)(?:[ \t]+[-+.0-9eE]++)?[ \t]*+(?:# .*+)?+', re.ASCII
)
"""What follows the name in a sample's line: labels, value, and what is ignored: instant and exemplar."""
_PLAIN_LABELS = r'\{(?:[a-zA-Z_][a-zA-Z0-9_]*+="[^"\\]*+"(?:,|(?=\})))*+\}'
"""Labels as nearly every library writes them: without spaces and escapes."""
_PLAIN_SAMPLE = re.compile(rf"({_PLAIN_LABELS}) ([0-9.]++)", re.ASCII)
"""A line that nearly every library writes: the same groups, found in a quarter of the time."""
_PLAIN = re.compile(_PLAIN_LABELS, re.ASCII)
_PLAIN_LABEL = re.compile(r'([^"=,{]++)="([^"]*+)"')
_LABEL = re.compile(r'[ \t]*+([a-zA-Z_][a-zA-Z0-9_]*+)[ \t]*+=[ \t]*+"((?:[^"\\]++|\\.)*+)"[ \t]*+(?:,|$)', re.ASCII)
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_ESCAPED = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}
_LATEST = 253_402_300_800
"""The first second of the year 10000."""
_COUNTING = ("counter", "histogram", "summary")
_UNTYPED = ("untyped", "unknown")
_PARTS = ("_total", "_count", "_bucket")

_EXACT_DIGITS = 15
"""Digits of a whole number that a float always has exactly: then it is its own shortest decimal."""
_KIND = re.compile(rb"^# TYPE .*", re.MULTILINE)
_WORDS = 4
"""Of a TYPE line: mark, TYPE, name and kind."""
_SHOWN = 200
"""Characters of a line that a message repeats."""


class PageUnusable(Exception):
    """The page is no sample; the message is a sentence without a period, about the page."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a page shows of one source."""

    samples: list[SeriesSample]
    folded: int
    """Series with label values that are no valid tags: they count without tags."""


class _Series(NamedTuple):
    """What the labels of a line mean for a source."""

    key: bytes
    start_key: bytes
    """Of the series' start time, which the buckets of a histogram share."""
    tags: Tags | None
    """None if a label's value is no valid tag."""
    wanted: bool


class PageReader:
    """Reads the pages of one source. What the labels of a series mean is kept for the next page."""

    def __init__(self, source: Prometheus) -> None:
        """Read pages for `source`. Its expressions are valid."""
        self._metric = source.metric
        self._match = [(label, re.compile(pattern)) for label, pattern in source.match]
        self._tags = source.tags
        self._family = source.metric
        for part in _PARTS:
            if source.metric.endswith(part):
                self._family = source.metric.removesuffix(part)
                break
        self._lines = _lines_of(source.metric)
        self._created = f"{self._family}_created"
        self._starts = _lines_of(self._created, PROCESS_START)
        self._salted = hashlib.blake2b(f"{source.url}\0{source.metric}\0".encode(), digest_size=16)
        self._known: dict[str, _Series] = {}

    def read(self, body: bytes, at: int, *, openmetrics: bool) -> Page:
        """Return the samples of a page.

        Args:
            body: The whole page, UTF-8.
            at: When it was taken, by the system clock in epoch microseconds.
            openmetrics: Whether its content type states so; such a page has a mark at its end.

        Raises:
            PageUnusable: It is cut, has a line of the metric that is not valid, a value that no counter has, a series
                twice, or too many series; or the metric is no counter.
        """
        _refuse_cut(body, openmetrics=openmetrics)
        known: dict[str, _Series] = {}
        booted, created = self._read_starts(_find_lines(self._starts, body), known)
        found: dict[bytes, SeriesSample] = {}
        folded, length = 0, len(self._metric)
        for line in _find_lines(self._lines, body):
            # Nearly every line is one of the page before with another number: then its labels are not read again.
            head, _, number = line.rpartition(" ")
            series = self._known.get(head)
            if series is None or not number.removesuffix(".0").isdecimal():
                labels, number = _split(line, length)
                head = line[: length + len(labels)]
                series = self._identify(head, labels, line, known)
            if len(known) < _MOST_KNOWN:
                known[head] = series
            if not series.wanted:
                continue
            if series.key in found:
                raise PageUnusable(f"has a series twice: {line[:_SHOWN]}")
            if len(found) == MOST_SERIES:
                raise PageUnusable(f"has more than {MOST_SERIES} series of {self._metric}")
            start = created.get(series.start_key, booted) if created else booted
            if booted is not None and start is not None and booted > start:
                start = booted
            found[series.key] = SeriesSample(series.key, series.tags or (), _count(number, line), start, at)
            folded += series.tags is None
        if found:
            self._refuse_other_kinds(_find_lines(_KIND, body))
        self._known = known
        return Page(list(found.values()), folded)

    def _read_starts(self, lines: Iterable[str], known: dict[str, _Series]) -> tuple[int | None, dict[bytes, int]]:
        """Return when the process started, and when each series did, in epoch microseconds."""
        processes: dict[str, int | None] = {}
        created: dict[bytes, int] = {}
        for line in lines:
            if len(created) + len(processes) == _MOST_STARTS:
                raise PageUnusable(f"has more than {_MOST_STARTS} start times")
            if line.startswith(self._created):
                length = len(self._created)
                labels, number = _split(line, length)
                start = _instant(number)
                if start is not None:
                    head = line[: length + len(labels)]
                    series = self._identify(head, labels, line, known)
                    if len(known) < _MOST_KNOWN:
                        known[head] = series
                    created[series.start_key] = max(start, created.get(series.start_key, 0))
            else:
                labels, number = _split(line, len(PROCESS_START))
                if labels[1:-1] in processes:
                    raise PageUnusable(f"has a series twice: {line[:_SHOWN]}")
                processes[labels[1:-1]] = _instant(number)
        # Of several processes none is known to be that of a counter.
        return next(iter(processes.values())) if len(processes) == 1 else None, created

    def _identify(self, head: str, labels: str, line: str, known: Mapping[str, _Series]) -> _Series:
        """Return what the labels of a line mean. `head` is its name and its labels."""
        return known.get(head) or self._known.get(head) or self._make_series(_read_labels(labels, line))

    def _make_series(self, labels: dict[str, str]) -> _Series:
        tags: Tags | None = ()
        if self._tags:
            tags = tuple(sorted([(key, labels[label]) for label, key in self._tags if label in labels]))
            if not all(is_tag_value(value) for _, value in tags):
                tags = None
        wanted = not self._match or all(pattern.fullmatch(labels.get(label, "")) for label, pattern in self._match)
        key = self._digest(labels)
        if "le" not in labels:
            return _Series(key, key, tags, wanted)
        start_key = self._digest({name: value for name, value in labels.items() if name != "le"})
        return _Series(key, start_key, tags, wanted)

    def _digest(self, labels: Mapping[str, str]) -> bytes:
        digest = self._salted.copy()
        digest.update(repr(sorted(labels.items())).encode())
        return digest.digest()

    def _refuse_other_kinds(self, lines: Iterable[str]) -> None:
        """Refuse a metric that may go down. Without a kind its name decides."""
        kinds: dict[str, str] = {}
        for words in map(str.split, lines):
            if len(words) == _WORDS and words[2] in (self._metric, self._family):
                kinds[words[2]] = words[3]
        own = kinds.get(self._metric)
        kind = own or kinds.get(self._family, "untyped")
        if kind in _UNTYPED:
            if not self._metric.endswith(_PARTS):
                raise PageUnusable(f"does not state that {self._metric} is a counter, and the name does not either")
        elif kind not in (("counter",) if own else _COUNTING):
            raise PageUnusable(f"has {self._metric} as a {kind}, which is no counter")


def _lines_of(*names: str) -> re.Pattern[bytes]:
    """Return what finds the samples of metrics in a page, a line each."""
    return re.compile(rf"^(?:{'|'.join(map(re.escape, names))})[{{ \t].*".encode(), re.MULTILINE)


def _find_lines(lines: re.Pattern[bytes], body: bytes) -> Iterator[str]:
    return (match[0].decode() for match in lines.finditer(body))


def _refuse_cut(body: bytes, *, openmetrics: bool) -> None:
    if openmetrics and not body.endswith((b"# EOF", b"# EOF\n")):
        raise PageUnusable("is cut: its last line is not `# EOF`")
    if body and not openmetrics and not body.endswith(b"\n"):
        raise PageUnusable("is cut: its last line has no end")


def _split(line: str, length: int) -> tuple[str, str]:
    """Return the labels, in their braces, and the value of a line with a name of this length."""
    match = _PLAIN_SAMPLE.fullmatch(line, length) or _SAMPLE.fullmatch(line, length)
    if match is None:
        raise PageUnusable(f"has a line that is not valid: {line[:_SHOWN]}")
    return match[1] or "", match[2]


def _read_labels(text: str, line: str) -> dict[str, str]:
    """Return the labels that have a value: an empty one is the same as none. `text` has their braces."""
    labels = _PLAIN_LABEL.findall(text) if _PLAIN.fullmatch(text) else list(_find_labels(text[1:-1], line))
    found = dict(labels)
    if len(found) < len(labels):
        raise _labels_unusable(line)
    return {name: value for name, value in labels if value} if "" in found.values() else found


def _find_labels(text: str, line: str) -> Iterator[tuple[str, str]]:
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _LABEL.match(text, position)
        if match is None:
            raise _labels_unusable(line)
        value = match[2]
        if "\\" in value:
            value = _ESCAPED.sub(lambda escape: _ESCAPES.get(escape[1], escape[0]), value)
        yield match[1], value
        position = match.end()


def _labels_unusable(line: str) -> PageUnusable:
    return PageUnusable(f"has a line with labels that are not valid: {line[:_SHOWN]}")


def _count(number: str, line: str) -> Decimal:
    """Return the shortest decimal of a counter's value."""
    whole = number.removesuffix(".0")  # some clients write every number as a float
    if len(whole) <= _EXACT_DIGITS and whole.isdecimal() and whole.isascii():
        return Decimal(whole)
    value = float(number) if _NUMBER.fullmatch(number) else -1.0
    if value < 0 or not isfinite(value):
        raise PageUnusable(f"has a value that no counter has: {line[:_SHOWN]}")
    if value.is_integer() and value < 10**_EXACT_DIGITS:
        return Decimal(int(value))  # one form for each whole number: most pages are compared in whole numbers
    return abs(shortest(value))


def _instant(number: str) -> int | None:
    """Return epoch microseconds of seconds, None where they mean nothing."""
    seconds = float(number) if _NUMBER.fullmatch(number) else 0.0
    return round(seconds * 1_000_000) if 0 < seconds < _LATEST else None
