"""What is refused before anything is sent."""

import copy
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.marketplace import (
    BatchMeterUsageRequest,
    InvalidRequest,
    MeterUsageRequest,
    RegisterUsageRequest,
    Request,
    RequestFault,
    ResolveCustomerRequest,
    Tag,
    UsageAllocation,
    UsageRecord,
    faults,
)

HOUR = datetime(2026, 11, 23, 10, tzinfo=UTC)
ARN = "arn:aws:license-manager:us-east-1:123456789012:license:l-0123456789abcdef"

USAGE = MeterUsageRequest(product_code="code", timestamp=HOUR, usage_dimension="requests")
LEGACY = UsageRecord(timestamp=HOUR, dimension="requests", quantity=1, customer_identifier="buyer")
LICENSED = UsageRecord(
    timestamp=HOUR, dimension="requests", quantity=1, customer_aws_account_id="123456789012", license_arn=ARN
)


def usage(**changes: Any) -> MeterUsageRequest:
    """Return a sound request with some members changed."""
    return replace(USAGE, **changes)


def legacy(*records: UsageRecord) -> BatchMeterUsageRequest:
    """Return a batch with the product code that legacy customers need."""
    return BatchMeterUsageRequest(usage_records=records, product_code="code")


def part(quantity: int | str, *tags: tuple[str, str]) -> UsageAllocation:
    """Return an allocation of the kind that the quantity has."""
    pairs = tuple(Tag(key, value) for key, value in tags) or None
    if isinstance(quantity, int):
        return UsageAllocation(allocated_usage_quantity=quantity, tags=pairs)
    return UsageAllocation(allocated_usage_quantity_as_decimal=quantity, tags=pairs)


def split(quantity: int | str | None, *parts: UsageAllocation) -> MeterUsageRequest:
    """Return a request whose quantity is split into allocations."""
    if isinstance(quantity, int):
        return usage(usage_quantity=quantity, usage_allocations=parts)
    return usage(usage_quantity_as_decimal=quantity, usage_allocations=parts)


SOUND: list[Request] = [
    RegisterUsageRequest(product_code="0abc/=:_.@-Z", public_key_version=1),
    RegisterUsageRequest(product_code="", public_key_version=10**9, nonce=""),
    RegisterUsageRequest(product_code="c" * 255, public_key_version=1, nonce="n" * 255),
    USAGE,
    usage(usage_quantity=0, dry_run=True),
    usage(usage_quantity=2_147_483_647, dry_run=False),
    usage(usage_quantity_as_decimal="9999999999.999999"),
    usage(usage_quantity_as_decimal="0.000001"),
    usage(timestamp=HOUR.astimezone(timezone(timedelta(hours=5, minutes=30)))),
    usage(client_token="t" * 64, usage_dimension="größe\n"),
    split("0.3", part("0.1"), part("0.2", ("Team", "IT"))),
    split("1.50", part("1.5")),
    split(3, part(1, ("a", "1")), part(2, ("a", "2"))),
    split(None, part("0"), part("0.0", ("a", "1"))),
    split(None, part(0)),
    split("9999999999.999999", part("9999999999.999998", ("a", "1")), part("0.000001")),
    split(2500, *(part(1, ("n", str(index))) for index in range(2500))),
    split(1, part(1, *((key, "v") for key in "abcde"))),
    split(1, part(1, ("+-=._:\\/@ aZ09", "+-=._:\\/@ aZ09"))),
    BatchMeterUsageRequest(usage_records=()),
    legacy(LEGACY),
    legacy(*(replace(LEGACY, customer_identifier=str(number)) for number in range(25))),
    legacy(LEGACY, replace(LEGACY, dimension="users"), replace(LEGACY, timestamp=HOUR + timedelta(hours=1))),
    legacy(
        LEGACY,
        replace(
            LEGACY, timestamp=HOUR.astimezone(timezone(timedelta(hours=2))), quantity_as_decimal="1.0", quantity=None
        ),
    ),
    BatchMeterUsageRequest(usage_records=(LICENSED,)),
    ResolveCustomerRequest(registration_token="t"),
]


