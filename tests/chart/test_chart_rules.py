"""Combinations that cannot work are refused at `helm template`, in a sentence that names the key and the cure."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sidecar.adapters.signature import PublicKeys
from tests.support.rendering import (
    CHARTS,
    NEWEST,
    PEM,
    PLAIN_ONLY,
    PRODUCT,
    ROLE,
    SIDECAR,
    Helm,
    Refused,
    Values,
    config,
    merge,
    pod_template,
    sidecar,
)

if TYPE_CHECKING:
    from tests.conftest import Signer

_EMULATOR = config(marketplace={"mode": "emulator", "endpoint_url": "http://10.0.0.5:8789"})
_VCPU = config(metering={"dimensions": [{"name": "vcpu", "source": {"resource": {"what": "cpu", "container": "app"}}}]})
_CLAIM = sidecar(ledger={"volume": "existingClaim", "existingClaim": "ledger"})


def _app(resources: Values) -> Values:
    """Return the container of the product with resources."""
    return {"containers": [{**PRODUCT["containers"][0], "resources": resources}]}


RULES: list[tuple[str, Values, str]] = [
    # The product.
    (
        "no code",
        config(product={"code": ""}),
        "sidecar.config.product.code: is missing, and the dimensions are reported",
    ),
    (
        "untrusted code",
        config(product={"trusted_codes": ["other"]}),
        "sidecar.config.product.code: 0abc123example is not",
    ),
    (
        "no key",
        config(product={"public_keys": {"1": None}, "pricing": "hourly"}),
        "sidecar.config.product.public_keys: has no key of version 1",
    ),
    (
        "key of another version",
        config(product={"public_key_version": 2}),
        "sidecar.config.product.public_keys: has no key of version 2",
    ),
    (
        "product beside the image's",
        merge(sidecar(productFromImage=True), config(metering={"dimensions": []})),
        "sidecar.config.product: the product is fixed by the image (sidecar.productFromImage)",
    ),
    (
        "dimensions beside the image's",
        merge(sidecar(productFromImage=True), config(product={"code": "", "public_keys": {"1": None}})),
        "sidecar.config.metering: metering is fixed by the image",
    ),
    (
        "private key",
        config(product={"public_keys": {"1": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}}),
        "sidecar.config.product.public_keys.1: holds a private key",
    ),
    (
        "two keys",
        config(product={"public_keys": {"1": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n" * 2}}),
        "sidecar.config.product.public_keys.1: holds more than one PEM block",
    ),
    (
        "older key",
        config(product={"public_keys": {"1": "-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----\n"}}),
        "sidecar.config.product.public_keys.1: holds a PEM RSA PUBLIC KEY (PKCS#1), not a PUBLIC KEY",
    ),
    (
        "certificate for a key",
        config(product={"public_keys": {"1": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}}),
        "sidecar.config.product.public_keys.1: holds a PEM CERTIFICATE, not a PUBLIC KEY",
    ),
    (
        "another PEM",
        config(product={"public_keys": {"1": "-----BEGIN EC PARAMETERS-----\nAAAA\n-----END EC PARAMETERS-----\n"}}),
        "sidecar.config.product.public_keys.1: holds a PEM EC PARAMETERS, not a PUBLIC KEY",
    ),
    ("padded proxy", sidecar(proxy={"https": "http://p:3128\n"}), "sidecar.proxy.https: has white space or a line end"),
    ("quoted proxy", sidecar(proxy={"http": "'http://p:3128'"}), "sidecar.proxy.http: has quotes around its value"),
    *(
        (f"proxy {url}", sidecar(proxy={"https": url}), "sidecar.proxy.https: is no URL of a proxy")
        for url in ("socks5://p:1080", "http://p:3128?x", "http://p:3128/x", "http://p:0", "http://p:65536", "http://")
    ),
    (
        "proxy broken by its password",
        sidecar(proxy={"https": "http://user:1#x@p:3128"}),
        "sidecar.proxy.https: has a user name or password (not shown here) that breaks its URL",
    ),
    # What is metered.
    (
        "dimension twice",
        config(metering={"dimensions": [{"name": "requests"}, {"name": "requests"}]}),
        "sidecar.config.metering.dimensions: names requests twice",
    ),
    (
        "aggregation of a source",
        config(metering={"dimensions": [{"name": "a", "aggregation": "max", "source": {"pod_time": {}}}]}),
        "sidecar.config.metering.dimensions: gives a the aggregation max, and the sidecar adds up what it measures",
    ),
    (
        "resource of no container",
        config(metering={"dimensions": [{"name": "a", "source": {"resource": {"what": "cpu", "container": "web"}}}]}),
        "sidecar.config.metering.dimensions: measures the container web, which the pod does not have",
    ),
    (
        "resource without a limit",
        merge(_VCPU, _app({"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}})),
        "sidecar.config.metering.dimensions: measures the cpu limit of container app, which has none, and Kubernetes",
    ),
    (
        "resource with a limit of none",
        merge(_VCPU, _app({"limits": {"cpu": 0}})),
        "sidecar.config.metering.dimensions: measures the cpu limit of container app, which has none, and Kubernetes",
    ),
    (
        "files without an image",
        sidecar(resourceFiles=[{"what": "cpu", "container": "app"}]),
        "sidecar.resourceFiles: is for an image with its own configuration",
    ),
    (
        "meter without dimensions",
        config(entitlement={"check": "meter"}, metering={"dimensions": []}),
        "sidecar.config.entitlement.check: meter asks AWS about metering.dimensions, which is empty",
    ),
    (
        "check of another price",
        config(product={"pricing": "hourly"}, entitlement={"check": "meter"}),
        "sidecar.config.entitlement.check: meter is not the check of product.pricing: hourly",
    ),
    (
        "contract without an ID",
        config(product={"pricing": "contract"}),
        "sidecar.config.product.id: is missing, and contract prices need it",
    ),
    (
        "waiting for a seat in a rolling update",
        config(
            product={"pricing": "contract", "id": "prod-abc"}, license={"on_taken": "wait"}, metering={"dimensions": []}
        ),
        "sidecar.config.license.on_taken: wait keeps the new pod of a rolling update from starting",
    ),
    (
        "license probe without an ID",
        config(product={"pricing": "custom"}, entitlement={"probe": "license"}),
        "sidecar.config.product.id: is missing, and entitlement.probe: license needs it",
    ),
    (
        "probe of another dimension",
        config(entitlement={"probe_dimension": "request"}),
        "sidecar.config.entitlement.probe_dimension: request is not one of metering.dimensions",
    ),
    (
        "seats of another price",
        config(license={"require": [{"name": "users"}]}),
        "sidecar.config.license.require: is of a contract price, and the check in force is register",
    ),
    (
        "entitlement twice",
        config(
            product={"pricing": "contract", "id": "prod-abc"},
            license={"require": [{"name": "users"}, {"name": "users", "hold": 1}]},
        ),
        "sidecar.config.license.require: names users twice",
    ),
    (
        "seats of a tier",
        config(
            product={"pricing": "contract", "id": "prod-abc"},
            license={"require": [{"name": "pro", "hold": 1}], "tiers": ["basic", "pro"]},
        ),
        "sidecar.config.license.require: holds pro, which is one of license.tiers",
    ),
    (
        "window too wide",
        config(metering={"window": "7h"}),
        "sidecar.config.metering.window: 7h is out of range (AWS refuses usage older than 6h",
    ),
    (
        "window too narrow",
        config(metering={"window": "82m"}),
        "sidecar.config.metering.window: 82m closes before every hour is due",
    ),
    (
        "settle too long",
        config(metering={"settle": "1h"}),
        "sidecar.config.metering.settle: 1h is out of range (an hour's record must be due before the next one's)",
    ),
    # The identity.
    (
        "no role",
        sidecar(serviceAccount={"roleArn": ""}),
        "sidecar.serviceAccount.roleArn: is missing; set the IAM role",
    ),
    (
        "endpoint in live mode",
        config(marketplace={"endpoint_url": "http://10.0.0.5:8789"}),
        "sidecar.config.marketplace.endpoint_url: is for an emulator",
    ),
    (
        "emulator without endpoint",
        config(marketplace={"mode": "emulator"}),
        "sidecar.config.marketplace.endpoint_url: is missing, and mode: emulator needs it",
    ),
    (
        "unnamed foreign account",
        sidecar(serviceAccount={"create": False, "name": ""}),
        "sidecar.serviceAccount.name: is missing, and create is false",
    ),
    (
        "role as annotation",
        sidecar(serviceAccount={"annotations": {"eks.amazonaws.com/role-arn": ROLE}}),
        "sidecar.serviceAccount.annotations: contains eks.amazonaws.com/role-arn",
    ),
    (
        "token without role",
        merge(_EMULATOR, sidecar(serviceAccount={"webIdentity": "chart", "roleArn": ""})),
        "sidecar.serviceAccount.roleArn: is missing, and webIdentity: chart",
    ),
    (
        "token without Region",
        sidecar(serviceAccount={"webIdentity": "chart"}),
        "sidecar.config.marketplace.region: is missing, and with webIdentity: chart",
    ),
    (
        "static keys",
        sidecar(extraEnv=[{"name": "AWS_ACCESS_KEY_ID", "value": "AKIA"}]),
        "sidecar.extraEnv: AWS_ACCESS_KEY_ID hides the service account's role",
    ),
    (
        "product by variable",
        sidecar(extraEnv=[{"name": "SIDECAR_PRODUCT__CODE", "value": "other"}]),
        "sidecar.extraEnv: SIDECAR_PRODUCT__CODE would change the product",
    ),
    (
        "the chart's variable",
        sidecar(extraEnv=[{"name": "POD_UID", "value": "me"}]),
        "sidecar.extraEnv: POD_UID is the chart's own",
    ),
    (
        "the chart's session",
        sidecar(extraEnv=[{"name": "AWS_ROLE_SESSION_NAME", "value": "shop"}]),
        "sidecar.extraEnv: AWS_ROLE_SESSION_NAME is the chart's own",
    ),
    # The pod.
    (
        "grace too short",
        sidecar(terminationGracePeriodSeconds=29),
        "sidecar.terminationGracePeriodSeconds: 29 is shorter than shutdown.timeout (25s)",
    ),
    ("one port twice", config(api={"port": 8788}), "sidecar.config.probes.port: 8788 is api.port too"),
    (
        "probes on loopback",
        config(probes={"host": "127.0.0.1"}),
        "sidecar.config.probes.host: 127.0.0.1 is unreachable for the kubelet",
    ),
    (
        "socket on no volume",
        config(api={"socket": "/run/marketplace/api.sock"}),
        "sidecar.config.api.socket: /run/marketplace/api.sock is on no volume of the sidecar",
    ),
    (
        "gate that nobody sets",
        config(kubernetes={"enabled": False, "readiness_gate": "example.com/entitled"}),
        "sidecar.config.kubernetes.readiness_gate: with kubernetes.enabled: false the sidecar does not set",
    ),
    (
        "no claim",
        {"strategy": {"type": "Recreate"}, **sidecar(ledger={"volume": "existingClaim"})},
        "sidecar.ledger.existingClaim: is missing",
    ),
    (
        "small ledger volume",
        sidecar(ledger={"emptyDir": {"sizeLimit": "4Mi"}}),
        "sidecar.ledger.emptyDir.sizeLimit: is too small for a ledger; set at least 8Mi",
    ),
    (
        "small ledger",
        sidecar(ledger={"maxSize": "64KiB"}),
        "sidecar.ledger.maxSize: 64KiB is too small for a ledger; set at least 4MiB, or null",
    ),
    (
        "ledger as large as its volume",
        sidecar(ledger={"maxSize": "1GiB"}),
        "sidecar.ledger.maxSize: 1GiB leaves no room on a volume of emptyDir.sizeLimit",
    ),
    (
        "emulator behind a policy",
        merge(_EMULATOR, sidecar(networkPolicy={"enabled": True})),
        "sidecar.networkPolicy.egress: blocks traffic to the emulator",
    ),
    # The workload.
    (
        "plain Job",
        {"kind": "Job", **sidecar(mode="plain")},
        "sidecar.mode: a Job never completes while a plain sidecar container runs",
    ),
    (
        "claims of a Deployment",
        sidecar(ledger={"volume": "claimTemplate"}),
        "sidecar.ledger.volume: claimTemplate needs a StatefulSet, and this is a Deployment",
    ),
    (
        "claim of a DaemonSet",
        {"kind": "DaemonSet", **_CLAIM},
        "sidecar.ledger.volume: existingClaim is one ledger for the pods of all nodes",
    ),
    ("claim of two", {"replicas": 2, **_CLAIM}, "sidecar.ledger.volume: existingClaim is one ledger for 2 pods"),
    (
        "claim of a parallel Job",
        {"kind": "Job", "job": {"parallelism": 3}, **_CLAIM},
        "sidecar.ledger.volume: existingClaim is one ledger for 3 pods",
    ),
    (
        "claim and autoscaler",
        {"replicas": None, **_CLAIM},
        "sidecar.ledger.volume: existingClaim is one ledger, and an autoscaler may start several pods",
    ),
    (
        "claim without size",
        {
            "kind": "StatefulSet",
            **sidecar(ledger={"volume": "claimTemplate", "claimTemplate": {"size": None}}),
        },
        "sidecar.ledger.claimTemplate.size: is missing",
    ),
    ("claim in a rolling update", _CLAIM, "sidecar.ledger.volume: existingClaim cannot be mounted by the new pod"),
    # The product's own containers.
    (
        "the chart's label",
        {"podLabels": {"marketplace-sidecar/release": "other", "team": "shop"}},
        "podLabels: marketplace-sidecar/release is the chart's own",
    ),
    (
        "the selector's label",
        {"podLabels": {"app.kubernetes.io/name": "other"}},
        "podLabels: app.kubernetes.io/name is the chart's own",
    ),
    (
        "the chart's annotation",
        {"podAnnotations": {"marketplace-sidecar/config": ""}},
        "podAnnotations: marketplace-sidecar/config is the chart's own",
    ),
    ("no containers", {"containers": []}, "containers: is empty"),
    (
        "the sidecar's name",
        {"containers": [{"name": "marketplace-sidecar", "image": {"repository": "acme/shop"}}]},
        "containers: marketplace-sidecar is taken, by the sidecar",
    ),
    (
        "a name twice",
        {"initContainers": [{"name": "app", "image": {"repository": "acme/shop"}}]},
        "containers: app is taken, twice",
    ),
    (
        "the sidecar's port",
        {"containers": [{"name": "app", "image": {"repository": "a"}, "ports": [{"containerPort": 8787}]}]},
        "containers: app listens on 8787, which is the sidecar's",
    ),
    (
        "Service of a Job",
        {"kind": "Job", "service": {"enabled": True, "ports": [{"port": 80}]}},
        "service.enabled: a Job has no Service",
    ),
    ("Service without ports", {"service": {"enabled": True}}, "service.ports: is empty"),
    (
        "claims without StatefulSet",
        {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]},
        "volumeClaimTemplates: need a StatefulSet",
    ),
    ("strategy of a Job", {"kind": "Job", "strategy": {"type": "Recreate"}}, "strategy: a Job is not updated"),
]
_ELSEWHERE = {
    "sidecar.config.metering.dimensions: measures ",
    "sidecar.mode: native needs Kubernetes 1.29, and this is ",
    "product.yaml: has unknown keys: ",
}
"""Rules with a test of their own below."""


def _refusal(helm: Helm, chart: str | Path, values: Values, *, kubernetes: str = NEWEST) -> list[str]:
    with pytest.raises(Refused) as refused:
        helm.template(chart, values, kubernetes=kubernetes)
    return refused.value.problems


@pytest.mark.parametrize(("changes", "expected"), [rule[1:] for rule in RULES], ids=[rule[0] for rule in RULES])
def test_impossible_is_refused(helm: Helm, changes: Values, expected: str) -> None:
    """The one thing that is wrong is the one that is reported, with what to do after a semicolon."""
    (problem,) = _refusal(helm, "marketplace-product", merge(PRODUCT, changes))
    assert problem.startswith(expected)
    assert "; " in problem or ", and " in problem


def test_every_rule_has_a_case() -> None:
    """No sentence of the charts is without a case above."""
    told = [rule[2] for rule in RULES] + sorted(_ELSEWHERE)
    without = []
    for file in (each for name in ("check", "plain", "sources") for each in CHARTS.glob(f"*/templates/_{name}.tpl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            if found := re.match(r"[a-zA-Z.]+: [^{]*", line):
                sentence = found[0]
                if not any(case.startswith(sentence) or sentence.startswith(case) for case in told):
                    without.append(line)
    assert [] == without


def test_native_needs_new_kubernetes(helm: Helm) -> None:
    """Before 1.29 the default is refused, and plain is taken."""
    (problem,) = _refusal(helm, "marketplace-product", PRODUCT, kubernetes=PLAIN_ONLY)
    assert "sidecar.mode: native needs Kubernetes 1.29, and this is v1.28.0; use plain" == problem
    assert helm.render("marketplace-product", merge(PRODUCT, sidecar(mode="plain")), kubernetes=PLAIN_ONLY)


def test_all_problems_at_once(helm: Helm) -> None:
    """Everything that is wrong is reported in one go."""
    changes = merge(
        config(product={"code": ""}), sidecar(serviceAccount={"roleArn": ""}, terminationGracePeriodSeconds=1)
    )
    assert 4 == len(_refusal(helm, "marketplace-product", merge(PRODUCT, {**changes, "containers": []})))


def test_pod_identity_is_named(helm: Helm) -> None:
    """Who forgets the role is told that EKS Pod Identity is no way around it."""
    (problem,) = _refusal(helm, "marketplace-product", merge(PRODUCT, sidecar(serviceAccount={"roleArn": ""})))
    assert "no EKS Pod Identity" in problem


def test_limits_are_taken(helm: Helm) -> None:
    """What lies just inside the rules renders."""
    changes = merge(
        config(metering={"window": "83m"}, shutdown={"timeout": "55s"}), sidecar(terminationGracePeriodSeconds=60)
    )
    assert helm.render("marketplace-product", merge(PRODUCT, changes))


def test_labels_like_the_charts_own_are_taken(helm: Helm) -> None:
    """A pod label with the value that the chart gives it changes nothing, and a Job has none by which it is found."""
    before = helm.render("marketplace-product", PRODUCT)
    own = pod_template(before)["metadata"]["labels"]
    assert before == helm.render("marketplace-product", merge(PRODUCT, {"podLabels": own}))
    job = {"kind": "Job", "podLabels": {"app.kubernetes.io/name": "another"}}
    labels = pod_template(helm.render("marketplace-product", merge(PRODUCT, job)))["metadata"]["labels"]
    assert "another" == labels["app.kubernetes.io/name"]


def test_annotation_over_the_charts_own_comes_once(helm: Helm) -> None:
    """A pod may name further volumes for the autoscaler; the checksum of the configuration stays the chart's."""
    evict = {"cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes": "cache,marketplace-ledger"}
    before = pod_template(helm.render("marketplace-product", PRODUCT))["metadata"]["annotations"]
    after = pod_template(helm.render("marketplace-product", merge(PRODUCT, {"podAnnotations": evict})))["metadata"]
    assert {**before, **evict} == after["annotations"]


