"""What the seller fixes in the chart or the image is out of reach of values, variables and mounts."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.settings.names import sellers_share
from tests.support.rendering import (
    CHARTS,
    PEM,
    PRODUCT,
    ROLE,
    Helm,
    Refused,
    Values,
    config,
    containers,
    merge,
    pod_template,
    sidecar,
)

_ROLE = sidecar(serviceAccount={"roleArn": ROLE})
_OWN = {"code": "0fixed", "public_keys": {1: PEM}}
_IMAGE = merge(
    PRODUCT,
    merge(
        sidecar(productFromImage=True),
        config(product={"code": "", "public_keys": None}, metering={"dimensions": []}),
    ),
)


@pytest.fixture
def own_chart(tmp_path: Path) -> Path:
    """A seller's own copy of a chart."""
    chart = tmp_path / "shop"
    shutil.copytree(CHARTS / "example", chart)
    values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    del values["sidecar"]["config"]
    (chart / "values.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return chart


def _fix(chart: Path, content: object) -> None:
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    (chart / "product.yaml").write_text(text, encoding="utf-8")


def _configuration(helm: Helm, chart: Path, values: Values = _ROLE) -> dict[str, Any]:
    (found,) = (
        one["data"]["config.yaml"]
        for one in helm.render(chart, values)
        if one["kind"] == "ConfigMap" and one["metadata"]["name"] == "shop-marketplace"
    )
    return dict(yaml.safe_load(found))


def _refusal(helm: Helm, chart: str | Path, values: Values) -> list[str]:
    with pytest.raises(Refused) as refused:
        helm.template(chart, values)
    return refused.value.problems


GROUPS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("product", {"code": "0fixed", "public_keys": {1: PEM}}, {"code": "0other"}),
    ("entitlement", {"remember_for": "2h"}, {"check": "none"}),
    ("entitlement", {}, {"check": "none"}),
    ("license", {"warn_before": "7d"}, {"refresh": "1h"}),
    ("license", {}, {"tiers": ["pro"]}),
    ("metering", {"dimensions": [{"name": "requests"}], "report_zero": False}, {"late": "unbilled"}),
    ("marketplace", {}, {"mode": "emulator"}),
    ("marketplace", {"mode": "live"}, {"endpoint_url": "http://10.0.0.5:8789"}),
]


@pytest.mark.parametrize(("group", "fixed", "tried"), GROUPS, ids=lambda value: str(value)[:32])
def test_fixed_group_is_refused_in_values(
    helm: Helm, own_chart: Path, group: str, fixed: dict[str, Any], tried: dict[str, Any]
) -> None:
    """A group in product.yaml is fixed whole: what it holds is the configuration, and no value touches it."""
    _fix(own_chart, {"product": _OWN, group: fixed})
    found = _configuration(helm, own_chart)
    given = {key: value for key, value in fixed.items() if key != "public_keys"}
    assert given == {key: found[group][key] for key in given}
    (problem,) = _refusal(helm, own_chart, merge(_ROLE, config(**{group: tried})))
    words = "the product" if group == "product" else group
    assert problem.startswith(
        f"sidecar.config.{group}: {words} is fixed by the chart's product.yaml; leave {next(iter(tried))}"
    )


def test_other_groups_stay_open(helm: Helm, own_chart: Path) -> None:
    """A group that is not in product.yaml comes from the values, and the Region is the buyer's in every case."""
    _fix(own_chart, {"product": _OWN, "marketplace": {"mode": "live"}})
    values = merge(_ROLE, config(marketplace={"region": "eu-west-1"}, entitlement={"on_denied": "exit"}))
    found = _configuration(helm, own_chart, values)
    assert {"region": "eu-west-1", "endpoint_url": None, "mode": "live"} == found["marketplace"]
    assert "exit" == found["entitlement"]["on_denied"]


