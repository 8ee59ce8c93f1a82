"""What each answer of MeterUsage means for the record that was sent: one table, complete over the service's errors."""

from enum import StrEnum


class Outcome(StrEnum):
    """What to do with the record."""

    ACCEPTED = "accepted"  # taken, with a metering record id
    RETRY = "retry"  # certainly not taken; the same request may succeed later
    UNKNOWN = "unknown"  # no answer that proves anything: it may have been taken; the same request is sent again
    NOT_ENTITLED = "not-entitled"  # as RETRY, and the entitlement is told
    SETUP = "setup"  # as RETRY, but a person must mend the set-up
    DUPLICATE = "duplicate"  # the slot holds another quantity
    CONFLICT = "conflict"  # the client token belongs to another request
    EXPIRED = "expired"  # the submission window has closed
    REJECTED = "rejected"  # this record will never be taken


OUTCOMES = {
    "ThrottlingException": Outcome.RETRY,
    "InternalServiceErrorException": Outcome.UNKNOWN,
    "CustomerNotEntitledException": Outcome.NOT_ENTITLED,
    "CustomerNotSubscribedException": Outcome.NOT_ENTITLED,
    "DuplicateRequestException": Outcome.DUPLICATE,
    "IdempotencyConflictException": Outcome.CONFLICT,
    "TimestampOutOfBoundsException": Outcome.EXPIRED,
    "InvalidUsageDimensionException": Outcome.REJECTED,
    "InvalidTagException": Outcome.REJECTED,
    "InvalidUsageAllocationsException": Outcome.REJECTED,
    "InvalidProductCodeException": Outcome.REJECTED,
    "InvalidEndpointRegionException": Outcome.SETUP,
    "AccessDeniedException": Outcome.SETUP,
    "UnauthorizedException": Outcome.SETUP,
    "InvalidRequest": Outcome.REJECTED,  # the client's own: it breaks the service's limits and was not sent
}
"""Error code of MeterUsage to its meaning; every error of the service model is named here."""


def classify(code: str, *, maybe_taken: bool) -> Outcome:
    """Return what an error answer means.

    Args:
        code: The service's error code, or the client's own for a call without one.
        maybe_taken: Whether the service may have processed the request all the same.
    """
    outcome = OUTCOMES.get(code, Outcome.RETRY)
    # A conflict is an answer: the same request would meet it again, whoever's usage AWS holds under the token.
    if maybe_taken and outcome is not Outcome.CONFLICT:
        return Outcome.UNKNOWN
    return outcome
