"""Reads the body of a request: bounded in size, in memory over all requests, and in time."""

import asyncio

from aiohttp import hdrs, web

from sidecar.adapters.http.admission import MemoryBudget
from sidecar.adapters.http.problems import HttpProblem, ProblemKind

MOST_BODY = 8 * 1024 * 1024
"""The largest body of one request, in bytes."""
BODY_SECONDS = 30
"""Real time for a body to arrive."""


async def read_body(
    request: web.BaseRequest, memory: MemoryBudget, seconds: float = BODY_SECONDS, most: int = MOST_BODY
) -> bytes:
    """Return the whole body; the caller gives its length back to `memory` when the request is done.

    Args:
        request: The request.
        memory: Counts the bytes.
        seconds: Real time for the body to arrive.
        most: The largest body of this path, in bytes.

    Raises:
        HttpProblem: too-large, overloaded, request-timeout, expectation-failed, or malformed when the HTTP framing is.
    """
    content = request.content
    _check_size(request.content_length or 0, most)
    waits = _awaits_continue(request)
    if content.is_eof():  # the common case: a small body that came with its headers
        return read_arrived(request, memory, most)
    if waits:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # not part of the answer: an error may still follow on this connection
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while part := await content.readany():
                memory.hold(len(part))
                body += part
                _check_size(len(body), most)
    except BaseException as fault:
        memory.release(len(body))
        if isinstance(fault, TimeoutError):
            raise HttpProblem(ProblemKind.REQUEST_TIMEOUT, f"the body did not arrive within {seconds:g} s") from None
        if isinstance(fault, web.RequestPayloadError):
            raise HttpProblem(ProblemKind.MALFORMED, "the body breaks off or breaks its own framing") from None
        raise
    return bytes(body)


def read_arrived(request: web.BaseRequest, memory: MemoryBudget, most: int = MOST_BODY) -> bytes:
    """Return a body that is complete already, as `read_body` does; raises HttpProblem (too-large or overloaded)."""
    whole = request.content.read_nowait()
    _check_size(len(whole), most)
    memory.hold(len(whole))
    return whole


def _awaits_continue(request: web.BaseRequest) -> bool:
    """Return whether the client waits for `100 Continue` before it sends the body."""
    expected = request.headers.get(hdrs.EXPECT)
    if expected is not None and expected.lower() != "100-continue":
        raise HttpProblem(ProblemKind.EXPECTATION_FAILED, "the only expectation that is met is 100-continue")
    return expected is not None


def _check_size(size: int, most: int) -> None:
    if size > most:
        cure = "send the events in several batches" if most == MOST_BODY else "this path accepts a small document"
        raise HttpProblem(ProblemKind.TOO_LARGE, f"the body is over {most} bytes: {cure}")
