"""`POST /v1/usage`: from headers and body to a batch of validated events.

Nothing is stored here. A small body is read on the event loop, a large one on a dedicated thread:
neither many events nor many clients may delay the probes.
"""

import asyncio
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import NamedTuple

from sidecar.adapters.http import items
from sidecar.adapters.http.decoding import decode_document
from sidecar.adapters.http.media import Head, Media, media_of
from sidecar.adapters.http.problems import HttpProblem, ProblemKind
from sidecar.domain.metering.cloudevents import envelope_of_headers, read_envelopes
from sidecar.domain.metering.events import Dimension, InvalidUsage, UsageBatch, UsageEvent, UsageFault
from sidecar.domain.metering.validation import read_batch

LARGE_BODY = 64 * 1024
"""Bodies over this many bytes, about 500 events, are read on the thread, item by item."""
USAGE_THREADS = "usage-reader"
"""How the name of the thread begins."""

_BINARY_PREFIX = "ce-"
_NO_BATCH = "a batch of CloudEvents is a JSON array"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")

Attributes = tuple[tuple[str, str], ...]


class UsageHead(NamedTuple):
    """The headers of a request that decide how its body is read."""

    media: Media
    attributes: Attributes | None
    """Of a CloudEvent in binary mode."""
    key: str | None
    """The Idempotency-Key."""


def read_head(head: Head) -> UsageHead:
    """Return what the headers decide; raises HttpProblem (malformed or unsupported-media-type)."""
    media = media_of(head)
    return UsageHead(media, _binary_attributes(head) if media is Media.JSON else None, _idempotency_key(head))


class UsageReader:
    """Reads the bodies of one listener."""

    def __init__(self, dimensions: Mapping[str, Dimension]) -> None:
        self._dimensions = dimensions
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=USAGE_THREADS)

    async def read(self, request: Head, body: bytes, now: datetime) -> UsageBatch:
        """Return the batch that `request` carries in `body`.

        Raises:
            HttpProblem: malformed, too-large or unsupported-media-type.
            InvalidUsage: At least one event breaks a rule.
        """
        head = read_head(request)
        if len(body) <= LARGE_BODY:
            return self.read_small(head, body, now)
        read = partial(_events, head.media, head.attributes, body, self._dimensions, now)
        return UsageBatch(await asyncio.get_running_loop().run_in_executor(self._thread, read), head.key)

    def read_small(self, head: UsageHead, body: bytes, now: datetime) -> UsageBatch:
        """Return the batch in a body of at most `LARGE_BODY` bytes; raises as `read` does."""
        return UsageBatch(_events(head.media, head.attributes, body, self._dimensions, now), head.key)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _events(
    media: Media, attributes: Attributes | None, body: bytes, dimensions: Mapping[str, Dimension], now: datetime
) -> list[UsageEvent]:
    is_large = len(body) > LARGE_BODY
    decode = items.decode_one if is_large else decode_document
    match media:
        case Media.JSON if attributes is not None:
            try:
                envelope = envelope_of_headers(attributes, decode(body))
            except ValueError as fault:
                raise HttpProblem(ProblemKind.MALFORMED, str(fault)) from None
            return read_envelopes([envelope], dimensions=dimensions, now=now)
        case Media.JSON:
            found = items.decode_items(body) if is_large else _items(decode_document(body))
            return read_batch(items.bounded(found), dimensions=dimensions, now=now)
        case Media.NDJSON:
            return read_batch(items.decode_lines(body), dimensions=dimensions, now=now)
        case Media.CLOUDEVENT:
            return read_envelopes([decode(body)], dimensions=dimensions, now=now)
        case Media.CLOUDEVENTS:
            envelopes = items.decode_array(body, _NO_BATCH) if is_large else _envelopes(decode_document(body))
            return read_envelopes(items.bounded(envelopes), dimensions=dimensions, now=now)


def _envelopes(document: object) -> list[object]:
    if not isinstance(document, list):
        raise InvalidUsage([UsageFault(0, "item", _NO_BATCH)])
    return document


def _items(document: object) -> list[object]:
    """Return the items of an array, of `{"events": [...]}`, or the one event that `document` is."""
    if isinstance(document, list):
        return document
    if not isinstance(document, dict) or "events" not in document:
        return [document]
    events = document["events"]
    faults = items.strangers(name for name in document if name != "events")
    if not isinstance(events, list):
        faults.append(items.NO_ARRAY)
        raise InvalidUsage(faults)
    if faults:
        raise InvalidUsage(faults)
    return events


def _binary_attributes(head: Head) -> Attributes | None:
    """Return the `ce-` headers, which make a JSON body the data of a CloudEvent, or None."""
    if f"{_BINARY_PREFIX}specversion" not in head.headers:
        return None
    return tuple(
        (name[len(_BINARY_PREFIX) :].lower(), value)
        for name, value in head.headers.items()
        if name.lower().startswith(_BINARY_PREFIX)
    )


def _idempotency_key(head: Head) -> str | None:
    if "Idempotency-Key" not in head.headers:
        return None
    given = head.headers.getall("Idempotency-Key")
    if len(given) != 1 or _KEY.fullmatch(given[0]) is None:
        raise HttpProblem(
            ProblemKind.MALFORMED, "Idempotency-Key must be one header of 1 to 255 visible ASCII characters"
        )
    return given[0]
