"""The OpenAPI 3.1 document of the local API: `openapi.yaml` with version and dimensions filled in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import sidecar
from sidecar.domain.metering.events import Aggregation, Dimension

_DOCUMENT = Path(__file__).with_name("openapi.yaml")


def describe(dimensions: Mapping[str, Dimension] | None = None) -> dict[str, Any]:
    """Return the document.

    Args:
        dimensions: The product's, for the names in the document; None allows any name.
    """
    document: dict[str, Any] = yaml.safe_load(_DOCUMENT.read_text(encoding="utf-8"))
    document["info"]["version"] = sidecar.__version__
    if dimensions is None:
        return document
    schemas = document["components"]["schemas"]
    reported = {name: dimension for name, dimension in dimensions.items() if dimension.source is None}
    unique = [name for name, dimension in reported.items() if dimension.aggregation is Aggregation.UNIQUE]
    counted = [name for name in reported if name not in unique]
    for kind, names in (("Counted", counted), ("Unique", unique)):
        for schema in (schemas[f"{kind}UsageEvent"], schemas[f"{kind}UsageData"]):
            schema["properties"]["dimension"] = {"type": "string", "enum": names} if names else False
            schema.pop("examples", None)
    schemas["CloudEvent"].pop("examples", None)
    return document
