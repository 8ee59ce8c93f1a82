"""Nothing of the Entitlement Service in the installed service model is without a counterpart."""

import dataclasses
import re
import subprocess
import sys
from typing import Any

import pytest

from sidecar.marketplace import entitlements
from sidecar.marketplace.addresses import CALLED
from sidecar.marketplace.entitlements import types
from sidecar.marketplace.entitlements.client import ENTITLEMENT_SERVICE
from sidecar.marketplace.entitlements.errors import ERRORS
from sidecar.marketplace.entitlements.validation import LIMITS
from sidecar.marketplace.errors import AccessDenied, Taken
from sidecar.marketplace.limits import Limit
from sidecar.marketplace.reading import member_name
from sidecar.marketplace.service_errors import Refused, error_from
from tests.support.service_model import ENTITLEMENT_MODEL, modelled

SHAPES: dict[str, dict[str, Any]] = ENTITLEMENT_MODEL["shapes"]
PAGED = {"NextToken"}
STRUCTURES = sorted(
    name for name, shape in SHAPES.items() if shape["type"] == "structure" and not shape.get("exception")
)
ERRORS_OF_MODEL = modelled("GetEntitlements", ENTITLEMENT_MODEL)


def snake_case(name: str) -> str:
    """Return a model name as Python spells it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def test_operations_have_methods() -> None:
    """Each operation of the service is a method of the protocol and of the client."""
    for operation in ENTITLEMENT_MODEL["operations"]:
        assert callable(getattr(entitlements.EntitlementService, snake_case(operation)))
        assert callable(getattr(entitlements.EntitlementServiceClient, snake_case(operation)))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_members_have_fields(structure: str) -> None:
    """Each member of each structure is a field of that name, which leads back; pages are the client's."""
    fields = {field.name for field in dataclasses.fields(getattr(types, structure))} - {"request_id"}
    names = set(SHAPES[structure]["members"])
    assert {snake_case(member) for member in names - PAGED} == fields
    assert names == {member_name(snake_case(name)) for name in names}


def test_filters_are_the_models() -> None:
    """The names of the filters are the model's."""
    assert SHAPES["GetEntitlementFilterName"]["enum"] == list(types.GetEntitlementFilterName)


def test_limits_are_the_models() -> None:
    """Every shape with a bound or a pattern that a request can break is in the table, with the model's bounds."""
    bounded = {name for name, shape in SHAPES.items() if shape.keys() & {"min", "max", "pattern"}} - {"EntitlementList"}
    assert bounded == LIMITS.keys()
    for name in bounded:
        shape = SHAPES[name]
        assert Limit(shape.get("min"), shape.get("max"), shape.get("pattern")) == LIMITS[name]


@pytest.mark.parametrize("code", sorted(ERRORS_OF_MODEL))
def test_errors_have_classes(code: str) -> None:
    """Every exception of the operation has a class of its name, of this service, that names the cure."""
    error = ERRORS[code]
    assert code == error.__name__
    assert getattr(entitlements, code) is error
    assert issubclass(error, entitlements.EntitlementServiceError)
    assert error.cure.endswith(".")


def test_refusals_are_the_models() -> None:
    """Only the model's errors prove that nothing was processed, the service's own fault left out."""
    for code, kind in ERRORS.items():
        error = error_from(ERRORS_OF_MODEL, code, "words", None, 400, kinds=ERRORS)
        certain = not issubclass(kind, Refused) or kind.__name__ in ERRORS_OF_MODEL
        expected = Taken.NO if certain and code != "InternalServiceErrorException" else Taken.UNKNOWN
        assert (kind, expected) == (type(error), error.taken)


def test_front_door_denies_by_this_service() -> None:
    """A denial under AWS's common names has the cure of this service, not Metering's."""
    for code in ("AccessDenied", "UnauthorizedOperation", "AccessDeniedException"):
        error = error_from(ERRORS_OF_MODEL, code, "words", None, kinds=ERRORS)
        assert isinstance(error, AccessDenied)
        assert "aws-marketplace:GetEntitlements" in error.cure


def test_service_is_the_models() -> None:
    """The SDK's client is made by the service's name, and its address is checked by the service's id."""
    metadata = ENTITLEMENT_MODEL["metadata"]
    assert CALLED[metadata["serviceId"].lower().replace(" ", "-")] == ENTITLEMENT_SERVICE.name


def test_library_leaves_the_package_unloaded() -> None:
    """The library loads neither this package nor the SDK, and this package does not load the SDK."""
    script = (
        "import sys, sidecar.marketplace; print('sidecar.marketplace.entitlements' in sys.modules);"
        "import sidecar.marketplace.entitlements; print({'boto3', 'botocore'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert ["False", "set()"] == done.stdout.split()
