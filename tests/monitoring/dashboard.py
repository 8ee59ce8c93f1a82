"""The Grafana dashboard as data: its panels, its variables, and every query with its variables filled in."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.monitoring.rules import ROOT

DASHBOARD = ROOT / "helm/marketplace-sidecar/files/dashboard.json"


@dataclass(frozen=True, slots=True)
class Query:
    """What one panel or variable asks Prometheus."""

    title: str
    expression: str
    """PromQL, with the variables still in it."""


def load() -> dict[str, Any]:
    """Return the whole document."""
    document: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return document


def panels() -> list[dict[str, Any]]:
    """Return the panels, the rows left out."""
    return [panel for panel in load()["panels"] if panel["type"] != "row"]


def queries() -> Iterator[Query]:
    """Return the query of each target of each panel."""
    for panel in panels():
        for target in panel["targets"]:
            yield Query(f"{panel['title']} {target['refId']}", target["expr"])


def filled(expression: str, *, interval: str, **variables: str) -> str:
    """Return a query as Grafana sends it."""
    for name, value in {**variables, "__rate_interval": interval}.items():
        expression = expression.replace(f"${name}", value)
    return expression
