"""`null`: an optional group is off, a number of pods is an autoscaler's, and any other group is named with the cure."""

from typing import Any

import pytest

from tests.chart.published import published
from tests.support import reference
from tests.support.rendering import (
    NEWEST,
    PRODUCT,
    ROLE,
    SIDECAR,
    Helm,
    Refused,
    Values,
    config,
    containers,
    merge,
    only,
    pod_template,
    sidecar,
)
from tests.support.variants import VARIANTS

_KIND_OF_GROUP = {
    "networkPolicy": "NetworkPolicy",
    "podMonitor": "PodMonitor",
    "rbac": "Role",
}
_OPTIONAL = [
    *("rbac", "resources", "securityContext", "podSecurityContext", "proxy", "caBundle", "networkPolicy"),
    *("podMonitor", "monitoring", "extraEnv", "extraVolumes", "extraVolumeMounts"),
]
_EVERYTHING = next(variant.values for variant in VARIANTS if variant.name == "product-everything")


def without(helm: Helm, changes: Values, base: Values = _EVERYTHING) -> list[dict[str, Any]]:
    """Render with some groups null; what comes out is valid."""
    # Not merged: null has to reach Helm.
    values = merge(base, {})
    values["sidecar"] = {**values["sidecar"], **changes}
    objects = helm.render("marketplace-product", values)
    assert [] == [fault for one in objects for fault in published(NEWEST).faults(one)]
    return objects


@pytest.mark.parametrize("group", _OPTIONAL)
def test_null_group_is_off(helm: Helm, group: str) -> None:
    """An optional group that is null renders nothing, and the rest as before."""
    objects = without(helm, {group: None})
    assert _KIND_OF_GROUP.get(group) not in {one["kind"] for one in objects}
    before = helm.render("marketplace-product", _EVERYTHING)
    assert {one["kind"] for one in before} - {one["kind"] for one in objects} <= {
        _KIND_OF_GROUP.get(group, ""),
        *(("RoleBinding",) if group == "rbac" else ()),
    }


def test_all_optional_groups_are_off(helm: Helm) -> None:
    """With every optional group null there is the pod, its configuration and its account."""
    groups: dict[str, Any] = dict.fromkeys(_OPTIONAL)
    groups["ledger"] = {"emptyDir": None}
    groups["config"] = {**PRODUCT["sidecar"]["config"], "kubernetes": None}
    objects = without(helm, groups, PRODUCT)
    assert {"ConfigMap", "Deployment", "ServiceAccount"} == {one["kind"] for one in objects}
    pod = pod_template(objects)
    assert {} == next(each["emptyDir"] for each in pod["spec"]["volumes"] if each["name"] == "marketplace-ledger")
    container = containers(pod)["marketplace-sidecar"]
    assert {"resources", "securityContext"}.isdisjoint(container)


@pytest.mark.parametrize("group", ["prometheusRule", "dashboard"])
def test_half_of_monitoring_is_off(helm: Helm, group: str) -> None:
    """One member of `monitoring` can be null while the other is on."""
    other = {"prometheusRule": "dashboard", "dashboard": "prometheusRule"}[group]
    objects = without(helm, {"monitoring": {group: None, other: {"enabled": True}}}, PRODUCT)
    kinds = [one["kind"] for one in objects]
    assert (other == "prometheusRule", 1 + (other == "dashboard")) == (
        "PrometheusRule" in kinds,
        kinds.count("ConfigMap"),
    )


@pytest.mark.parametrize("from_image", [False, True])
def test_null_cluster_is_off(helm: Helm, *, from_image: bool) -> None:
    """`config.kubernetes: null` is the same as `enabled: false`, for the sidecar too."""
    base = merge(
        PRODUCT,
        merge(
            sidecar(productFromImage=from_image),
            config(product={"code": "", "public_keys": None}, metering={"dimensions": []}) if from_image else {},
        ),
    )
    null = merge(base, {})
    null["sidecar"]["config"]["kubernetes"] = None
    objects = helm.render("marketplace-product", null)
    assert "Role" not in {one["kind"] for one in objects}
    container = containers(pod_template(objects))["marketplace-sidecar"]
    if from_image:
        assert {"name": "SIDECAR_KUBERNETES__ENABLED", "value": "false"} in container["env"]
    else:
        assert "kubernetes:\n  enabled: false\n" in only(objects, "ConfigMap")["data"]["config.yaml"]


