"""Problem documents (RFC 9457): every answer that is not a success.

The `type` of a problem is stable and ends in the word that clients match on. The detail is for people; it never
repeats a body, a token or a tag value.
"""

from collections.abc import Mapping, Sequence
from enum import Enum

from sidecar.adapters.http.replies import Reply, encode, reply
from sidecar.domain.metering.events import UsageFault
from sidecar.domain.metering.validation import MOST_FAULTS

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:marketplace-sidecar:problem:"


class ProblemKind(Enum):
    """Every problem: its word, its status and its title."""

    MALFORMED = "malformed", 400, "The request cannot be read"
    UNAUTHORIZED = "unauthorized", 401, "The bearer token is missing or wrong"
    NOT_ENTITLED = "not-entitled", 403, "AWS Marketplace has refused this pod"
    NOT_FOUND = "not-found", 404, "Unknown path"
    UNKNOWN_ENTITLEMENT = "unknown-entitlement", 404, "The license has no such entitlement"
    UNKNOWN_CHECKOUT = "unknown-checkout", 404, "There is no such checkout"
    METHOD_NOT_ALLOWED = "method-not-allowed", 405, "This path does not support this method"
    REQUEST_TIMEOUT = "request-timeout", 408, "The body did not arrive in time"
    ID_REUSED = "id-reused", 409, "An id was used for two different things"
    SEATS_TAKEN = "seats-taken", 409, "None of the entitlement is left"
    NOT_RETURNABLE = "not-returnable", 409, "What was checked out does not return"
    IN_DOUBT = "in-doubt", 409, "AWS may or may not hold the draw-down"
    TOO_LARGE = "too-large", 413, "The body is too large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type", 415, "The type of the body is not supported here"
    EXPECTATION_FAILED = "expectation-failed", 417, "The Expect header asks for an unsupported feature"
    MISDIRECTED = "misdirected", 421, "The Host header does not name this listener"
    INVALID_USAGE = "invalid-usage", 422, "At least one usage event breaks a rule"
    INVALID_NONCE = "invalid-nonce", 422, "The attestation request breaks a rule"
    INVALID_CHECKOUT = "invalid-checkout", 422, "The checkout breaks a rule"
    SLOW_DOWN = "slow-down", 429, "Attestations are limited"
    HEADERS_TOO_LARGE = "headers-too-large", 431, "The request line or a header is too large"
    INTERNAL_ERROR = "internal-error", 500, "Internal fault of the sidecar"
    LEDGER_UNAVAILABLE = "ledger-unavailable", 503, "The ledger is not available now"
    OVERLOADED = "overloaded", 503, "Too many concurrent requests"
    UNAVAILABLE = "unavailable", 503, "License Manager gives no answer"
    ATTESTATION_FAILED = "attestation-failed", 503, "AWS gave no valid signature"

    def __init__(self, word: str, status: int, title: str) -> None:
        self.word = word
        self.status = status
        self.title = title

    @property
    def uri(self) -> str:
        """The stable `type`."""
        return f"{_TYPE}{self.word}"


class HttpProblem(Exception):
    """Ends a request with a problem document."""

    def __init__(
        self,
        kind: ProblemKind,
        detail: str,
        *,
        faults: Sequence[UsageFault] | None = None,
        headers: Mapping[str, str] | None = None,
        closes: bool = False,
    ) -> None:
        """Describe the problem; `closes` ends the connection after the answer."""
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.faults = faults
        self.headers = headers or {}
        self.closes = closes


def busy(kind: ProblemKind, detail: str, retry_after: int, *, closes: bool = False) -> HttpProblem:
    """Return a problem of a request that may succeed when it is sent again after `retry_after` seconds."""
    return HttpProblem(kind, detail, headers={"Retry-After": str(retry_after)}, closes=closes)


def answer(problem: HttpProblem) -> Reply:
    """Return the response that carries `problem`."""
    response = reply(document_of(problem), status=problem.kind.status, media_type=MEDIA_TYPE, headers=problem.headers)
    if problem.closes:
        response.force_close()
    return response


def document_of(problem: HttpProblem) -> bytes:
    """Return the problem document."""
    document: dict[str, object] = {
        "type": problem.kind.uri,
        "title": problem.kind.title,
        "status": problem.kind.status,
        "detail": problem.detail,
    }
    if problem.faults is not None:
        document["errors"] = [
            {"index": fault.index, "field": fault.field, "reason": fault.reason}
            for fault in problem.faults[:MOST_FAULTS]
        ]
    return encode(document)