def test_contract_is_fixed_whole(helm: Helm, own_chart: Path) -> None:
    """A contract price needs the product's own price and ID, and what it grants; no public key."""
    contract = {"require": [{"name": "deployment", "hold": 1}], "tiers": ["basic", "pro"]}
    product = {"code": "0fixed", "pricing": "contract", "id": "prod-abcdefghijklm"}
    _fix(own_chart, {"product": product, "license": contract})
    found = _configuration(helm, own_chart)
    assert product == {key: found["product"][key] for key in product}
    assert contract == {key: found["license"][key] for key in contract}


def test_products_own_keys_are_enough(helm: Helm, own_chart: Path) -> None:
    """A product.yaml with the product's own keys alone at its top level stays valid and fixes the product."""
    _fix(own_chart, _OWN)
    values = merge(_ROLE, config(entitlement={"check": "none"}))
    found = _configuration(helm, own_chart, values)
    assert ("0fixed", "none") == (found["product"]["code"], found["entitlement"]["check"])


@pytest.mark.parametrize(
    "changes",
    [
        sidecar(productFromImage=False),
        merge(sidecar(productFromImage=False), config(product={"code": "0other"}, entitlement={"check": "none"})),
    ],
    ids=["switch", "configuration"],
)
@pytest.mark.parametrize("chart", ["example", "marketplace-product"])
def test_image_is_not_switched_off(helm: Helm, tmp_path: Path, chart: str, changes: Values) -> None:
    """With `fromImage: true` in product.yaml no value takes the configuration from elsewhere than the image."""
    own = tmp_path / chart
    shutil.copytree(CHARTS / chart, own)
    _fix(own, "fromImage: true\n")
    empty = merge(_IMAGE, config(product={"code": "", "public_keys": {}}, metering={"dimensions": []}))
    given = empty if chart == "marketplace-product" else {"sidecar": empty["sidecar"]}
    maps = [one["metadata"]["name"] for one in helm.render(own, given) if one["kind"] == "ConfigMap"]
    assert "shop-marketplace" not in maps
    (problem,) = _refusal(helm, own, merge(given, changes))
    assert problem.startswith("sidecar.productFromImage: the chart's product.yaml leaves the configuration to")
    (problem,) = _refusal(helm, own, merge(given, config(entitlement={"check": "none"})))
    assert problem.startswith("sidecar.config.entitlement: entitlement is fixed by the image")


@pytest.mark.parametrize("key", ["sidecar.extraVolumes", "volumes", "volumeClaimTemplates"])
def test_volume_of_the_sidecar_is_not_replaced(helm: Helm, key: str) -> None:
    """No volume has the name of the configuration's: a StatefulSet would mount its claim of that name instead."""
    volume = {"name": "marketplace-config", "emptyDir": {}}
    claim = {"metadata": {"name": "marketplace-config"}, "spec": {}}
    changes: dict[str, Values] = {
        "sidecar.extraVolumes": sidecar(extraVolumes=[volume]),
        "volumes": {"volumes": [volume]},
        "volumeClaimTemplates": {"kind": "StatefulSet", "volumeClaimTemplates": [claim]},
    }
    (problem,) = _refusal(helm, "marketplace-product", merge(PRODUCT, changes[key]))
    assert problem.startswith(f"{key}: marketplace-config is the name of a volume of the sidecar")