def test_socket_on_a_volume_is_taken(helm: Helm) -> None:
    """Below a mount of the sidecar, or of the ledger, a socket can be. What a webhook mounts is not known."""
    mount = {"extraVolumeMounts": [{"name": "run", "mountPath": "/run/"}]}
    files = config(api={"socket": "/run/marketplace/api.sock", "token_file": "/vault/secrets/token"})
    assert helm.render("marketplace-product", merge(PRODUCT, merge(files, sidecar(**mount))))


def test_ledger_grows_with_its_claim(helm: Helm) -> None:
    """A claim is enlarged, not its template, which Kubernetes does not change: the ledger may be larger than that."""
    claim = {"volume": "claimTemplate", "claimTemplate": {"size": "1Gi"}, "maxSize": "3584MiB"}
    objects = helm.render("marketplace-product", merge(PRODUCT, {"kind": "StatefulSet", **sidecar(ledger=claim)}))
    (read,) = (yaml.safe_load(one["data"]["config.yaml"]) for one in objects if one["kind"] == "ConfigMap")
    assert "3584MiB" == read["ledger"]["max_size"]


def test_job_of_the_example_must_end(helm: Helm) -> None:
    """The example's app as a Job needs a number of events."""
    (problem,) = _refusal(helm, "example", merge(SIDECAR, {"kind": "Job"}))
    assert problem.startswith("events: 0 is never")


