"""The services of AWS that speak JSON 1.1 at the emulator's port, each as one value."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from sidecar.emulator.protocol import entitlements, licensing, metering
from sidecar.emulator.protocol.calls import Call, CallAnswer
from sidecar.emulator.protocol.errors import ENTITLEMENT_MODELLED, LICENSE_MODELLED, MODELLED, ServiceError
from sidecar.emulator.protocol.trail import ENTITLEMENT_EVENT_SOURCE, EVENT_SOURCE, LICENSE_EVENT_SOURCE
from sidecar.emulator.service import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonService:
    """How a service is called, and how it words its answers."""

    target_prefix: str
    signing_name: str
    operations: Collection[str]
    event_source: str
    message_member: str
    """The member of an error that has its text."""
    internal_error: str
    """The error of the service's own faults."""
    fill: Callable[[Service, Call, CallAnswer], Awaitable[None]]
    """Performs a call and fills its answer; raises ServiceError if it is refused."""

    async def perform(self, service: Service, call: Call) -> CallAnswer:
        """Return the answer to a call. A refusal is an answer, too."""
        answer = CallAnswer()
        try:
            await self.fill(service, call, answer)
        except ServiceError as error:
            answer.error = error
        return answer


METERING = JsonService(
    target_prefix="AWSMPMeteringService.",
    signing_name="aws-marketplace",
    operations=MODELLED,
    event_source=EVENT_SOURCE,
    message_member="message",
    internal_error="InternalServiceErrorException",
    fill=metering.fill_answer,
)
LICENSE_MANAGER = JsonService(
    target_prefix="AWSLicenseManager.",
    signing_name="license-manager",
    operations=LICENSE_MODELLED,
    event_source=LICENSE_EVENT_SOURCE,
    message_member="Message",
    internal_error="ServerInternalException",
    fill=licensing.fill_answer,
)
ENTITLEMENT_SERVICE = JsonService(
    target_prefix="AWSMPEntitlementService.",
    signing_name="aws-marketplace",
    operations=ENTITLEMENT_MODELLED,
    event_source=ENTITLEMENT_EVENT_SOURCE,
    message_member="message",
    internal_error="InternalServiceErrorException",
    fill=entitlements.fill_answer,
)


def find_service(target: str) -> JsonService | None:
    """Return the service of an X-Amz-Target; None if it is of none, or names no operation of it."""
    for service in (METERING, LICENSE_MANAGER, ENTITLEMENT_SERVICE):
        if target.startswith(service.target_prefix):
            return service if target.removeprefix(service.target_prefix) in service.operations else None
    return None
