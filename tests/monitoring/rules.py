"""The alert rules as data, and promtool's judgment of which of them fire over given series."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support import programs
from tests.support.tools import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "helm/marketplace-sidecar/files/alerts.yaml"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert rule."""

    name: str
    expression: str
    waits: str
    severity: str
    annotations: Mapping[str, str]


def alerts() -> list[Alert]:
    """Return the alert rules in their order."""
    groups: list[dict[str, Any]] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [
        Alert(rule["alert"], rule["expr"], rule.get("for", "0m"), rule["labels"]["severity"], rule["annotations"])
        for group in groups
        for rule in group["rules"]
    ]


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    program = programs.provide(programs.report, "promtool") / "promtool"
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE)


def judge(folder: Path, series: Mapping[str, str], at: str, firing: Iterable[str], interval: str = "1m") -> str:
    """Return what promtool has against exactly these alerts firing at an instant; nothing if that is so.

    Args:
        folder: Where the file for promtool is written.
        series: Values in promtool's notation, by the name and labels of the series.
        at: How long after the first value.
        firing: The names of the alerts, one for each series that fires.
        interval: The distance of the values.
    """
    severities = {alert.name: alert.severity for alert in alerts()}
    counts: dict[str, int] = {}
    for name in firing:
        counts[name] = counts.get(name, 0) + 1
    expected = [
        {"labels": f'{{alertname="{name}", severity="{severities[name]}"}}', "value": count}
        for name, count in counts.items()
    ]
    fired = 'count by (alertname, severity) (ALERTS{alertstate="firing"})'
    document = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": interval,
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [{"expr": fired, "eval_time": at, "exp_samples": expected}],
            }
        ],
    }
    path = folder / "test.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")
    ran = promtool("test", "rules", path)
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr
