"""Between our types and the members of the service's JSON.

Pure translation: it sends nothing and checks no limits. Whatever an answer lacks or garbles becomes `UnknownAnswer`, so
that no caller can take a hollow success for a success.
"""

import dataclasses
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sidecar.marketplace.errors import UnknownAnswer
from sidecar.marketplace.reading import Members, member_name, request_id, text_of
from sidecar.marketplace.types import (
    Metadata,
    MeterUsageRequest,
    MeterUsageResult,
    RegisterUsageResult,
    Request,
    ResolveCustomerResult,
    Tag,
    UsageAllocation,
    UsageRecord,
    UsageRecordResult,
    UsageRecordResultStatus,
)


def members(request: Any) -> dict[str, Any]:
    """Return a request as the SDK takes it; members that are None are left out, timestamps are in UTC."""
    return {
        member_name(field.name): _plain(getattr(request, field.name))
        for field in dataclasses.fields(request)
        if getattr(request, field.name) is not None
    }


def _plain(value: Any) -> Any:
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
    return RegisterUsageResult(
        signature=_required(answer, "Signature"),
        public_key_rotation_timestamp=_instant(answer, "PublicKeyRotationTimestamp"),
        request_id=request_id(answer),
    )


def meter_usage_result(request: MeterUsageRequest, answer: Members) -> MeterUsageResult:
    """Read the answer of MeterUsage. A dry run that succeeds plainly has metered nothing.

    Raises:
        UnknownAnswer: There is no metering record id in it, and it was no dry run.
    """
    record_id = None if request.dry_run else _required(answer, "MeteringRecordId")
    return MeterUsageResult(metering_record_id=record_id, request_id=request_id(answer))


def resolve_customer_result(answer: Members) -> ResolveCustomerResult:
    """Read the answer of ResolveCustomer; raises UnknownAnswer if it lacks the product, or any customer to bill."""
    metadata = answer.get("Metadata")
    result = ResolveCustomerResult(
        product_code=_required(answer, "ProductCode"),
        customer_identifier=text_of(answer, "CustomerIdentifier"),
        customer_aws_account_id=text_of(answer, "CustomerAWSAccountId"),
        license_arn=text_of(answer, "LicenseArn"),
        metadata=None if metadata is None else Metadata(agreement_id=text_of(metadata, "AgreementId")),
        request_id=request_id(answer),
    )
    if result.customer_identifier is None and result.customer_aws_account_id is None:
        raise UnknownAnswer("the answer names no customer", request_id=request_id(answer))
    return result


def settled_records(answer: Members) -> list[UsageRecordResult]:
    """Return the entries of a BatchMeterUsage answer that settle a record, in the service's order.

    An entry with an unknown status, without its record, or a success without a metering record id settles nothing.

    Raises:
        UnknownAnswer: The answer has neither results nor unprocessed records, or garbles a record.
    """
    if answer.get("Results") is None and answer.get("UnprocessedRecords") is None:
        raise UnknownAnswer("the answer has no Results", request_id=request_id(answer))
    settled = []
    for entry in answer.get("Results") or ():
        status, record, record_id = entry.get("Status"), entry.get("UsageRecord"), entry.get("MeteringRecordId")
        if status not in list(UsageRecordResultStatus) or record is None:
            continue
        if status == UsageRecordResultStatus.SUCCESS and not record_id:
            continue
        settled.append(
            UsageRecordResult(
                usage_record=usage_record(record),
                status=UsageRecordResultStatus(status),
                metering_record_id=text_of(entry, "MeteringRecordId"),
            )
        )
    return settled


def unprocessed_records(answer: Members) -> list[UsageRecord]:
    """Return the records that a BatchMeterUsage answer names as not processed.

    Raises:
        UnknownAnswer: The answer garbles one.
    """
    return [usage_record(record) for record in answer.get("UnprocessedRecords") or ()]


def usage_record(record: Members) -> UsageRecord:
    """Read one usage record as the service repeats it.

    Raises:
        UnknownAnswer: Its timestamp or its dimension is missing.
    """
    timestamp = _instant(record, "Timestamp")
    if timestamp is None:
        raise UnknownAnswer("a record in the answer has no Timestamp")
    allocations = record.get("UsageAllocations")
    return UsageRecord(
        timestamp=timestamp,
        dimension=_required(record, "Dimension"),
        quantity_as_decimal=text_of(record, "QuantityAsDecimal"),
        quantity=record.get("Quantity"),
        usage_allocations=None if allocations is None else tuple(_allocation(each) for each in allocations),
        customer_identifier=text_of(record, "CustomerIdentifier"),
        customer_aws_account_id=text_of(record, "CustomerAWSAccountId"),
        license_arn=text_of(record, "LicenseArn"),
    )


def _allocation(allocation: Members) -> UsageAllocation:
    tags = allocation.get("Tags")
    return UsageAllocation(
        allocated_usage_quantity_as_decimal=text_of(allocation, "AllocatedUsageQuantityAsDecimal"),
        allocated_usage_quantity=allocation.get("AllocatedUsageQuantity"),
        tags=None if tags is None else tuple(Tag(_required(tag, "Key"), tag.get("Value") or "") for tag in tags),
    )


def _required(structure: Members, name: str) -> str:
    value = text_of(structure, name)
    if not value:
        raise UnknownAnswer(f"the answer has no {name}", request_id=request_id(structure))
    return value


def _instant(structure: Members, name: str) -> datetime | None:
    value: datetime | None = structure.get(name)  # the SDK has parsed it, or failed
    return None if value is None else value.astimezone(UTC)
