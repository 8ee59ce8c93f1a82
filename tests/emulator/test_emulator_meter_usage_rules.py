"""The rules of MeterUsage, called without HTTP."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.requests import Allocation, MeterUsageRequest, Tag
from sidecar.emulator.rules.meter_usage import meter_usage
from sidecar.emulator.rules.quantities import Quantity, decimal_quantity, whole_quantity
from sidecar.emulator.state.seed import Seed
from sidecar.emulator.state.store import State

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
POD = "pod-1"
REQUEST = MeterUsageRequest("product", NOW - timedelta(hours=1), "requests", whole_quantity(17))
IT = (Tag("Team", "IT"),)
HR = (Tag("Team", "HR"),)


def refusal(state: State, request: MeterUsageRequest, pod: str = POD, now: datetime = NOW) -> str | None:
    """Return the code of the refusal, None when the usage is taken."""
    try:
        meter_usage(state, now, pod, request)
    except ServiceError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"quantity": decimal_quantity("17.00")}, None),
        ({"timestamp": datetime(2026, 11, 23, 11, 59, 59, tzinfo=UTC)}, None),
        ({"quantity": whole_quantity(18)}, "DuplicateRequestException"),
        ({"quantity": whole_quantity(0)}, "DuplicateRequestException"),
        ({"allocations": (Allocation(whole_quantity(17), IT),)}, "DuplicateRequestException"),
    ],
)
def test_repeat_of_slot(change: dict[str, object], expected: str | None) -> None:
    """The identical repeat, by value and hour, gets the same record id; all else for the slot is a duplicate."""
    state = State()
    first = meter_usage(state, NOW, POD, REQUEST)
    repeat = replace(REQUEST, **change)  # type: ignore[arg-type] # a table of changes
    assert expected == refusal(state, repeat)
    assert [first] == state.records
    if expected is None:
        assert first.metering_record_id == meter_usage(state, NOW, POD, repeat).metering_record_id


@pytest.mark.parametrize(
    ("change", "pod"),
    [
        ({"product_code": "other"}, POD),
        ({"dimension": "other"}, POD),
        ({"timestamp": NOW - timedelta(hours=2)}, POD),
        ({}, "pod-2"),
    ],
)
def test_slots_are_separate(change: dict[str, object], pod: str) -> None:
    """Product, pod, dimension and hour each make a slot of their own."""
    state = State()
    first = meter_usage(state, NOW, POD, REQUEST)
    second = meter_usage(state, NOW, pod, replace(REQUEST, quantity=whole_quantity(1), **change))  # type: ignore[arg-type] # a table
    assert first.metering_record_id != second.metering_record_id


@pytest.mark.parametrize("quantity", [0, 3])
def test_open_hour_burns(quantity: int) -> None:
    """Usage of an hour that has not ended, even zero, fills its slot: later in that hour nothing can be added."""
    state = State()
    meter_usage(state, NOW, POD, replace(REQUEST, timestamp=NOW, quantity=whole_quantity(quantity)))
    later = NOW + timedelta(minutes=10)
    assert "DuplicateRequestException" == refusal(state, replace(REQUEST, timestamp=later), now=later)


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (timedelta(hours=6), None),
        (timedelta(hours=6, microseconds=1), "TimestampOutOfBoundsException"),
        (timedelta(), None),
        (timedelta(microseconds=-1), "TimestampOutOfBoundsException"),
        (timedelta(days=300_000), "TimestampOutOfBoundsException"),
    ],
)
def test_submission_window(age: timedelta, expected: str | None) -> None:
    """The timestamp as sent may be up to six hours old and not of the future."""
    assert expected == refusal(State(), replace(REQUEST, timestamp=NOW - age))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"quantity": decimal_quantity("17.0")}, None),
        ({"quantity": whole_quantity(18)}, "IdempotencyConflictException"),
        ({"timestamp": REQUEST.timestamp + timedelta(seconds=1)}, "IdempotencyConflictException"),
        ({"timestamp": NOW - timedelta(days=1)}, "IdempotencyConflictException"),
        ({"product_code": "other"}, "IdempotencyConflictException"),
        ({"dimension": "unknown"}, "IdempotencyConflictException"),
        ({"allocations": (Allocation(whole_quantity(17)),)}, "IdempotencyConflictException"),
        ({"client_token": "t2"}, None),
    ],
)
def test_client_token_stands_for_request(change: dict[str, object], expected: str | None) -> None:
    """A client token used again with any other parameter changed is a conflict."""
    state = State(Seed("product", frozenset({"requests"})))
    request = replace(REQUEST, client_token="t1")
    meter_usage(state, NOW, POD, request)
    assert expected == refusal(state, replace(request, **change))  # type: ignore[arg-type] # a table


def test_repeat_binds_its_token() -> None:
    """A repeat under a new client token is taken, and that token then stands for it."""
    state = State()
    meter_usage(state, NOW, POD, replace(REQUEST, client_token="t1"))
    meter_usage(state, NOW, POD, replace(REQUEST, client_token="t2"))
    reused = replace(REQUEST, client_token="t2", dimension="other")
    assert "IdempotencyConflictException" == refusal(state, reused)


def test_refused_request_leaves_nothing() -> None:
    """A refusal keeps neither a record nor the client token."""
    state = State(Seed(entitled=False))
    assert "CustomerNotEntitledException" == refusal(state, replace(REQUEST, client_token="t1"))
    assert ([], {}) == (state.records, state.used_tokens)


def test_dry_run_looks_at_permission_only() -> None:
    """A dry run answers DryRunOperation without entitlement and keeps nothing."""
    state = State(Seed("product", frozenset(), entitled=False))
    assert "DryRunOperation" == refusal(state, replace(REQUEST, dry_run=True, timestamp=NOW - timedelta(days=9)))
    assert [] == state.records


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (replace(REQUEST, product_code="other"), "InvalidProductCodeException"),
        (replace(REQUEST, product_code=""), "InvalidProductCodeException"),
        (replace(REQUEST, dimension="other"), "InvalidUsageDimensionException"),
        (REQUEST, None),
    ],
)
def test_seeded_product(request_: MeterUsageRequest, expected: str | None) -> None:
    """With a seed only its product and its dimensions are taken."""
    assert expected == refusal(State(Seed("product", frozenset({"requests"}))), request_)


def of(millionths: int, tags: tuple[Tag, ...] = (), *, decimal: bool = False) -> Allocation:
    """Make an allocation."""
    return Allocation(Quantity(millionths, decimal=decimal), tags)


SEVENTEEN = 17_000_000


@pytest.mark.parametrize(
    ("allocations", "expected"),
    [
        ((of(10_000_000, IT), of(7_000_000)), None),
        ((of(SEVENTEEN, tuple(Tag(f"k{index}", "v") for index in range(5))),), None),
        ((of(SEVENTEEN, (Tag("Az09 +-=._:\\/@", "Az09 +-=._:\\/@"),)),), None),
        ((of(SEVENTEEN, (Tag("k" * 100, "v" * 256),)),), None),
        ((), "InvalidUsageAllocationsException"),
        ((of(10_000_000, IT), of(6_999_999, HR)), "InvalidUsageAllocationsException"),
        ((of(10_000_000, IT), of(7_000_000, IT)), "InvalidUsageAllocationsException"),
        ((of(10_000_000), of(7_000_000)), "InvalidUsageAllocationsException"),
        ((of(SEVENTEEN, IT, decimal=True),), "InvalidUsageAllocationsException"),
        ((of(SEVENTEEN), *(of(0, (Tag("k", str(n)),)) for n in range(2500))), "InvalidUsageAllocationsException"),
        ((of(SEVENTEEN, tuple(Tag(f"k{index}", "v") for index in range(6))),), "InvalidTagException"),
        (
            (*(of(0, (Tag(f"k{n}", "v"),)) for n in range(5)), of(SEVENTEEN, (Tag("k5", "v"),))),
            "InvalidTagException",
        ),
        ((of(SEVENTEEN, (Tag("k", "a"), Tag("k", "b"))),), "InvalidTagException"),
        ((of(SEVENTEEN, (Tag("", "v"),)),), "InvalidTagException"),
        ((of(SEVENTEEN, (Tag("k", ""),)),), "InvalidTagException"),
        ((of(SEVENTEEN, (Tag("k" * 101, "v"),)),), "InvalidTagException"),
        ((of(SEVENTEEN, (Tag("k", "v" * 257),)),), "InvalidTagException"),
        ((of(SEVENTEEN, (Tag("k", "a,b"),)),), "InvalidTagException"),
        ((of(SEVENTEEN, (Tag("k", "ü"),)),), "InvalidTagException"),
        ((of(SEVENTEEN, (Tag("k", "v\n"),)),), "InvalidTagException"),
    ],
)
def test_allocations(allocations: tuple[Allocation, ...], expected: str | None) -> None:
    """Allocations split the quantity exactly into distinct, well-formed sets of tags."""
    assert expected == refusal(State(), replace(REQUEST, allocations=allocations))


def test_order_of_allocations_is_irrelevant() -> None:
    """The same split in another order is the same usage."""
    state = State()
    allocations = (of(10_000_000, IT), of(7_000_000))
    meter_usage(state, NOW, POD, replace(REQUEST, allocations=allocations))
    assert refusal(state, replace(REQUEST, allocations=allocations[::-1])) is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["pod-1", "pod-2"]),
            st.sampled_from(["a", "b"]),
            st.integers(-8 * 60, 10),
            st.integers(0, 3),
            st.sampled_from([None, "t1", "t2"]),
            st.integers(0, 60),
        ),
        max_size=40,
    )
)
def test_one_quantity_per_slot(calls: list[tuple[str, str, int, int, str | None, int]]) -> None:
    """Whatever is sent in whatever order, the first accepted quantity of a slot is its only one."""
    state = State()
    now = NOW
    first: dict[tuple[str, str, datetime], tuple[int, str]] = {}
    for pod, dimension, minutes, quantity, token, pause in calls:
        now += timedelta(minutes=pause)
        timestamp = now + timedelta(minutes=minutes)
        request = MeterUsageRequest("p", timestamp, dimension, whole_quantity(quantity), None, token)
        slot = (pod, dimension, timestamp.replace(minute=0))
        in_window = timedelta() <= now - timestamp <= timedelta(hours=6)
        code = refusal(state, request, pod, now)
        held = first.get(slot)
        match code:
            case None:
                record = meter_usage(state, now, pod, request)
                assert in_window
                assert (held or (quantity, record.metering_record_id)) == (quantity, record.metering_record_id)
                first[slot] = (quantity, record.metering_record_id)
            case "TimestampOutOfBoundsException":
                assert not in_window
            case "DuplicateRequestException":
                assert held is not None
                assert held[0] != quantity
            case _:
                assert ("IdempotencyConflictException", False) == (code, token is None)
    assert len(first) == len(state.records)
    assert len(first) == len({record.metering_record_id for record in state.records})
