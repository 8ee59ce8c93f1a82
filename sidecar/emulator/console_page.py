"""The console at `GET /`: a page for people over the control API.

Serves the files of the folder `console` as they are: no build, no network. Refuses every other file, and a frame in
another page. Which pages may call the control API is decided by `sidecar.emulator.browsers`.
"""

from pathlib import Path

from aiohttp import web

from sidecar.emulator.faults import BEHAVIORS, OPERATIONS, STS_OPERATION
from sidecar.emulator.protocol.errors import ENTITLEMENT_MODELLED, LICENSE_MODELLED, MODELLED, STS_MODELLED
from sidecar.emulator.responses import respond
from sidecar.emulator.state.license_changes import ACTIONS
from sidecar.emulator.state.license_members import RECEIVED

FOLDER = Path(__file__).with_name("console")

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


class ConsolePage:
    """The handlers of the page and its files."""

    def __init__(self) -> None:
        self._files = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.suffix in _TYPES}

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/", self._show_page),
            web.get("/_emulator/console/choices.json", self._show_choices),
            web.get("/_emulator/console/{name}", self._show_file),
        ]

    async def _show_page(self, _: web.Request) -> web.Response:
        return self._respond("index.html")

    async def _show_file(self, request: web.Request) -> web.Response:
        return self._respond(request.match_info["name"])

    async def _show_choices(self, _: web.Request) -> web.Response:
        errors = {**MODELLED, **LICENSE_MODELLED, **ENTITLEMENT_MODELLED, STS_OPERATION: STS_MODELLED}
        return respond(
            {
                "operations": OPERATIONS,
                "faults": {name: sorted(operations) for name, operations in BEHAVIORS.items()},
                "errors": errors,
                "license_actions": {action: sorted(members) for action, members in ACTIONS.items()},
                "received": RECEIVED,
            }
        )

    def _respond(self, name: str) -> web.Response:
        if name not in self._files:
            raise web.HTTPNotFound
        media_type = _TYPES[Path(name).suffix]
        return web.Response(body=self._files[name], content_type=media_type, charset="utf-8", headers=_HEADERS)
