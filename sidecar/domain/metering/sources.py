"""Sources: usage that the sidecar measures itself, as the seller declares it for a dimension.

A source of time counts for how long a pod has something: itself, cores or memory; `measuring` has the arithmetic. A
source of counters bills what the app counts: the sidecar reads its page, or the app exports to the sidecar; `series`
has the rules.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

NANOSECONDS = 1_000_000_000
_MILLIONTH_OF_HOUR = 3_600_000
"""Nanoseconds of a millionth of an hour."""
_WHOLE = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)

OTLP_KEYS: Final = 2
"""The version of the keys of series that come by OpenTelemetry. Kept counters are found by them: with other keys and
this number unchanged, every counter would begin at 0 and be billed again."""


class CountWhile(StrEnum):
    """When the time of a pod counts."""

    ENTITLED = "entitled"  # while the pod may run
    READY = "ready"  # while the sidecar's /readyz succeeds: entitled, and not gated by metering


class ResourceKind(StrEnum):
    """What a container has."""

    CPU = "cpu"
    MEMORY = "memory"


class ResourceBound(StrEnum):
    """Which of a container's two figures counts."""

    LIMIT = "limit"
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class PodTime:
    """Hours of the pod."""

    count_while: CountWhile = CountWhile.ENTITLED

    @property
    def unit(self) -> int:
        """Nanoseconds of the pod in a millionth of an hour."""
        return _MILLIONTH_OF_HOUR

    @property
    def counts(self) -> str:
        """What is counted, for a person."""
        return f"hours of the pod while it is {self.count_while}"


@dataclass(frozen=True, slots=True)
class Resource:
    """Hours of a container's cores or GiB while the pod is entitled."""

    what: ResourceKind
    by: ResourceBound
    container: str

    @property
    def file_name(self) -> str:
        """The file of the downward API, such as `app.limits.cpu`; it holds millicores or bytes."""
        return f"{self.container}.{self.by}s.{self.what}"

    @property
    def unit(self) -> int:
        """Nanoseconds times millicores, or times bytes, in a millionth of a core's or GiB's hour."""
        return _MILLIONTH_OF_HOUR * self._whole

    @property
    def counts(self) -> str:
        """What is counted, for a person."""
        name = "cores" if self.what is ResourceKind.CPU else "GiB"
        return f"hours times {name} of the {self.what} {self.by} of container {self.container}"

    @property
    def most(self) -> int:
        """The largest believable amount: 10,000 cores, or 1 PiB."""
        return 10_000 * self._whole if self.what is ResourceKind.CPU else 2**20 * self._whole

    def parse(self, text: str) -> int:
        """Return the millicores or bytes that the text of the file holds.

        Raises:
            ValueError: The text is not a positive whole number, or too large to be true; the message says which.
        """
        number = text.removesuffix("\n")
        if not _WHOLE.fullmatch(number):
            raise ValueError("does not hold a positive whole number")
        if int(number) > self.most:
            raise ValueError(f"holds {number}, which is more than a container can have")
        return int(number)

    @property
    def _whole(self) -> int:
        """Millicores of a core, or bytes of a GiB."""
        return 1000 if self.what is ResourceKind.CPU else 2**30


@dataclass(frozen=True, slots=True)
class Otlp:
    """A counter of the app's OpenTelemetry SDK."""

    metric: str
    tags: tuple[tuple[str, str], ...] = ()
    """Pairs of an attribute and the tag key that its value gets."""
    scale: Decimal = Decimal(1)
    """Multiplies the counter; positive."""

    @property
    def counts(self) -> str:
        """What is counted, for a person."""
        return f"the OpenTelemetry counter {self.metric}"

    @property
    def origin(self) -> str:
        """Where the counters come from; another origin means other counters."""
        return f"otlp {self.metric} keys {OTLP_KEYS}"


class ResourceUnreadable(Exception):
    """What a container has cannot be read; the message is a sentence without a period."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """The increase of a counter on a page that the app exposes."""

    url: str
    metric: str
    """The name of the samples, such as `http_requests_total`."""
    match: tuple[tuple[str, str], ...] = ()
    """Labels, and the regular expression that the whole value matches; a missing label is empty."""
    tags: tuple[tuple[str, str], ...] = ()
    """Labels, and the tag key that takes the value."""
    scale: Decimal = Decimal(1)
    every: timedelta = timedelta(seconds=15)

    @property
    def counts(self) -> str:
        """What is counted, for a person."""
        times = "" if self.scale == 1 else f" times {self.scale:f}"
        return f"{self.metric} of {self.url}{times}"

    @property
    def origin(self) -> str:
        """What the counters are: another text means other counters."""
        return f"prometheus {self.url} {self.metric} {sorted(self.match)}"


TimeSource = PodTime | Resource
"""What measures a dimension by time."""
CounterSource = Prometheus | Otlp
"""What measures a dimension by counters."""
Source = TimeSource | CounterSource
"""What measures a dimension."""
