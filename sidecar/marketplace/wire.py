"""Between our types and the members of the service's JSON.

Pure translation: it sends nothing and checks no limits. Whatever an answer lacks or garbles becomes `UnknownAnswer`, so
that no caller can take a hollow success for a success.
"""

import dataclasses
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sidecar.marketplace.errors import UnknownAnswer
from sidecar.marketplace.reading import Members, member_name, read_structure, request_id, text_of
from sidecar.marketplace.types import (
    MeterUsageRequest,
    MeterUsageResult,
    RegisterUsageResult,
    Request,
    ResolveCustomerResult,
    UsageRecord,
    UsageRecordResult,
    UsageRecordResultStatus,
)


def members(request: Any) -> dict[str, Any]:
    """Return a request as the SDK takes it; members that are None are left out, timestamps are in UTC."""
    return {
        name: _plain(value)
        for field, name in _names(request.__class__)
        if (value := getattr(request, field)) is not None
    }


@cache
def _names(kind: type[Any]) -> tuple[tuple[str, str], ...]:
    """Return the fields of a type with the service's names for them, found once: a record has 2,500 allocations."""
    return tuple((field.name, member_name(field.name)) for field in dataclasses.fields(kind))


def _plain(value: Any) -> Any:
    if isinstance(value, str | int):
        return value
    if isinstance(value, list | tuple):
        return [members(item) if dataclasses.is_dataclass(item) else item for item in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return value


def request_size(request: Request) -> int:
    """Return the length of the body that the SDK would send, in bytes."""
    return len(json.dumps(members(request), default=lambda instant: instant.timestamp()).encode())


def register_usage_result(answer: Members) -> RegisterUsageResult:
    """Read the answer of RegisterUsage; raises UnknownAnswer if there is no signature in it."""
    _require(answer, "Signature")
    return read_structure(RegisterUsageResult, answer)


def meter_usage_result(request: MeterUsageRequest, answer: Members) -> MeterUsageResult:
    """Read the answer of MeterUsage. A dry run that succeeds plainly has metered nothing.

    Raises:
        UnknownAnswer: There is no metering record id in it, and it was no dry run.
    """
    if request.dry_run:
        return MeterUsageResult(metering_record_id=None, request_id=request_id(answer))
    _require(answer, "MeteringRecordId")
    return read_structure(MeterUsageResult, answer)


def resolve_customer_result(answer: Members) -> ResolveCustomerResult:
    """Read the answer of ResolveCustomer; raises UnknownAnswer if it lacks the product, or any customer to bill."""
    _require(answer, "ProductCode")
    result = read_structure(ResolveCustomerResult, answer)
    if not (result.customer_identifier or result.customer_aws_account_id):
        raise UnknownAnswer("the answer names no customer", request_id=request_id(answer))
    return result


def settled_records(answer: Members) -> list[UsageRecordResult]:
    """Return the entries of a BatchMeterUsage answer that settle a record, in the service's order.

    An entry that is no structure, one with an unknown status or without its record, and a success without a metering
    record id settle nothing.

    Raises:
        UnknownAnswer: The answer has neither results nor unprocessed records, or garbles a record.
    """
    if answer.get("Results") is None and answer.get("UnprocessedRecords") is None:
        raise UnknownAnswer("the answer has no Results", request_id=request_id(answer))
    settled = []
    for entry in answer.get("Results") or ():
        if not isinstance(entry, Mapping):
            continue
        status = entry.get("Status")
        if status not in list(UsageRecordResultStatus) or entry.get("UsageRecord") is None:
            continue
        if status == UsageRecordResultStatus.SUCCESS and not entry.get("MeteringRecordId"):
            continue
        settled.append(read_structure(UsageRecordResult, entry))
    return settled


def unprocessed_records(answer: Members) -> list[UsageRecord]:
    """Return the records that a BatchMeterUsage answer names as not processed.

    Raises:
        UnknownAnswer: The answer garbles one.
    """
    return [read_structure(UsageRecord, record) for record in answer.get("UnprocessedRecords") or ()]


def _require(answer: Members, name: str) -> None:
    """Refuse an answer without a text, or with an empty one."""
    if not text_of(answer, name):
        raise UnknownAnswer(f"the answer has no {name}", request_id=request_id(answer))
