"""What the charts make is what Kubernetes takes, by its own published schemas."""

from copy import deepcopy
from typing import Any

import pytest
import yaml

from tests.chart.published import VERSIONS, Published
from tests.chart.published import published as load
from tests.support.reading import blocks
from tests.support.rendering import NEWEST, PRODUCT, Helm, containers, only, pod_template
from tests.support.variants import Variant


@pytest.fixture(scope="session")
def published() -> dict[str, Published]:
    """The schemas of the oldest and the newest supported Kubernetes."""
    return {version: load(version) for version in VERSIONS}


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_suit_kubernetes(variant: Variant, published: dict[str, Published], version: str, helm: Helm) -> None:
    """Every object of every variant is valid in the oldest and in the newest supported Kubernetes."""
    objects = helm.render(variant.chart, variant.values, kubernetes=version)
    assert [] == [fault for one in objects for fault in published[version].faults(one)]


def test_unknown_field_is_found(published: dict[str, Published], helm: Helm) -> None:
    """The check itself finds a misspelled field, a wrong type and a missing one."""
    deployment = only(helm.render("marketplace-product", PRODUCT), "Deployment")
    broken: dict[str, Any] = deepcopy(deployment)
    container = containers(pod_template([broken]))["marketplace-sidecar"]
    container["readinessProb"] = container.pop("readinessProbe")
    container["ports"] = [{"name": "probes", "containerPort": "8788"}]
    del broken["spec"]["selector"]
    assert [] == published[NEWEST].faults(deployment)
    assert 3 == len(published[NEWEST].faults(broken))


@pytest.mark.parametrize("version", VERSIONS)
def test_certifying_pod_suits_kubernetes(published: dict[str, Published], version: str) -> None:
    """The pod that the seller's document shows is valid, and knows its own identity."""
    (text,) = [block.text for block in blocks("docs/seller.md") if block.name == "certify-pod.yaml"]
    pod = yaml.safe_load(text)
    assert [] == published[version].faults(pod)
    (container,) = pod["spec"]["containers"]
    assert {"POD_UID": "metadata.uid"} == {
        each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"] for each in container["env"]
    }


def test_certifying_pod_has_the_role(helm: Helm) -> None:
    """It runs as the service account that the installation of the same document makes, which has the role."""
    (text,) = [block.text for block in blocks("docs/seller.md") if block.name == "certify-pod.yaml"]
    account = only(helm.render("marketplace-product", PRODUCT), "ServiceAccount")["metadata"]
    assert "eks.amazonaws.com/role-arn" in account["annotations"]
    assert account["name"] == yaml.safe_load(text)["spec"]["serviceAccountName"]
