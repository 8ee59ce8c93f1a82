"""Endpoint rules in a folder of models, which the SDK reads if nothing stops it."""

import json
from pathlib import Path

VERSIONS = {"meteringmarketplace": "2016-01-14", "sts": "2011-06-15"}


def write_models(folder: Path, address: str) -> None:
    """Write endpoint rules that lead every service to `address`, as the SDK would find them in a folder of models."""
    rules = {
        "version": "1.0",
        "parameters": {"Region": {"builtIn": "AWS::Region", "type": "String"}},
        "rules": [{"conditions": [], "endpoint": {"url": address}, "type": "endpoint"}],
    }
    for service, version in VERSIONS.items():
        place = folder / service / version
        place.mkdir(parents=True)
        (place / "endpoint-rule-set-1.json").write_text(json.dumps(rules), encoding="utf-8")
