"""Events as CloudTrail writes them, and files of them as S3 delivers them."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CODE = "0abc123example"


def event(name: str, asked: dict[str, Any] | None, answered: dict[str, Any] | None, **members: Any) -> dict[str, Any]:
    """Return one event of the metering service."""
    return {
        "eventVersion": "1.09",
        "userIdentity": {
            "type": "AssumedRole",
            "principalId": "AROAEXAMPLE:botocore-session-1595466206",
            "arn": "arn:aws:sts::111122223333:assumed-role/metering/botocore-session-1595466206",
            "accountId": "111122223333",
        },
        "eventTime": "2026-11-23T12:10:00Z",
        "eventSource": "metering-marketplace.amazonaws.com",
        "eventName": name,
        "awsRegion": "eu-west-1",
        "requestParameters": asked,
        "responseElements": answered,
        "requestID": "request-1",
        "eventID": "event-1",
        "eventType": "AwsApiCall",
        **members,
    }


def metered(
    quantity: object, timestamp: object = "2026-11-23T10:00:00Z", identifier: str | None = "mr-aws", **asked: Any
) -> dict[str, Any]:
    """Return a MeterUsage event."""
    parameters = {"productCode": CODE, "timestamp": timestamp, "usageDimension": "requests", "usageQuantity": quantity}
    answered = None if identifier is None else {"meteringRecordId": identifier}
    return event("MeterUsage", {**parameters, **asked}, answered)


def deliver(folder: Path, *events: dict[str, Any], name: str = "1.json.gz", day: str = "23") -> Path:
    """Write a file into the folders of CloudTrail's bucket and return their top."""
    below = folder / "AWSLogs" / "111122223333" / "CloudTrail" / "eu-west-1" / "2026" / "11" / day
    below.mkdir(parents=True, exist_ok=True)
    (below / name).write_bytes(packed(records(events)))
    return folder / "AWSLogs"


def records(events: Sequence[dict[str, Any]]) -> bytes:
    """Return the content of a file."""
    return json.dumps({"Records": list(events)}).encode()


def packed(content: bytes) -> bytes:
    """Return content as gzip has it, the same each time."""
    return gzip.compress(content, mtime=0)
