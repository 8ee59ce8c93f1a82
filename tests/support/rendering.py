"""Renders the charts with a real helm and reads what comes out.

The cluster's version is always named: a helm that was built from its module knows of none.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from tests.support import programs
from tests.support.tools import PATIENCE

CHARTS = Path(__file__).resolve().parents[2] / "helm"
OLDEST, NEWEST = "1.29.6", "1.37.2"
"""The Kubernetes versions between which the charts are promised to work as they are."""
PLAIN_ONLY = "1.28.0"
"""A version without native sidecars."""
ROLE = "arn:aws:iam::111122223333:role/acme-metering"
PEM = "-----BEGIN PUBLIC KEY-----\nMIIBojANBgkqhkiG9w0BAQEFAAOCAY8AMIIBigKCAYEA\n-----END PUBLIC KEY-----\n"

Values = Mapping[str, Any]

SIDECAR: Values = {
    "sidecar": {
        "config": {
            "product": {"code": "0abc123example", "public_keys": {"1": PEM}},
            "metering": {"dimensions": [{"name": "requests", "aggregation": "sum"}]},
        },
        "serviceAccount": {"roleArn": ROLE},
    }
}
"""The least that a seller and a buyer set."""
PRODUCT: Values = {
    **SIDECAR,
    "containers": [
        {
            "name": "app",
            "image": {"repository": "acme/shop", "tag": "2.1"},
            "ports": [{"name": "http", "containerPort": 8080}],
        }
    ],
}


class Refused(Exception):
    """Helm would not render; `problems` are the sentences of the chart, or what the schema says."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.problems = [line.strip(" -") for line in said.splitlines() if line.startswith(("  - ", "- at "))]


class _Strict(yaml.SafeLoader):
    """Refuses a mapping with two keys alike, as kustomize does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's
        """Return the mapping."""
        mapping = super().construct_mapping(node, deep=deep)
        assert len(mapping) == len(node.value), [key.value for key, _ in node.value]
        return mapping


class Helm:
    """A helm that touches nothing outside a folder."""

    def __init__(self, program: Path, home: Path) -> None:
        self._program = program
        self._environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(home),
            **{f"HELM_{name}_HOME": str(home / name.lower()) for name in ("CACHE", "CONFIG", "DATA")},
        }

    def call(self, *arguments: str, values: Values | None = None) -> str:
        """Return what a command prints.

        Raises:
            Refused: It ended with another code than 0.
        """
        ran = subprocess.run(
            [self._program, *arguments, *([] if values is None else ["--values", "-"])],
            input=json.dumps(values or {}),
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        if ran.returncode != 0:
            raise Refused(ran.stderr + ran.stdout)
        return ran.stdout

    def template(self, chart: str | Path, values: Values, *, kubernetes: str = NEWEST) -> str:
        """Return the rendered documents of a chart, as the release `shop` in the namespace `acme`."""
        path = str(CHARTS / chart)
        return self.call("template", "shop", path, "--namespace", "acme", "--kube-version", kubernetes, values=values)

    def render(self, chart: str | Path, values: Values, *, kubernetes: str = NEWEST) -> list[dict[str, Any]]:
        """Return the objects that a chart makes."""
        return [one for one in read(self.template(chart, values, kubernetes=kubernetes)) if one]

    def render_release(self, chart: str | Path, values: Values, release: str) -> list[dict[str, Any]]:
        """Return the objects of a release with a name of its own, in the namespace 77."""
        command = ("template", release, str(CHARTS / chart), "--namespace", "77", "--kube-version", NEWEST)
        return [one for one in read(self.call(*command, values=values)) if one]


def read(text: str) -> Iterator[Any]:
    """Yield the documents of a text; fails at a key that comes twice."""
    yield from yaml.load_all(text, Loader=_Strict)


def provide_helm() -> Path:
    """Return the machine's helm 3, else one built from source into the user's cache, where it stays."""
    found = shutil.which("helm")
    if found is not None:
        version = subprocess.run(
            [found, "version", "--short"], capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        if version.stdout.startswith("v3."):
            return Path(found)
    return programs.provide(programs.report, "helm") / "helm"


def merge(base: Values, changes: Values) -> dict[str, Any]:
    """Return values with others laid over them, as helm does: key by key, lists as a whole, None takes a key away."""
    merged = dict(deepcopy(base))
    for key, value in changes.items():
        known = merged.get(key)
        if value is None and key in merged:
            del merged[key]
            continue
        merged[key] = merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def sidecar(**changes: Any) -> dict[str, Any]:
    """Return values that lay changes over the sidecar's."""
    return {"sidecar": changes}


def config(**changes: Any) -> dict[str, Any]:
    """Return values that lay changes over the sidecar's configuration."""
    return sidecar(config=changes)


def only(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the one object of a kind."""
    (found,) = (one for one in objects if one["kind"] == kind)
    return found


def pod_template(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the pod template of the one workload."""
    (found,) = (one["spec"]["template"] for one in objects if "template" in one.get("spec", {}))
    return dict(found)


def containers(pod: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return all containers of a pod template by name, those that run first included."""
    spec = pod["spec"]
    return {one["name"]: one for one in [*(spec.get("initContainers") or []), *spec["containers"]]}
