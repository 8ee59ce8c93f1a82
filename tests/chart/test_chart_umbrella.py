"""Several products in one release: every object is one product's own, whatever the charts and aliases are called."""

import re
import shutil
from collections import Counter
from collections.abc import Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.rendering import CHARTS, PRODUCT, SIDECAR, Helm, Refused, Values, config, merge, sidecar

_SWITCHED_ON = sidecar(
    networkPolicy={"enabled": True},
    podMonitor={"enabled": True},
    monitoring={"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}},
)
_PRODUCT = merge(merge(PRODUCT, _SWITCHED_ON), {"service": {"enabled": True, "ports": [{"name": "http", "port": 80}]}})
_CHART = "marketplace-product"
_EXAMPLE = merge(SIDECAR, _SWITCHED_ON)

Layout = Mapping[str, Any]
"""Names of charts or aliases; the value is the chart's name for a product, a layout for another umbrella."""

LAYOUTS: dict[str, Layout] = {
    "aliases": {"web": _CHART, "batch": _CHART},
    "charts": {_CHART: _CHART, "example": "example"},
    "nested": {"a": {"b-c": _CHART}, "a-b": {"c": _CHART}, "a-b-c": _CHART},
    "odd names": {"Web_": _CHART, "web-": _CHART, "web": _CHART},
    "long names": {"n" * 50 + "1": _CHART, "n" * 50 + "2": _CHART},
}

SELECTORS = {
    "Deployment": ("selector", "matchLabels"),
    "Service": ("selector",),
    "NetworkPolicy": ("podSelector", "matchLabels"),
    "PodMonitor": ("selector", "matchLabels"),
}
"""Where the spec of a kind has the labels that it selects pods by."""


def copy(chart: str, target: Path, name: str) -> None:
    """Copy a chart under a name of its own: Helm applies the alias in a chart once, however often the chart is used."""
    shutil.copytree(CHARTS / chart, target)
    about = target / "Chart.yaml"
    about.write_text(about.read_text(encoding="utf-8").replace(f"name: {chart}\n", f"name: {name}\n"), encoding="utf-8")


def build(folder: Path, layout: Layout, prefix: str = "") -> dict[str, Any]:
    """Write an umbrella chart; return its values, with a product code for each product."""
    dependencies, values = [], {}
    for number, (name, inside) in enumerate(layout.items()):
        source = f"chart{number}" if isinstance(inside, str) and inside != name else name
        target = folder / "charts" / source
        if isinstance(inside, str):
            copy(inside, target, source)
            one = _PRODUCT if inside == "marketplace-product" else _EXAMPLE
            values[name] = merge(one, config(product={"code": f"code-{prefix}{name}"}))
        else:
            values[name] = build(target, inside, f"{prefix}{name}/")
        dependencies.append({"name": source, "version": "0.1.0", **({} if source == name else {"alias": name})})
    chart = {"apiVersion": "v2", "name": folder.name, "version": "0.1.0", "dependencies": dependencies}
    (folder / "Chart.yaml").write_text(yaml.safe_dump(chart), encoding="utf-8")
    return values


def selects(selector: Mapping[str, str], objects: list[dict[str, Any]]) -> list[str]:
    """Return the names of the workloads whose pods a selector finds."""
    return [
        one["metadata"]["name"]
        for one in objects
        if one["kind"] == "Deployment" and selector.items() <= one["spec"]["template"]["metadata"]["labels"].items()
    ]


def code(workload: dict[str, Any], objects: list[dict[str, Any]]) -> str:
    """Return the product code in the configuration that a workload's pods mount."""
    volumes = {volume["name"]: volume for volume in workload["spec"]["template"]["spec"]["volumes"]}
    mounted = volumes["marketplace-config"]["configMap"]["name"]
    (data,) = (one["data"] for one in objects if (one["kind"], one["metadata"]["name"]) == ("ConfigMap", mounted))
    return str(yaml.safe_load(data["config.yaml"])["product"]["code"])


def codes(values: Mapping[str, Any]) -> list[str]:
    """Return the product codes that the values set."""
    if "sidecar" in values:
        return [values["sidecar"]["config"]["product"]["code"]]
    return [each for member in values.values() for each in codes(member)]


@pytest.mark.parametrize("release", ["shop", "s" * 53])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_products_share_nothing(helm: Helm, tmp_path: Path, layout: Layout, release: str) -> None:
    """No object is there twice, each pod has its own product's code, and what selects pods selects one product's."""
    folder = tmp_path / "suite"
    values = build(folder, layout)
    objects = helm.render_release(folder, values, release)

    count = Counter((one["kind"], one["metadata"]["name"]) for one in objects)
    assert [] == [found for found, times in count.items() if times > 1]
    workloads = [one for one in objects if one["kind"] == "Deployment"]
    assert sorted(codes(values)) == sorted(code(one, objects) for one in workloads)
    names = sorted(one["metadata"]["name"] for one in workloads)
    assert all(re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name) for name in names)
    for kind, path in SELECTORS.items():
        selectors = [reduce(getitem, path, one["spec"]) for one in objects if one["kind"] == kind]
        assert names == sorted(name for each in selectors for name in selects(each, objects)), kind


def test_one_chart_twice_is_not_taken_silently(helm: Helm, tmp_path: Path) -> None:
    """Two aliases of one and the same chart are refused: Helm applies the alias inside it to the first alone."""
    folder = tmp_path / "suite"
    values = build(folder, {"web": "marketplace-product", "batch": "marketplace-product"})
    shutil.rmtree(folder / "charts" / "chart1")
    about = folder / "Chart.yaml"
    about.write_text(about.read_text(encoding="utf-8").replace("chart1", "chart0"), encoding="utf-8")
    with pytest.raises(Refused, match="additional properties 'marketplace-sidecar' not allowed"):
        helm.render_release(folder, values, "shop")


def test_product_above_selects_its_own(helm: Helm, tmp_path: Path) -> None:
    """A product whose chart holds another product selects its own pods alone, and keeps the release's name."""
    folder = tmp_path / "example"
    shutil.copytree(CHARTS / "example", folder)
    (below,) = build(tmp_path / "suite", {"web": "marketplace-product"}).values()
    shutil.copytree(CHARTS / "marketplace-product", folder / "charts" / "marketplace-product")
    chart = yaml.safe_load((folder / "Chart.yaml").read_text(encoding="utf-8"))
    chart["dependencies"].append({"name": "marketplace-product", "alias": "web", "version": "0.1.0"})
    (folder / "Chart.yaml").write_text(yaml.safe_dump(chart), encoding="utf-8")
    (folder / "values.schema.json").unlink()
    values: Values = {**_EXAMPLE, "web": below}

    objects = helm.render_release(folder, values, "shop")

    policies = [one["spec"]["podSelector"]["matchLabels"] for one in objects if one["kind"] == "NetworkPolicy"]
    assert [["shop"], ["shop-web"]] == sorted(selects(each, objects) for each in policies)
    assert {"shop-marketplace", "shop-web-marketplace"} == {
        one["metadata"]["name"] for one in objects if one["kind"] == "ServiceAccount"
    }
