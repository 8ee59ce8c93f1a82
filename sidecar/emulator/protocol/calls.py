"""A call of an operation and what it came to, for every service that the emulator plays."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sidecar.emulator.faults import ERROR_NAMES
from sidecar.emulator.protocol.body_codecs import BodyCodec
from sidecar.emulator.protocol.decisions import Rule
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.shapes import Structure, check
from sidecar.emulator.protocol.sigv4 import Caller

MARKETPLACE_REFUSALS: Mapping[str, str] = {
    "throttle": "ThrottlingException",
    "internal": "InternalServiceErrorException",
    "expired-token": "ExpiredTokenException",
}
"""The errors of Metering and of the Entitlement Service for the faults that have the name of what happens."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call by a known caller, with the fault that shall happen to it."""

    operation: str
    caller: Caller
    body: bytes = field(repr=False)
    codec: BodyCodec
    fault: str | None = None


@dataclass(slots=True)
class CallAnswer:
    """What a call came to."""

    result: dict[str, Any] = field(default_factory=dict, repr=False)
    """The answer's members; empty when there is an error."""
    parameters: dict[str, Any] | None = None
    """What the log may show of the request; None when it could not be read."""
    elements: dict[str, Any] | None = None
    """What the log may show of the result."""
    error: ServiceError | None = None
    rule: Rule = Rule.SHAPE
    """The rule that decided, where there is no error."""


def read_body(call: Call, requests: Mapping[str, Structure]) -> dict[str, Any]:
    """Return the members of a call, checked against the shape of its operation.

    Raises:
        ServiceError: The body cannot be decoded, or does not have that shape.
    """
    members: dict[str, Any] = check(requests[call.operation], call.codec.decode(call.body))
    return members


def check_fault(call: Call, namespace: str, refusals: Mapping[str, str], denied: str = "AccessDeniedException") -> None:
    """Refuse a call whose fault is an error of its service.

    Args:
        call: The call.
        namespace: How the actions of the service begin in IAM.
        refusals: The service's error for each fault that has the name of what happens.
        denied: Its error for a missing permission.

    Raises:
        ServiceError: The refusal.
    """
    if call.fault is not None and (call.fault in ERROR_NAMES or call.fault in refusals):
        raise ServiceError.of_fault(refusals.get(call.fault, call.fault))
    if call.fault == "access-denied":
        user = f"User: {call.caller.arn} is not authorized to perform: {namespace}:{call.operation}"
        raise ServiceError.of_fault(denied, user)