@pytest.mark.parametrize("group", ["config", "image", "ledger", "serviceAccount"])
def test_needed_group_is_named(helm: Helm, group: str) -> None:
    """A group without which there is no sidecar is named when it is null."""
    with pytest.raises(Refused) as refused:
        without(helm, {group: None}, PRODUCT)
    words = "is null, and the sidecar cannot run without it; remove the line to use the chart's defaults"
    assert [f"sidecar.{group}: {words}"] == refused.value.problems


@pytest.mark.parametrize(
    "group", ["api", "entitlement", "log", "marketplace", "metering", "probes", "product", "shutdown"]
)
def test_needed_configuration_is_named(helm: Helm, group: str) -> None:
    """So is a group of the configuration that cannot be switched off."""
    with pytest.raises(Refused) as refused:
        without(helm, {"config": {**PRODUCT["sidecar"]["config"], group: None}}, PRODUCT)
    (problem,) = refused.value.problems
    assert problem.startswith(f"sidecar.config.{group}: is null")


def test_null_is_the_default(helm: Helm) -> None:
    """A key of the configuration that is null has its default, in the file and in the pod."""
    defaults = reference.defaults()
    groups = {group: dict.fromkeys(defaults[group]) for group in defaults if group not in {"product", "kubernetes"}}
    del groups["metering"]["dimensions"]
    null = merge(PRODUCT, {})
    null["sidecar"]["config"] |= {**groups, "metering": {**null["sidecar"]["config"]["metering"], **groups["metering"]}}
    expected, actual = (helm.render("marketplace-product", values) for values in (PRODUCT, null))
    assert expected == actual


def test_null_is_one_default_for_all(helm: Helm) -> None:
    """What the pod has for a key that is null is what the sidecar is told: the gate is set, the probes reach it."""
    gate = {"enabled": None, "readiness_gate": "example.com/entitled"}
    values = merge(PRODUCT, {})
    values["sidecar"]["config"] = {**values["sidecar"]["config"], "kubernetes": gate}
    objects = helm.render("marketplace-product", values)
    assert "Role" in {one["kind"] for one in objects}
    assert "marketplace-cluster-token" in {volume["name"] for volume in pod_template(objects)["spec"]["volumes"]}
    values["sidecar"] |= {"productFromImage": True, "config": {"probes": {"port": None}, "shutdown": {"timeout": None}}}
    container = containers(pod_template(helm.render("marketplace-product", values)))["marketplace-sidecar"]
    told = {each["name"]: each.get("value") for each in container["env"]}
    assert ("8788", "25s") == (told["SIDECAR_PROBES__PORT"], told["SIDECAR_SHUTDOWN__TIMEOUT"])


def test_needed_key_is_named(helm: Helm) -> None:
    """Without its mode the pod would have no sidecar, and run unpaid: such keys are refused when they are null."""
    values = merge(PRODUCT, {})
    values["sidecar"] |= {"mode": None, "ledger": {"volume": None}, "image": {"repository": None}}
    values["sidecar"]["serviceAccount"] = {"roleArn": ROLE, "webIdentity": None}
    with pytest.raises(Refused) as refused:
        helm.template("marketplace-product", values)
    keys = ["image.repository", "ledger.volume", "mode", "serviceAccount.webIdentity"]
    words = "is null, and the chart depends on it; remove the line to use the chart's default"
    assert [f"sidecar.{key}: {words}" for key in keys] == refused.value.problems


@pytest.mark.parametrize("chart", ["marketplace-product", "example"])
def test_autoscaler_has_replicas(helm: Helm, chart: str) -> None:
    """With `replicas: null` the workload names no number, which an upgrade would set again."""
    base: Values = PRODUCT if chart == "marketplace-product" else SIDECAR
    objects = helm.render(chart, {**base, "replicas": None})
    assert "replicas" not in only(objects, "Deployment")["spec"]
    assert 2 == only(helm.render(chart, {**base, "replicas": 2}), "Deployment")["spec"]["replicas"]
    assert 0 == only(helm.render(chart, {**base, "replicas": 0}), "Deployment")["spec"]["replicas"]


def test_one_claim_is_not_scaled(helm: Helm) -> None:
    """A ledger for one pod is refused where an autoscaler may start several."""
    values = merge(PRODUCT, sidecar(ledger={"volume": "existingClaim", "existingClaim": "ledger"}))
    with pytest.raises(Refused, match="an autoscaler may start several pods"):
        helm.render("marketplace-product", {**values, "replicas": None, "strategy": {"type": "Recreate"}})
