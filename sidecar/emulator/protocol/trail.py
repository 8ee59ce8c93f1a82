"""The log of calls in the shape of CloudTrail's, as a buyer finds it in their account.

Refuses to hold a consumption token, a registration token, a nonce, a signature or the value of a tag.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sidecar.emulator.protocol.entitlement_requests import LARGEST_PAGE
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.instants import format_instant
from sidecar.emulator.protocol.requests import (
    BatchMeterUsageRequest,
    MeteringRequest,
    MeterUsageRequest,
    RegisterUsageRequest,
    ResolveCustomerRequest,
)
from sidecar.emulator.protocol.sigv4 import Caller
from sidecar.emulator.state.entries import TrailEvent

EVENT_SOURCE = "metering-marketplace.amazonaws.com"
LICENSE_EVENT_SOURCE = "license-manager.amazonaws.com"
ENTITLEMENT_EVENT_SOURCE = "marketplaceentitlementservice.amazonaws.com"
LARGEST_LOGGED = 100 * 1024
"""Bytes of a request that CloudTrail logs."""
_READING = ("Get", "List")
"""How the names of operations begin that change nothing."""
_CONSUMPTION_TOKEN = "LicenseConsumptionToken"  # noqa: S105 - the name of a member


def describe(request: MeteringRequest) -> dict[str, Any]:
    """Return what the log shows of a request."""
    match request:
        case RegisterUsageRequest():
            return {"productCode": request.product_code, "publicKeyVersion": request.public_key_version}
        case MeterUsageRequest():
            return {
                "productCode": request.product_code,
                "timestamp": format_instant(request.timestamp),
                "usageDimension": request.dimension,
                "usageQuantity": str(request.quantity),
                "dryRun": request.dry_run,
            }
        case BatchMeterUsageRequest():
            records = [
                {
                    "customerIdentifier": record.customer_identifier,
                    "customerAWSAccountId": record.aws_account_id,
                    "licenseArn": record.license_arn,
                    "timestamp": format_instant(record.timestamp),
                    "dimension": record.dimension,
                    "quantity": str(record.quantity),
                }
                for record in request.records
            ]
            return {"productCode": request.product_code, "usageRecords": records}
        case ResolveCustomerRequest():
            return {}


def describe_license_request(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the log shows of a request to License Manager: its members as CloudTrail spells them."""
    return {_spelled(name): _shown(value) for name, value in members.items() if name != _CONSUMPTION_TOKEN}


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {_spelled(name): member for name, member in value.items()}
    return [_shown(each) for each in value] if isinstance(value, list) else value


def _spelled(name: str) -> str:
    return name[0].lower() + name[1:]


def describe_entitlement_request(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the log shows of a request to the Entitlement Service."""
    size = members.get("MaxResults", LARGEST_PAGE)
    return {"productCode": members["ProductCode"], "filter": members.get("Filter", {}), "maxResults": size}


def without_excess(parameters: dict[str, Any] | None, size: int) -> dict[str, Any] | None:
    """Return what CloudTrail shows of a request of so many bytes: nothing of a large one."""
    return parameters if size <= LARGEST_LOGGED else {"omitted": True}


def make_event(
    source: str,
    operation: str,
    caller: Caller,
    now: datetime,
    request_id: str,
    *,
    parameters: dict[str, Any] | None,
    elements: dict[str, Any] | None = None,
    error: ServiceError | None = None,
) -> TrailEvent:
    """Make the log's record of a call."""
    record = {
        "eventVersion": "1.09",
        "userIdentity": {
            "type": "IAMUser" if caller.session is None else "AssumedRole",
            "arn": caller.arn,
            "accountId": caller.account,
            "accessKeyId": caller.access_key_id,
        },
        "eventTime": format_instant(now.replace(microsecond=0)),
        "eventSource": source,
        "eventName": operation,
        "awsRegion": caller.region,
        "sourceIPAddress": "127.0.0.1",
        "requestParameters": parameters,
        "responseElements": elements,
        "additionalEventData": {"identity": caller.identity},
        "requestID": request_id,
        "eventID": request_id,
        "readOnly": operation.startswith(_READING),
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "eventCategory": "Management",
        "recipientAccountId": caller.account,
    }
    if error is not None:
        record["errorCode"] = error.code
        record["errorMessage"] = error.message
    return TrailEvent(record)
