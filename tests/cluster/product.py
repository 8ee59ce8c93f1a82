"""A seller's product in the cluster: the chart, installed by helm, with the app of these tests as its one container."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.cluster.asking import ask
from tests.cluster.emulator import Emulator
from tests.cluster.images import SIDECAR, SIDECAR_TAG
from tests.cluster.stage import Stage
from tests.support.rendering import CHARTS, Helm, merge

APP = "app"
SIDECAR_CONTAINER = "marketplace-sidecar"
PROBES = 8788
NAME = "shop"
SELECTOR = f"app.kubernetes.io/instance={NAME}"


class Product:
    """One product on a stage, next to one emulator.

    Attributes:
        values: What it is installed with; `changes` of the calls below are laid over it.
    """

    def __init__(self, stage: Stage, emulator: Emulator, helm: Path) -> None:
        self.stage = stage
        self.emulator = emulator
        self._helm = Helm(helm, stage.node.folder / "helm")
        self.values = _values(stage, emulator)

    def install(self, changes: Mapping[str, Any] | None = None, **app: object) -> None:
        """Install it; `app` are variables of the app without their prefix."""
        self.values = merge(self.values, changes or {})
        for name, value in app.items():
            self._set_variable(f"APP_{name.upper()}", str(value))
        app_code = (Path(__file__).parent / "app.py").read_text(encoding="utf-8")
        code = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"}, "data": {"app.py": app_code}}
        self.stage.create(code)
        self.install_chart("marketplace-product", self.values)

    def upgrade(self, changes: Mapping[str, Any]) -> None:
        """Change its values; helm does not wait."""
        self.values = merge(self.values, changes)
        self._call_helm("upgrade", "marketplace-product", self.values)

    def await_ready(self, count: int = 1) -> list[Any]:
        """Return its pods as soon as there are `count` of them and all are Ready."""
        return self.stage.await_ready(SELECTOR, count)

    def install_chart(self, chart: str, values: Mapping[str, Any]) -> None:
        """Install another chart in its place."""
        self._call_helm("install", chart, values)

    def ask(self, pod: Any, path: str) -> Any:
        """Ask the sidecar's local API by way of the app, the only one that can."""
        reply = ask(f"http://{self.stage.read(pod).status.pod_ip}:8080/ask{path}")
        if reply.status != 200:
            raise ConnectionError(f"{path}: {reply.status} {reply.body!r}")
        return reply.document

    def _call_helm(self, verb: str, chart: str, values: Mapping[str, Any]) -> None:
        where = ["--kubeconfig", str(self.stage.node.kubeconfig), "--namespace", self.stage.namespace]
        self._helm.call(verb, NAME, str(CHARTS / chart), *where, values=values)

    def _set_variable(self, name: str, value: str) -> None:
        container = self.values["containers"][0]
        kept = [variable for variable in container["env"] if variable["name"] != name]
        container["env"] = [*kept, {"name": name, "value": value}]


def _values(stage: Stage, emulator: Emulator) -> dict[str, Any]:
    """Return the values of a Deployment that submits each hour as soon as it has ended."""
    image = {"repository": SIDECAR, "tag": SIDECAR_TAG}
    return {
        "containers": [
            {
                "name": APP,
                "image": image,
                "imagePullPolicy": "Never",
                "command": ["python", "/app/app.py"],
                "env": [{"name": "APP_BOOKS", "value": "/books"}],
                "ports": [{"name": "http", "containerPort": 8080}],
                "volumeMounts": [
                    {"name": "code", "mountPath": "/app", "readOnly": True},
                    {"name": "books", "mountPath": "/books"},
                ],
            }
        ],
        "volumes": [
            {"name": "code", "configMap": {"name": "app"}},
            {"name": "books", "hostPath": {"path": str(stage.books), "type": "Directory"}},
        ],
        "service": {"enabled": True, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        "sidecar": {
            "image": {**image, "pullPolicy": "Never"},
            "terminationGracePeriodSeconds": 30,
            "config": {
                "product": {"code": "0abc123example", "public_keys": {"1": emulator.public_key()}},
                "metering": {
                    "dimensions": [{"name": "requests", "aggregation": "sum"}],
                    "settle": "0s",
                    "spread": "0s",
                },
                "marketplace": {"mode": "emulator", "endpoint_url": emulator.url, "region": "us-east-1"},
                "log": {"level": "debug"},
            },
        },
    }
