"""What the service would refuse or count wrongly, found before sending.

`faults` lists every fault of a request with its path in the service's own member names. It refuses to look at the
clock, the entitlement or the product, which only AWS knows. Sums are exact.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from sidecar.marketplace.batch import clashes
from sidecar.marketplace.errors import RequestFault
from sidecar.marketplace.limits import (
    Limit,
    check_each,
    check_flag,
    check_items,
    check_text,
    check_timestamp,
    check_whole_number,
    exact_quantity,
)
from sidecar.marketplace.types import (
    BatchMeterUsageRequest,
    MeterUsageRequest,
    RegisterUsageRequest,
    Request,
    ResolveCustomerRequest,
    Tag,
    UsageAllocation,
    UsageRecord,
)
from sidecar.marketplace.wire import request_size

DISTINCT_TAG_KEYS: Final = 5
"""How many different tag keys the allocations of one quantity may use."""
LARGEST_BATCH: Final = 1_000_000
"""A batch must be smaller than this, in bytes of its JSON."""


def faults(request: Request) -> list[RequestFault]:
    """Return everything that is wrong with `request`, in the order of its members; empty when it may be sent."""
    match request:
        case RegisterUsageRequest():
            return [
                *check_text("ProductCode", request.product_code, "ProductCode"),
                *check_whole_number("PublicKeyVersion", request.public_key_version, "VersionInteger"),
                *check_text("Nonce", request.nonce, "Nonce", optional=True),
            ]
        case MeterUsageRequest():
            return list(_meter_usage(request))
        case BatchMeterUsageRequest():
            wrong = list(_batch(request, "UsageRecordList"))
            if not wrong and request_size(request) >= LARGEST_BATCH:
                wrong = [RequestFault("UsageRecords", f"must be less than {LARGEST_BATCH} bytes of JSON together")]
            return wrong
        case ResolveCustomerRequest():
            return list(check_text("RegistrationToken", request.registration_token, "NonEmptyString"))


def _meter_usage(request: MeterUsageRequest) -> Iterator[RequestFault]:
    yield from check_text("ProductCode", request.product_code, "ProductCode")
    yield from check_timestamp("Timestamp", request.timestamp)
    yield from check_text("UsageDimension", request.usage_dimension, "UsageDimension")
    yield from _amount(
        ("UsageQuantity", request.usage_quantity, "UsageQuantity"),
        ("UsageQuantityAsDecimal", request.usage_quantity_as_decimal, "UsageQuantityAsDecimalString"),
    )
    yield from check_flag("DryRun", request.dry_run)
    yield from _allocations(
        "UsageAllocations", request.usage_allocations, request.usage_quantity, request.usage_quantity_as_decimal
    )
    yield from check_text("ClientToken", request.client_token, "ClientToken")


def submission_faults(request: BatchMeterUsageRequest) -> list[RequestFault]:
    """Return everything that is wrong with records that may be sent in several calls.

    Their number and their size together have no bound, but a record alone must fit into a call.
    """
    wrong = list(_batch(request, Limit()))
    if not wrong:
        for index, record in enumerate(request.usage_records):
            if request_size(replace(request, usage_records=(record,))) >= LARGEST_BATCH:
                wrong.append(RequestFault(f"UsageRecords[{index}]", f"must be less than {LARGEST_BATCH} bytes of JSON"))
    return wrong


def _batch(request: BatchMeterUsageRequest, number: str | Limit) -> Iterator[RequestFault]:
    yield from check_text("ProductCode", request.product_code, "ProductCode", optional=True)
    wrong = list(check_items("UsageRecords", request.usage_records, number, UsageRecord))
    if not wrong:
        for index, record in enumerate(request.usage_records):
            wrong += _usage_record(f"UsageRecords[{index}]", record)
        wrong += _identities(request)
    if not wrong:
        wrong += _clashes(request.usage_records)
    yield from wrong


def _usage_record(path: str, record: UsageRecord) -> Iterator[RequestFault]:
    yield from check_timestamp(f"{path}.Timestamp", record.timestamp)
    yield from check_text(f"{path}.CustomerIdentifier", record.customer_identifier, "CustomerIdentifier", optional=True)
    yield from check_text(f"{path}.Dimension", record.dimension, "UsageDimension")
    yield from _amount(
        (f"{path}.Quantity", record.quantity, "UsageQuantity"),
        (f"{path}.QuantityAsDecimal", record.quantity_as_decimal, "UsageQuantityAsDecimalString"),
    )
    yield from _allocations(
        f"{path}.UsageAllocations", record.usage_allocations, record.quantity, record.quantity_as_decimal
    )
    account = record.customer_aws_account_id
    yield from check_text(f"{path}.CustomerAWSAccountId", account, "CustomerAWSAccountId", optional=True)
    yield from check_text(f"{path}.LicenseArn", record.license_arn, "LicenseArn", optional=True)
    if record.customer_identifier is not None:
        if account is not None or record.license_arn is not None:
            yield RequestFault(path, "names its customer twice, by CustomerIdentifier and by account and license")
    elif account is None and record.license_arn is None:
        yield RequestFault(path, "names no customer")
    elif account is None:
        yield RequestFault(f"{path}.CustomerAWSAccountId", "is missing; LicenseArn requires it")
    elif record.license_arn is None:
        yield RequestFault(f"{path}.LicenseArn", "is missing; CustomerAWSAccountId requires it")


def _identities(request: BatchMeterUsageRequest) -> Iterator[RequestFault]:
    legacy = any(record.customer_identifier is not None for record in request.usage_records)
    licensed = any(record.license_arn is not None for record in request.usage_records)
    if legacy and licensed:
        yield RequestFault("UsageRecords", "mix CustomerIdentifier and LicenseArn, which can bill a customer twice")
    elif legacy and request.product_code is None:
        yield RequestFault("ProductCode", "is required with CustomerIdentifier")
    elif licensed and request.product_code is not None:
        yield RequestFault("ProductCode", "must be left out with LicenseArn, or the customer is billed twice")


def _clashes(records: Sequence[UsageRecord]) -> Iterator[RequestFault]:
    # AWS takes the first one that arrives. It answers Success to an equal quantity as well, but counts it once.
    for index, first in clashes(records):
        yield RequestFault(
            f"UsageRecords[{index}]",
            f"has the customer, dimension and UTC hour of UsageRecords[{first}], and AWS counts one record for them; "
            "send one record with the sum",
        )


def _amount(whole: tuple[str, object, str], decimal: tuple[str, object, str]) -> Iterator[RequestFault]:
    yield from check_whole_number(*whole, optional=True)
    yield from check_text(*decimal, optional=True)
    if whole[1] is not None and decimal[1] is not None:
        yield RequestFault(decimal[0], f"and {whole[0].rpartition('.')[2]} are both present; give only one")


def _allocations(
    path: str, allocations: Sequence[UsageAllocation] | None, whole: int | None, decimal: str | None
) -> Iterator[RequestFault]:
    if allocations is None:
        return
    wrong = list(check_each(path, allocations, "UsageAllocations", UsageAllocation, _allocation))
    if not wrong:
        wrong += _kinds(path, allocations, whole, decimal)
        wrong += _tag_sets(path, allocations)
        total = exact_quantity(whole, decimal)
        parts = [
            exact_quantity(each.allocated_usage_quantity, each.allocated_usage_quantity_as_decimal)
            for each in allocations
        ]
        if total is not None and sum(part for part in parts if part is not None) != total:
            wrong.append(RequestFault(path, "must add up to exactly the quantity"))
    yield from wrong


def _allocation(path: str, allocation: UsageAllocation) -> Iterator[RequestFault]:
    whole, decimal = allocation.allocated_usage_quantity, allocation.allocated_usage_quantity_as_decimal
    yield from _amount(
        (f"{path}.AllocatedUsageQuantity", whole, "AllocatedUsageQuantity"),
        (f"{path}.AllocatedUsageQuantityAsDecimal", decimal, "AllocatedUsageQuantityAsDecimalString"),
    )
    if whole is None and decimal is None:
        yield RequestFault(path, "has no quantity")
    if allocation.tags is None:
        return
    wrong = list(check_items(f"{path}.Tags", allocation.tags, "TagList", Tag))
    if not wrong:
        for index, tag in enumerate(allocation.tags):
            wrong += check_text(f"{path}.Tags[{index}].Key", tag.key, "TagKey")
            wrong += check_text(f"{path}.Tags[{index}].Value", tag.value, "TagValue")
            if tag.key in [earlier.key for earlier in allocation.tags[:index]]:
                wrong.append(RequestFault(f"{path}.Tags[{index}].Key", "is given twice in one tag set"))
    yield from wrong


def _kinds(
    path: str, allocations: Sequence[UsageAllocation], whole: int | None, decimal: str | None
) -> Iterator[RequestFault]:
    # Without a quantity there is no kind to follow, so the allocations need only agree among themselves.
    decimals = allocations[0].allocated_usage_quantity is None if whole is None and decimal is None else whole is None
    wanted = "AllocatedUsageQuantityAsDecimal" if decimals else "AllocatedUsageQuantity"
    for index, allocation in enumerate(allocations):
        if (allocation.allocated_usage_quantity is None) is not decimals:
            yield RequestFault(f"{path}[{index}]", f"must use {wanted}, the same kind of quantity as the total")


def _tag_sets(path: str, allocations: Sequence[UsageAllocation]) -> Iterator[RequestFault]:
    seen: dict[frozenset[Tag], int] = {}
    for index, allocation in enumerate(allocations):
        first = seen.setdefault(frozenset(allocation.tags or ()), index)
        if first != index:
            yield RequestFault(f"{path}[{index}].Tags", f"is the same tag set as that of {path}[{first}]")
    if len({tag.key for tags in seen for tag in tags}) > DISTINCT_TAG_KEYS:
        yield RequestFault(path, f"use more than {DISTINCT_TAG_KEYS} different tag keys")