@pytest.mark.parametrize("request_", SOUND)
def test_sound_requests_pass(request_: Request) -> None:
    """What the service allows, its bounds included, has no fault."""
    assert [] == faults(request_)


FAULTY: list[tuple[Request, list[str]]] = [
    (RegisterUsageRequest(product_code="a b", public_key_version=0), ["ProductCode", "PublicKeyVersion"]),
    (RegisterUsageRequest(product_code="code\n", public_key_version=1), ["ProductCode"]),
    (RegisterUsageRequest(product_code="c" * 256, public_key_version=True), ["ProductCode", "PublicKeyVersion"]),
    (RegisterUsageRequest(product_code="c", public_key_version=1, nonce="n" * 256), ["Nonce"]),
    (RegisterUsageRequest(product_code="c", public_key_version=1, nonce="\ud800"), ["Nonce"]),
    (ResolveCustomerRequest(registration_token=""), ["RegistrationToken"]),
    (usage(usage_dimension="", client_token=""), ["UsageDimension", "ClientToken"]),
    (usage(usage_dimension="d" * 256, client_token="t" * 65), ["UsageDimension", "ClientToken"]),
    (usage(client_token=None), ["ClientToken"]),
    (usage(product_code=None), ["ProductCode"]),
    (usage(dry_run="yes"), ["DryRun"]),
    (usage(timestamp=HOUR.replace(tzinfo=None)), ["Timestamp"]),
    (usage(timestamp=1763892000), ["Timestamp"]),
    (usage(timestamp=datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))), ["Timestamp"]),
    (usage(usage_quantity=2_147_483_648), ["UsageQuantity"]),
    (usage(usage_quantity=-1), ["UsageQuantity"]),
    (usage(usage_quantity=1.5), ["UsageQuantity"]),
    (usage(usage_quantity_as_decimal=Decimal("1.5")), ["UsageQuantityAsDecimal"]),
    (usage(usage_quantity_as_decimal=""), ["UsageQuantityAsDecimal"]),
    (usage(usage_quantity_as_decimal="-1"), ["UsageQuantityAsDecimal"]),
    (usage(usage_quantity_as_decimal="01"), ["UsageQuantityAsDecimal"]),
    (usage(usage_quantity_as_decimal="1."), ["UsageQuantityAsDecimal"]),
    (usage(usage_quantity_as_decimal="1e3"), ["UsageQuantityAsDecimal"]),
    (usage(usage_quantity_as_decimal="1\n"), ["UsageQuantityAsDecimal"]),
    (usage(usage_quantity_as_decimal="٣"), ["UsageQuantityAsDecimal"]),
    (usage(usage_quantity_as_decimal="1.0000000"), ["UsageQuantityAsDecimal"]),
    (usage(usage_quantity_as_decimal="10000000000"), ["UsageQuantityAsDecimal"]),
    (usage(usage_quantity=1, usage_quantity_as_decimal="1"), ["UsageQuantityAsDecimal"]),
    (split(1), ["UsageAllocations"]),
    (usage(usage_allocations="none"), ["UsageAllocations"]),
    (usage(usage_allocations=({"Tags": []},)), ["UsageAllocations[0]"]),
    (split(2501, *(part(1, ("n", str(index))) for index in range(2501))), ["UsageAllocations"]),
    (split("0.3", part("0.1"), part("0.200001", ("a", "1"))), ["UsageAllocations"]),
    (split(None, part(1)), ["UsageAllocations"]),
    (split(None, part(0), part("0", ("a", "1"))), ["UsageAllocations[1]"]),
    (split(3, part(1), part("2", ("a", "1"))), ["UsageAllocations[1]"]),
    (split("3", part(1), part("2", ("a", "1"))), ["UsageAllocations[0]"]),
    (split(2, part(1), part(1)), ["UsageAllocations[1].Tags"]),
    (split(2, part(1, ("a", "1"), ("b", "2")), part(1, ("b", "2"), ("a", "1"))), ["UsageAllocations[1].Tags"]),
    (split(1, part(1, *((key, "v") for key in "abcdef"))), ["UsageAllocations[0].Tags"]),
    (split(6, *(part(1, (key, "v")) for key in "abcdef")), ["UsageAllocations"]),
    (split(1, part(1, ("a", "1"), ("a", "2"))), ["UsageAllocations[0].Tags[1].Key"]),
    (split(1, part(1, ("", "v"))), ["UsageAllocations[0].Tags[0].Key"]),
    (
        split(1, part(1, ("k" * 101, "v" * 257))),
        ["UsageAllocations[0].Tags[0].Key", "UsageAllocations[0].Tags[0].Value"],
    ),
    (split(1, part(1, ("ä", "!"))), ["UsageAllocations[0].Tags[0].Key", "UsageAllocations[0].Tags[0].Value"]),
    (split(1, UsageAllocation(tags=(Tag("a", "1"),))), ["UsageAllocations[0]"]),
    (split(1, UsageAllocation(allocated_usage_quantity=1, tags=())), ["UsageAllocations[0].Tags"]),
    (
        split(1, UsageAllocation(allocated_usage_quantity=1, allocated_usage_quantity_as_decimal="1")),
        ["UsageAllocations[0].AllocatedUsageQuantityAsDecimal"],
    ),
    (legacy(*(replace(LEGACY, customer_identifier=str(number)) for number in range(26))), ["UsageRecords"]),
    (legacy(replace(LEGACY, dimension="", quantity=-1)), ["UsageRecords[0].Dimension", "UsageRecords[0].Quantity"]),
    (BatchMeterUsageRequest(usage_records=(LEGACY,)), ["ProductCode"]),
    (legacy(LICENSED), ["ProductCode"]),
    (legacy(LEGACY, LICENSED), ["UsageRecords"]),
    (BatchMeterUsageRequest(usage_records=(replace(LICENSED, license_arn=None),)), ["UsageRecords[0].LicenseArn"]),
    (
        BatchMeterUsageRequest(usage_records=(replace(LICENSED, customer_aws_account_id=None),)),
        ["UsageRecords[0].CustomerAWSAccountId"],
    ),
    (legacy(replace(LEGACY, customer_identifier=None)), ["UsageRecords[0]"]),
    (legacy(replace(LEGACY, customer_aws_account_id="1")), ["UsageRecords[0]"]),
    (
        BatchMeterUsageRequest(usage_records=(replace(LICENSED, customer_aws_account_id="12a", license_arn="arn:x"),)),
        ["UsageRecords[0].CustomerAWSAccountId", "UsageRecords[0].LicenseArn"],
    ),
    (
        legacy(
            LEGACY,
            replace(
                LEGACY,
                quantity=2,
                usage_allocations=(part(1), part(1, ("a", "1"), ("b\t", "2"))),
            ),
        ),
        ["UsageRecords[1].UsageAllocations[1].Tags[1].Key"],
    ),
    (legacy(LEGACY, replace(LEGACY, quantity=2)), ["UsageRecords[1]"]),
    (legacy(LEGACY, replace(LEGACY, timestamp=HOUR + timedelta(minutes=59))), ["UsageRecords[1]"]),
    (legacy(LEGACY, replace(LEGACY, usage_allocations=(part(1, ("a", "1")),))), ["UsageRecords[1]"]),
    (
        legacy(
            LEGACY,
            replace(
                LEGACY, timestamp=(HOUR + timedelta(minutes=30)).astimezone(timezone(timedelta(hours=5, minutes=30)))
            ),
        ),
        ["UsageRecords[1]"],
    ),
    (BatchMeterUsageRequest(usage_records=(LICENSED, replace(LICENSED, quantity=0), LICENSED)), ["UsageRecords[1]"]),
]


