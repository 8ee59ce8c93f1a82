"""The chart refuses what the sidecar refuses at its start, and takes what the sidecar takes."""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.domain import durations, sizes
from sidecar.domain.declaration import declaration_of
from sidecar.settings import SettingsError, load
from tests.support.reference import keys as declared_keys
from tests.support.rendering import CHARTS, PRODUCT, ROLE, Helm, Refused, Values, config, merge, only, sidecar

_SECOND = timedelta(seconds=1)
_RANGES = {
    f"{group}.{name}": (declaration_of(field).least, declaration_of(field).most)
    for group, name, field in declared_keys()
    if field.type is timedelta
}
"""The durations of the configuration."""


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration from values by dotted key."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        group, _, name = key.partition(".")
        tree.setdefault(group, {})[name] = value
    return tree


def _refused_by_chart(helm: Helm, changes: Values) -> set[str]:
    """Return the keys of the configuration that the chart complains about."""
    try:
        helm.template("marketplace-product", merge(PRODUCT, changes))
    except Refused as refused:
        found = {re.match(r"sidecar\.config\.(\w+\.\w+)", problem) for problem in refused.problems}
        return {key[1] if key else "another" for key in found}
    return set()


def _refused_by_sidecar(tmp_path: Path, changes: Values) -> set[str]:
    """Return the keys that the sidecar complains about in the file that has the values."""
    tree = merge(PRODUCT, changes)["sidecar"]["config"]
    keys = tree["product"]["public_keys"]
    tree["product"]["public_keys"] = {version: f"/keys/{version}.pem" for version in keys}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    try:
        load(str(path), {})
    except SettingsError as error:
        return {".".join(re.split(r"[.\[]", problem.key)[:2]) for problem in error.problems}
    return set()


def _text(duration: timedelta) -> str:
    text = durations.render(duration)
    assert durations.parse(text) == duration
    return text


@pytest.mark.parametrize(
    "outside",
    [
        {key: most + _SECOND for key, (_, most) in _RANGES.items()},
        {key: least - _SECOND for key, (least, _) in _RANGES.items() if least >= _SECOND},
    ],
    ids=["above", "below"],
)
def test_duration_outside_is_refused(helm: Helm, tmp_path: Path, outside: Mapping[str, timedelta]) -> None:
    """Each duration that is one second outside of its range is named by the chart and by the sidecar."""
    changes = config(**_nested({key: _text(value) for key, value in outside.items()}))
    assert set(outside) == _refused_by_chart(helm, changes)
    assert set(outside) <= _refused_by_sidecar(tmp_path, changes)


@pytest.mark.parametrize("end", [0, 1], ids=["least", "most"])
def test_end_of_range_is_taken(helm: Helm, tmp_path: Path, end: int) -> None:
    """Both ends of each range are valid, for the chart and for the sidecar."""
    ends = {key: _text(limits[end]) for key, limits in _RANGES.items()}
    if end == 0:
        del ends["metering.window"]  # It must be longer than an hour, settle and spread together.
    changes = merge(config(**_nested(ends)), sidecar(terminationGracePeriodSeconds=3605))
    assert (set(), set()) == (_refused_by_chart(helm, changes), _refused_by_sidecar(tmp_path, changes))


def test_range_is_shown(helm: Helm) -> None:
    """The message has key, value, reason, range and what to do."""
    changes = merge(config(shutdown={"timeout": "2h"}), sidecar(terminationGracePeriodSeconds=7300))
    with pytest.raises(Refused) as refused:
        helm.template("marketplace-product", merge(PRODUCT, changes))
    words = "2h is out of range (a pod's grace period is rarely longer); give 0s to 1h"
    assert [f"sidecar.config.shutdown.timeout: {words}"] == refused.value.problems


def _page(**members: Any) -> list[dict[str, Any]]:
    source = {"url": "http://127.0.0.1:9090/metrics", "metric": "served_total", **members}
    return [{"name": "requests", "source": {"prometheus": source}}]


