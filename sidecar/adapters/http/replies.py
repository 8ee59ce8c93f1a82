"""The one shape of every response: a whole body, its type, not to be stored by caches."""

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
    """Return `document` as JSON that ends with a line feed: a terminal's prompt then begins on its own line."""
    return json.dumps(document).encode() + b"\n"
