"""The kind of document in a request, by its headers alone.

UTF-8 only, of which us-ascii is a part, and no Content-Encoding but `identity`, which changes nothing: eight compressed
mebibytes would be any number of plain ones.
"""

from enum import Enum
from functools import lru_cache

from aiohttp import http, web

from sidecar.adapters.http.problems import HttpProblem, ProblemKind

Head = web.BaseRequest | http.RawRequestMessage
"""A request, or its head alone: both have the headers."""


class Media(Enum):
    """The documents that are taken."""

    JSON = "application/json"
    NDJSON = "application/x-ndjson"
    CLOUDEVENT = "application/cloudevents+json"
    CLOUDEVENTS = "application/cloudevents-batch+json"


_HINT = "send the header `Content-Type: application/json`"
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})
_BY_NAME = {media.value: media for media in Media}


def media_of(head: Head) -> Media:
    """Return the type of the body; raises HttpProblem (unsupported-media-type, with the header to send)."""
    headers = head.headers
    if "Content-Encoding" in headers and not _is_plain(", ".join(headers.getall("Content-Encoding"))):
        raise HttpProblem(
            ProblemKind.UNSUPPORTED_MEDIA_TYPE, "this Content-Encoding is not supported: send the body uncompressed"
        )
    given = headers.getall("Content-Type", [])
    if len(given) != 1:
        raise HttpProblem(ProblemKind.UNSUPPORTED_MEDIA_TYPE, f"there must be one Content-Type: {_HINT}")
    name, charset = parse_content_type(given[0])
    media = _BY_NAME.get(name)
    if media is None:
        raise HttpProblem(ProblemKind.UNSUPPORTED_MEDIA_TYPE, f"this Content-Type is not taken: {_HINT}")
    if charset not in _CHARSETS:
        raise HttpProblem(ProblemKind.UNSUPPORTED_MEDIA_TYPE, "the charset must be utf-8 or us-ascii")
    return media


def _is_plain(codings: str) -> bool:
    return all(coding.strip(" \t").lower() == "identity" for coding in codings.split(","))


@lru_cache(maxsize=64)  # clients send the same few headers again and again
def parse_content_type(content_type: str) -> tuple[str, str]:
    """Return the media type and the charset, in lower case; utf-8 where none is given."""
    name, *parameters = (part.strip(" \t").lower() for part in content_type.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key == "charset":
            return name, value.strip('"')
    return name, "utf-8"
