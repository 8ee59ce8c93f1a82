"""The baseline of the request benchmarks: aiohttp alone, answering what the sidecar would answer.

Reads and decodes a body, checks nothing, stores nothing. Prints the port it listens on.
"""

import asyncio
import json
import sys

from aiohttp import web


async def serve(entitlement: bytes) -> None:
    """Answer until killed."""

    async def entitled(_: web.Request) -> web.Response:
        return web.Response(body=entitlement, content_type="application/json")

    async def take(request: web.Request) -> web.Response:
        json.loads(await request.read())
        return web.Response(body=b'{"accepted": 1, "duplicates": 0}', status=202, content_type="application/json")

    app = web.Application()
    app.router.add_get("/v1/entitlement", entitled)
    app.router.add_post("/v1/usage", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.stdin.buffer.read()))
