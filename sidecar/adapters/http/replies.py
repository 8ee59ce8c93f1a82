"""The one shape of every response: a whole body, its type, never stored by anybody in between."""

import json
from collections.abc import Mapping

from aiohttp import hdrs, web

JSON = "application/json"


def reply(
    body: bytes, *, status: int = 200, media_type: str = JSON, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return a response; `Server` names no version."""
    return web.Response(
        status=status,
        body=body,
        headers={
            hdrs.CONTENT_TYPE: media_type,
            hdrs.CACHE_CONTROL: "no-store",
            hdrs.SERVER: "marketplace-sidecar",
            **(headers or {}),
        },
    )


def reply_json(document: object, *, status: int = 200) -> web.Response:
    """Return a response that carries `document`."""
    return reply(encode(document), status=status)


def encode(document: object) -> bytes:
    """Return `document` as JSON that ends with a line feed, so that a terminal's prompt begins on a line of its own."""
    return json.dumps(document).encode() + b"\n"
