"""The rules of BatchMeterUsage, ResolveCustomer and the customers, called without HTTP."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.requests import BatchMeterUsageRequest, UsageRecord
from sidecar.emulator.rules.batch_meter_usage import batch_meter_usage
from sidecar.emulator.rules.quantities import decimal_quantity, whole_quantity
from sidecar.emulator.rules.resolve_customer import issue_token, resolve_customer
from sidecar.emulator.state.account import change_customers
from sidecar.emulator.state.customers import Name, named_customer
from sidecar.emulator.state.entries import Customer
from sidecar.emulator.state.seed import Seed
from sidecar.emulator.state.store import State

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
LICENSE = "arn:aws:license-manager::294406891311:license:l-1"
LEGACY = UsageRecord(NOW - timedelta(hours=1), "users", whole_quantity(3), customer_identifier="c-1")
LICENSED = UsageRecord(
    NOW - timedelta(hours=1), "users", whole_quantity(3), aws_account_id="123456789012", license_arn=LICENSE
)


def statuses(state: State, *records: UsageRecord, product: str | None = "product", now: datetime = NOW) -> list[str]:
    """Send a batch; returns the status of each record, or the code of the refusal."""
    try:
        return [
            outcome.status for outcome in batch_meter_usage(state, now, "me", BatchMeterUsageRequest(product, records))
        ]
    except ServiceError as error:
        return [error.code]


def test_first_quantity_wins() -> None:
    """Within a batch and between batches a slot keeps its first quantity; its repeat by value is a success."""
    state = State()
    same, other = replace(LEGACY, quantity=decimal_quantity("3.0")), replace(LEGACY, quantity=whole_quantity(4))
    assert ["Success", "DuplicateRecord", "Success"] == statuses(state, LEGACY, other, same)
    assert ["DuplicateRecord", "Success"] == statuses(state, other, LEGACY)
    assert [record.quantity for record in state.records] == [whole_quantity(3)]


def test_repeat_keeps_record_id() -> None:
    """The repeat of a record gets the metering record id of the first."""
    state = State()
    batch = BatchMeterUsageRequest("product", (LEGACY, LEGACY))
    first, second = batch_meter_usage(state, NOW, "me", batch)
    assert first == second
    assert first.metering_record_id is not None


def test_two_identities_bill_twice() -> None:
    """One customer named in both ways for one hour fills two slots, even if both names are the same text."""
    state = State()
    assert ["Success"] == statuses(state, replace(LEGACY, customer_identifier=LICENSE))
    assert ["Success"] == statuses(state, LICENSED, product=None)
    assert 2 == len(state.records)


@pytest.mark.parametrize(
    ("record", "product", "expected"),
    [
        (LEGACY, None, "ValidationException"),
        (replace(LEGACY, customer_identifier=""), "product", "InvalidCustomerIdentifierException"),
        (replace(LEGACY, license_arn=LICENSE), "product", "ValidationException"),
        (replace(LEGACY, aws_account_id="1"), "product", "ValidationException"),
        (replace(LEGACY, customer_identifier=None), "product", "ValidationException"),
        (replace(LICENSED, license_arn=None), None, "ValidationException"),
        (replace(LICENSED, aws_account_id=None), None, "ValidationException"),
        (LICENSED, "product", "ValidationException"),
        (LEGACY, "other", "InvalidProductCodeException"),
        (replace(LEGACY, dimension="other"), "product", "InvalidUsageDimensionException"),
        (replace(LEGACY, allocations=()), "product", "InvalidUsageAllocationsException"),
        (replace(LEGACY, timestamp=NOW + timedelta(seconds=1)), "product", "TimestampOutOfBoundsException"),
    ],
)
def test_one_fault_fails_batch(record: UsageRecord, product: str | None, expected: str) -> None:
    """A malformed record or one out of time fails the whole batch, and nothing of it is kept."""
    state = State(Seed("product", frozenset({"users"})))
    good = LEGACY if product is not None else LICENSED
    assert [expected] == statuses(state, good, record, product=product)
    assert [] == state.records


@pytest.mark.parametrize(
    ("now", "timestamp", "expected"),
    [
        ("2026-11-23T12:00:00", "2026-11-22T12:00:01", "Success"),
        ("2026-11-23T12:00:00", "2026-11-22T12:00:00", "TimestampOutOfBoundsException"),
        ("2026-12-01T05:59:59", "2026-11-30T23:59:59", "Success"),
        ("2026-12-01T05:59:59", "2026-11-30T06:00:00", "Success"),
        ("2026-12-01T06:00:00", "2026-11-30T23:59:59", "TimestampOutOfBoundsException"),
        ("2026-12-01T06:00:00", "2026-12-01T00:00:00", "Success"),
        ("2026-12-01T23:59:59", "2026-12-01T00:00:00", "Success"),
        ("2026-12-02T03:00:00", "2026-12-01T04:00:00", "Success"),
        ("2027-01-01T05:00:00", "2026-12-31T23:00:00", "Success"),
        ("2027-01-01T07:00:00", "2026-12-31T23:00:00", "TimestampOutOfBoundsException"),
    ],
)
def test_window_and_month_end(now: str, timestamp: str, expected: str) -> None:
    """Usage is taken for 24 hours, and last month's until 06:00 UTC on the first."""
    record = replace(LEGACY, timestamp=datetime.fromisoformat(f"{timestamp}+00:00"))
    assert [expected] == statuses(State(), record, now=datetime.fromisoformat(f"{now}+00:00"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([], "Success"),
        ([("c-1", True)], "Success"),
        ([("c-1", True), ("c-1", False)], "CustomerNotSubscribed"),
        ([("c-1", False), ("c-1", True)], "Success"),
        ([("c-2", True)], "CustomerNotSubscribed"),
        ([("c-2", True), ("c-2", False)], "CustomerNotSubscribed"),
        ([("c-2", False)], "Success"),
    ],
)
def test_subscription_of_customer(changes: list[tuple[str, bool]], expected: str) -> None:
    """A stranger counts as subscribed until anybody was named as entitled."""
    state = State()
    for identifier, entitled in changes:
        change_customers(state, Name(identifier), entitled=entitled)
    assert [expected] == statuses(state, LEGACY)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (Name(None, "123456789012", LICENSE), "Success"),
        (Name(None, "999999999999", LICENSE), "InvalidLicenseException"),
        (Name(None, "123456789012", f"{LICENSE}2"), "InvalidLicenseException"),
        (Name(None, "999999999999", f"{LICENSE}2"), "InvalidLicenseException"),
        (Name("c-1"), "InvalidLicenseException"),
    ],
)
def test_license_matches_customer(known: Name, expected: str) -> None:
    """A license must exist and belong to the account that it is sent with, or the whole batch is refused."""
    state = State(Seed(customers=(named_customer(known, entitled=True),)))
    assert [expected] == statuses(state, LICENSED, product=None)


