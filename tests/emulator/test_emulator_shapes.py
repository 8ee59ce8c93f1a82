"""The shapes and errors against the service model that the SDK ships, and hostile values against the shapes."""

from decimal import Decimal
from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore.model import ServiceModel
from hypothesis import given
from hypothesis import strategies as st

from sidecar.emulator.protocol.errors import MODELLED, ServiceError
from sidecar.emulator.protocol.requests import read_request
from sidecar.emulator.protocol.shapes import REQUESTS, Flag, Instant, Many, Shape, Structure, Text, Whole, check

NOW_S = 1_795_428_000

# The bounds that the rules check instead, because the service has an error of its own for them.
LEFT_TO_RULES = {
    "UsageAllocations": {"min", "max"},
    "TagList": {"max"},
    "TagKey": {"min", "max", "pattern"},
    "TagValue": {"min", "max", "pattern"},
}


@cache
def model() -> ServiceModel:
    """Load the installed service model."""
    loader = botocore.session.get_session().get_component("data_loader")
    return ServiceModel(loader.load_service_model("meteringmarketplace", "service-2"))


def differences(ours: Shape, theirs: Any, path: str) -> list[str]:
    """List where a shape of ours is not the model's."""
    kinds = {
        "string": Text,
        "integer": Whole,
        "boolean": Flag,
        "timestamp": Instant,
        "list": Many,
        "structure": Structure,
    }
    if not isinstance(ours, kinds[theirs.type_name]):
        return [f"{path}: is no {theirs.type_name}"]
    found = []
    if isinstance(ours, Structure):
        if ours.members.keys() != theirs.members.keys() or ours.required != set(theirs.required_members):
            found.append(f"{path}: other members")
        for name in ours.members.keys() & theirs.members.keys():
            found += differences(ours.members[name], theirs.members[name], f"{path}.{name}")
    elif isinstance(ours, Many):
        found += _other_bounds(ours, _bounds(theirs), path)
        found += differences(ours.item, theirs.member, f"{path}[]")
    else:
        found += _other_bounds(ours, _bounds(theirs), path)
    return found


def _bounds(theirs: Any) -> dict[str, Any]:
    left = LEFT_TO_RULES.get(theirs.name, set())
    return {name: bound for name, bound in theirs.metadata.items() if name not in left}


def _other_bounds(ours: Shape, bounds: dict[str, Any], path: str) -> list[str]:
    if isinstance(ours, Many):
        same = (ours.least, ours.most) == (bounds.get("min", 0), bounds.get("max"))
        return [] if same else [f"{path}: other bounds"]
    if isinstance(ours, Text):
        pattern = bounds.get("pattern", "").removeprefix("^").removesuffix("$")
        anything = pattern in ("", "[\\s\\S]+", "[\\s\\S]*")
        least = bounds.get("min", 1 if pattern == "[\\s\\S]+" else 0)
        same_pattern = (
            (ours.pattern is None) if anything else ours.pattern is not None and ours.pattern.pattern == pattern
        )
        same = (ours.least, ours.most) == (least, bounds.get("max")) and same_pattern
        return [] if same else [f"{path}: other bounds"]
    if isinstance(ours, Whole):
        same = (ours.least, ours.most) == (bounds["min"], bounds.get("max", 2_147_483_647))
        return [] if same else [f"{path}: other bounds"]
    return []


@pytest.mark.parametrize("operation", sorted(REQUESTS))
def test_request_is_as_modelled(operation: str) -> None:
    """Every member, type and bound of a request is the service model's."""
    assert [] == differences(REQUESTS[operation], model().operation_model(operation).input_shape, operation)


def test_operations_and_errors_are_as_modelled() -> None:
    """The operations and the errors of each are the service model's."""
    expected = {
        name: {shape.name for shape in model().operation_model(name).error_shapes} for name in model().operation_names
    }
    assert expected == {name: set(errors) for name, errors in MODELLED.items()}
    assert expected.keys() == REQUESTS.keys()


METER = {"ProductCode": "p", "Timestamp": NOW_S, "UsageDimension": "d"}
RECORD = {"Timestamp": NOW_S, "Dimension": "d"}


