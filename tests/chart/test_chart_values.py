"""The values: every key explained, judged by a closed schema, and listed in a table that is current."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.marketplace.regions import SHAPE
from tests.support.rendering import CHARTS, PRODUCT, Helm, Refused, Values, config, merge, sidecar

_CHARTS = ("marketplace-sidecar", "marketplace-product", "example")
_BEGIN, _END = "<!-- values: begin -->", "<!-- values: end -->"


def _schema(chart: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((CHARTS / chart / "values.schema.json").read_text(encoding="utf-8"))
    return schema


def _values(chart: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((CHARTS / chart / "values.yaml").read_text(encoding="utf-8"))
    return values


def _keys(schema: Mapping[str, Any], values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield each key that has a value of its own: its path, its schema, its default."""
    for name, member in schema["properties"].items():
        key = f"{path}{name}"
        if "properties" in member:
            yield from _keys(member, values[name], f"{key}.")
        else:
            yield key, member, values[name]


def _table(chart: str) -> str:
    """Return the rows of all keys but those of the sidecar's own configuration, whose table is in docs/."""
    lines = ["| key | default | meaning |", "| --- | --- | --- |"]
    for key, schema, default in _keys(_schema(chart), _values(chart)):
        if key.startswith("config."):
            continue
        words = ", ".join(f"`{word}`" for word in schema.get("enum", ()))
        meaning = f"{schema['description']}: {words}" if words else schema["description"]
        lines.append(f"| `{key}` | `{json.dumps(default)}` | {meaning} |")
    return "\n".join(lines)


@pytest.mark.parametrize("chart", _CHARTS)
def test_table_is_current(chart: str, keep: Callable[[Path, str], None]) -> None:
    """The table of values in the chart's README agrees with the schema and the defaults."""
    readme = CHARTS / chart / "README.md"
    before, begin, rest = readme.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    assert (_BEGIN, _END) == (begin, end)
    keep(readme, f"{before}{_BEGIN}\n{_table(chart)}\n{_END}{after}")


@pytest.mark.parametrize("chart", _CHARTS)
def test_every_key_has_a_default(chart: str) -> None:
    """Schema and values know the same keys, at every level that is closed."""

    def compare(schema: Mapping[str, Any], values: Mapping[str, Any], path: str) -> None:
        if "properties" not in schema or path == "values.sidecar":
            return
        assert set(schema["properties"]) == set(values), path
        for name, member in schema["properties"].items():
            compare(member, values[name], f"{path}.{name}")

    compare(_schema(chart), _values(chart), "values")


@pytest.mark.parametrize("chart", _CHARTS)
def test_every_group_is_closed(chart: str) -> None:
    """Each group that the schema describes refuses other keys; `global` belongs to helm."""

    def groups(schema: Mapping[str, Any], path: str) -> Iterator[str]:
        if "properties" in schema:
            if schema.get("additionalProperties") is not False:
                yield path
            for name, member in schema["properties"].items():
                yield from groups(member, f"{path}.{name}")

    assert ["values.global"] == list(groups(_schema(chart), "values"))


@pytest.mark.parametrize("chart", _CHARTS)
def test_every_key_is_explained(chart: str) -> None:
    """In values.yaml each paragraph of keys begins with prose, or the first key in it does."""
    text = (CHARTS / chart / "values.yaml").read_text(encoding="utf-8")
    bare = [
        paragraph
        for paragraph in text.split("\n\n")
        if not any(line.lstrip().startswith("#") for line in paragraph.strip("\n").splitlines()[:2])
    ]
    assert [] == bare


WRONG: list[tuple[str, Values, str]] = [
    ("misspelled group", sidecar(confg={}), "additional properties 'confg' not allowed"),
    ("misspelled key", config(metering={"setle": "2m"}), "additional properties 'setle' not allowed"),
    (
        "misspelled dimension",
        config(metering={"dimensions": [{"name": "a", "agregation": "sum"}]}),
        "'agregation' not allowed",
    ),
    ("bare number", config(metering={"settle": 120}), "got number, want string"),
    ("no unit", config(metering={"settle": "120"}), "does not match pattern"),
    ("no such word", config(entitlement={"on_denied": "stop"}), "value must be one of 'hold', 'exit'"),
    ("API for everybody", config(api={"host": "0.0.0.0"}), "value must be one of '127.0.0.1', '::1', 'localhost'"),
    ("port out of range", config(probes={"port": 70000}), "maximum: got 70,000, want 65,535"),
    ("host with space around it", config(probes={"host": "::1 "}), "does not match pattern"),
    ("no ARN", sidecar(serviceAccount={"roleArn": "acme-metering"}), "does not match pattern"),
    ("no digest", sidecar(image={"digest": "sha256:1234"}), "does not match pattern"),
    ("no key", config(product={"public_keys": {"1": "keys/1.pem"}}), "does not match pattern"),
    ("key without version", config(product={"public_keys": {"a": "x"}}), "additional properties 'a' not allowed"),
    (
        "25 dimensions",
        config(metering={"dimensions": [{"name": f"d{n}"} for n in range(25)]}),
        "maxItems: got 25, want 24",
    ),
    ("no such kind", {"kind": "CronJob"}, "value must be one of 'Deployment'"),
    ("image as text", {"containers": [{"name": "app", "image": "acme/shop:2.1"}]}, "got string, want object"),
    (
        "misspelled container",
        {"containers": [{"name": "app", "image": {"repository": "a"}, "prots": []}]},
        "'prots' not allowed",
    ),
]


@pytest.mark.parametrize(("changes", "expected"), [one[1:] for one in WRONG], ids=[one[0] for one in WRONG])
def test_wrong_value_is_refused(helm: Helm, changes: Values, expected: str) -> None:
    """A value that cannot be one is refused with its path and what is wrong with it."""
    with pytest.raises(Refused) as refused:
        helm.template("marketplace-product", merge(PRODUCT, changes))
    (problem,) = refused.value.problems
    assert expected in problem


@pytest.mark.parametrize("group", ["marketplace", "license"])
@pytest.mark.parametrize("name", ["us-east-1", "us-gov-west-1", "us-isob-east-1", "eusc-de-east-1", "eu", "EU-WEST-1"])
def test_region_is_judged_as_by_the_sidecar(helm: Helm, group: str, name: str) -> None:
    """The chart takes exactly the names of Regions that the sidecar takes, in every partition."""
    values = merge(PRODUCT, config(**{group: {"region": name}}))
    if SHAPE.fullmatch(name):
        assert helm.template("marketplace-product", values)
    else:
        with pytest.raises(Refused, match="does not match pattern"):
            helm.template("marketplace-product", values)


@pytest.mark.parametrize("chart", ["marketplace-product", "example"])
def test_lint_is_clean(helm: Helm, chart: str) -> None:
    """Helm's own lint has nothing to say that matters."""
    values = {key: value for key, value in PRODUCT.items() if chart == "marketplace-product" or key == "sidecar"}
    said = helm.call("lint", str(CHARTS / chart), "--strict", "--kube-version", "1.34.2", values=values)
    assert "0 chart(s) failed" in said


@pytest.mark.parametrize("chart", _CHARTS)
def test_chart_is_packaged_whole(helm: Helm, chart: str, tmp_path: Path) -> None:
    """A packaged chart holds the library, and renders by itself."""
    helm.call("package", str(CHARTS / chart), "--destination", str(tmp_path))
    (package,) = tmp_path.glob(f"{chart}-*.tgz")
    if chart == "marketplace-product":
        assert helm.render("marketplace-product", PRODUCT) == helm.render(package, PRODUCT)
