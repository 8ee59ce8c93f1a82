"""The dashboard is one that Grafana can import, and that a person can read. Its queries are tried elsewhere."""

import re
from itertools import combinations, pairwise
from typing import Any

from tests.monitoring.dashboard import load, panels, queries

_UNITS = {"none", "s", "bytes", "cps", "reqps", "ops", "percentunit"}
"""Names of Grafana's own; seconds and bytes are the metrics' base units."""


def places(panel: dict[str, Any]) -> set[tuple[int, int]]:
    """Return the cells of the grid that a panel covers."""
    grid = panel["gridPos"]
    return {(x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])}


def test_panels_have_their_places() -> None:
    """No two panels share an id or a cell, and none reaches beyond the 24 columns."""
    every = load()["panels"]
    assert len(every) == len({panel["id"] for panel in every})
    assert [] == [(a["title"], b["title"]) for a, b in combinations(every, 2) if places(a) & places(b)]
    assert all(0 <= panel["gridPos"]["x"] and panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in every)


def test_rows_follow_the_work() -> None:
    """The rows go from the right to run to the machine, and each has panels under it."""
    titles = [(panel["type"] == "row", panel["title"]) for panel in load()["panels"]]
    assert [
        "Entitlement",
        "Contract",
        "Metering progress",
        "Conservation by dimension",
        "AWS's answers",
        "Intake of usage",
        "Sources",
        "Ledger",
        "Clock and process",
    ] == [title for is_row, title in titles if is_row]
    assert not any(one[0] and after[0] for one, after in pairwise(titles))
    assert len(titles) == len(set(titles))


def test_every_panel_is_explained() -> None:
    """Each panel has a title, a description, a unit, a data source that can be chosen, and a name for each line."""
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in _UNITS, panel["title"]
        for part in (panel, *panel["targets"]):
            assert {"type": "prometheus", "uid": "${datasource}"} == part["datasource"]
        assert all(target["legendFormat"] for target in panel["targets"])
        assert len(panel["targets"]) == len({target["refId"] for target in panel["targets"]})


def test_every_query_follows_the_variables() -> None:
    """Each selector of each query is narrowed to the chosen namespaces, and each but that of alerts to the pods."""
    names = [variable["name"] for variable in load()["templating"]["list"]]
    assert ["datasource", "namespace", "pod"] == names
    for query in queries():
        selectors = re.findall(r"(\w+)\{([^}]*)\}", query.expression)
        assert selectors, query
        for metric, matchers in selectors:
            assert 'namespace=~"$namespace"' in matchers, query
            assert "ALERTS" == metric or 'pod=~"$pod"' in matchers, query
        assert not set(re.findall(r"\$(\w+)", query.expression)) - {"namespace", "pod", "__rate_interval"}


def test_units_suit_the_metrics() -> None:
    """What is in seconds or bytes is shown so, and nothing else is."""
    for panel in panels():
        unit = panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            rated = re.search(r"rate\(.*_(count|total)\b", target["expr"])
            for ending in ("seconds", "bytes"):
                measured = re.search(rf"_{ending}\b(?!_count)|_{ending}_bucket", target["expr"]) is not None
                assert (measured and not rated) == (unit == {"seconds": "s", "bytes": "bytes"}[ending]), target["expr"]