def test_claim_of_the_ledger_is_kept(helm: Helm) -> None:
    """A claim that the product gave the ledger before has the name that the chart's own has: none is left behind."""
    claim = {"metadata": {"name": "marketplace-ledger"}, "spec": {}}
    changes: Values = {"kind": "StatefulSet", "volumeClaimTemplates": [claim]}
    (problem,) = _refusal(helm, "marketplace-product", merge(PRODUCT, changes))
    assert "use sidecar.ledger.volume claimTemplate" in problem
    right = merge(PRODUCT, merge({"kind": "StatefulSet"}, sidecar(ledger={"volume": "claimTemplate"})))
    (workload,) = (one for one in helm.render("marketplace-product", right) if one["kind"] == "StatefulSet")
    assert ["marketplace-ledger"] == [one["metadata"]["name"] for one in workload["spec"]["volumeClaimTemplates"]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"product": _OWN, "fromImage": True}, "product.yaml: fromImage is true or absent"),
        ({"fromImage": False}, "product.yaml: fromImage is true or absent"),
        ({"fromImage": "true"}, "product.yaml: fromImage is true or absent"),
        ({"product": _OWN, "code": "0other"}, "product.yaml: has unknown keys: code"),
        ({"product": _OWN, "entitlement": None}, "product.yaml: entitlement is not a mapping"),
        ({"product": _OWN, "metering": []}, "product.yaml: metering is not a mapping"),
        (
            {"product": _OWN, "marketplace": {"region": "eu-west-1"}},
            "product.yaml: marketplace has region, and of this group only mode",
        ),
        ("[", "product.yaml: is not a mapping in YAML"),
        ("# nothing\n", "product.yaml: is empty and fixes nothing"),
    ],
    ids=["both", "false", "text", "mixed", "null", "list", "region", "no-yaml", "empty"],
)
def test_unclear_file_is_refused(helm: Helm, own_chart: Path, content: object, expected: str) -> None:
    """A product.yaml that would not fix what it seems to is refused with its key."""
    _fix(own_chart, content)
    problems = _refusal(helm, own_chart, merge(_ROLE, config(product={"code": "0abc123example"})))
    assert expected in [problem[: len(expected)] for problem in problems]


@pytest.mark.parametrize(
    "changes",
    [
        config(entitlement={"check": "none"}),
        config(license={"refresh": "1h"}),
        config(metering={"report_zero": False}),
        config(marketplace={"mode": "emulator"}),
    ],
    ids=["entitlement", "license", "metering", "marketplace"],
)
def test_image_is_not_overridden_by_values(helm: Helm, changes: Values) -> None:
    """With the configuration in the image a value for a seller's group is refused: it would have no effect."""
    (problem,) = _refusal(helm, "marketplace-product", merge(_IMAGE, changes))
    assert "is fixed by the image (sidecar.productFromImage); leave " in problem


NAMES = [
    "SIDECAR_ENTITLEMENT__CHECK",
    "SIDECAR_ENTITLEMENT.CHECK",
    "SIDECAR_entitlement-check",
    "sidecar.entitlement.check",
    "SIDECAR__METERING____DIMENSIONS",
    "SIDECAR_LICENSE__REQUIRE",
    "SIDECAR_MARKETPLACE__MODE",
    "SIDECAR_MARKETPLACE.ENDPOINT-URL",
    "SIDECAR_PRODUCT__TRUSTED_CODES",
]


