"""What holds for every pod that the charts make, whatever the values."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar import __version__, settings
from sidecar.settings import Settings
from tests.support.rendering import (
    CHARTS,
    PRODUCT,
    ROLE,
    SIDECAR,
    Helm,
    Values,
    config,
    containers,
    merge,
    only,
    pod_template,
    sidecar,
)
from tests.support.variants import Variant

_HARDENED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_TOKEN = "marketplace-cluster-token"


def test_containers_are_hardened(objects: list[dict[str, Any]]) -> None:
    """No container runs as root, gains privileges, has a capability or writes to its root."""
    for name, container in containers(pod_template(objects)).items():
        assert _HARDENED == container["securityContext"], name


def test_token_is_the_sidecars_alone(objects: list[dict[str, Any]], variant: Variant) -> None:
    """The cluster's token is mounted into the sidecar when it is of use, and into nothing else."""
    pod = pod_template(objects)
    assert pod["spec"]["automountServiceAccountToken"] is False
    holders = {
        name
        for name, container in containers(pod).items()
        if any(mount["name"] == _TOKEN for mount in container.get("volumeMounts", ()))
    }
    used = variant.name != "product-without-cluster"
    assert holders == ({"marketplace-sidecar"} if used else set())
    assert used == any(one["kind"] == "Role" for one in objects)