@pytest.mark.parametrize(
    ("operation", "members", "expected"),
    [
        ("MeterUsage", METER, None),
        ("MeterUsage", {**METER, "Unknown": [1], "ClientToken": None}, None),
        ("MeterUsage", {**METER, "Timestamp": Decimal("1795428000.123456")}, None),
        ("MeterUsage", {**METER, "Timestamp": Decimal("1e999999")}, None),
        ("MeterUsage", {**METER, "Timestamp": -(10**400)}, None),
        ("MeterUsage", {**METER, "UsageQuantity": 2_147_483_647}, None),
        ("MeterUsage", {**METER, "UsageQuantity": 2_147_483_648}, "ValidationException"),
        ("MeterUsage", {**METER, "UsageQuantity": -1}, "ValidationException"),
        ("MeterUsage", {**METER, "UsageQuantity": True}, "SerializationException"),
        ("MeterUsage", {**METER, "UsageQuantity": Decimal("1.0")}, "SerializationException"),
        ("MeterUsage", {**METER, "UsageQuantity": "1"}, "SerializationException"),
        ("MeterUsage", {**METER, "UsageQuantityAsDecimal": "1.1234567"}, "ValidationException"),
        ("MeterUsage", {**METER, "UsageQuantityAsDecimal": "1\n"}, "ValidationException"),
        ("MeterUsage", {**METER, "UsageQuantityAsDecimal": 1}, "SerializationException"),
        ("MeterUsage", {**METER, "UsageQuantity": 1, "UsageQuantityAsDecimal": "1"}, "ValidationException"),
        ("MeterUsage", {**METER, "UsageQuantity": 0, "UsageQuantityAsDecimal": "0"}, "ValidationException"),
        ("MeterUsage", {**METER, "Timestamp": "2026-11-23T10:00:00Z"}, "SerializationException"),
        ("MeterUsage", {**METER, "Timestamp": True}, "SerializationException"),
        ("MeterUsage", {**METER, "DryRun": 1}, "SerializationException"),
        ("MeterUsage", {**METER, "ClientToken": ""}, "ValidationException"),
        ("MeterUsage", {**METER, "ClientToken": "t" * 65}, "ValidationException"),
        ("MeterUsage", {**METER, "UsageDimension": ""}, "ValidationException"),
        ("MeterUsage", {**METER, "UsageDimension": "\ud800"}, "SerializationException"),
        ("MeterUsage", {**METER, "ProductCode": "p q"}, "ValidationException"),
        ("MeterUsage", {**METER, "UsageAllocations": {}}, "SerializationException"),
        ("MeterUsage", {**METER, "UsageAllocations": [{}]}, "InvalidUsageAllocationsException"),
        (
            "MeterUsage",
            {**METER, "UsageAllocations": [{"AllocatedUsageQuantity": 1, "AllocatedUsageQuantityAsDecimal": "1"}]},
            "InvalidUsageAllocationsException",
        ),
        (
            "MeterUsage",
            {**METER, "UsageAllocations": [{"AllocatedUsageQuantity": 1, "Tags": [{"Key": "k"}]}]},
            "ValidationException",
        ),
        ("MeterUsage", {**METER, "UsageAllocations": [{"Tags": []}]}, "ValidationException"),
        ("BatchMeterUsage", {"UsageRecords": [{**RECORD, "UsageAllocations": [{"Tags": []}]}]}, "ValidationException"),
        ("MeterUsage", {"ProductCode": "p"}, "ValidationException"),
        ("RegisterUsage", {"ProductCode": "p", "PublicKeyVersion": 0}, "ValidationException"),
        ("RegisterUsage", {"ProductCode": "p", "PublicKeyVersion": 1, "Nonce": "n" * 256}, "ValidationException"),
        ("RegisterUsage", [], "SerializationException"),
        ("BatchMeterUsage", {"UsageRecords": []}, None),
        ("BatchMeterUsage", {"UsageRecords": [{"Timestamp": 1, "Dimension": "d"}] * 26}, "ValidationException"),
        ("ResolveCustomer", {"RegistrationToken": ""}, "ValidationException"),
        ("ResolveCustomer", None, "SerializationException"),
    ],
)
def test_request_is_judged(operation: str, members: Any, expected: str | None) -> None:
    """Wrong types are SerializationException, broken bounds ValidationException."""
    code = None
    try:
        read_request(operation, check(REQUESTS[operation], members))
    except ServiceError as error:
        code = error.code
    assert expected == code


def test_every_fault_is_listed_without_values() -> None:
    """One answer lists every broken bound by its place and shows no value, which may be secret."""
    with pytest.raises(ServiceError) as raised:
        check(REQUESTS["RegisterUsage"], {"PublicKeyVersion": 0, "Nonce": "secret" * 50})
    message = raised.value.message
    assert [
        "ProductCode",
        "PublicKeyVersion",
        "Nonce",
    ] == [name for name in ("ProductCode", "PublicKeyVersion", "Nonce") if f"'{name}'" in message]
    assert "secret" not in message


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False) | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=10), children, max_size=4),
    max_leaves=10,
)
MEMBER_NAMES = sorted({name for shape in REQUESTS.values() for name in shape.members})


@given(st.sampled_from(sorted(REQUESTS)), st.dictionaries(st.sampled_from(MEMBER_NAMES), JSON_VALUES) | JSON_VALUES)
def test_any_json_is_read_or_refused(operation: str, members: Any) -> None:
    """Whatever JSON comes in, it is read or refused by an error of the client's, which can be sent."""
    refusal = None
    try:
        read_request(operation, check(REQUESTS[operation], members))
    except ServiceError as error:
        refusal = error
    assert refusal is None or 400 == refusal.status