@pytest.mark.parametrize(("request_", "paths"), FAULTY)
def test_every_fault_is_listed(request_: Request, paths: list[str]) -> None:
    """Each broken rule is one fault at the path of the member that breaks it, and no others are invented."""
    assert paths == [fault.path for fault in faults(request_)]


def test_batch_stays_below_a_megabyte() -> None:
    """A batch whose JSON reaches 1 MB is refused as a whole, one that stays below is not."""
    tags = [part(1, *((key + "k" * 99, "v" * 200 + str(index)) for key in "abc")) for index in range(50)]
    records = tuple(
        replace(LEGACY, dimension=str(number), quantity=50, usage_allocations=tuple(tags)) for number in range(25)
    )
    assert ["UsageRecords"] == [fault.path for fault in faults(legacy(*records))]
    assert [] == faults(legacy(*records[:12]))


@given(st.lists(st.integers(min_value=0, max_value=10**16 - 1), min_size=1, max_size=30))
def test_sums_are_exact(parts: list[int]) -> None:
    """Allocations in millionths add up without rounding: right is right, one millionth off is not."""
    total = sum(parts)
    if total >= 10**16 - 1:
        return

    def decimal(millionths: int) -> str:
        return f"{millionths // 10**6}.{millionths % 10**6:06}"

    allocations = [part(decimal(each), ("n", str(index))) for index, each in enumerate(parts)]
    assert [] == faults(split(decimal(total), *allocations))
    assert ["UsageAllocations"] == [fault.path for fault in faults(split(decimal(total + 1), *allocations))]


