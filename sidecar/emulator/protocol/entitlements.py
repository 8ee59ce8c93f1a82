"""The Entitlement Service's operation on the service: from the body of a call to the body of its answer.

Applies the faults that refuse a call, then the rules. Refuses to know HTTP. Every call is atomic.
"""

from typing import Any

from sidecar.emulator.protocol.calls import MARKETPLACE_REFUSALS, Call, CallAnswer, check_fault, read_body
from sidecar.emulator.protocol.decisions import Rule
from sidecar.emulator.protocol.entitlement_requests import ENTITLEMENT_REQUESTS
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.trail import describe_entitlement_request
from sidecar.emulator.rules.get_entitlements import GrantedEntitlement, get_entitlements
from sidecar.emulator.service import Service


async def fill_answer(service: Service, call: Call, answer: CallAnswer) -> None:
    """Perform a call and fill its answer.

    Raises:
        ServiceError: The call is refused. What the log may show of the request is in the answer.
    """
    members = _read_members(call)
    answer.parameters = describe_entitlement_request(members)
    check_fault(call, "aws-marketplace", MARKETPLACE_REFUSALS)
    page, next_token = get_entitlements(service.state, service.clock.now(), members)
    answer.result = {"Entitlements": [_show(each, members["ProductCode"]) for each in page]}
    if next_token is not None:
        answer.result["NextToken"] = next_token
    answer.rule = Rule.ENTITLEMENTS


def _read_members(call: Call) -> dict[str, Any]:
    try:
        return read_body(call, ENTITLEMENT_REQUESTS)
    except ServiceError as error:
        if error.code == "ValidationException":
            # The one error that the model has for a request's own faults.
            raise ServiceError("InvalidParameterException", error.message) from error
        raise


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
        shown["ExpirationDate"] = entitlement.expires_at
    return shown
