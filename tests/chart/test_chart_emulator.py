"""The emulator in a cluster, as docs/testing.md shows it."""

import argparse
from typing import Any
from urllib.parse import urlsplit

import yaml

from sidecar.emulator.command import add_arguments
from tests.chart.published import VERSIONS, published
from tests.support.reading import blocks
from tests.support.rendering import PRODUCT, Helm, merge

DOCUMENT = "docs/testing.md"


def documented(name: str) -> list[dict[str, Any]]:
    """Return the documents of a YAML block."""
    (text,) = (block.text for block in blocks(DOCUMENT) if block.name == name)
    return list(yaml.safe_load_all(text))


def test_documented_objects_are_valid() -> None:
    """Kubernetes accepts the objects, and the emulator its arguments."""
    workload, service = documented("emulator.yaml")
    for version in VERSIONS:
        assert [] == [fault for one in (workload, service) for fault in published(version).faults(one)]
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    assert "emulator" == container["args"][0]
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    given = parser.parse_args(container["args"][1:])
    assert [("0.0.0.0", given.port)] == [(given.host, port["containerPort"]) for port in container["ports"]]
    labels = workload["spec"]["template"]["metadata"]["labels"]
    assert workload["spec"]["selector"]["matchLabels"] == labels == service["spec"]["selector"]


def test_documented_values_lead_to_the_service(helm: Helm) -> None:
    """The chart renders with the values, and the sidecar's configuration names the documented Service and its port."""
    (values,) = documented("values.yaml")
    _, service = documented("emulator.yaml")
    (port,) = service["spec"]["ports"]
    rendered = helm.render("marketplace-product", merge(PRODUCT, values))
    texts = [text for one in rendered if one["kind"] == "ConfigMap" for text in one["data"].values()]
    (configuration,) = (yaml.safe_load(text) for text in texts if "endpoint_url" in text)
    assert "emulator" == configuration["marketplace"]["mode"]
    url = urlsplit(configuration["marketplace"]["endpoint_url"])
    assert (service["metadata"]["name"], port["port"]) == (url.hostname, url.port)
