"""Nothing of License Manager's six operations in the installed service model is without a counterpart."""

import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import pytest

from sidecar.marketplace import license_manager
from sidecar.marketplace.addresses import CALLED
from sidecar.marketplace.errors import AccessDenied, MarketplaceError, Taken
from sidecar.marketplace.license_manager import types
from sidecar.marketplace.license_manager.client import LICENSE_MANAGER
from sidecar.marketplace.license_manager.errors import ERRORS
from sidecar.marketplace.license_manager.limits import LIMITS
from sidecar.marketplace.limits import Limit
from sidecar.marketplace.reading import member_name
from sidecar.marketplace.service_errors import Refused, error_from
from tests.support.service_model import LICENSE_MODEL, LICENSE_OPERATIONS, modelled

SHAPES: dict[str, dict[str, Any]] = LICENSE_MODEL["shapes"]
OPERATIONS: dict[str, dict[str, Any]] = {name: LICENSE_MODEL["operations"][name] for name in LICENSE_OPERATIONS}
PAGED = {"NextToken"}
ENUMERATIONS: dict[str, type[StrEnum]] = {
    "AllowedOperation": types.AllowedOperation,
    "CheckoutType": types.CheckoutType,
    "EntitlementDataUnit": types.Unit,
    "EntitlementUnit": types.Unit,
    "GrantType": types.GrantType,
    "LicenseStatus": license_manager.LicenseStatus,
    "ReceivedStatus": types.ReceivedStatus,
    "RenewType": types.RenewType,
}


def reachable(shape: str) -> Iterator[str]:
    """Yield `shape` and every shape under it."""
    yield shape
    below = SHAPES[shape]
    for member in [*below.get("members", {}).values(), *([below["member"]] if "member" in below else [])]:
        yield from reachable(member["shape"])


INPUTS = {name for operation in OPERATIONS.values() for name in reachable(operation["input"]["shape"])}
OUTPUTS = {name for operation in OPERATIONS.values() for name in reachable(operation["output"]["shape"])}
STRUCTURES = sorted(name for name in INPUTS | OUTPUTS if SHAPES[name]["type"] == "structure")
ANSWERS = {operation["output"]["shape"] for operation in OPERATIONS.values()}


def snake_case(name: str) -> str:
    """Return a model name as Python spells it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_have_methods(operation: str) -> None:
    """Each operation is a method of the protocol and of the client, by the name that the SDK gives it."""
    method = snake_case(operation)
    assert callable(getattr(license_manager.LicenseManager, method))
    assert callable(getattr(license_manager.LicenseManagerClient, method))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_members_have_fields(structure: str) -> None:
    """Each member of each structure is a field of that name; answers add the request id, pages are the client's."""
    fields = {field.name for field in dataclasses.fields(getattr(types, structure))}
    if structure in ANSWERS:
        assert "request_id" in fields
        fields -= {"request_id"}
    assert {snake_case(member) for member in SHAPES[structure]["members"].keys() - PAGED} == fields


@pytest.mark.parametrize("structure", STRUCTURES)
def test_field_names_lead_back(structure: str) -> None:
    """The name that a field has on the wire is the model's."""
    names = set(SHAPES[structure]["members"])
    assert names == {member_name(snake_case(name)) for name in names}


@pytest.mark.parametrize("structure", sorted(set(STRUCTURES) & INPUTS))
def test_required_members_have_no_default(structure: str) -> None:
    """A member that the model requires must be given, and any other may be left out; a filter needs both of its own."""
    required = {
        field.name
        for field in dataclasses.fields(getattr(types, structure))
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    expected = {"Name", "Values"} if structure == "Filter" else SHAPES[structure].get("required", [])
    assert {snake_case(member) for member in expected} == required


def test_enumerations_are_the_models() -> None:
    """Each enumeration of the six operations is one of ours, with the model's values."""
    enumerated = {name for name in INPUTS | OUTPUTS if "enum" in SHAPES[name]}
    assert enumerated == ENUMERATIONS.keys()
    for name, kind in ENUMERATIONS.items():
        assert SHAPES[name]["enum"] == list(kind)


def test_filters_are_the_documented_ones() -> None:
    """The names that AWS's words list for a filter, which the model does not enumerate."""
    words = SHAPES["ListReceivedLicensesRequest"]["members"]["Filters"]["documentation"]
    assert re.findall(r"<code>(\w+)</code>", words) == list(types.FilterName)


def test_limits_are_complete() -> None:
    """Every shape of a request with a bound or a pattern is in the table, and nothing else is."""
    bounded = {name for name in INPUTS if SHAPES[name].keys() & {"min", "max", "pattern"}}
    assert bounded == LIMITS.keys()


@pytest.mark.parametrize("shape", sorted(LIMITS))
def test_limits_are_the_models(shape: str) -> None:
    """Each bound and pattern is the model's own."""
    model = SHAPES[shape]
    assert Limit(model.get("min"), model.get("max"), model.get("pattern")) == LIMITS[shape]


@pytest.mark.parametrize(
    ("operation", "code"), [(name, error["shape"]) for name, model in OPERATIONS.items() for error in model["errors"]]
)
def test_errors_have_classes(operation: str, code: str) -> None:
    """Every exception of every operation has a class of its name that tells what to do."""
    error = ERRORS[code]
    assert code == error.__name__
    assert getattr(license_manager, code) is error
    assert issubclass(error, MarketplaceError)
    assert error.cure.endswith(".")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_refusals_are_the_models(operation: str) -> None:
    """Only the model's errors of an operation prove that nothing was taken, the service's own fault left out."""
    own = modelled(operation, LICENSE_MODEL)
    for code, kind in ERRORS.items():
        error = error_from(own, code, "words", None, 400, kinds=ERRORS)
        certain = not issubclass(kind, Refused) or kind.__name__ in own
        expected = Taken.NO if certain and code != "ServerInternalException" else Taken.UNKNOWN
        assert (kind, expected) == (type(error), error.taken)


def test_front_door_denies_by_this_service() -> None:
    """A denial under AWS's common names has the cure of this service, not Metering's."""
    for code in ("AccessDenied", "UnauthorizedOperation", "AccessDeniedException", "AuthorizationException"):
        error = error_from(modelled("CheckoutLicense", LICENSE_MODEL), code, "words", None, kinds=ERRORS)
        assert isinstance(error, AccessDenied)
        assert "license-manager:CheckoutLicense" in error.cure


def test_service_is_the_models() -> None:
    """The SDK's client is made by the service's name, and its address is checked by the service's id."""
    metadata = LICENSE_MODEL["metadata"]
    assert CALLED[metadata["serviceId"].lower().replace(" ", "-")] == LICENSE_MANAGER.name
    members = {member for name in INPUTS for member in SHAPES[name].get("members", {})}
    assert {member for member in members if member.endswith("Token")} - PAGED - {"ClientToken"} == set(
        LICENSE_MANAGER.secret_members
    )


def test_import_leaves_the_rest_unloaded() -> None:
    """The package costs no SDK, and Metering alone does not load the package."""
    script = (
        "import sys, sidecar.marketplace; loaded = 'sidecar.marketplace.license_manager' in sys.modules;"
        "import sidecar.marketplace.license_manager; print(loaded, {'boto3', 'botocore'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "False set()" == done.stdout.strip()
