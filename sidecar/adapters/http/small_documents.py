"""Reads a request whose body is one small JSON document."""

from typing import Final

from aiohttp import web

from sidecar.adapters.http.admission import MemoryBudget
from sidecar.adapters.http.bodies import read_body
from sidecar.adapters.http.decoding import decode_document
from sidecar.adapters.http.media import Media, media_of
from sidecar.adapters.http.problems import HttpProblem, ProblemKind

LARGEST_BODY: Final = 16 * 1024
"""Bytes of a body; texts of 255 characters, every character escaped, have less than a quarter of that each."""


async def read_document(request: web.BaseRequest, memory: MemoryBudget) -> object:
    """Return the JSON value of the body.

    Raises:
        HttpProblem: malformed, unsupported-media-type, too-large; see `sidecar.adapters.http.bodies.read_body`.
    """
    if media_of(request) is not Media.JSON:
        raise HttpProblem(ProblemKind.UNSUPPORTED_MEDIA_TYPE, "send the header `Content-Type: application/json`")
    body = await read_body(request, memory, most=LARGEST_BODY)
    memory.release(len(body))
    return decode_document(body)