@given(st.text(alphabet=st.sampled_from("0123456789.-+e \n٣"), max_size=20))
def test_decimal_follows_the_model(text: str) -> None:
    """A decimal passes exactly when its digits can be read back: no sign, no exponent, at most 10 and 6 digits."""
    whole, point, fraction = text.partition(".")
    plain = set(text) <= set("0123456789.") and "." not in fraction
    sound = (
        plain
        and 1 <= len(whole) <= 10
        and (whole == "0" or not whole.startswith("0"))
        and (1 <= len(fraction) <= 6 if point else True)
    )
    assert sound is (faults(usage(usage_quantity_as_decimal=text)) == [])


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(alphabet="a1. \n\ud800ä"),
    st.binary(),
    st.datetimes(),
    st.lists(st.integers()),
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(USAGE.__slots__, ANYTHING)))
def test_wrong_types_are_faults(changes: dict[str, Any]) -> None:
    """Whatever is put into a request, the answer is a list of faults and never an exception."""
    assert all(isinstance(fault, RequestFault) for fault in faults(usage(**changes)))


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(LEGACY.__slots__, ANYTHING)))
def test_wrong_record_types_are_faults(changes: dict[str, Any]) -> None:
    """Whatever is put into a usage record, the answer is a list of faults and never an exception."""
    assert all(isinstance(fault, RequestFault) for fault in faults(legacy(replace(LEGACY, **changes))))


def test_reasons_keep_secrets() -> None:
    """No reason repeats a nonce, a registration token or a tag."""
    secret = "hush\udfff"
    requests: list[Request] = [
        RegisterUsageRequest(product_code="c", public_key_version=1, nonce=secret),
        ResolveCustomerRequest(registration_token=secret),
        split(1, part(1, (secret, secret))),
    ]
    told = str(InvalidRequest([fault for request in requests for fault in faults(request)]))
    assert told
    assert "hush" not in told
    assert "hush" not in repr(requests[:2]) + repr(Tag("key", secret))


def test_invalid_request_lists_all() -> None:
    """The error names every fault with its path and survives copying and pickling."""
    error = InvalidRequest([RequestFault("A", "is wrong"), RequestFault("B[0]", "is worse")])
    assert "InvalidRequest: A is wrong; B[0] is worse" == str(error)
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (error.faults, str(error)) == (twin.faults, str(twin))
