"""The Entitlement Service's operation on the service: from the body of a call to the body of its answer.

Applies the faults that refuse a call, then the rules. Refuses to know HTTP. Every call is atomic.
"""

from sidecar.emulator.faults import ERROR_NAMES
from sidecar.emulator.protocol.calls import Call, CallAnswer, read_body
from sidecar.emulator.protocol.decisions import Rule
from sidecar.emulator.protocol.entitlement_requests import (
    ENTITLEMENT_REQUESTS,
    GetEntitlementsRequest,
    read_entitlement_request,
)
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.instants import epoch_seconds
from sidecar.emulator.protocol.trail import describe_entitlement_request
from sidecar.emulator.rules.get_entitlements import GrantedEntitlement, get_entitlements
from sidecar.emulator.service import Service

_REFUSALS = {
    "throttle": "ThrottlingException",
    "internal": "InternalServiceErrorException",
    "expired-token": "ExpiredTokenException",
}


async def perform(service: Service, call: Call) -> CallAnswer:
    """Perform a call. Never raises a ServiceError: a refusal is an answer, too."""
    answer = CallAnswer()
    try:
        request = _read_request(call)
        answer.parameters = describe_entitlement_request(request)
        _check_call(call)
        page, next_token = get_entitlements(service.state, service.clock.now(), request)
        answer.result = {"Entitlements": [_show(each, request.product_code) for each in page]}
        if next_token is not None:
            answer.result["NextToken"] = next_token
        answer.rule = Rule.ENTITLEMENTS
    except ServiceError as error:
        answer.error = error
    return answer


def _read_request(call: Call) -> GetEntitlementsRequest:
    try:
        return read_entitlement_request(read_body(call, ENTITLEMENT_REQUESTS))
    except ServiceError as error:
        if error.code == "ValidationException":
            # The one error that the model has for a request's own faults.
            raise ServiceError("InvalidParameterException", error.message) from error
        raise


def _check_call(call: Call) -> None:
    if call.fault in ERROR_NAMES or call.fault in _REFUSALS:
        raise ServiceError(_REFUSALS.get(call.fault, call.fault), "This fault was asked for.", rule=Rule.FAULT)
    if call.fault == "access-denied":
        raise ServiceError(
            "AccessDeniedException",
            f"User: {call.caller.arn} is not authorized to perform: aws-marketplace:{call.operation}",
            rule=Rule.FAULT,
        )


def _show(granted: GrantedEntitlement, product_code: str) -> dict[str, object]:
    customer, entitlement = granted.customer, granted.entitlement
    shown: dict[str, object] = {
        "ProductCode": product_code,
        "Dimension": entitlement.dimension,
        "CustomerAWSAccountId": customer.aws_account_id,
        "LicenseArn": customer.license_arn,
        "Value": {entitlement.kind: entitlement.value},
    }
    if customer.customer_identifier is not None:
        shown["CustomerIdentifier"] = customer.customer_identifier
    if entitlement.expires_at is not None:
        shown["ExpirationDate"] = epoch_seconds(entitlement.expires_at)
    return shown
