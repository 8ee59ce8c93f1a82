"""`POST /v1/attestations`: from a body to the app's own nonce."""

from aiohttp import web

from sidecar.adapters.http.admission import MemoryBudget
from sidecar.adapters.http.problems import HttpProblem, ProblemKind
from sidecar.adapters.http.small_documents import read_document
from sidecar.domain.entitlement.binding import PREFIX, is_reserved
from sidecar.domain.metering.events import UsageFault
from sidecar.domain.metering.validation import fault_of_text

LONGEST_NONCE = 255
"""RegisterUsage's Nonce."""


async def read_nonce(request: web.BaseRequest, memory: MemoryBudget) -> str:
    """Return the nonce that the app wants signed.

    Raises:
        HttpProblem: malformed, unsupported-media-type, too-large, or invalid-nonce with every fault.
    """
    document = await read_document(request, memory)
    if not isinstance(document, dict):
        raise _invalid([UsageFault(0, "item", "must be an object with `nonce`")])
    faults = [UsageFault(0, name, "unknown member") for name in document if name != "nonce"]
    nonce = document.get("nonce")
    reason = fault_of_text(nonce, LONGEST_NONCE) if "nonce" in document else "required"
    if reason is None and isinstance(nonce, str) and is_reserved(nonce):
        reason = f"must not begin with {PREFIX!r}, which the sidecar's own registrations begin with"
    if reason is not None:
        faults.append(UsageFault(0, "nonce", reason))
    if faults or not isinstance(nonce, str):
        raise _invalid(faults)
    return nonce


def _invalid(faults: list[UsageFault]) -> HttpProblem:
    return HttpProblem(
        ProblemKind.INVALID_NONCE, 'send {"nonce": "<1 to 255 characters of the app\'s own>"}', faults=faults
    )
