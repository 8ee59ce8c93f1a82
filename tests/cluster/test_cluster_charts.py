"""The API server takes what the charts render, and the example does what it says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.asking import await_for
from tests.cluster.images import SIDECAR, SIDECAR_TAG
from tests.cluster.node import Node
from tests.cluster.product import NAME, Product
from tests.cluster.stage import Stage, status_of
from tests.support.rendering import Helm
from tests.support.variants import VARIANTS, Variant

OPERATORS_OWN = {"PodMonitor", "PrometheusRule"}
"""Kinds that only an operator of the cluster's owner brings."""


@pytest.fixture(scope="module")
def dry_stage(node: Node) -> Iterator[Stage]:
    """A namespace in which nothing is ever created."""
    stage = Stage(node, "dry-run")
    stage.open()
    yield stage
    stage.close()


@pytest.fixture
def helm(bin_folder: Path, tmp_path: Path) -> Helm:
    """The helm that was built."""
    return Helm(bin_folder / "helm", tmp_path)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_api_server_takes_variant(variant: Variant, dry_stage: Stage, helm: Helm) -> None:
    """Every main way to use the charts passes the API server's own validation, with no field unknown to it."""
    objects = helm.render(variant.chart, variant.values, kubernetes=variant.kubernetes)
    known = [one for one in objects if one["kind"] not in OPERATORS_OWN]
    assert known
    for one in known:
        dry_stage.create(one, dry_run="All", field_validation="Strict")


def test_example_job_completes(product: Product, stage: Stage) -> None:
    """The sidecar neither keeps a Job from completing nor lets it complete before its usage is submitted."""
    image = {"repository": SIDECAR, "tag": SIDECAR_TAG, "pullPolicy": "Never"}
    values = {"kind": "Job", "events": 3, "interval": 1, "image": image, "sidecar": product.values["sidecar"]}
    product.install_chart("example", values)
    await_for("the Job", lambda: stage.job(NAME).status.succeeded == 1)
    (pod,) = stage.pods()
    assert "Succeeded" == pod.status.phase
    assert 0 == status_of(pod, "app").state.terminated.exit_code
    (record,) = product.emulator.records()
    assert ("3", pod.metadata.uid) == (record["UsageQuantity"], record["Identity"])