_KEY = PRODUCT["sidecar"]["config"]["product"]["public_keys"]["1"]
INVALID: Mapping[str, list[Any]] = {
    "probes.host": ["999.1.1.1", "[::]", "0.0.0.0:8788", "a..b", "1:2:3:4:5:6:7:8:9", "1::2::3", ":::", "-a", "é"],
    "api.socket": ["/run/", f"/{'a' * 107}", " /run/a", f"/{'é' * 54}"],
    "api.token_file": ["/run/", "/run/a\tb"],
    "marketplace.endpoint_url": [
        *("http://e:0", "http://e:65536", "http://e?x", "http://e#x", "http://999.1.1.1", "http://e..f"),
        "http://[::x]:1",
    ],
    "entitlement.probe_dimension": [" requests", "requests\n", "a\u00a0b"],
    "license.tiers": [["a "], ["a\tb"]],
    "license.require": [[{"name": " a"}], [{"name": "a\nb"}]],
    "product.trusted_codes": [["0abc123example", ""]],
    "product.public_keys": [{"1": _KEY, "2147483648": _KEY}, {"1": _KEY, "99999999999999999999": _KEY}],
}
"""Values of one kind that the schema takes, and the sidecar refuses."""
VALID: Mapping[str, list[Any]] = {
    "probes.host": ["::", "0.0.0.0", "fd00::1:2", "1:2:3:4:5:6:7:8", "::ffff:10.0.0.1", "shop-1.acme.svc.", "pod_a"],
    "api.socket": ["/run/a.sock", f"/{'a' * 106}"],
    "api.token_file": ["/run/token"],
    "product.trusted_codes": [["0abc123example"]],
    "product.public_keys": [{"1": _KEY, "2147483647": _KEY}],
}
PAGES: list[Any] = [
    *(_page(every=every) for every in ("0s", "11m", "15")),
    *(_page(scale=scale) for scale in ("0", "0.000")),
    *(_page(url=f"http://127.0.0.1{rest}") for rest in (":0/m", ":65536/m", ":1/m#a", ":1/a b", ":1/é", "999:1/m")),
    _page(metric="served_bucket"),
    *(_page(match=match) for match in ({"a-b": "x"}, {"a": ""}, {"a": " x"})),
    *(_page(tags=tags) for tags in ({"a": "T", "b": "T"}, {"a": " T"}, {"a.b": "T"})),
    [{"name": "requests", "source": {"otlp": {"metric": " served"}}}],
    [{"name": "requests", "source": {"otlp": {"metric": "served", "scale": "0.0"}}}],
    *([{"name": name}] for name in (" a", "a\nb", "a\u00a0b")),
]
"""Dimensions that the sidecar refuses."""