def test_license_without_subscription() -> None:
    """A known license whose customer is not subscribed fails its record alone."""
    state = State()
    change_customers(state, Name(None, "123456789012", LICENSE), entitled=True)
    other = replace(LICENSED, license_arn=f"{LICENSE}2")
    change_customers(state, Name(None, "123456789012", other.license_arn), entitled=False)
    assert ["Success", "CustomerNotSubscribed"] == statuses(state, LICENSED, other, product=None)


def test_running_account_makes_no_strangers() -> None:
    """Unsubscribing and entitling the pods' own account leaves the other customers as they are."""
    state = State()
    change_customers(state, Name(), entitled=False)
    assert not state.entitled
    change_customers(state, Name(), entitled=True)
    assert state.entitled
    assert ["Success"] == statuses(state, LEGACY)


def test_license_is_of_one_account() -> None:
    """A license of one customer cannot be given to another."""
    state = State()
    change_customers(state, Name(None, "1", LICENSE), entitled=True)
    with pytest.raises(ValueError, match="another customer"):
        change_customers(state, Name(None, "2", LICENSE), entitled=True)


def test_account_covers_its_licenses() -> None:
    """Naming only the account changes all of its licenses."""
    state = State()
    for suffix in ("1", "2"):
        change_customers(state, Name(None, "1", f"{LICENSE}{suffix}"), entitled=True)
    change_customers(state, Name(None, "1"), entitled=False)
    assert [False, False] == [customer.entitled for customer in state.customers.values()]


@pytest.mark.parametrize(
    ("age", "token", "expected"),
    [
        (timedelta(minutes=59), "t", "c-1"),
        (timedelta(hours=1), "t", "ExpiredTokenException"),
        (timedelta(), "other", "InvalidTokenException"),
    ],
)
def test_registration_token(age: timedelta, token: str, expected: str) -> None:
    """A registration token names its customer for an hour."""
    state = State()
    customer: Customer = change_customers(state, Name("c-1"), entitled=True)
    issue_token(state, NOW, "t", customer)
    try:
        resolved = resolve_customer(state, NOW + age, token).customer_identifier
    except ServiceError as error:
        resolved = error.code
    assert expected == resolved
