"""The IAM policies allow what the sidecar calls, and nothing else."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader

from sidecar.marketplace.license_manager import AuthorizationException
from tests.support.reading import ROOT
from tests.support.service_model import LICENSE_MODEL, LICENSE_OPERATIONS

POLICIES = sorted((ROOT / "docs/iam").glob("*.json"))
CALLERS = [
    path
    for path in (ROOT / "sidecar").rglob("*.py")
    if not {"marketplace", "emulator"} & set(path.relative_to(ROOT / "sidecar").parts)
]


def statements(name: str) -> list[dict[str, Any]]:
    """Return the statements of a policy."""
    policy = json.loads((ROOT / "docs/iam" / name).read_text(encoding="utf-8"))
    assert "2012-10-17" == policy["Version"]
    found: list[dict[str, Any]] = policy["Statement"]
    return found


def model() -> dict[str, Any]:
    """Return the service's model, as the SDK has it."""
    found: dict[str, Any] = Loader().load_service_model("meteringmarketplace", "service-2")
    return found


def called_operations(model: dict[str, Any]) -> set[str]:
    """Return the operations of a service that the sidecar calls through the library, in the model's spelling."""
    methods = {
        node.func.attr
        for path in CALLERS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    names = {"".join(part.capitalize() for part in method.split("_")) for method in methods}
    return names & set(model["operations"])


def test_policy_is_the_least() -> None:
    """The role may do exactly what the code calls, under the service's signing name."""
    (statement,) = statements("policy.json")
    prefix = model()["metadata"]["signingName"]

    assert sorted(f"{prefix}:{operation}" for operation in called_operations(model())) == statement["Action"]
    assert ("Allow", "*") == (statement["Effect"], statement["Resource"])


def test_saas_is_left_out() -> None:
    """The service has operations for SaaS back ends that a pod's role does not get."""
    assert {"BatchMeterUsage", "ResolveCustomer"} == set(model()["operations"]) - called_operations(model())


def test_license_policy_is_what_a_license_takes() -> None:
    """With a contract price the role may hold and return seats and read licenses, and may not issue or grant any."""
    (statement,) = statements("license-manager-policy.json")
    prefix = LICENSE_MODEL["metadata"]["endpointPrefix"]

    assert [f"{prefix}:{name}" for name in sorted({*LICENSE_OPERATIONS} - {"GetLicenseUsage"})] == statement["Action"]
    assert ("Allow", "*") == (statement["Effect"], statement["Resource"])
    called = called_operations(LICENSE_MODEL) & {*LICENSE_OPERATIONS}
    assert [] == [name for name in called if f"{prefix}:{name}" not in statement["Action"]]
    cure = AuthorizationException.cure
    assert [] == [action for action in statement["Action"] if action.removeprefix(f"{prefix}:") not in cure]


def test_service_account_alone_is_trusted() -> None:
    """On EKS the role trusts one service account of one cluster, by audience and subject."""
    (statement,) = statements("eks-trust-policy.json")
    sts = Loader().load_service_model("sts", "service-2")

    assert statement["Action"].removeprefix("sts:") in sts["operations"]
    assert "sts:AssumeRoleWithWebIdentity" == statement["Action"]
    assert {"OIDC_PROVIDER:aud", "OIDC_PROVIDER:sub"} == set(statement["Condition"]["StringEquals"])
    assert "*" not in json.dumps(statement)


def test_tasks_alone_are_trusted() -> None:
    """On ECS the role trusts the tasks of one account."""
    (statement,) = statements("ecs-task-trust-policy.json")

    assert {"Service": "ecs-tasks.amazonaws.com"} == statement["Principal"]
    assert ("sts:AssumeRole", "ACCOUNT_ID") == (
        statement["Action"],
        statement["Condition"]["StringEquals"]["aws:SourceAccount"],
    )


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_policy_is_linked(path: Path) -> None:
    """Each policy has a document that states when to use it."""
    assert any(f"iam/{path.name}" in each.read_text(encoding="utf-8") for each in (ROOT / "docs").glob("*.md"))