@pytest.mark.parametrize("values", [PRODUCT, _IMAGE], ids=["values", "image"])
@pytest.mark.parametrize("name", NAMES)
def test_sellers_variable_is_refused(helm: Helm, values: Values, name: str) -> None:
    """A variable for a seller's key is refused at render in every spelling that the sidecar would refuse."""
    assert sellers_share(name) is not None
    problems = _refusal(helm, "marketplace-product", merge(values, sidecar(extraEnv=[{"name": name, "value": "none"}])))
    assert [True] == [problem.startswith(f"sidecar.extraEnv: {name} would change ") for problem in problems]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SIDECAR_CONFIG", "sidecar.extraEnv: SIDECAR_CONFIG is the chart's own"),
        ("SIDECAR.CONFIG", "sidecar.extraEnv: SIDECAR.CONFIG is the chart's own"),
        (
            "SIDECAR_ENTITLEMENT__CHEC\u212a",
            "sidecar.extraEnv: SIDECAR_ENTITLEMENT__CHEC\u212a would change entitlement",
        ),
        ("SIDECAR_\uff25NTITLEMENT__CHECK", 'sidecar.extraEnv: "SIDECAR_\uff25NTITLEMENT__CHECK" has characters'),
    ],
)
def test_file_and_odd_names_are_refused(helm: Helm, name: str, expected: str) -> None:
    """Which file is read is fixed with the image, and a name that no pod may have is refused as such."""
    values = merge(_IMAGE, sidecar(extraEnv=[{"name": name, "value": "/tmp/mine.yaml"}]))
    (problem,) = _refusal(helm, "marketplace-product", values)
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("SIDECAR_API__HOST", "config"),
        ("SIDECAR_API__PORT", "config"),
        ("SIDECAR_PROBES__HOST", "config"),
        ("SIDECAR_PROBES.PORT", "config"),
        ("SIDECAR_LEDGER__PATH", "ledger"),
        ("SIDECAR_LEDGER__MAX_SIZE", "ledger"),
        ("sidecar-ledger-max-size", "ledger"),
        ("SIDECAR_SHUTDOWN__TIMEOUT", "config"),
        ("SIDECAR_KUBERNETES__ENABLED", "config"),
        ("SIDECAR_KUBERNETES__READINESS_GATE", "config"),
        ("SIDECAR_KUBERNETES__EVENTS", "config"),
    ],
)
@pytest.mark.parametrize("values", [PRODUCT, _IMAGE], ids=["values", "image"])
def test_variable_of_the_chart_is_refused(helm: Helm, values: Values, name: str, key: str) -> None:
    """No variable changes what the pod, its objects or the checks depend on: the value of the chart would differ."""
    (problem,) = _refusal(helm, "marketplace-product", merge(values, sidecar(extraEnv=[{"name": name, "value": "1"}])))
    assert f"sidecar.extraEnv: {name} is the chart's own; use the key under sidecar.{key}, or remove it" == problem


MOUNTS = [
    "/etc/marketplace-sidecar",
    "/etc/marketplace-sidecar/config.yaml",
    "/etc/marketplace-sidecar/keys/",
    "/etc/../etc//marketplace-sidecar",
    "etc/marketplace-sidecar",
    "../etc",
    "/etc",
    "/",
    "/opt/marketplace-sidecar/lib",
]


@pytest.mark.parametrize("path", MOUNTS)
def test_volume_over_configuration_is_refused(helm: Helm, path: str) -> None:
    """No volume is mounted over the configuration, its keys or the program, above or below them."""
    volume = sidecar(
        extraVolumes=[{"name": "mine", "configMap": {"name": "mine"}}],
        extraVolumeMounts=[{"name": "mine", "mountPath": path}],
    )
    problems = _refusal(helm, "marketplace-product", merge(_IMAGE, volume))
    assert [problem.partition(":")[0] for problem in problems] == ["sidecar.extraVolumeMounts"] * len(problems)
    assert problems


def test_other_mounts_and_variables_are_taken(helm: Helm) -> None:
    """Folders whose names only begin alike, and variables of other keys, are the installer's."""
    values = sidecar(
        extraEnv=[{"name": "SIDECAR_LOG__LEVEL", "value": "debug"}, {"name": "PRODUCT", "value": "x"}],
        extraVolumes=[{"name": "mine", "emptyDir": {}}],
        extraVolumeMounts=[{"name": "mine", "mountPath": "/etc/marketplace-sidecar-extra"}],
    )
    assert helm.render("marketplace-product", merge(_IMAGE, values))


def test_chart_sets_no_sellers_variable(helm: Helm) -> None:
    """With the configuration in the image the chart hands in its own keys by variable, and none of the seller's."""
    values = merge(_IMAGE, config(marketplace={"region": "eu-west-1"}))
    container = containers(pod_template(helm.render("marketplace-product", values)))["marketplace-sidecar"]
    names = [one["name"] for one in container["env"]]
    assert "SIDECAR_MARKETPLACE__REGION" in names
    assert [] == [name for name in names if sellers_share(name) is not None]
