"""The paths of a contract price: entitlements from memory, checkouts through License Manager.

Each answer of the services becomes HTTP here. With another price these paths do not exist.
"""

import re
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from sidecar import serializers as views
from sidecar.adapters.http.admission import ConcurrencyLimit, MemoryBudget
from sidecar.adapters.http.checkout_requests import MOST_COUNT, id_of, read_checkout
from sidecar.adapters.http.ports import Licenses
from sidecar.adapters.http.problems import HttpProblem, ProblemKind, busy
from sidecar.adapters.http.queries import parameters_of, refuse_query
from sidecar.adapters.http.replies import Reply, reply, reply_json
from sidecar.domain.entitlement.allowances import (
    CheckoutInDoubt,
    CheckoutNotEntitled,
    CheckoutRefused,
    CheckoutReused,
    LicenseUnavailable,
    NotReturnable,
    SeatsTaken,
    UnknownCheckout,
    UnknownEntitlement,
)

ENTITLEMENTS: Final = "/v1/entitlements/"
CHECKOUTS: Final = "/v1/checkouts"
ONE_CHECKOUT: Final = "/v1/checkouts/"
_KINDS: Final[Mapping[type[CheckoutRefused], ProblemKind]] = {
    UnknownEntitlement: ProblemKind.UNKNOWN_ENTITLEMENT,
    UnknownCheckout: ProblemKind.UNKNOWN_CHECKOUT,
    CheckoutReused: ProblemKind.ID_REUSED,
    SeatsTaken: ProblemKind.SEATS_TAKEN,
    CheckoutInDoubt: ProblemKind.IN_DOUBT,
    NotReturnable: ProblemKind.NOT_RETURNABLE,
    CheckoutNotEntitled: ProblemKind.NOT_ENTITLED,
}
_REQUESTED = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)


class LicensePaths:
    """The handlers.

    Without a contract price `licenses` is None.
    """

    def __init__(
        self, licenses: Licenses | None, memory: MemoryBudget, calls: ConcurrencyLimit, questions: ConcurrencyLimit
    ) -> None:
        self._licenses = licenses
        self._memory = memory
        self._calls = calls
        self._questions = questions

    async def entitlement(self, request: web.BaseRequest) -> Reply:
        """Answer `GET /v1/entitlements/{name}`."""
        licenses = self._services()
        requested = parameters_of(request, ("requested",)).get("requested", "1")
        if _REQUESTED.fullmatch(requested) is None or int(requested) > MOST_COUNT:
            detail = f"query parameter requested must be a whole number from 1 to {MOST_COUNT}"
            raise HttpProblem(ProblemKind.MALFORMED, detail)
        name = id_of(request, ENTITLEMENTS)
        try:
            return reply_json(views.allowance_members(licenses.allowance(name, int(requested))))
        except CheckoutRefused as refusal:
            raise _problem_of(refusal) from None

    async def check_out(self, request: web.BaseRequest) -> Reply:
        """Answer `POST /v1/checkouts`."""
        licenses = self._services()
        refuse_query(request)
        wanted = await read_checkout(request, self._memory)
        with self._calls:
            try:
                checkout, made = await licenses.check_out(wanted)
            except CheckoutRefused as refusal:
                raise _problem_of(refusal) from None
        return reply_json(views.held_members(checkout), status=201 if made else 200)

    async def listing(self, request: web.BaseRequest) -> Reply:
        """Answer `GET /v1/checkouts`."""
        licenses = self._services()
        refuse_query(request)
        with self._questions:
            found = await licenses.listing()
        return reply_json({"checkouts": [views.checkout_members(each) for each in found]})

    async def confirm(self, request: web.BaseRequest) -> Reply:
        """Answer `PUT /v1/checkouts/{id}`."""
        licenses = self._services()
        refuse_query(request)
        with self._calls:
            try:
                checkout = await licenses.confirm(id_of(request, ONE_CHECKOUT))
            except CheckoutRefused as refusal:
                raise _problem_of(refusal) from None
        return reply_json(views.held_members(checkout))

    async def give_back(self, request: web.BaseRequest) -> Reply:
        """Answer `DELETE /v1/checkouts/{id}`."""
        licenses = self._services()
        refuse_query(request)
        with self._calls:
            try:
                await licenses.give_back(id_of(request, ONE_CHECKOUT))
            except CheckoutRefused as refusal:
                raise _problem_of(refusal) from None
        return reply(b"", status=204)

    def _services(self) -> Licenses:
        if self._licenses is None:
            raise HttpProblem(
                ProblemKind.NOT_FOUND, "this path is for a contract price, and entitlement.check is not license"
            )
        return self._licenses


def _problem_of(refusal: CheckoutRefused) -> HttpProblem:
    """Return the problem of a refusal."""
    if isinstance(refusal, LicenseUnavailable):
        return busy(ProblemKind.UNAVAILABLE, str(refusal), refusal.retry_after)
    return HttpProblem(_KINDS[type(refusal)], str(refusal))
