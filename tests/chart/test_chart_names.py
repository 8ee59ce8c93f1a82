"""Names: digits stay text, and a name that the API server refuses fails when the chart renders."""

import re

import pytest

from tests.chart.published import published
from tests.support.rendering import (
    NEWEST,
    PRODUCT,
    SIDECAR,
    Helm,
    Refused,
    Values,
    merge,
    only,
    pod_template,
    sidecar,
)

_SERVICE: Values = {"service": {"enabled": True, "ports": [{"name": "http", "port": 80}]}}
_DIGITS: Values = merge(
    PRODUCT,
    {
        "containers": [{"name": "2048", "image": {"repository": "acme/shop", "tag": "2.1"}}],
        "priorityClassName": "1000",
        "strategy": {"type": "Recreate"},
        **sidecar(
            serviceAccount={"name": "11"},
            ledger={"volume": "existingClaim", "existingClaim": "22"},
            caBundle={"configMap": "33"},
            config={"kubernetes": {"readiness_gate": "44"}},
            networkPolicy={"enabled": True},
            podMonitor={"enabled": True},
            monitoring={"dashboard": {"enabled": True}},
        ),
    },
)


def names(value: object) -> list[object]:
    """Return every value of a key that holds a name or a label, wherever it is."""
    found: list[object] = []
    if isinstance(value, dict):
        for key, member in value.items():
            if key in {"matchLabels", "labels", "annotations"}:
                found += member.values()
            elif re.search(r"(?i)(^|\w)(name|namespace)$", key) and not isinstance(member, dict):
                found.append(member)
            found += names(member)
    elif isinstance(value, list):
        found += [each for member in value for each in names(member)]
    return found


@pytest.mark.parametrize("release", ["2048", "1e3", "0x10", "true", "null", "0"])
@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "Job"])
def test_digits_stay_text(helm: Helm, release: str, kind: str) -> None:
    """A release, namespace, account, claim or config map whose name YAML would read as a number stays text."""
    values = merge(_DIGITS, {"kind": kind})
    if kind != "Deployment":
        values = merge(values, {"strategy": None, **sidecar(ledger={"volume": "emptyDir", "existingClaim": ""})})
    if kind == "StatefulSet":
        claim = {"volume": "claimTemplate", "claimTemplate": {"storageClassName": "55"}}
        values = merge(values, sidecar(ledger=claim))
    objects = helm.render_release("marketplace-product", values, release)
    assert [] == [name for name in names(objects) if not isinstance(name, str)]
    assert [] == [fault for one in objects for fault in published(NEWEST).faults(one)]
    assert {"77"} == {one["metadata"]["namespace"] for one in objects}
    assert release == only(objects, kind)["metadata"]["name"]


def test_example_takes_digits(helm: Helm) -> None:
    """The example's objects are named by `fullnameOverride`, and its labels stay text."""
    objects = helm.render_release("example", merge(SIDECAR, {"fullnameOverride": "shop"}), "2048")
    assert [] == [name for name in names(objects) if not isinstance(name, str)]
    assert "2048" == pod_template(objects)["metadata"]["labels"]["marketplace-sidecar/release"]
    assert "shop" == only(objects, "Service")["metadata"]["name"]


@pytest.mark.parametrize(
    ("chart", "changes", "release", "expected"),
    [
        ("marketplace-product", _SERVICE, "2048", "the name 2048 is refused for a Service"),
        ("marketplace-product", _SERVICE, "my.shop", "the name my.shop is refused for a Service"),
        ("marketplace-product", {"kind": "StatefulSet"}, "my.shop", "the name my.shop is refused for the pods"),
        ("marketplace-product", {"kind": "StatefulSet"}, "s" * 53, "is refused for the pods of a StatefulSet"),
        ("example", {}, "2048", "the name 2048 is refused for a Service"),
    ],
)
def test_refused_name_fails(helm: Helm, chart: str, changes: Values, release: str, expected: str) -> None:
    """A name that the API server refuses fails with the cure, and the cure works."""
    values = merge(PRODUCT if chart == "marketplace-product" else SIDECAR, changes)
    with pytest.raises(Refused) as refused:
        helm.render_release(chart, values, release)
    (problem,) = refused.value.problems
    assert problem.startswith("fullnameOverride: ")
    assert expected in problem
    assert problem.endswith("set fullnameOverride to such a name")
    assert helm.render_release(chart, merge(values, {"fullnameOverride": "shop"}), release)


@pytest.mark.parametrize("release", ["my.shop", "s" * 53, "2048"])
def test_taken_name_renders(helm: Helm, release: str) -> None:
    """A name that is valid for a Deployment alone renders."""
    assert helm.render_release("marketplace-product", PRODUCT, release)


@pytest.mark.parametrize(
    "changes",
    [
        sidecar(serviceAccount={"name": "My_Account"}),
        sidecar(ledger={"existingClaim": "Claim"}),
        sidecar(ledger={"claimTemplate": {"storageClassName": "-fast"}}),
        sidecar(caBundle={"configMap": "ca_bundle"}),
        {"priorityClassName": "High"},
    ],
)
def test_refused_reference_fails(helm: Helm, changes: Values) -> None:
    """A value that names an object has to be a name that an object can have."""
    with pytest.raises(Refused, match="does not match pattern"):
        helm.render_release("marketplace-product", merge(PRODUCT, changes), "shop")
