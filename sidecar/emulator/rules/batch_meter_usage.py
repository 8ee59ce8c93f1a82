"""BatchMeterUsage: usage of SaaS customers, one record per customer, dimension and hour; the first quantity wins.

Refuses the whole batch when one record is malformed or out of time. Invariant: nothing is kept before every record
has been judged.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sidecar.emulator.protocol.decisions import Rule
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.instants import hour_of
from sidecar.emulator.protocol.requests import BatchMeterUsageRequest, UsageRecord
from sidecar.emulator.rules.usage_rules import (
    check_allocations,
    check_dimension,
    check_product,
    is_same_usage,
    record_id,
)
from sidecar.emulator.state.customers import Name, find_customers, is_subscribed, takes_strangers
from sidecar.emulator.state.entries import MeteringRecord
from sidecar.emulator.state.store import State, slot_of

WINDOW = timedelta(hours=24)
"""Usage of this age or more is refused."""

MONTH_END_GRACE = timedelta(hours=6)
"""How long after a month's end its usage is taken."""


@dataclass(frozen=True, slots=True)
class RecordOutcome:
    """The result of one usage record: Success, CustomerNotSubscribed or DuplicateRecord."""

    status: str
    metering_record_id: str | None = None


def batch_meter_usage(
    state: State, now: datetime, identity: str, request: BatchMeterUsageRequest
) -> list[RecordOutcome]:
    """Judge and keep the records; the outcomes are in the order of the records.

    Raises:
        ServiceError: The whole batch is refused.
    """
    if request.product_code is not None:
        check_product(state.seed, request.product_code)
    for record in request.records:
        _check_customer(state, request.product_code, record)
        check_dimension(state.seed, record.dimension)
        check_window(now, record.timestamp)
        check_allocations(record.quantity, record.allocations)
    return [_meter(state, now, identity, request.product_code, record) for record in request.records]


def check_window(now: datetime, timestamp: datetime) -> None:
    """Refuse the future, usage of `WINDOW` or older, and last month's usage once its grace is over.

    Raises:
        ServiceError: TimestampOutOfBoundsException.
    """
    if timestamp > now:
        raise ServiceError("TimestampOutOfBoundsException", "A timestamp lies in the future.")
    if now - timestamp >= WINDOW:
        raise ServiceError("TimestampOutOfBoundsException", "A timestamp is 24 hours old or older.")
    month_start = hour_of(now).replace(day=1, hour=0)
    if timestamp < month_start and now - month_start >= MONTH_END_GRACE:
        raise ServiceError(
            "TimestampOutOfBoundsException",
            "Usage of last month is taken until 06:00 UTC on the first of the month.",
            rule=Rule.MONTH_END,
        )


def _check_customer(state: State, product_code: str | None, record: UsageRecord) -> None:
    if record.customer_identifier is not None:
        if record.license_arn is not None or record.aws_account_id is not None:
            raise _invalid_customer("Name a customer by CustomerIdentifier or by LicenseArn, not both.")
        if product_code is None:
            raise _invalid_customer("CustomerIdentifier needs ProductCode on the request.")
        if not record.customer_identifier:
            raise ServiceError("InvalidCustomerIdentifierException", "The CustomerIdentifier does not exist.")
        return
    if record.license_arn is None or record.aws_account_id is None:
        raise _invalid_customer("Name a customer by CustomerIdentifier, or by CustomerAWSAccountId and LicenseArn.")
    if product_code is not None:
        raise _invalid_customer("ProductCode must not be sent with LicenseArn: that bills twice.")
    customers = state.customers.values()
    if find_customers(customers, Name(aws_account_id=record.aws_account_id, license_arn=record.license_arn)):
        return
    by_license = find_customers(customers, Name(license_arn=record.license_arn))
    by_account = find_customers(customers, Name(aws_account_id=record.aws_account_id))
    if by_license or by_account or not takes_strangers(customers):
        raise ServiceError("InvalidLicenseException", "The LicenseArn does not exist, or does not match the customer.")


def _invalid_customer(message: str) -> ServiceError:
    return ServiceError("ValidationException", message, rule=Rule.CUSTOMER)


def _meter(state: State, now: datetime, identity: str, product_code: str | None, record: UsageRecord) -> RecordOutcome:
    name = Name(record.customer_identifier, record.aws_account_id, record.license_arn)
    if not is_subscribed(state.customers.values(), name):
        return RecordOutcome("CustomerNotSubscribed")
    by_license = record.license_arn is not None
    candidate = MeteringRecord(
        metering_record_id="",
        product_code=product_code or state.seed.resolved_product_code,
        dimension=record.dimension,
        hour=hour_of(record.timestamp),
        quantity=record.quantity,
        allocations=record.allocations or (),
        identity=identity,
        received_at=now,
        customer=record.license_arn or record.customer_identifier,
        aws_account_id=record.aws_account_id,
        by_license=by_license,
    )
    slot = slot_of(candidate)
    filled = state.customer_slots.get(slot)
    if filled is None:
        filled = replace(candidate, metering_record_id=record_id(slot))
        state.keep(filled)
    elif not is_same_usage(filled, record.quantity, record.allocations):
        return RecordOutcome("DuplicateRecord")
    return RecordOutcome("Success", filled.metering_record_id)