@pytest.fixture
def own_chart(tmp_path: Path) -> Path:
    """A seller's own copy of a chart."""
    chart = tmp_path / "shop"
    shutil.copytree(CHARTS / "example", chart)
    return chart


def _fix(chart: Path, **members: Any) -> None:
    product = {"code": "0fixed", "public_keys": {1: PEM}, **members}
    (chart / "product.yaml").write_text(yaml.safe_dump(product), encoding="utf-8")


def test_product_of_the_chart_is_fixed(helm: Helm, own_chart: Path) -> None:
    """A product.yaml in the chart is the product, and values next to it are refused."""
    _fix(own_chart)
    role = sidecar(serviceAccount={"roleArn": ROLE})
    (configured,) = (
        one
        for one in helm.render(own_chart, role)
        if one["metadata"]["name"] == "shop-marketplace" and one["kind"] == "ConfigMap"
    )
    product = yaml.safe_load(configured["data"]["config.yaml"])["product"]
    assert {"code": "0fixed", "public_keys": {"1": "/etc/marketplace-sidecar/keys/1.pem"}} == product
    assert PEM.strip() == configured["data"]["1.pem"].strip()
    (problem,) = _refusal(helm, own_chart, merge(role, config(product={"code": "0other"})))
    assert problem.startswith("sidecar.config.product: the product is fixed by the chart's product.yaml")


