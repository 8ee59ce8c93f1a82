"""How an OTLP/HTTP request is encoded, by its headers; and its body without compression.

OTLP has two encodings and one compression. A body is bounded after decompression as well: eight compressed mebibytes
could be any number of plain ones.
"""

import zlib
from enum import Enum

from aiohttp import hdrs, web

from sidecar.adapters.http.bodies import MOST_BODY
from sidecar.adapters.http.media import parse_content_type
from sidecar.adapters.http.problems import HttpProblem, ProblemKind

SMALLER = "send fewer data points in one request"
_GZIP = 16 + zlib.MAX_WBITS
"""With the header and the check sum of gzip."""
_TYPE = "send the header `Content-Type: application/x-protobuf` or `application/json`"


class Encoding(Enum):
    """What the body of a request is, and that of its answer."""

    PROTOBUF = "application/x-protobuf"
    JSON = "application/json"


def encoding_of(request: web.BaseRequest) -> Encoding | None:
    """Return the encoding of the body of `request`; None for a type that OTLP does not have."""
    given = request.headers.getall(hdrs.CONTENT_TYPE, [])
    if len(given) != 1:
        return None
    name, charset = parse_content_type(given[0])
    if name == Encoding.JSON.value and charset not in {"utf-8", "utf8", "us-ascii"}:
        return None
    return next((encoding for encoding in Encoding if encoding.value == name), None)


def demand_encoding(request: web.BaseRequest) -> Encoding:
    """Return the encoding of the body of `request`.

    Raises:
        HttpProblem: unsupported-media-type, with the header to send.
    """
    encoding = encoding_of(request)
    if encoding is None:
        raise HttpProblem(ProblemKind.UNSUPPORTED_MEDIA_TYPE, f"this Content-Type is not taken: {_TYPE}")
    return encoding


def is_compressed(request: web.BaseRequest) -> bool:
    """Return whether the body of `request` is compressed by gzip.

    Raises:
        HttpProblem: unsupported-media-type for every other compression.
    """
    given = ", ".join(request.headers.getall(hdrs.CONTENT_ENCODING, []))
    codings = [coding for each in given.split(",") if (coding := each.strip(" \t").lower()) not in {"", "identity"}]
    if codings not in ([], ["gzip"]):
        raise HttpProblem(
            ProblemKind.UNSUPPORTED_MEDIA_TYPE, "this Content-Encoding is not supported: use gzip, or no compression"
        )
    return bool(codings)


def decompress(body: bytes) -> bytes:
    """Return what gzip has compressed into `body`.

    Raises:
        HttpProblem: malformed; too-large for more than `MOST_BODY` bytes.
    """
    reader = zlib.decompressobj(_GZIP)
    try:
        plain = reader.decompress(body, MOST_BODY + 1)
    except zlib.error as fault:
        raise HttpProblem(ProblemKind.MALFORMED, f"the body is not gzip: {fault}") from None
    if len(plain) > MOST_BODY:
        raise HttpProblem(ProblemKind.TOO_LARGE, f"the body has over {MOST_BODY} bytes without compression: {SMALLER}")
    if not reader.eof or reader.unused_data:
        raise HttpProblem(ProblemKind.MALFORMED, "the body is not one whole gzip stream")
    return plain
