"""`POST /v1/checkouts` and the paths below it: from a request to what the app asks for."""

import re
from typing import Final
from urllib.parse import unquote

from aiohttp import web

from sidecar.adapters.http.admission import MemoryBudget
from sidecar.adapters.http.problems import HttpProblem, ProblemKind
from sidecar.adapters.http.small_documents import read_document
from sidecar.domain.entitlement.allowances import CheckoutRequest
from sidecar.domain.metering.events import NumberText, UsageFault
from sidecar.domain.metering.validation import fault_of_text

LONGEST_ID: Final = 255
MOST_COUNT: Final = 2**31 - 1
_MEMBERS = ("id", "entitlement", "count", "drawdown")
_COUNT = re.compile(r"([1-9][0-9]{0,9})(?:\.0+)?", re.ASCII)
"""JSON knows no integers: 2.0 is 2."""


async def read_checkout(request: web.BaseRequest, memory: MemoryBudget) -> CheckoutRequest:
    """Return what the app asks for.

    Raises:
        HttpProblem: malformed, unsupported-media-type, too-large, or invalid-checkout with every fault.
    """
    document = await read_document(request, memory)
    if not isinstance(document, dict):
        raise _invalid([UsageFault(0, "item", "must be an object with `id` and `entitlement`")])
    faults = [UsageFault(0, name, "unknown member") for name in document if name not in _MEMBERS]
    for name in ("id", "entitlement"):
        reason = fault_of_text(document[name], LONGEST_ID) if name in document else "required"
        if reason is not None:
            faults.append(UsageFault(0, name, reason))
    count = _count(document.get("count", NumberText("1")), faults)
    drawdown = document.get("drawdown", False)
    if not isinstance(drawdown, bool):
        faults.append(UsageFault(0, "drawdown", "must be true or false"))
    if faults:
        raise _invalid(faults)
    return CheckoutRequest(document["id"], document["entitlement"], count, drawdown is True)


def id_of(request: web.BaseRequest, prefix: str) -> str:
    """Return the id or name that a path ends with; raises HttpProblem (malformed)."""
    text = unquote(request.rel_url.raw_path.removeprefix(prefix), errors="strict") if _is_utf8(request) else ""
    if not 0 < len(text) <= LONGEST_ID:
        raise HttpProblem(ProblemKind.MALFORMED, f"the path must end with 1 to {LONGEST_ID} characters in UTF-8")
    return text


def _is_utf8(request: web.BaseRequest) -> bool:
    try:
        unquote(request.rel_url.raw_path, errors="strict")
    except UnicodeDecodeError:
        return False
    return True


def _count(given: object, faults: list[UsageFault]) -> int:
    match = _COUNT.fullmatch(given) if isinstance(given, NumberText) else None
    if match is not None and int(match[1]) <= MOST_COUNT:
        return int(match[1])
    faults.append(UsageFault(0, "count", f"must be a whole number from 1 to {MOST_COUNT}"))
    return 1


def _invalid(faults: list[UsageFault]) -> HttpProblem:
    return HttpProblem(
        ProblemKind.INVALID_CHECKOUT,
        'send {"id": "<1 to 255 characters>", "entitlement": "<its API name>"}, and optionally count and drawdown',
        faults=faults,
    )
