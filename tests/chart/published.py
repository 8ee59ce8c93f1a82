"""What Kubernetes itself publishes about its objects, by version, out of its Go module; kept in the user's cache.

Stricter than the publication in one thing: a field that a type does not have is an error, as it is to an API server
that is asked to validate.
"""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

from tests.support import programs
from tests.support.rendering import NEWEST, OLDEST

VERSIONS = (OLDEST, NEWEST)
"""The Kubernetes versions whose schemas judge the charts."""
_FOREIGN = frozenset({"monitoring.coreos.com/v1"})
"""Kinds that no Kubernetes has."""


@cache
def published(version: str) -> "Published":
    """Return the schemas of a version, which take seconds to load."""
    return Published(version)


class Published:
    """The object schemas of one Kubernetes version."""

    def __init__(self, version: str) -> None:
        document = json.loads(fetch(version).read_bytes())
        self._definitions = {name: _close(schema) for name, schema in document["definitions"].items()}
        self._names = {
            (kind["group"], kind["version"], kind["kind"]): name
            for name, schema in document["definitions"].items()
            for kind in schema.get("x-kubernetes-group-version-kind", ())
        }

    def faults(self, found: Mapping[str, Any]) -> list[str]:
        """Return what is wrong with an object, each with its path."""
        api = found["apiVersion"]
        if api in _FOREIGN:
            return []
        group, _, version = api.rpartition("/")
        name = self._names[group, version, found["kind"]]
        validator = jsonschema_rs.Draft4Validator(
            {"$ref": f"#/definitions/{name}", "definitions": self._definitions}, validate_formats=False
        )
        return [
            f"{found['kind']} {'.'.join(map(str, error.instance_path))}: {error.message}"
            for error in validator.iter_errors(_without_nulls(found))
        ]


def fetch(version: str) -> Path:
    """Return the file of a version's schemas, from the Go module proxy if it is not in the cache.

    Raises:
        subprocess.CalledProcessError: The module cannot be fetched; Go has written why to stderr.
    """
    folder = programs.cache_folder() / "openapi"
    kept = folder / f"kubernetes-{version}.json"
    if not kept.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        go = programs.find_go(programs.report)
        # Outside any module, so no go.mod applies.
        with tempfile.TemporaryDirectory(dir=folder) as name:
            command = [go, "mod", "download", "-json", f"k8s.io/kubernetes@v{version}"]
            ran = subprocess.run(command, cwd=name, stdout=subprocess.PIPE, check=True)
            unfinished = Path(name) / kept.name
            swagger = Path(json.loads(ran.stdout)["Dir"]) / "api/openapi-spec/swagger.json"
            unfinished.write_bytes(swagger.read_bytes())
            unfinished.replace(kept)
    return kept


def _close(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_close(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "int-or-string":
        return {"type": ["integer", "string"]}
    closed = {key: _close(value) for key, value in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    return closed


def _without_nulls(value: Any) -> Any:
    """Drop members that are null, as an API server does."""
    if isinstance(value, dict):
        return {key: _without_nulls(member) for key, member in value.items() if member is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
