"""The metrics, the rules and the dashboard's queries in a real Prometheus, which scrapes real sidecars.

One pod with an emulator meters, is refused, throttled and restarted. Another, in live mode, reaches its AWS through a
proxy that changes the dates. A third one has a contract price.
"""

import math
import re
import signal
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from sidecar.commands.demo.environment import wait_for
from tests.monitoring.dashboard import Query, filled, load, queries
from tests.monitoring.gateway import Gateway
from tests.monitoring.rules import alerts
from tests.monitoring.server import Prometheus, Target
from tests.support.metrics import table
from tests.support.processes import Emulator, Site, launch_emulator

OFF = timedelta(minutes=-3)
"""How far AWS's clock is behind that of the pod in live mode."""


@pytest.fixture(scope="module")
def server(shared_emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has seen usage, faults and a restart."""
    folder = tmp_path_factory.mktemp("monitoring")
    own = launch_emulator(folder / "live.log")
    live, site = Site(folder / "live", own), Site(folder / "site", shared_emulator)
    contract = Site(folder / "contract", own)
    (folder / "prometheus").mkdir()
    try:
        with Gateway(folder, own.port, OFF) as gateway, Prometheus(folder / "prometheus") as prometheus:
            play(prometheus, site, shared_emulator, start_live(live, gateway, prometheus), start_licensed(contract))
            yield prometheus
    finally:
        for each in (live, site, contract):
            each.close()
        own.kill()


def start_live(site: Site, gateway: Gateway, prometheus: Prometheus) -> Target:
    """Start a sidecar in live mode, by static keys and through a proxy, which measures two dimensions itself."""
    variables = {
        "AWS_ACCESS_KEY_ID": "AKIASTATIC",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_CA_BUNDLE": str(gateway.bundle),
        "HTTPS_PROXY": gateway.url,
    }
    live = {"mode": "live", "endpoint_url": None, "region": "us-east-1"}
    page = {"url": prometheus.page, "metric": "prometheus_http_requests_total", "every": "1s"}
    metering = {
        "dimensions": [
            {"name": "requests"},
            {"name": "pod_hours", "source": {"pod_time": {}}},
            {"name": "queries", "source": {"prometheus": page}},
        ]
    }
    sidecar = site.start_entitled(variables=variables, marketplace=live, metering=metering)
    return Target("shop-live", sidecar.probes)


def start_licensed(site: Site) -> Target:
    """Start a sidecar with a contract price, which holds a seat."""
    seats = {"Name": "seats", "Unit": "Count", "MaxCount": 2, "Overage": False, "AllowCheckIn": True}
    site.emulator.post("licenses", action="grant", sku="prod-contract", entitlements=[seats])
    sidecar = site.start_entitled(
        product={"pricing": "contract", "id": "prod-contract", "public_keys": {}},
        metering={"dimensions": []},
        license={"require": [{"name": "seats", "hold": 1}]},
    )
    return Target("shop-contract", sidecar.probes)


def play(prometheus: Prometheus, site: Site, emulator: Emulator, *others: Target) -> None:
    """Let everything happen that a dashboard shows, each with a scrape behind it."""
    emulator.begin()
    sidecar = site.start_entitled()
    prometheus.watch(Target("shop", sidecar.probes), *others)
    prometheus.await_query('marketplace_entitled{pod="shop"} == 1')
    for number in range(3):
        event = {"id": f"evt-{number}", "dimension": "requests", "quantity": "2"}
        sidecar.report(event, event)
        assert 422 == sidecar.post("/v1/usage", {"dimension": "unknown"}).status
        prometheus.await_query(f'marketplace_usage_events_accepted_total{{pod="shop"}} == {number + 1}')
    prometheus.await_query('marketplace_usage_requests_refused_total{pod="shop", reason="invalid-usage"} == 3')
    site.advance(sidecar, "1h")
    sidecar.await_records(1)
    prometheus.await_query('marketplace_submission_answers_total{pod="shop", answer="accepted"} == 1')
    emulator.order("MeterUsage", "IdempotencyConflictException", 1)
    sidecar.report({"dimension": "requests", "quantity": "3"})
    site.advance(sidecar, "1h")
    sidecar.await_records(1, "unbilled")
    prometheus.await_query('marketplace_usage_unbilled{pod="shop"} == 3')
    prometheus.await_query('ALERTS{alertname="MarketplaceUsageUnbilled", alertstate="firing"}')
    emulator.order("MeterUsage", "throttle")
    sidecar.report({"dimension": "requests", "quantity": "4"})
    site.advance(sidecar, "1h")
    throttled = 'marketplace_submission_answers_total{pod="shop", answer="ThrottlingException"}'
    (first,) = prometheus.await_query(f"{throttled} > 0")
    site.advance(sidecar, "10m")
    prometheus.await_query(f"{throttled} > {first['value'][1]}")
    prometheus.await_query('marketplace_usage_sealed{pod="shop"} == 4')
    sidecar.kill()
    sidecar = site.start_entitled()
    prometheus.watch(Target("shop", sidecar.probes), *others)
    emulator.order("MeterUsage", "throttle", 0)
    site.advance(sidecar, "10m")
    prometheus.await_query('marketplace_usage_submitted{pod="shop"} == 10')
    sidecar.signal(signal.SIGTERM)
    assert 0 == sidecar.await_end()


def shown(prometheus: Prometheus, expression: str) -> list[float]:
    """Return every number that a panel would have shown so far."""
    values = [float(value) for series in prometheus.history(expression) for _, value in series["values"]]
    return [value for value in values if not math.isnan(value)]


@pytest.mark.parametrize("query", list(queries()), ids=lambda query: query.title)
def test_panel_shows_something(server: Prometheus, query: Query) -> None:
    """Each query of each panel is one that Prometheus takes, and finds numbers among real metrics."""
    assert shown(server, filled(query.expression, interval="5s", namespace="acme", pod="shop|shop-live|shop-contract"))


@pytest.mark.parametrize("query", list(queries()), ids=lambda query: query.title)
def test_panel_is_narrowed(server: Prometheus, query: Query) -> None:
    """Each query shows nothing of pods in namespaces that were not chosen."""
    assert [] == shown(server, filled(query.expression, interval="5s", namespace="other", pod=".*"))


def test_variables_offer_choices(server: Prometheus) -> None:
    """The namespaces and the pods to choose from are those that are scraped."""
    offered = {}
    for variable in load()["templating"]["list"][1:]:
        found = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
        assert found is not None
        assert variable["query"]["query"] == variable["definition"]
        selector = filled(found[1], interval="", namespace="acme")
        offered[variable["name"]] = server.ask(f"label/{found[2]}/values", **{"match[]": selector})
    assert {"namespace": ["acme"], "pod": ["shop", "shop-contract", "shop-live"]} == offered


def test_rules_are_evaluated(server: Prometheus) -> None:
    """Every rule is loaded and evaluated without an error."""
    rules = wait_for("all rules", lambda: _evaluated(server))
    assert [(alert.name, "ok") for alert in alerts()] == [(rule["name"], rule["health"]) for rule in rules]


def _evaluated(server: Prometheus) -> list[dict[str, Any]] | None:
    rules = server.rules()
    return rules if all(rule["health"] != "unknown" for rule in rules) else None


def test_alerts_speak_of_the_pod(server: Prometheus) -> None:
    """The text of an alert has the values in place of its braces, and names the pod."""
    for name, pod in (
        ("MarketplaceClockSkew", "shop-live"),
        ("MarketplaceIdentityNotAccepted", "shop-live"),
        ("MarketplaceTargetDown", "shop"),
    ):
        (alert,) = wait_for(name, partial(_active, server, name))
        words = alert["annotations"]["summary"] + alert["annotations"]["description"]
        assert f"acme/{pod}" in words
        assert not re.search(r"\{\{|<error|<no value>", words)


def _active(server: Prometheus, name: str) -> list[dict[str, Any]]:
    return [alert for alert in server.ask("alerts")["alerts"] if alert["labels"]["alertname"] == name]


def test_skew_is_measured(server: Prometheus) -> None:
    """In live mode the clock is compared with AWS's; next to an emulator it is not."""
    (series,) = server.history("marketplace_clock_skew_seconds")
    assert "shop-live" == series["metric"]["pod"]
    assert all(abs(float(value) + OFF.total_seconds()) < 10 for _, value in series["values"])


def test_every_metric_is_documented(server: Prometheus) -> None:
    """What the sidecars expose, every state provoked, is what the operator's document lists, label by label."""
    found = server.ask("series", **{"match[]": '{namespace="acme", __name__=~"marketplace_.*"}'})
    exposed: dict[str, set[str]] = {}
    for series in found:
        labels = series.keys() - {"__name__", "namespace", "pod", "job", "instance"}
        exposed.setdefault(series["__name__"], set()).update(labels)
    documented: dict[str, set[str]] = {}
    for metric in table():
        own = {metric.label} if metric.label else set()
        if metric.kind == "histogram":
            documented |= {f"{metric.name}_{part}": own for part in ("sum", "count")}
            documented[f"{metric.name}_bucket"] = own | {"le"}
        else:
            documented[metric.name] = own
    assert documented == exposed
