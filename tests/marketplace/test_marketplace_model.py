"""Nothing of the installed service model is without a counterpart."""

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import botocore.model
import botocore.serialize
import pytest

import sidecar.marketplace
from sidecar.marketplace import types, wire
from sidecar.marketplace.errors import MarketplaceError, Taken
from sidecar.marketplace.limits import LIMITS, Limit
from sidecar.marketplace.reading import member_name
from sidecar.marketplace.service_errors import ERRORS, Refused, error_from
from sidecar.marketplace.types import BatchMeterUsageRequest, Tag, UsageAllocation, UsageRecord
from tests.support.service_model import MODEL, modelled

SHAPES: dict[str, dict[str, Any]] = MODEL["shapes"]
OPERATIONS: dict[str, dict[str, Any]] = MODEL["operations"]


def reachable(shape: str) -> Iterator[str]:
    """Yield `shape` and every shape under it."""
    yield shape
    below = SHAPES[shape]
    for member in [*below.get("members", {}).values(), *([below["member"]] if "member" in below else [])]:
        yield from reachable(member["shape"])


INPUTS = {name for operation in OPERATIONS.values() for name in reachable(operation["input"]["shape"])}
OUTPUTS = {name for operation in OPERATIONS.values() for name in reachable(operation["output"]["shape"])}
STRUCTURES = sorted(name for name in INPUTS | OUTPUTS if SHAPES[name]["type"] == "structure")


def snake_case(name: str) -> str:
    """Return a model name as Python spells it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def test_operations_have_methods() -> None:
    """Each operation of the service is a method of the protocol and of the client."""
    for operation in OPERATIONS:
        assert callable(getattr(sidecar.marketplace.MarketplaceMetering, snake_case(operation)))
        assert callable(getattr(sidecar.marketplace.MarketplaceMeteringClient, snake_case(operation)))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_members_have_fields(structure: str) -> None:
    """Each member of each structure is a field of that name; results add the request id, a batch its doubts."""
    fields = {field.name for field in dataclasses.fields(getattr(types, structure))}
    if structure in {operation["output"]["shape"] for operation in OPERATIONS.values()}:
        fields -= {"request_id", "in_doubt"}
    assert {snake_case(member) for member in SHAPES[structure]["members"]} == fields


@pytest.mark.parametrize("operation", OPERATIONS)
def test_refusals_are_the_models(operation: str) -> None:
    """Only the model's errors of an operation prove that nothing was taken, the service's own fault left out."""
    own = modelled(operation)
    refusals = {kind.__name__ for kind in ERRORS.values() if issubclass(kind, Refused)} & own
    assert refusals == own - {"InternalServiceErrorException", "IdempotencyConflictException"}
    for code, kind in ERRORS.items():
        if code == kind.__name__ and issubclass(kind, Refused) and code != "CustomerNotSubscribedException":
            error = error_from(own, code, "words", None, 400)
            assert (Taken.NO if code in own or not isinstance(error, Refused) else Taken.UNKNOWN) is error.taken


@pytest.mark.parametrize("structure", STRUCTURES)
def test_field_names_lead_back(structure: str) -> None:
    """The name that a field has on the wire is the model's."""
    assert set(SHAPES[structure]["members"]) == {member_name(snake_case(name)) for name in SHAPES[structure]["members"]}


@pytest.mark.parametrize("structure", sorted(set(STRUCTURES) & INPUTS))
def test_required_members_have_no_default(structure: str) -> None:
    """A member that the model requires must be given, and any other may be left out."""
    required = {
        field.name
        for field in dataclasses.fields(getattr(types, structure))
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    assert {snake_case(member) for member in SHAPES[structure].get("required", [])} == required


def test_limits_are_complete() -> None:
    """Every shape of a request with a bound or a pattern is in the table, and nothing else is."""
    bounded = {name for name in INPUTS if SHAPES[name].keys() & {"min", "max", "pattern"}}
    assert bounded == LIMITS.keys()


@pytest.mark.parametrize("shape", sorted(LIMITS))
def test_limits_are_the_models(shape: str) -> None:
    """Each bound and pattern is the model's own, save the tag characters: the documented backslash is none of its.

    What AWS does with a backslash is not documented. `ledger resolve ... carry --without-tags` bills what it refuses.
    """
    model, limit = SHAPES[shape], LIMITS[shape]
    assert (model.get("min"), model.get("max")) == (limit.minimum, limit.maximum)
    if shape in {"TagKey", "TagValue"}:
        assert r"^[a-zA-Z0-9+ -=._:\/@]+$" == model["pattern"]
        assert limit.pattern is not None
        assert re.fullmatch(limit.pattern, r"CORP\anna")
        assert not re.fullmatch(model["pattern"], r"CORP\anna")
    else:
        assert Limit(limit.minimum, limit.maximum, model.get("pattern")) == limit


def test_statuses_are_the_models() -> None:
    """Every status of a usage record is in the enumeration, in the model's words."""
    assert SHAPES["UsageRecordResultStatus"]["enum"] == list(types.UsageRecordResultStatus)


@pytest.mark.parametrize(
    ("operation", "code"),
    [(name, error["shape"]) for name, operation in OPERATIONS.items() for error in operation["errors"]],
)
def test_errors_have_classes(operation: str, code: str) -> None:
    """Every exception of every operation has a class of its name that names the cure."""
    error = ERRORS[code]
    assert code == error.__name__
    assert getattr(sidecar.marketplace, code) is error
    assert issubclass(error, MarketplaceError)
    assert error.cure


def test_unreferenced_errors_have_classes() -> None:
    """Exceptions that the model defines without an operation are covered too."""
    assert {name for name, shape in SHAPES.items() if shape.get("exception")} <= ERRORS.keys()


def test_size_is_what_the_sdk_sends() -> None:
    """The size of a request is the length of the body that the SDK's serializer makes of it."""
    request = BatchMeterUsageRequest(
        product_code="code",
        usage_records=(
            UsageRecord(
                timestamp=datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC),
                dimension="größe",
                quantity_as_decimal="1.5",
                customer_identifier="buyer",
                usage_allocations=(UsageAllocation(allocated_usage_quantity_as_decimal="1.5", tags=(Tag("k", "v"),)),),
            ),
        ),
    )
    service = botocore.model.ServiceModel(MODEL)
    body = botocore.serialize.create_serializer("json", include_validation=False).serialize_to_request(
        wire.members(request), service.operation_model("BatchMeterUsage")
    )["body"]
    # The SDK writes whole seconds as integers, two characters less than the estimate.
    assert len(body) + 2 == wire.request_size(request)
    assert "größe" == json.loads(body)["UsageRecords"][0]["Dimension"]


def test_import_leaves_the_sdk_unloaded() -> None:
    """Importing the library costs no SDK: healthcheck and verify-token never need it."""
    script = "import sys, sidecar.marketplace; print({'boto3', 'botocore'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "set()" == done.stdout.strip()
