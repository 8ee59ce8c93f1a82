"""The requests and results of the four operations, in the words of the service model (version 2016-01-14).

A member keeps its name in snake case. Nothing here validates, sends or imports an SDK. Requests are values that never
change once made, so that each attempt sends the same. Timestamps are aware datetimes, decimal quantities strings.
Nonces, tokens, signatures and tag values stay out of every `repr`, so no log can show them.
"""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


def _client_token() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class Tag:
    """One key and value of the set that names a bucket of usage."""

    key: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageAllocation:
    """The part of a quantity that belongs to one tag set. Exactly one of the two quantities; no tags: the rest."""

    allocated_usage_quantity_as_decimal: str | None = None
    allocated_usage_quantity: int | None = None
    tags: tuple[Tag, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterUsageRequest:
    """Asks for the entitlement of the calling pod or task, and starts its hourly metering."""

    product_code: str
    public_key_version: int
    nonce: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterUsageResult:
    """AWS's signed statement. `signature` is a JWT that is not verified yet."""

    signature: str = field(repr=False)
    public_key_rotation_timestamp: datetime | None = None
    """When the public key version that was asked for expired; None while it is current."""
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterUsageRequest:
    """One quantity for one dimension and hour. At most one of the two quantities; neither means 0.

    `client_token` is made once, with the request: sending the same object again is the same request to AWS.
    """

    product_code: str
    timestamp: datetime
    usage_dimension: str
    usage_quantity_as_decimal: str | None = None
    usage_quantity: int | None = None
    dry_run: bool | None = None
    usage_allocations: tuple[UsageAllocation, ...] | None = None
    client_token: str = field(default_factory=_client_token)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterUsageResult:
    """A record that AWS took. `metering_record_id` is None only in answer to a dry run."""

    metering_record_id: str | None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRecord:
    """One customer's quantity for one dimension and UTC hour, of which AWS counts one record.

    The customer is named either by `customer_identifier` (legacy, with the product code on the request) or by
    `customer_aws_account_id` and `license_arn` (without one). At most one of the two quantities; neither means 0.
    """

    timestamp: datetime
    dimension: str
    quantity_as_decimal: str | None = None
    quantity: int | None = None
    usage_allocations: tuple[UsageAllocation, ...] | None = None
    customer_identifier: str | None = None
    customer_aws_account_id: str | None = None
    license_arn: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchMeterUsageRequest:
    """Up to 25 usage records of one product. `product_code` only with the legacy customer identity."""

    usage_records: tuple[UsageRecord, ...]
    product_code: str | None = None


class UsageRecordResultStatus(StrEnum):
    """What became of one usage record."""

    SUCCESS = "Success"  # taken and honored
    CUSTOMER_NOT_SUBSCRIBED = "CustomerNotSubscribed"  # refused: no active agreement, or the account is suspended
    DUPLICATE_RECORD = "DuplicateRecord"  # refused: the same customer, dimension and hour hold another quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRecordResult:
    """The outcome of one usage record. `metering_record_id` is never None with status Success."""

    usage_record: UsageRecord
    status: UsageRecordResultStatus
    metering_record_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchMeterUsageResult:
    """The outcome of a batch, in the order of the caller's records; each of them is in exactly one of the two."""

    results: tuple[UsageRecordResult, ...]
    unprocessed_records: tuple[UsageRecord, ...] = ()
    """To be sent again as they are."""
    in_doubt: tuple[UsageRecord, ...] = ()
    """Those of them that the answer does not name as unprocessed: the service may have taken them."""
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveCustomerRequest:
    """Trades the token that a buyer's browser brought for the buyer's identity."""

    registration_token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """Further facts about a resolved customer."""

    agreement_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveCustomerResult:
    """A buyer. New products get `customer_aws_account_id` and `license_arn`, older ones `customer_identifier`.

    Compare `product_code` with your own before you trust the buyer.
    """

    product_code: str
    customer_identifier: str | None = None
    customer_aws_account_id: str | None = None
    license_arn: str | None = None
    metadata: Metadata | None = None
    request_id: str | None = None


Request = RegisterUsageRequest | MeterUsageRequest | BatchMeterUsageRequest | ResolveCustomerRequest
"""What the service takes."""
