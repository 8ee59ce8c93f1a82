"""The documented lines for a seller's own chart, applied: to what `helm create` makes, and to an empty pod template."""

import re
import shutil
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.published import published
from tests.support.reading import Block, blocks, read
from tests.support.rendering import CHARTS, NEWEST, SIDECAR, Helm, Values, config, merge, only, pod_template, sidecar

_README = "helm/marketplace-sidecar/README.md"
_SELECTING = sidecar(networkPolicy={"enabled": True}, podMonitor={"enabled": True})


class _Strict(yaml.SafeLoader):
    """Refuses a key that is there twice, which Helm and Kubernetes let pass."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - as yaml has it
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        assert not twice, f"line {node.start_mark.line}: {', '.join(twice)} is there twice"
        return super().construct_mapping(node, deep)


def edit(text: str, diff: str, *, removing: bool = True) -> str:
    """Apply each hunk of a diff at the one place that it fits; without its removals on demand."""
    for hunk in re.split(r"^@@.*\n", diff, flags=re.MULTILINE)[1:]:
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in (" +" if removing else " +-"))
        assert 1 == text.count(old), f"the chart has no such lines, or several:\n{old}"
        text = text.replace(old, new)
    return text


def find(language: str, holding: str) -> Block:
    """Return the block of the library's README that holds some words."""
    (found,) = (each for each in blocks(_README) if each.language == language and holding in each.text)
    return found


def complete(chart: Path) -> None:
    """Add the dependency, and the file of the objects next to the pod."""
    with (chart / "Chart.yaml").open("a", encoding="utf-8") as file:
        file.write(find("yaml", "alias: sidecar").text)
    shutil.copytree(CHARTS / "marketplace-sidecar", chart / "charts" / "marketplace-sidecar")
    (chart / "templates" / "sidecar.yaml").write_text(find("yaml", '"marketplace-sidecar.objects"').text)


@pytest.fixture
def created(helm: Helm, tmp_path: Path) -> Path:
    """What `helm create shop` makes, with everything of the README done but the edits."""
    chart = tmp_path / "shop"
    helm.call("create", str(chart))
    complete(chart)
    (chart / "templates" / "serviceaccount.yaml").unlink()
    return chart


def apply(chart: Path, *, removing: bool = True) -> None:
    """Edit the pod template as the README shows."""
    path = chart / "templates" / "deployment.yaml"
    (diff,) = (block.text for block in blocks(_README) if block.language == "diff")
    path.write_text(edit(path.read_text(encoding="utf-8"), diff, removing=removing), encoding="utf-8")


def load(helm: Helm, chart: Path, values: Values) -> list[dict[str, Any]]:
    """Render without hooks' help, and refuse keys that are there twice."""
    return [one for one in yaml.load_all(helm.template(chart, values), _Strict) if one]


@pytest.mark.parametrize("mode", ["native", "plain"])
@pytest.mark.parametrize("scaled", [False, True])
def test_created_chart_carries_sidecar(helm: Helm, created: Path, mode: str, *, scaled: bool) -> None:
    """After the documented edits each key is there once, and Kubernetes takes every object."""
    apply(created)
    values = merge(merge(SIDECAR, _SELECTING), {**sidecar(mode=mode), "autoscaling": {"enabled": scaled}})
    objects = load(helm, created, values)
    assert [] == [fault for one in objects for fault in published(NEWEST).faults(one)]
    spec = pod_template(objects)["spec"]
    assert "shop-marketplace" == spec["serviceAccountName"] == only(objects, "ServiceAccount")["metadata"]["name"]
    assert 65532 == spec["securityContext"]["fsGroup"]
    assert scaled is ("replicas" not in only(objects, "Deployment")["spec"])
    sides = [each["name"] for each in spec["initContainers" if mode == "native" else "containers"]]
    assert "marketplace-sidecar" in sides


def test_kept_keys_are_there_twice(helm: Helm, created: Path) -> None:
    """The removals are needed: with the lines of the created chart kept, keys are there twice, and Helm is silent."""
    apply(created, removing=False)
    path = created / "templates" / "deployment.yaml"
    kept = path.read_text(encoding="utf-8")
    assert 1 == kept.count("serviceAccountName:")
    with pytest.raises(AssertionError, match="serviceAccountName"):
        load(helm, created, merge(SIDECAR, {"serviceAccount": {"create": False, "name": "mine"}}))


@pytest.mark.parametrize("document", ["README.md", _README])
def test_documented_lines_connect(helm: Helm, tmp_path: Path, document: str) -> None:
    """With these lines alone NetworkPolicy and PodMonitor select the pod, and a new configuration restarts it."""
    lines = next(block.text for block in blocks(document) if '"marketplace-sidecar.pod"' in block.text)
    chart = tmp_path / "shop"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: shop\nversion: 0.1.0\n")
    complete(chart)
    head = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec:\n  template:\n"
    (chart / "templates" / "deployment.yaml").write_text(head + lines)

    objects = load(helm, chart, merge(SIDECAR, _SELECTING))

    pod = pod_template(objects)
    labels = pod["metadata"]["labels"].items()
    assert only(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels
    assert only(objects, "PodMonitor")["spec"]["selector"]["matchLabels"].items() <= labels
    changed = load(helm, chart, merge(merge(SIDECAR, _SELECTING), config(log={"level": "debug"})))
    assert pod["metadata"]["annotations"] != pod_template(changed)["metadata"]["annotations"]


def test_documents_name_the_keys() -> None:
    """Both documents name every key of the pod that the library renders, which a seller has to remove."""
    library = (CHARTS / "marketplace-sidecar" / "templates" / "_pod.tpl").read_text(encoding="utf-8")
    pod = library.partition('define "marketplace-sidecar.pod"')[2].partition("{{- define")[0]
    keys = set(re.findall(r"^(\w+):", pod, re.MULTILINE)) - {"readinessGates"}
    for document in ("README.md", _README):
        assert keys == {key for key in keys if f"`{key}`" in read(document)}
