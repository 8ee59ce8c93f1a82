"""The log of calls in the shape of CloudTrail's, as a buyer finds it in their account.

Refuses to hold a consumption token, a registration token, a nonce, a signature or the value of a tag.
"""

from datetime import datetime
from typing import Any

from sidecar.emulator.protocol.entitlement_requests import GetEntitlementsRequest
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.instants import format_instant
from sidecar.emulator.protocol.license_requests import (
    CheckInLicenseRequest,
    CheckoutLicenseRequest,
    ExtendLicenseConsumptionRequest,
    GetLicenseRequest,
    GetLicenseUsageRequest,
    LicenseRequest,
    ListReceivedLicensesRequest,
)
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
_READING = ("Get", "List")
"""How the names of operations begin that change nothing."""


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


def describe_license_request(request: LicenseRequest) -> dict[str, Any]:
    """Return what the log shows of a request to License Manager."""
    match request:
        case CheckoutLicenseRequest():
            return {
                "productSKU": request.sku,
                "checkoutType": request.checkout_type,
                "keyFingerprint": request.fingerprint,
                "entitlements": [
                    {"name": asked.name, "unit": asked.unit, "value": asked.value} for asked in request.entitlements
                ],
                "clientToken": request.client_token,
                "beneficiary": request.beneficiary,
                "nodeId": request.node_id,
            }
        case CheckInLicenseRequest():
            return {}
        case ExtendLicenseConsumptionRequest():
            return {"dryRun": request.dry_run}
        case GetLicenseRequest() | GetLicenseUsageRequest():
            return {"licenseArn": request.arn}
        case ListReceivedLicensesRequest():
            filters = [{"name": name, "values": list(values)} for name, values in request.filters]
            return {"licenseArns": request.arns, "filters": filters, "maxResults": request.page_size}


def describe_entitlement_request(request: GetEntitlementsRequest) -> dict[str, Any]:
    """Return what the log shows of a request to the Entitlement Service."""
    filters = {name: list(values) for name, values in request.filters.items()}
    return {"productCode": request.product_code, "filter": filters, "maxResults": request.page_size}


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
        "recipientAccountId": caller.account,
    }
    if error is not None:
        record["errorCode"] = error.code
        record["errorMessage"] = error.message
    return TrailEvent(record)
