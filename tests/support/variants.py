"""The main ways to use the charts: what every test of all output goes through."""

from dataclasses import dataclass

from tests.support.rendering import NEWEST, PLAIN_ONLY, PRODUCT, SIDECAR, Values, config, merge, sidecar


@dataclass(frozen=True, slots=True)
class Variant:
    """A chart, its values, and the oldest Kubernetes that they are for."""

    name: str
    chart: str
    values: Values
    kubernetes: str = NEWEST

    def __str__(self) -> str:
        """Name it in pytest's words."""
        return self.name


def _product(name: str, *changes: Values, kubernetes: str = NEWEST) -> Variant:
    values: Values = PRODUCT
    for change in changes:
        values = merge(values, change)
    return Variant(name, "marketplace-product", values, kubernetes)


def _example(name: str, *changes: Values, kubernetes: str = NEWEST) -> Variant:
    values: Values = SIDECAR
    for change in changes:
        values = merge(values, change)
    return Variant(name, "example", values, kubernetes)


_PLAIN = sidecar(mode="plain")
_EMULATOR = merge(
    config(marketplace={"mode": "emulator", "endpoint_url": "http://10.0.0.5:8789"}),
    sidecar(serviceAccount={"roleArn": ""}),
)
_EVERYTHING: Values = {
    "global": {"registry": "709825985650.dkr.ecr.us-east-1.amazonaws.com/acme"},
    "replicas": 3,
    "service": {"enabled": True, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    "imagePullSecrets": [{"name": "pull"}],
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "shop"}},
        }
    ],
    "priorityClassName": "high",
    "podLabels": {"team": "shop"},
    "podAnnotations": {"example.com/owner": "shop"},
    "initContainers": [{"name": "migrate", "image": {"repository": "acme/shop", "tag": "2.1"}, "args": ["migrate"]}],
    "volumes": [{"name": "cache", "emptyDir": {}}],
    "sidecar": {
        "image": {"digest": f"sha256:{'ab' * 32}"},
        "config": {"kubernetes": {"readiness_gate": "example.com/entitled"}, "marketplace": {"region": "eu-west-1"}},
        "serviceAccount": {"webIdentity": "chart", "annotations": {"example.com/owner": "shop"}},
        "proxy": {"https": "http://proxy:3128", "exclude": "10.0.0.0/8"},
        "caBundle": {"configMap": "company-ca"},
        "networkPolicy": {
            "enabled": True,
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "productPorts": [{"port": 8080}],
            "egress": [{"ports": [{"port": 5432, "protocol": "TCP"}]}],
        },
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "extraEnv": [{"name": "SIDECAR_LOG__LEVEL", "value": "debug"}],
        "extraVolumes": [{"name": "socket", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "socket", "mountPath": "/run/marketplace"}],
    },
}
_IMAGE_IDENTITY = merge(
    sidecar(productFromImage=True),
    config(product={"code": "", "public_keys": None}, metering={"dimensions": []}),
)

_SOURCES = merge(
    config(
        metering={
            "dimensions": [
                {"name": "pod_hours", "source": {"pod_time": {"while": "ready"}}},
                {"name": "vcpu_hours", "source": {"resource": {"what": "cpu", "by": "limit", "container": "app"}}},
                {"name": "gib_hours", "source": {"resource": {"what": "memory", "by": "request", "container": "app"}}},
            ]
        }
    ),
    {
        "containers": [
            {
                "name": "app",
                "image": {"repository": "acme/shop", "tag": "2.1"},
                "resources": {"requests": {"memory": "512Mi"}, "limits": {"cpu": "1500m"}},
            }
        ]
    },
)

VARIANTS = (
    _product("product-deployment"),
    _product("product-everything", _EVERYTHING),
    _product(
        "product-statefulset", {"kind": "StatefulSet", "replicas": 3}, sidecar(ledger={"volume": "claimTemplate"})
    ),
    _product(
        "product-existing-claim",
        {"strategy": {"type": "Recreate"}},
        sidecar(ledger={"volume": "existingClaim", "existingClaim": "ledger"}),
    ),
    _product("product-daemonset", {"kind": "DaemonSet"}),
    _product("product-job", {"kind": "Job"}),
    _product("product-plain", _PLAIN, kubernetes=PLAIN_ONLY),
    _product("product-emulator", _EMULATOR),
    _product("product-image-identity", _IMAGE_IDENTITY),
    _product(
        "product-monitoring",
        # The dashboard, 1,700 lines that are compared with their source elsewhere, is not kept twice.
        sidecar(
            podMonitor={"enabled": True}, monitoring={"prometheusRule": {"enabled": True, "labels": {"release": "p"}}}
        ),
    ),
    _product("product-sources", _SOURCES),
    _product("product-without-cluster", config(kubernetes={"enabled": False})),
    _example("example-deployment"),
    _example("example-plain", _PLAIN, _EMULATOR, kubernetes=PLAIN_ONLY),
    _example("example-job", {"kind": "Job", "events": 3}),
)
