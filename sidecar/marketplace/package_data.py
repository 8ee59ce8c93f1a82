"""The models and endpoint rules of the SDK's package, and no more of them than the services here need.

The SDK also keeps a table of the endpoints of all services, which takes 7 MiB parsed. Each service that the sidecar
calls has endpoint rules of its own, which decide its address. The table then only gives a Region its partition, so a
short one is made of the SDK's table of partitions. A test compares both tables for each Region.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from botocore.loaders import Loader

_ENDPOINTS = "endpoints"
_PARTITIONS = "partitions"
_DEFAULTS = {"hostname": "{service}.{region}.{dnsSuffix}", "protocols": ["https"], "signatureVersions": ["v4"]}


@cache
def package_data() -> Loader:
    """Return the models and endpoint rules of the SDK's package, one for all sessions of the process.

    A loader keeps all that it has parsed. With this one, the same service in another Region costs next to nothing.
    """
    return _PackageData([Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)


class _PackageData(Loader):  # type: ignore[misc]
    """A loader with a short table of endpoints."""

    def load_data_with_path(self, name: str) -> tuple[Any, str]:
        """Return data of the SDK, and the path of its file."""
        if name != _ENDPOINTS:
            found: tuple[Any, str] = super().load_data_with_path(name)
            return found
        partitions, path = super().load_data_with_path(_PARTITIONS)
        return _endpoints(partitions), path


def _endpoints(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return partitions in the form of the SDK's table of endpoints, without services."""
    return {
        "partitions": [
            {
                "partition": partition["id"],
                "dnsSuffix": partition["outputs"]["dnsSuffix"],
                "regionRegex": partition["regionRegex"],
                "regions": partition["regions"],
                "defaults": _DEFAULTS,
                "services": {},
            }
            for partition in data["partitions"]
        ]
    }
