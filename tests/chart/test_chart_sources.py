"""The files of the downward API: what the sidecar measures is in the pod, at the place where the sidecar reads it."""

import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from sidecar.adapters.resource_files import FOLDER
from sidecar.settings import load
from tests.support.rendering import (
    CHARTS,
    PRODUCT,
    SIDECAR,
    Helm,
    Refused,
    Values,
    config,
    merge,
    pod_template,
    sidecar,
)
from tests.support.variants import VARIANTS

_SOURCES = next(variant.values for variant in VARIANTS if variant.name == "product-sources")
_IMAGE = merge(
    sidecar(
        productFromImage=True,
        resourceFiles=[
            {"what": "cpu", "by": "limit", "container": "app"},
            {"what": "memory", "by": "request", "container": "app"},
        ],
    ),
    config(product={"code": "", "public_keys": None}, metering={"dimensions": []}),
)


@pytest.fixture
def own_chart(tmp_path: Path) -> Path:
    """A seller's own copy of a chart."""
    chart = tmp_path / "shop"
    shutil.copytree(CHARTS / "marketplace-product", chart)
    return chart


def _files(pod: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return the field of each file of the downward API, by its path in the sidecar's container."""
    spec = pod["spec"]
    (container,) = (one for one in spec["initContainers"] if one["name"] == "marketplace-sidecar")
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    found = {}
    for volume in spec["volumes"]:
        parts = [volume, *volume.get("projected", {}).get("sources", [])]
        for item in (item for part in parts for item in part.get("downwardAPI", {}).get("items", [])):
            if "resourceFieldRef" in item:
                found[str(PurePosixPath(mounts[volume["name"]]) / item["path"])] = item["resourceFieldRef"]
    return found


@pytest.mark.parametrize("values", [_SOURCES, merge(_SOURCES, _IMAGE)], ids=["values", "image"])
def test_files_are_where_they_are_read(helm: Helm, values: Values) -> None:
    """Each resource has its file, with the divisor that makes it millicores or bytes."""
    assert {
        f"{FOLDER}/app.limits.cpu": {"containerName": "app", "resource": "limits.cpu", "divisor": "1m"},
        f"{FOLDER}/app.requests.memory": {"containerName": "app", "resource": "requests.memory", "divisor": "1"},
    } == _files(pod_template(helm.render("marketplace-product", values)))


def test_files_are_those_of_the_configuration(helm: Helm, tmp_path: Path) -> None:
    """The files that the running sidecar will read are those that the pod has."""
    objects = helm.render("marketplace-product", _SOURCES)
    (data,) = (one["data"] for one in objects if one["kind"] == "ConfigMap" and "config.yaml" in one["data"])
    path = tmp_path / "config.yaml"
    path.write_text(data["config.yaml"], encoding="utf-8")
    sources = [each.source for each in load(str(path), {}).metering.dimensions]
    names = {name for name in (getattr(source, "file_name", None) for source in sources) if name is not None}
    assert {str(FOLDER / name) for name in names} == set(_files(pod_template(objects)))


def test_request_follows_the_limit(helm: Helm) -> None:
    """Kubernetes takes the limit for a request that is not given, so a limit is enough."""
    dimension = {"name": "vcpu", "source": {"resource": {"what": "cpu", "by": "request", "container": "app"}}}
    values = merge(_SOURCES, config(metering={"dimensions": [dimension]}))
    assert [f"{FOLDER}/app.requests.cpu"] == list(_files(pod_template(helm.render("marketplace-product", values))))


def test_chart_without_containers_is_refused(helm: Helm) -> None:
    """A chart whose container has no limit is refused: the example's."""
    dimension = {"name": "vcpu", "source": {"resource": {"what": "cpu", "container": "app"}}}
    with pytest.raises(Refused) as refused:
        helm.template("example", merge(SIDECAR, config(metering={"dimensions": [dimension]})))
    (problem,) = refused.value.problems
    assert problem.startswith("sidecar.config.metering.dimensions: measures the cpu limit of container app")


@pytest.mark.parametrize("limit", [None, "", 0, "0", "0m", "0.0", "00", "0e3"])
def test_no_limit_is_refused(helm: Helm, limit: object) -> None:
    """Kubernetes takes a limit of nothing for none, and would show what the node has."""
    dimension = {"name": "vcpu", "source": {"resource": {"what": "cpu", "container": "app"}}}
    app = {**PRODUCT["containers"][0], "resources": {"limits": {"cpu": limit}}}
    values = merge(PRODUCT, merge({"containers": [app]}, config(metering={"dimensions": [dimension]})))
    with pytest.raises(Refused) as refused:
        helm.template("marketplace-product", values)
    (problem,) = refused.value.problems
    assert "measures the cpu limit of container app, which has none" in problem


@pytest.mark.parametrize("limit", ["1500m", 2, "0.5", ".5", "1e-3"])
def test_each_notation_of_a_limit_is_taken(helm: Helm, limit: object) -> None:
    """A limit is a quantity of Kubernetes, in whatever notation."""
    dimension = {"name": "vcpu", "source": {"resource": {"what": "cpu", "container": "app"}}}
    app = {**PRODUCT["containers"][0], "resources": {"limits": {"cpu": limit}}}
    values = merge(PRODUCT, merge({"containers": [app]}, config(metering={"dimensions": [dimension]})))
    assert [f"{FOLDER}/app.limits.cpu"] == list(_files(pod_template(helm.render("marketplace-product", values))))


def test_init_container_has_no_resources(helm: Helm) -> None:
    """It ends, and its limit would be billed for the pod's whole life."""
    dimension = {"name": "vcpu", "source": {"resource": {"what": "cpu", "container": "seed"}}}
    seed = {**PRODUCT["containers"][0], "name": "seed", "resources": {"limits": {"cpu": 4}}}
    values = merge(PRODUCT, merge({"initContainers": [seed]}, config(metering={"dimensions": [dimension]})))
    with pytest.raises(Refused) as refused:
        helm.template("marketplace-product", values)
    (problem,) = refused.value.problems
    assert "measures the container seed, which the pod does not have" in problem


@pytest.mark.parametrize(
    "source",
    [
        {},
        {"pod_time": {"while": "running"}},
        {"pod_time": {}, "resource": {"what": "cpu", "container": "app"}},
        {"resource": {"what": "disk", "container": "app"}},
        {"resource": {"what": "cpu", "container": "../app"}},
        {"prometheus": {"url": "http://127.0.0.1:9090/metrics"}},
        {"prometheus": {"url": "http://shop.default.svc/metrics", "metric": "a_total"}},
        {"otlp": {"tags": {}}},
        {"otlp": {"metric": "app.tokens", "scale": "-1"}},
        {"otlp": {"metric": "app.tokens", "tags": {"tenant": "a&b"}}},
    ],
    ids=["none", "word", "both", "what", "container", "member", "another pod", "metric", "scale", "tag"],
)
def test_wrong_source_is_refused(helm: Helm, source: Values) -> None:
    """The schema takes the sources that the sidecar measures."""
    with pytest.raises(Refused) as refused:
        helm.template(
            "marketplace-product", merge(PRODUCT, config(metering={"dimensions": [{"name": "a", "source": source}]}))
        )
    assert refused.value.problems


def test_counter_is_taken(helm: Helm) -> None:
    """The schema takes a counter with all its keys, and the configuration has it as it stands."""
    source = {"otlp": {"metric": "app.tokens", "tags": {"tenant": "Customer"}, "scale": "0.001"}}
    objects = helm.render(
        "marketplace-product", merge(PRODUCT, config(metering={"dimensions": [{"name": "tokens", "source": source}]}))
    )
    (text,) = [each["data"]["config.yaml"] for each in objects if each["kind"] == "ConfigMap"]
    assert [{"name": "tokens", "source": source}] == yaml.safe_load(text)["metering"]["dimensions"]


def test_counters_need_no_files(helm: Helm) -> None:
    """A source of counters goes into the configuration as it is."""
    source = {
        "prometheus": {"url": "http://127.0.0.1:9090/metrics", "metric": "a_total", "tags": {"tenant": "Customer"}}
    }
    values = config(metering={"dimensions": [{"name": "a", "source": source}]})
    assert helm.render("marketplace-product", merge(PRODUCT, values))


def test_fixed_sources_are_judged(helm: Helm, own_chart: Path) -> None:
    """Sources in product.yaml are judged as those of the values, and files are made for them."""

    def fix(source: Values) -> None:
        metering = {"dimensions": [{"name": "tokens", "source": source}]}
        (own_chart / "product.yaml").write_text(yaml.safe_dump({"metering": metering}), encoding="utf-8")

    fix({"statsd": {"metric": "tokens"}})
    values = merge(PRODUCT, config(metering={"dimensions": []}))
    with pytest.raises(Refused) as refused:
        helm.template(own_chart, values)
    (problem,) = refused.value.problems
    assert "measures tokens by statsd, and this version measures" in problem
    fix({"resource": {"what": "cpu", "container": "app"}})
    app = {**PRODUCT["containers"][0], "resources": {"limits": {"cpu": "2"}}}
    objects = helm.render(own_chart, merge(values, {"containers": [app]}))
    assert [f"{FOLDER}/app.limits.cpu"] == list(_files(pod_template(objects)))


def test_containers_must_be_named(helm: Helm, own_chart: Path) -> None:
    """A chart that does not pass its containers cannot be judged, and is refused."""
    check = own_chart / "templates/_check.tpl"
    text = check.read_text(encoding="utf-8")
    begin = text.index('"containers" ($values')
    check.write_text(text[:begin] + text[text.index('"problems"', begin) :], encoding="utf-8")
    with pytest.raises(Refused) as refused:
        helm.template(own_chart, _SOURCES)
    (problem,) = refused.value.problems
    assert 'pass "containers" to marketplace-sidecar.checkWorkload' in problem
