"""The services of AWS whose operations are called by name at the emulator's port, each as one value."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from sidecar.emulator.protocol import entitlements, licensing, metering
from sidecar.emulator.protocol.body_codecs import CBOR, JSON
from sidecar.emulator.protocol.calls import Call, CallAnswer
from sidecar.emulator.protocol.errors import ENTITLEMENT_MODELLED, LICENSE_MODELLED, MODELLED, ServiceError
from sidecar.emulator.protocol.trail import ENTITLEMENT_EVENT_SOURCE, EVENT_SOURCE, LICENSE_EVENT_SOURCE
from sidecar.emulator.service import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcService:
    """How a service is called, and how it words its answers."""

    name: str
    """Its name in a call: the prefix of X-Amz-Target, a part of the path of RPC v2."""
    protocols: Collection[str] = (JSON.protocol,)
    """Those of its model."""
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


METERING = RpcService(
    name="AWSMPMeteringService",
    signing_name="aws-marketplace",
    operations=MODELLED,
    event_source=EVENT_SOURCE,
    message_member="message",
    internal_error="InternalServiceErrorException",
    fill=metering.fill_answer,
)
LICENSE_MANAGER = RpcService(
    name="AWSLicenseManager",
    signing_name="license-manager",
    operations=LICENSE_MODELLED,
    event_source=LICENSE_EVENT_SOURCE,
    message_member="Message",
    internal_error="ServerInternalException",
    fill=licensing.fill_answer,
)
ENTITLEMENT_SERVICE = RpcService(
    name="AWSMPEntitlementService",
    protocols=(CBOR.protocol, JSON.protocol),
    signing_name="aws-marketplace",
    operations=ENTITLEMENT_MODELLED,
    event_source=ENTITLEMENT_EVENT_SOURCE,
    message_member="message",
    internal_error="InternalServiceErrorException",
    fill=entitlements.fill_answer,
)


SERVICES = (METERING, LICENSE_MANAGER, ENTITLEMENT_SERVICE)
"""All of them."""


def find_service(name: str, operation: str, protocol: str) -> RpcService | None:
    """Return the service that has this name, the operation and the protocol; None if there is none."""
    for service in SERVICES:
        if service.name == name and operation in service.operations and protocol in service.protocols:
            return service
    return None