def _rows(table: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Return the first values of all keys together, then the second ones, and so on."""
    longest = max(len(values) for values in table.values())
    return [{key: values[at] for key, values in table.items() if at < len(values)} for at in range(longest)]


@pytest.mark.parametrize("row", _rows(INVALID), ids=lambda row: f"{len(row)} keys")
def test_invalid_is_refused_by_both(helm: Helm, tmp_path: Path, row: Mapping[str, Any]) -> None:
    """What the sidecar cannot read is refused before a pod rolls, all of it at once."""
    mode = {"marketplace.mode": "emulator"} if "marketplace.endpoint_url" in row else {}
    changes = config(**_nested({**row, **mode}))
    assert set(row) == _refused_by_chart(helm, changes)
    assert set(row) <= _refused_by_sidecar(tmp_path, changes)


@pytest.mark.parametrize("row", _rows(VALID), ids=lambda row: f"{len(row)} keys")
def test_valid_is_taken_by_both(helm: Helm, tmp_path: Path, row: Mapping[str, Any]) -> None:
    """What the sidecar reads is not refused by the chart."""
    mounted = sidecar(
        extraVolumes=[{"name": "run", "emptyDir": {}}],
        extraVolumeMounts=[{"name": "run", "mountPath": "/run"}],
        securityContext={"readOnlyRootFilesystem": False},
    )
    changes = merge(config(**_nested(row)), mounted)
    assert (set(), set()) == (_refused_by_chart(helm, changes), _refused_by_sidecar(tmp_path, changes))


def test_invalid_dimension_is_refused_by_both(helm: Helm, tmp_path: Path) -> None:
    """Each of these dimensions has one problem, for the chart and for the sidecar."""
    for page in PAGES:
        changes = config(metering={"dimensions": page})
        both = (_refused_by_chart(helm, changes), _refused_by_sidecar(tmp_path, changes))
        assert ({"metering.dimensions"}, {"metering.dimensions"}) == both, page


def test_variable_is_judged(helm: Helm) -> None:
    """A variable that the sidecar would refuse is named, and one that it takes is not."""
    names = {"SIDECAR_LOG__LEVEL": "verbose", "SIDECAR_LOG__LEVL": "info", "sidecar_log_format": "json"}
    extra = [{"name": name, "value": value} for name, value in names.items()]
    with pytest.raises(Refused) as refused:
        helm.template("marketplace-product", merge(PRODUCT, sidecar(extraEnv=extra)))
    reasons = [
        "SIDECAR_LOG__LEVEL: verbose is not one of debug, info, warning, error; use one of these words",
        "SIDECAR_LOG__LEVL is not a setting, and the sidecar would not start; correct its name, or remove it",
        "sidecar_log_format is not a setting, and the sidecar would not start; write it as SIDECAR_LOG__FORMAT",
    ]
    assert [f"sidecar.extraEnv: {reason}" for reason in reasons] == refused.value.problems
    taken = {"SIDECAR_LOG__LEVEL": "debug", "SIDECAR_API__SOCKET": "", "TZ": "UTC"}
    extra = [{"name": name, "value": value} for name, value in taken.items()]
    assert helm.template("marketplace-product", merge(PRODUCT, sidecar(extraEnv=extra)))


def test_fixed_file_is_judged(helm: Helm, tmp_path: Path) -> None:
    """No schema sees a product.yaml: the templates judge its values."""
    chart = tmp_path / "shop"
    chart.mkdir()
    for part in (CHARTS / "example").iterdir():
        (chart / part.name).symlink_to(part)
    groups = {
        "product": {"code": "a b", "id": "abc", "public_key_version": 0},
        "entitlement": {"retry_for": 30, "remember_for": 0, "check": "pay", "colour": "red"},
        "metering": {"dimensions": [{"name": "a", "aggregation": "avg", "unit": 1}, "b"], "report_zero": "no"},
        "license": {"tiers": "pro", "require": [{"name": "users", "hold": -1}]},
    }
    (chart / "product.yaml").write_text(yaml.safe_dump(groups), encoding="utf-8")
    with pytest.raises(Refused) as refused:
        helm.template(chart, sidecar(serviceAccount={"roleArn": ROLE}))
    starts = [
        "product.yaml: entitlement has the unknown key colour",
        "product.yaml: metering.dimensions has the unknown key unit",
        "sidecar.config.entitlement.check: pay is not one of auto",
        "sidecar.config.entitlement.retry_for: 30 is not a duration",
        "sidecar.config.license.require: hold: -1 is out of range; give a whole number from 0 to 2147483647",
        "sidecar.config.license.tiers: is not a list",
        "sidecar.config.metering.dimensions: aggregation: avg is not one of sum",
        "sidecar.config.metering.dimensions: b is not a mapping",
        "sidecar.config.metering.report_zero: is not a boolean",
        "sidecar.config.product.code: a b is not a product code",
        "sidecar.config.product.id: abc is not a product ID",
        "sidecar.config.product.public_key_version: 0 is out of range",
    ]
    assert starts == [
        problem[: len(start)] for start, problem in zip(starts, sorted(refused.value.problems), strict=True)
    ]


@pytest.mark.parametrize("volume", ["2000001Mi", "999999999Mi", "999999Gi", "999999999Ki", "9Mi"])
def test_derived_size_is_read(helm: Helm, volume: str) -> None:
    """The limit that the chart derives from a volume of any size is one that the sidecar reads."""
    values = merge(PRODUCT, sidecar(ledger={"emptyDir": {"sizeLimit": volume}}))
    read = yaml.safe_load(only(helm.render("marketplace-product", values), "ConfigMap")["data"]["config.yaml"])
    size = sizes.parse(read["ledger"]["max_size"])
    units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
    whole = int(volume[:-2]) * units[volume[-2:]] * 7 // 8
    assert size is not None
    assert whole - 2**20 < size <= whole