@pytest.mark.parametrize(
    ("kubernetes", "expected"),
    [
        ({"events": False}, {("pods", "get")}),
        ({}, {("pods", "get"), ("events", "create")}),
        (
            {"readiness_gate": "example.com/entitled"},
            {("pods", "get"), ("events", "create"), ("pods/status", "patch")},
        ),
    ],
)
def test_role_has_fewest_verbs(helm: Helm, kubernetes: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    """The Role holds what the features in use need, in the release's namespace."""
    role = only(helm.render("marketplace-product", merge(PRODUCT, config(kubernetes=kubernetes))), "Role")
    assert "acme" == role["metadata"]["namespace"]
    assert expected == {
        (resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]
    }


def test_chart_versions_restart_nothing(objects: list[dict[str, Any]]) -> None:
    """No pod template carries the chart's version: a bump of it would cut metering hours in two."""
    labels = pod_template(objects)["metadata"]
    assert not any("helm.sh" in name or "version" in name for name in [*labels["labels"], *labels["annotations"]])


def test_no_hooks(texts: dict[str, str]) -> None:
    """Neither hooks nor the release's service are used: EKS add-ons may have neither."""
    assert not [name for name, text in texts.items() if "helm.sh/" in text]
    sources = [path.read_text(encoding="utf-8") for path in CHARTS.glob("*/templates/*")]
    assert sources
    assert not [source for source in sources if ".Release.Service" in source or "helm.sh/hook" in source]


def test_one_registry_for_all(helm: Helm) -> None:
    """One value stands before every image; a digest wins over a tag."""
    digest = f"sha256:{'ab' * 32}"
    changes = {"global": {"registry": "registry.example/acme"}, **sidecar(image={"digest": digest})}
    found = containers(pod_template(helm.render("marketplace-product", merge(PRODUCT, changes))))
    assert {
        "app": "registry.example/acme/acme/shop:2.1",
        "marketplace-sidecar": f"registry.example/acme/marketplace-sidecar@{digest}",
    } == {name: container["image"] for name, container in found.items()}


def test_native_sidecar_comes_first(helm: Helm) -> None:
    """The sidecar stands before every other container, and its start-up probe holds them back."""
    values = merge(PRODUCT, {"initContainers": [{"name": "migrate", "image": {"repository": "acme/shop"}}]})
    spec = pod_template(helm.render("marketplace-product", values))["spec"]
    first, second = spec["initContainers"]
    assert ("marketplace-sidecar", "Always", "migrate") == (first["name"], first["restartPolicy"], second["name"])
    assert {"path": "/startupz", "port": "probes"} == first["startupProbe"]["httpGet"]


@pytest.mark.parametrize("deadline", [None, 600])
def test_job_has_a_deadline(helm: Helm, deadline: int | None) -> None:
    """A Job that waits for the entitlement ends by its deadline alone: the kubelet restarts a native sidecar always."""
    changes = {"kind": "Job", "job": {"activeDeadlineSeconds": deadline}, **config(entitlement={"on_denied": "exit"})}
    job = only(helm.render("marketplace-product", merge(PRODUCT, changes)), "Job")["spec"]
    assert deadline == job.get("activeDeadlineSeconds")
    assert ("Never", "Always") == (
        job["template"]["spec"]["restartPolicy"],
        containers(job["template"])["marketplace-sidecar"]["restartPolicy"],
    )


def test_plain_sidecar_ties_readiness(helm: Helm) -> None:
    """As a plain container it has no start-up probe to be restarted by, and the app is ready when it is."""
    found = containers(pod_template(helm.render("marketplace-product", merge(PRODUCT, sidecar(mode="plain")))))
    assert not {"restartPolicy", "startupProbe"} & found["marketplace-sidecar"].keys()
    assert {"path": "/readyz", "port": 8788} == found["app"]["readinessProbe"]["httpGet"]


def test_own_probe_is_kept(helm: Helm) -> None:
    """A container that has a readiness probe keeps it."""
    probe = {"httpGet": {"path": "/ready", "port": "http"}}
    (app,) = PRODUCT["containers"]
    values = merge(PRODUCT, {"containers": [{**app, "readinessProbe": probe}]})
    assert probe == containers(pod_template(helm.render("marketplace-product", values)))["app"]["readinessProbe"]


def test_configuration_is_taken(helm: Helm, tmp_path: Path) -> None:
    """The sidecar itself reads the file, and the chart's defaults are its own."""
    configured = only(helm.render("marketplace-product", PRODUCT), "ConfigMap")
    path = tmp_path / "config.yaml"
    path.write_text(configured["data"]["config.yaml"], encoding="utf-8")
    read = settings.load(str(path), {})
    defaults = Settings(product=read.product)
    assert "0abc123example" == read.product.code
    assert {1: Path("/etc/marketplace-sidecar/keys/1.pem")} == read.product.public_keys
    assert replace(defaults.ledger, max_size=896 * 1024 * 1024) == read.ledger
    for group in ("entitlement", "api", "probes", "shutdown", "marketplace", "log"):
        assert getattr(defaults, group) == getattr(read, group)
    assert ("requests",) == tuple(dimension.name for dimension in read.metering.dimensions)


def test_image_identity_is_left_alone(helm: Helm, tmp_path: Path) -> None:
    """With the product in the image no file is mounted over it; what the chart depends on comes by variables."""
    values = merge(
        PRODUCT,
        merge(
            sidecar(productFromImage=True),
            config(product={"code": "", "public_keys": None}, metering={"dimensions": []}, api={"port": 9000}),
        ),
    )
    objects = helm.render("marketplace-product", values)
    assert not [one for one in objects if one["kind"] == "ConfigMap"]
    container = containers(pod_template(objects))["marketplace-sidecar"]
    assert "/etc/marketplace-sidecar" not in {mount["mountPath"] for mount in container["volumeMounts"]}
    baked = tmp_path / "config.yaml"
    baked.write_text(
        json.dumps({"product": {"code": "0baked"}, "entitlement": {"check": "none"}, "metering": {"spread": "5m"}}),
        encoding="utf-8",
    )
    read = settings.load(str(baked), {one["name"]: one["value"] for one in container["env"] if "value" in one})
    assert ("0baked", 9000, 300) == (read.product.code, read.api.port, read.metering.spread.total_seconds())


def test_configuration_restarts_pods(helm: Helm) -> None:
    """A change of the configuration changes the pod template; a change of the scrape interval does not."""
    before = pod_template(helm.render("marketplace-product", PRODUCT))
    changed = pod_template(helm.render("marketplace-product", merge(PRODUCT, config(metering={"spread": "5m"}))))
    same = pod_template(helm.render("marketplace-product", merge(PRODUCT, sidecar(podMonitor={"interval": "30s"}))))
    assert before == same
    assert before["metadata"]["annotations"] != changed["metadata"]["annotations"]


@pytest.mark.parametrize(("chart", "values"), [("marketplace-product", PRODUCT), ("example", SIDECAR)])
@pytest.mark.parametrize(
    ("account", "restarts"),
    [
        ({"roleArn": f"{ROLE}-right"}, True),
        ({"annotations": {"eks.amazonaws.com/token-expiration": "3600"}}, True),
        ({"annotations": {"team": "shop"}}, False),
    ],
    ids=["role", "token", "team"],
)
def test_role_restarts_pods(helm: Helm, chart: str, values: Values, account: dict[str, Any], *, restarts: bool) -> None:
    """A corrected role reaches the pods: EKS puts it into a pod only when the pod is admitted."""
    before = pod_template(helm.render(chart, values))
    changed = pod_template(helm.render(chart, merge(values, sidecar(serviceAccount=account))))
    assert restarts == (before != changed)


def test_policy_and_monitor_find_the_pods(helm: Helm) -> None:
    """What selects pods selects exactly those with the sidecar."""
    changes = sidecar(networkPolicy={"enabled": True}, podMonitor={"enabled": True})
    objects = helm.render("marketplace-product", merge(PRODUCT, changes))
    labels = pod_template(objects)["metadata"]["labels"]
    for selector in (
        only(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        only(objects, "PodMonitor")["spec"]["selector"]["matchLabels"],
        only(
            helm.render("marketplace-product", merge(PRODUCT, {"service": {"enabled": True, "ports": [{"port": 80}]}})),
            "Service",
        )["spec"]["selector"],
    ):
        assert selector.items() <= labels.items()
    only_endpoint = only(objects, "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert [("probes", "/metrics")] == [(one["port"], one["path"]) for one in only_endpoint]


def test_example_needs_ten_lines() -> None:
    """A seller's pod template calls the library in ten lines at most."""
    pod = (CHARTS / "example/templates/app.yaml").read_text(encoding="utf-8").partition("  template:")[2]
    calls = [line for line in pod.splitlines() if 'include "marketplace-sidecar.' in line and "image" not in line]
    assert 0 < len(calls) <= 10


@pytest.mark.parametrize("chart", ["marketplace-product", "example"])
def test_notes_show_three_commands(helm: Helm, chart: str, tmp_path: Path) -> None:
    """After an installation the next three commands are shown, ready to be copied."""
    # Helm shows notes only to who installs into a cluster, so a copy of the chart renders them into an object.
    copy = tmp_path / chart
    shutil.copytree(CHARTS / chart, copy)
    (copy / "templates/NOTES.txt").rename(copy / "notes")
    (copy / "templates/notes.yaml").write_text(
        'kind: Notes\ntext: |\n  {{- tpl (.Files.Get "notes") . | nindent 2 }}\n', encoding="utf-8"
    )
    values = PRODUCT if chart == "marketplace-product" else SIDECAR
    shown = only(helm.render(copy, values), "Notes")["text"]
    commands = [line.strip() for line in shown.splitlines() if line.strip().startswith("kubectl ")]
    assert ["get", "logs", "exec"] == [command.split()[3] for command in commands]
    assert all(command.startswith("kubectl --namespace acme ") for command in commands)
    assert "deployment/shop" in commands[2]


def test_versions_agree() -> None:
    """Charts, image tag and package are of one version."""
    for chart in ("marketplace-sidecar", "marketplace-product", "example"):
        about = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text(encoding="utf-8"))
        assert __version__ == about["version"] == about["appVersion"]
        assert all(__version__ == one["version"] for one in about.get("dependencies", ()))
    for chart, path in (("marketplace-sidecar", ("image", "tag")), ("example", ("image", "tag"))):
        values = yaml.safe_load((CHARTS / chart / "values.yaml").read_text(encoding="utf-8"))
        assert __version__ == values[path[0]][path[1]]


def test_session_names_the_pod(objects: list[dict[str, Any]]) -> None:
    """AWS's log of calls shows the pod: its session is named after the UID that the ledger knows the pod by."""
    variables = {each["name"]: each for each in containers(pod_template(objects))["marketplace-sidecar"]["env"]}
    source = {"fieldRef": {"fieldPath": "metadata.uid"}}
    assert (source, source) == tuple(variables[name]["valueFrom"] for name in ("AWS_ROLE_SESSION_NAME", "POD_UID"))
