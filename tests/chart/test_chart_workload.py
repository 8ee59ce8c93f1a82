"""Each kind of workload is judged by what Kubernetes does with it."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.rendering import CHARTS, PRODUCT, SIDECAR, Helm, Refused, Values, config, merge, only, sidecar

_WAITING = merge(
    PRODUCT,
    config(
        product={"pricing": "contract", "id": "prod-abc"}, license={"on_taken": "wait"}, metering={"dimensions": []}
    ),
)


@pytest.mark.parametrize(
    ("kind", "strategy"),
    [
        ("Deployment", {"type": "Recreate"}),
        ("Deployment", {"rollingUpdate": {"maxSurge": 0}}),
        ("Deployment", {"rollingUpdate": {"maxSurge": "0%"}}),
        ("DaemonSet", {}),
        ("DaemonSet", {"type": "OnDelete"}),
        ("DaemonSet", {"rollingUpdate": {"maxSurge": None}}),
        ("StatefulSet", {"type": "RollingUpdate"}),
    ],
)
def test_waiting_for_a_seat_needs_no_surge(helm: Helm, kind: str, strategy: dict[str, Any]) -> None:
    """Where the old pod ends first, the new one may wait for its seat."""
    assert helm.render("marketplace-product", merge(_WAITING, {"kind": kind, "strategy": strategy}))


@pytest.mark.parametrize(
    ("kind", "strategy", "cure"),
    [
        ("Deployment", {}, "set strategy.type to Recreate or strategy.rollingUpdate.maxSurge to 0"),
        ("Deployment", {"type": "RollingUpdate", "rollingUpdate": None}, "set strategy.type to Recreate or "),
        ("Deployment", {"rollingUpdate": {"maxSurge": 1}}, "set strategy.type to Recreate or "),
        ("DaemonSet", {"rollingUpdate": {"maxSurge": 1}}, "set strategy.rollingUpdate.maxSurge to 0"),
    ],
)
def test_surge_keeps_a_seat_from_the_new_pod(helm: Helm, kind: str, strategy: dict[str, Any], cure: str) -> None:
    """Where the new pod starts first, it would never get the seat of the old one."""
    with pytest.raises(Refused) as refused:
        helm.render("marketplace-product", {**_WAITING, "kind": kind, "strategy": strategy})
    (problem,) = refused.value.problems
    assert problem.startswith("sidecar.config.license.on_taken: wait keeps the new pod")
    assert cure in problem


@pytest.mark.parametrize("strategy", [None, {"type": None}, {"rollingUpdate": None}, {"rollingUpdate": {}}])
def test_null_strategy_is_the_default(helm: Helm, strategy: Values) -> None:
    """A strategy that is null, or has a member that is, leaves it to Kubernetes."""
    assert helm.render("marketplace-product", {**PRODUCT, "strategy": strategy})


@pytest.fixture
def own_chart(tmp_path: Path) -> Path:
    """A seller's chart with a workload of a kind from its values."""
    chart = tmp_path / "own"
    (chart / "templates").mkdir(parents=True)
    shutil.copytree(CHARTS / "marketplace-sidecar", chart / "charts" / "marketplace-sidecar")
    (chart / "Chart.yaml").write_text(
        "apiVersion: v2\nname: own\nversion: 0.1.0\n"
        "dependencies: [{name: marketplace-sidecar, alias: sidecar, version: 0.1.0}]\n"
    )
    (chart / "templates" / "check.yaml").write_text(
        '{{ include "marketplace-sidecar.checkWorkload" (dict "context" . "kind" .Values.kind "replicas" 1'
        ' "strategy" "" "problems" (include "marketplace-sidecar.problems.name" (dict "name" .Values.name'
        ' "kind" .Values.kind "service" false "key" "name"))) }}'
    )
    return chart


@pytest.mark.parametrize("kind", ["Job", "CronJob"])
def test_plain_sidecar_ends_no_job(helm: Helm, own_chart: Path, kind: str) -> None:
    """A Job does not complete while a plain container runs, whatever starts the Job."""
    values = merge(SIDECAR, {"kind": kind, "name": "shop"})
    assert [] == helm.render(own_chart, values)
    with pytest.raises(Refused) as refused:
        helm.render(own_chart, merge(values, sidecar(mode="plain")))
    assert [True] == [each.startswith("sidecar.mode: a Job never completes") for each in refused.value.problems]


def test_name_leaves_room_for_the_jobs(helm: Helm, own_chart: Path) -> None:
    """Kubernetes adds 11 characters to the name of a CronJob for each Job."""
    values = merge(SIDECAR, {"kind": "CronJob", "name": "s" * 52})
    assert [] == helm.render(own_chart, values)
    with pytest.raises(Refused, match="is refused for the Jobs of a CronJob"):
        helm.render(own_chart, {**values, "name": "s" * 53})


def test_long_deadline_stays_a_number(helm: Helm) -> None:
    """A deadline of 30 days ends a Job that waits for the entitlement: Kubernetes takes no number with an exponent."""
    job = {"activeDeadlineSeconds": 2592000, "ttlSecondsAfterFinished": 1000000, "backoffLimit": 0}
    spec = only(helm.render("marketplace-product", merge(PRODUCT, {"kind": "Job", "job": job})), "Job")["spec"]
    assert job == {key: spec[key] for key in job}
    assert {int} == {type(spec[key]) for key in job}
