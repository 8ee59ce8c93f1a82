"""JSON bodies of the control API and its problems. Each ends with a line feed, as the sidecar's own answers do."""

import json

from aiohttp import web


def respond(document: object, *, status: int = 200, media_type: str = "application/json") -> web.Response:
    """Return the response that carries `document`."""
    return web.Response(status=status, body=json.dumps(document).encode() + b"\n", content_type=media_type)
