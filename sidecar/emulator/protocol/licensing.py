"""License Manager's six operations on the service: from the body of a call to the body of its answer.

Applies the faults that change an answer or refuse a call, then the rules. Refuses to know HTTP. Every call is atomic.
"""

from typing import Any

from sidecar.emulator.protocol.calls import Call, CallAnswer, check_fault, read_body
from sidecar.emulator.protocol.decisions import Rule
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.instants import format_instant
from sidecar.emulator.protocol.license_answers import (
    show_checkout,
    show_extension,
    show_granted,
    show_license,
    show_usage,
)
from sidecar.emulator.protocol.license_requests import LICENSE_REQUESTS, read_checkout
from sidecar.emulator.protocol.trail import describe_license_request
from sidecar.emulator.rules.checkouts import check_in_license, checkout_license, extend_license_consumption
from sidecar.emulator.rules.received_licenses import get_license, list_received_licenses
from sidecar.emulator.service import Service

_REFUSALS = {
    "throttle": "RateLimitExceededException",
    "internal": "ServerInternalException",
    "expired-token": "ExpiredTokenException",
}
_DECIDING = {
    "CheckoutLicense": Rule.SEATS,
    "CheckInLicense": Rule.CHECKOUT,
    "ExtendLicenseConsumption": Rule.CHECKOUT,
    "GetLicense": Rule.LICENSE,
    "GetLicenseUsage": Rule.SEATS,
    "ListReceivedLicenses": Rule.LICENSE,
}
"""The rule behind an answer that is no refusal."""


async def fill_answer(service: Service, call: Call, answer: CallAnswer) -> None:
    """Perform a call and fill its answer.

    Raises:
        ServiceError: The call is refused. What the log may show of the request is in the answer.
    """
    members = read_body(call, LICENSE_REQUESTS)
    answer.parameters = describe_license_request(members)
    _check_call(service, call)
    _answer_request(service, call, members, answer)
    if call.fault == "no-token":
        answer.result.pop("LicenseConsumptionToken", None)
    if call.fault == "partial":
        for each in answer.result["EntitlementsAllowed"]:
            if each.get("Value", "").isdecimal():
                each["Value"] = str(max(int(each["Value"]) - 1, 1))


def _check_call(service: Service, call: Call) -> None:
    if call.fault == "RedirectException":
        raise ServiceError.of_fault(call.fault, Location="us-east-1")
    check_fault(call, "license-manager", _REFUSALS)
    if not service.quotas.admit(call.operation, call.caller.region, service.clock.now()):
        raise ServiceError("RateLimitExceededException", "Rate exceeded.")


def _answer_request(service: Service, call: Call, members: dict[str, Any], answer: CallAnswer) -> None:
    state, now = service.state, service.clock.now()
    answer.rule = _DECIDING[call.operation]
    region = call.caller.region if service.options.license_region == "home" else None
    match call.operation:
        case "CheckoutLicense":
            checkout = checkout_license(state, now, call.caller.identity, read_checkout(members), region=region)
            answer.result = show_checkout(checkout)
            answer.elements = {"licenseArn": checkout.license_arn, "checkoutType": checkout.request.checkout_type}
        case "CheckInLicense":
            check_in_license(state, now, members["LicenseConsumptionToken"], region=region)
        case "ExtendLicenseConsumption":
            if not members.get("DryRun"):
                new_token = call.fault in ("new-token", "drop-new-token")
                token = members["LicenseConsumptionToken"]
                extended = extend_license_consumption(state, now, token, new_token=new_token, region=region)
                answer.result = show_extension(extended)
                expires_at = extended.expires_at
                answer.elements = {"expiration": None if expires_at is None else format_instant(expires_at)}
        case "GetLicense":
            license_ = get_license(state, members["LicenseArn"], members.get("Version"), region=region)
            answer.result = {"License": show_license(license_, now)}
        case "GetLicenseUsage":
            license_ = get_license(state, members["LicenseArn"], region=region)
            answer.result = {"LicenseUsage": show_usage(state, license_, now)}
        case _:
            licenses, next_token = list_received_licenses(state, now, members, region=region)
            answer.result = {"Licenses": [show_granted(each, now) for each in licenses]}
            if next_token is not None:
                answer.result["NextToken"] = next_token
