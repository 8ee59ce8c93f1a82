"""The control API's part for licenses: granting and changing them, and what is checked out."""

from typing import Any

from aiohttp import web

from sidecar.emulator.control_requests import ControlError, read_members
from sidecar.emulator.protocol.instants import format_instant
from sidecar.emulator.protocol.license_answers import show_checkout, show_granted
from sidecar.emulator.responses import respond
from sidecar.emulator.rules.licenses import is_held
from sidecar.emulator.service import Service
from sidecar.emulator.state.license_changes import change_license
from sidecar.emulator.state.license_entries import Checkout
from sidecar.emulator.state.license_members import NAMES, GrantError


class LicenseControl:
    """The handlers for licenses."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/_emulator/licenses", self._show_licenses),
            web.post("/_emulator/licenses", self._change_license),
            web.get("/_emulator/checkouts", self._show_checkouts),
        ]

    async def _show_licenses(self, _: web.Request) -> web.Response:
        now = self._service.clock.now()
        licenses = [show_granted(each, now) for each in self._service.state.licenses.values() if not each.removed]
        return respond({"licenses": licenses})

    async def _change_license(self, request: web.Request) -> web.Response:
        members = await read_members(request, ("action", *NAMES))
        action = members.pop("action", None)
        now = self._service.clock.now()
        try:
            license_ = change_license(self._service.state, now, action, members)
        except GrantError as error:
            raise ControlError(str(error)) from error
        await self._service.flush()
        return respond(show_granted(license_, now))

    async def _show_checkouts(self, _: web.Request) -> web.Response:
        now = self._service.clock.now()
        checkouts = [self._show(checkout, held=is_held(checkout, now)) for checkout in self._checkouts()]
        return respond({"checkouts": checkouts})

    def _checkouts(self) -> list[Checkout]:
        return list(self._service.state.checkouts.values())

    def _show(self, checkout: Checkout, *, held: bool) -> dict[str, Any]:
        shown = show_checkout(checkout)
        del shown["SignedToken"]
        returned = checkout.returned_at
        return {
            "ProductSKU": checkout.request.sku,
            **shown,
            "ClientToken": checkout.request.client_token,
            "Identity": checkout.identity,
            "ReturnedAt": None if returned is None else format_instant(returned),
            "Held": held,
        }
