"""The log of calls in the shape of CloudTrail's, as a buyer finds it in their account.

Refuses to hold a token, a nonce, a signature or the value of a tag.
"""

from datetime import datetime
from typing import Any

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


def make_event(
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
        "eventSource": EVENT_SOURCE,
        "eventName": operation,
        "awsRegion": caller.region,
        "sourceIPAddress": "127.0.0.1",
        "requestParameters": parameters,
        "responseElements": elements,
        "additionalEventData": {"identity": caller.identity},
        "requestID": request_id,
        "eventID": request_id,
        "readOnly": False,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": caller.account,
    }
    if error is not None:
        record["errorCode"] = error.code
        record["errorMessage"] = error.message
    return TrailEvent(record)