def test_product_of_the_chart_is_judged(helm: Helm, own_chart: Path) -> None:
    """A product.yaml with other keys, or next to an image that has its own, is refused."""
    _fix(own_chart, color="blue")
    role = sidecar(serviceAccount={"roleArn": ROLE})
    (problem,) = _refusal(helm, own_chart, role)
    assert problem.startswith("product.yaml: has unknown keys: color")
    both = merge(role, merge(sidecar(productFromImage=True), config(metering={"dimensions": []})))
    (problem,) = _refusal(helm, own_chart, both)
    assert problem.startswith("sidecar.productFromImage: the chart has a product.yaml too")


@pytest.mark.parametrize(
    "damage",
    [
        lambda pem: pem,
        lambda pem: f"\N{BYTE ORDER MARK}{pem}",
        lambda pem: pem.replace("\n", r"\n"),
        lambda pem: f"# the key of version 1\n{pem}",
    ],
    ids=["plain", "byte order mark", "two characters", "comment"],
)
def test_key_is_judged_as_in_the_pod(
    helm: Helm, seller: "Signer", tmp_path: Path, damage: Callable[[str], str]
) -> None:
    """A key that the pod reads is taken by the chart, in whatever form it came, and reaches the pod as it is."""
    changes = merge(PRODUCT, config(product={"public_keys": {"1": damage(seller.pem.decode())}}))
    rendered = helm.render("marketplace-product", changes)
    (kept,) = (one["data"]["1.pem"] for one in rendered if "1.pem" in one.get("data", {}))
    path = tmp_path / "1.pem"
    path.write_text(kept, encoding="utf-8")
    assert {1} == set(PublicKeys.load({1: path}).sizes)


def test_alias_is_needed(helm: Helm, own_chart: Path) -> None:
    """A chart that forgets the alias fails with that reason."""
    chart = own_chart / "Chart.yaml"
    chart.write_text(chart.read_text(encoding="utf-8").replace("    alias: sidecar\n", ""), encoding="utf-8")
    (own_chart / "values.schema.json").unlink()
    values = own_chart / "values.yaml"
    values.write_text("kind: Deployment\nreplicas: 1\nevents: 0\n", encoding="utf-8")
    with pytest.raises(Refused, match="write `alias: sidecar` under it"):
        helm.template(own_chart, {})
