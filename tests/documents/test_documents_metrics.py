"""The operator's document lists the metrics as they are exposed; tests/monitoring tries the same with real sidecars."""

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from sidecar.adapters.metrics import expose
from tests.support.http_fakes import LICENSE, STATUS
from tests.support.metrics import Metric, table


def test_table_says_what_metrics_say() -> None:
    """Each metric has a row with its kind, its label and its own help text, in the order of the exposition."""
    rows = []
    status = replace(STATUS, entitlement=replace(STATUS.entitlement, license=LICENSE))
    for family in text_string_to_metric_families(expose(status).decode()):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert len(labels) <= 1
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append(Metric(name, family.type, "".join(labels), family.documentation))
    assert rows == table()
