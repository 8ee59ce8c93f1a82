"""The alert rules and the dashboard come with the chart, word for word, each by a switch of its own."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.rendering import CHARTS, PRODUCT, SIDECAR, Helm, Refused, Values, merge, sidecar

_FILES = CHARTS / "marketplace-sidecar/files"
_RULES = "PrometheusRule"
_DASHBOARD = "marketplace-sidecar.json"


def on(switch: str, **more: Any) -> dict[str, Any]:
    """Return values that switch one of them on."""
    return sidecar(monitoring={switch: {"enabled": True, **more}})


def rules(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the objects with alert rules."""
    return [one for one in objects if one["kind"] == _RULES]


def dashboards(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the config maps with a dashboard."""
    return [one for one in objects if one["kind"] == "ConfigMap" and _DASHBOARD in one["data"]]


@pytest.mark.parametrize(("chart", "values"), [("marketplace-product", PRODUCT), ("example", SIDECAR)])
@pytest.mark.parametrize("packaged", [False, True], ids=["folder", "package"])
def test_files_come_whole(helm: Helm, chart: str, values: Values, packaged: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a table's column
    """A chart that depends on the library renders its files exactly, from its folder and packaged; braces survive."""
    source: Path = CHARTS / chart
    if packaged:
        helm.call("package", str(source), "--destination", str(tmp_path))
        (source,) = tmp_path.glob(f"{chart}-*.tgz")
    objects = helm.render(source, merge(merge(values, on("prometheusRule")), on("dashboard")))
    (found,) = rules(objects)
    assert yaml.safe_load((_FILES / "alerts.yaml").read_text(encoding="utf-8")) == found["spec"]
    assert "{{ $labels.pod }}" in json.dumps(found["spec"])
    (dashboard,) = dashboards(objects)
    shown = dashboard["data"][_DASHBOARD]
    assert (_FILES / "dashboard.json").read_text(encoding="utf-8") == shown
    assert "{{pod}}" in shown


def test_switches_are_apart(helm: Helm) -> None:
    """Without a word neither is there; each comes alone; and none of them touches the pods."""
    without = helm.render("marketplace-product", PRODUCT)
    with_rules = helm.render("marketplace-product", merge(PRODUCT, on("prometheusRule")))
    with_dashboard = helm.render("marketplace-product", merge(PRODUCT, on("dashboard")))
    assert ([], []) == (rules(without), dashboards(without))
    assert (1, []) == (len(rules(with_rules)), dashboards(with_rules))
    assert ([], 1) == (rules(with_dashboard), len(dashboards(with_dashboard)))
    for objects in (with_rules, with_dashboard):
        assert without == [one for one in objects if one not in rules(objects) + dashboards(objects)]


def test_labels_are_the_seekers(helm: Helm) -> None:
    """Prometheus and Grafana find both by the labels that they look for; Grafana's default needs no value."""
    (found,) = rules(helm.render("marketplace-product", merge(PRODUCT, on("prometheusRule", labels={"release": "p"}))))
    assert {"release": "p", "app.kubernetes.io/instance": "shop"}.items() <= found["metadata"]["labels"].items()
    (found,) = dashboards(helm.render("marketplace-product", merge(PRODUCT, on("dashboard"))))
    assert {"grafana_dashboard": "1"}.items() <= found["metadata"]["labels"].items()
    assert "annotations" not in found["metadata"]
    changes = on(
        "dashboard", labels={"grafana_dashboard": None, "team": "shop"}, annotations={"grafana_folder": "Shop"}
    )
    (found,) = dashboards(helm.render("marketplace-product", merge(PRODUCT, changes)))
    assert {"app.kubernetes.io/name", "app.kubernetes.io/instance", "team"} == set(found["metadata"]["labels"])
    assert {"grafana_folder": "Shop"} == found["metadata"]["annotations"]


def test_names_fit(helm: Helm) -> None:
    """A long release's dashboard has a name of its own that Kubernetes takes."""
    name = "a" * 53
    values = merge(PRODUCT, on("dashboard"))
    text = helm.call("template", name, str(CHARTS / "marketplace-product"), "--kube-version", "1.34.2", values=values)
    names = [one["metadata"]["name"] for one in yaml.safe_load_all(text) if one and one["kind"] == "ConfigMap"]
    assert len(names) == len(set(names)) == 2
    assert all(len(name) <= 63 and not name.endswith("-") for name in names)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (sidecar(monitoring={"alerts": {}}), "additional properties 'alerts' not allowed"),
        (on("prometheusRule", label={}), "additional properties 'label' not allowed"),
        (on("dashboard", labels={"grafana_dashboard": 1}), "got number, want string"),
    ],
    ids=["unknown switch", "misspelled key", "bare number"],
)
def test_wrong_value_is_refused(helm: Helm, changes: Values, expected: str) -> None:
    """The schema is closed here too."""
    with pytest.raises(Refused) as refused:
        helm.template("marketplace-product", merge(PRODUCT, changes))
    (problem,) = refused.value.problems
    assert expected in problem


def test_label_over_the_charts_own_comes_once(helm: Helm) -> None:
    """A label by which an operator selects its objects may have a name that the chart gives a value, too."""
    one = {"enabled": True, "labels": {"app.kubernetes.io/name": "prometheus"}}
    values = sidecar(podMonitor=one, monitoring={"prometheusRule": one, "dashboard": one})
    found = [each["metadata"]["labels"] for each in helm.render("marketplace-product", merge(PRODUCT, values))]
    assert 3 == [labels["app.kubernetes.io/name"] for labels in found].count("prometheus")
