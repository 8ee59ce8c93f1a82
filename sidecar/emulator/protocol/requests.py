"""The four metering requests as values, made from members that `shapes` has checked.

Refuses two quantities where one is meant. Invariant: a request that exists is well-formed; whether it is allowed is
for the rules.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.rules.quantities import ZERO, Quantity, decimal_quantity, whole_quantity


@dataclass(frozen=True, slots=True)
class Tag:
    """One key and value of an allocation."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Allocation:
    """The part of a quantity that belongs to one set of tags; no tags is the untagged bucket."""

    quantity: Quantity
    tags: tuple[Tag, ...] = ()


@dataclass(frozen=True, slots=True)
class RegisterUsageRequest:
    """A pod reports for duty."""

    product_code: str
    public_key_version: int
    nonce: str | None = None


@dataclass(frozen=True, slots=True)
class MeterUsageRequest:
    """Usage of one dimension in the hour of `timestamp`."""

    product_code: str
    timestamp: datetime
    dimension: str
    quantity: Quantity = ZERO
    allocations: tuple[Allocation, ...] | None = None
    """None when the member was left out, which is not the same as an empty list."""
    client_token: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One record of a batch. The customer is named either by identifier, or by account and license."""

    timestamp: datetime
    dimension: str
    quantity: Quantity = ZERO
    allocations: tuple[Allocation, ...] | None = None
    customer_identifier: str | None = None
    aws_account_id: str | None = None
    license_arn: str | None = None


@dataclass(frozen=True, slots=True)
class BatchMeterUsageRequest:
    """Usage of many customers; `product_code` only where customers are named by identifier."""

    product_code: str | None
    records: tuple[UsageRecord, ...]


@dataclass(frozen=True, slots=True)
class ResolveCustomerRequest:
    """The registration token of a buyer's browser."""

    token: str = field(repr=False)


MeteringRequest = RegisterUsageRequest | MeterUsageRequest | BatchMeterUsageRequest | ResolveCustomerRequest


def read_request(operation: str, members: dict[str, Any]) -> MeteringRequest:
    """Make the request of an operation.

    Raises:
        ServiceError: Both quantity fields are given, or an allocation has not exactly one.
    """
    match operation:
        case "RegisterUsage":
            return RegisterUsageRequest(members["ProductCode"], members["PublicKeyVersion"], members.get("Nonce"))
        case "MeterUsage":
            return _read_meter_usage(members)
        case "BatchMeterUsage":
            return _read_batch_meter_usage(members)
        case _:
            return ResolveCustomerRequest(members["RegistrationToken"])


def _read_meter_usage(members: dict[str, Any]) -> MeterUsageRequest:
    return MeterUsageRequest(
        product_code=members["ProductCode"],
        timestamp=members["Timestamp"],
        dimension=members["UsageDimension"],
        quantity=_read_quantity(members, "UsageQuantity"),
        allocations=_read_allocations(members),
        client_token=members.get("ClientToken"),
        dry_run=members.get("DryRun", False),
    )


def _read_batch_meter_usage(members: dict[str, Any]) -> BatchMeterUsageRequest:
    records = tuple(
        UsageRecord(
            timestamp=record["Timestamp"],
            dimension=record["Dimension"],
            quantity=_read_quantity(record, "Quantity"),
            allocations=_read_allocations(record),
            customer_identifier=record.get("CustomerIdentifier"),
            aws_account_id=record.get("CustomerAWSAccountId"),
            license_arn=record.get("LicenseArn"),
        )
        for record in members["UsageRecords"]
    )
    return BatchMeterUsageRequest(members.get("ProductCode"), records)


def _read_quantity(members: dict[str, Any], name: str) -> Quantity:
    whole, decimal = members.get(name), members.get(f"{name}AsDecimal")
    if whole is not None and decimal is not None:
        raise ServiceError("ValidationException", f"Specify either {name} or {name}AsDecimal, not both.")
    if decimal is not None:
        return decimal_quantity(decimal)
    return whole_quantity(whole or 0)


def _read_allocations(members: dict[str, Any]) -> tuple[Allocation, ...] | None:
    allocations = members.get("UsageAllocations")
    if allocations is None:
        return None
    return tuple(_read_allocation(allocation) for allocation in allocations)


def _read_allocation(members: dict[str, Any]) -> Allocation:
    given = [name for name in ("AllocatedUsageQuantity", "AllocatedUsageQuantityAsDecimal") if name in members]
    if len(given) != 1:
        raise ServiceError(
            "InvalidUsageAllocationsException",
            "Each allocation must specify exactly one of AllocatedUsageQuantity or AllocatedUsageQuantityAsDecimal.",
        )
    tags = tuple(Tag(tag["Key"], tag["Value"]) for tag in members.get("Tags", ()))
    return Allocation(_read_quantity(members, "AllocatedUsageQuantity"), tags)
