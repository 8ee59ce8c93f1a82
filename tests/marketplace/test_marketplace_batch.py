"""Each of the caller's usage records gets its own outcome."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.marketplace import (
    BatchMeterUsageRequest,
    Tag,
    UsageAllocation,
    UsageRecord,
    UsageRecordResult,
    UsageRecordResultStatus,
)
from sidecar.marketplace.batch import match_results, without_repeats

HOUR = datetime(2026, 11, 23, 10, 20, 30, tzinfo=UTC)
RECORD = UsageRecord(timestamp=HOUR, dimension="requests", quantity_as_decimal="1.5", customer_identifier="buyer")
SUCCESS = UsageRecordResultStatus.SUCCESS


def batch(*records: UsageRecord) -> BatchMeterUsageRequest:
    """Return a request of these records."""
    return BatchMeterUsageRequest(usage_records=records, product_code="code")


def success(record: UsageRecord, record_id: str) -> UsageRecordResult:
    """Return the entry by which the service settles `record`."""
    return UsageRecordResult(usage_record=record, status=SUCCESS, metering_record_id=record_id)


def split(*parts: tuple[str, str]) -> UsageRecord:
    """Return the record with its quantity split over the values of one tag."""
    allocations = tuple(
        UsageAllocation(allocated_usage_quantity_as_decimal=quantity, tags=(Tag("Team", team),))
        for quantity, team in parts
    )
    return replace(RECORD, usage_allocations=allocations)


@pytest.mark.parametrize(
    "twin",
    [
        replace(RECORD),
        replace(RECORD, quantity_as_decimal="1.500000"),
        replace(RECORD, timestamp=HOUR.astimezone(timezone(timedelta(hours=-8)))),
    ],
)
def test_identical_records_go_once(twin: UsageRecord) -> None:
    """Records of the same customer, dimension, instant, value and allocations are one record, the first as it is."""
    assert (RECORD,) == without_repeats(batch(RECORD, twin, RECORD)).usage_records


def test_allocation_order_is_no_difference() -> None:
    """Allocations are a set: the same ones in another order make an identical record."""
    one, other = split(("1", "IT"), ("0.5", "HR")), split(("0.50", "HR"), ("1", "IT"))
    assert (one,) == without_repeats(batch(one, other)).usage_records


@pytest.mark.parametrize(
    "other",
    [
        replace(RECORD, customer_identifier="other"),
        replace(RECORD, dimension="users"),
        replace(RECORD, quantity_as_decimal="1.500001"),
        replace(RECORD, quantity_as_decimal=None),
        replace(RECORD, timestamp=HOUR + timedelta(seconds=1)),
        split(("1.5", "IT")),
    ],
)
def test_different_records_all_go(other: UsageRecord) -> None:
    """A record that differs in anything that AWS or the buyer sees is sent."""
    assert (RECORD, other) == without_repeats(batch(RECORD, other)).usage_records


def test_each_record_gets_its_result() -> None:
    """Results come in the caller's order with the caller's records, every repeat with the result of its twin."""
    other = replace(RECORD, dimension="users")
    twin = replace(RECORD, quantity_as_decimal="1.50")
    result = match_results(batch(RECORD, other, twin), [success(other, "id-2"), success(RECORD, "id-1")], "request")
    assert (success(RECORD, "id-1"), success(other, "id-2"), success(twin, "id-1")) == result.results
    assert () == result.unprocessed_records
    assert "request" == result.request_id


@pytest.mark.parametrize(
    "echo",
    [
        replace(RECORD, timestamp=HOUR.replace(minute=0, second=0)),
        replace(RECORD, customer_aws_account_id="123456789012"),
        replace(RECORD, quantity_as_decimal="1.500"),
        split(("1.5", "IT")),
    ],
)
def test_inexact_echo_still_settles(echo: UsageRecord) -> None:
    """A record that the service repeats rounded or completed is the one that agrees in all the caller said."""
    assert (success(RECORD, "id"),) == match_results(batch(RECORD), [success(echo, "id")], None).results


@pytest.mark.parametrize(
    "echo",
    [
        replace(RECORD, customer_identifier="other"),
        replace(RECORD, dimension="users"),
        replace(RECORD, quantity_as_decimal="2"),
        replace(RECORD, timestamp=HOUR + timedelta(hours=1)),
    ],
)
def test_foreign_echo_settles_nothing(echo: UsageRecord) -> None:
    """An entry for something else leaves the record unprocessed, to be sent again as it is."""
    result = match_results(batch(RECORD), [success(echo, "id")], None)
    assert ((), (RECORD,)) == (result.results, result.unprocessed_records)


def test_other_tag_sets_settle_nothing() -> None:
    """An entry with other tag sets is not the record's; one without any may be."""
    record = split(("1.5", "IT"))
    rounded = replace(record, timestamp=HOUR.replace(minute=0, second=0))
    other = replace(split(("1.5", "HR")), timestamp=rounded.timestamp)
    assert (record,) == match_results(batch(record), [success(other, "id")], None).unprocessed_records
    bare = replace(rounded, usage_allocations=None)
    assert (success(record, "id"),) == match_results(batch(record), [success(bare, "id")], None).results


records = st.builds(
    UsageRecord,
    timestamp=st.sampled_from([HOUR, HOUR + timedelta(hours=1)]),
    dimension=st.sampled_from(["requests", "users"]),
    quantity_as_decimal=st.sampled_from(["1", "1.0"]),
    customer_identifier=st.sampled_from(["a", "b"]),
)


@given(st.lists(records, max_size=25), st.randoms(use_true_random=False), st.integers(min_value=0, max_value=25))
def test_no_record_is_lost(sent: list[UsageRecord], chance: random.Random, answered: int) -> None:
    """Whatever part of a batch is settled in whatever order, each record is settled or unprocessed, in order."""
    request = batch(*sent)
    entries = [success(record, f"id-{number}") for number, record in enumerate(without_repeats(request).usage_records)]
    chance.shuffle(entries)
    result = match_results(request, entries[:answered], None)
    settled = iter(result.results)
    unprocessed = iter(result.unprocessed_records)
    for record in sent:
        if record in result.unprocessed_records:
            assert record is next(unprocessed)
        else:
            assert record is next(settled).usage_record
    assert [] == [*settled, *unprocessed]
