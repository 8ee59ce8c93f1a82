"""The two processes of a test: AWS's side, and a sidecar that uses it, each on a free port."""

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sidecar.http_client import Listener, Response, http_url
from sidecar.testing.controls import LARGEST, ControlApi, Customers, EmulatedClock, Faults
from sidecar.testing.processes import Child

CONFIGURATION: Final[Mapping[str, Any]] = {
    "product": {"code": "0abc123example"},
    "metering": {"dimensions": [{"name": "requests", "aggregation": "sum"}]},
}
"""The product of a test that configures none."""
_SEEDED = frozenset({"customers", "licenses"})
"""Groups that the emulator reads and a sidecar does not have."""
_TIMEOUT = 30.0
_PAGE = 100
"""Records that are on one page."""
_LISTENING = re.compile(r"listening on (http://\S+)")


class MarketplaceEmulator:
    """A running emulator.

    Attributes:
        url: Its address, for `endpoint_url` of an SDK and `marketplace.endpoint_url` of a sidecar.
        clock: Its time.
        customers: Who is subscribed.
        faults: What goes wrong next.
    """

    def __init__(self, folder: Path, configuration: Mapping[str, Any] = CONFIGURATION) -> None:
        """Start it with a sidecar's configuration, which may also list `customers` and `licenses`."""
        seed = folder / "seed.yaml"
        seed.write_text(encode(configuration), encoding="utf-8")
        self._child = Child(["emulator", "--port", "0", "--seed-config", str(seed)], folder / "emulator.log")
        with self._child.ended_on_error():
            found = self._child.wait_for("the emulator's address", lambda: _LISTENING.search(self._child.output))
        self.url = found[1]
        self._api = ControlApi(self.url)
        self.clock = EmulatedClock(self._api)
        self.customers = Customers(self._api)
        self.faults = Faults(self._api)

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead any AWS SDK to the emulator, with keys that it takes."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "emulator",
            "AWS_SECRET_ACCESS_KEY": "emulator",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def records(self) -> list[dict[str, Any]]:
        """Return the usage that AWS's side has accepted."""
        records: list[dict[str, Any]] = self._api.get("records")["records"]
        return records

    def events(self) -> list[dict[str, Any]]:
        """Return the calls so far, in CloudTrail's form."""
        events: list[dict[str, Any]] = self._api.get("events")["Records"]
        return events

    def public_key(self, version: int = 1) -> bytes:
        """Return the product's public key as PEM."""
        return self._api.read(f"public-keys/{version}.pem")

    def control(self, path: str, members: Mapping[str, object] | None = None) -> Any:
        """Send any control request, such as `control("licenses", {...})`; without members it is a GET."""
        return self._api.get(path) if members is None else self._api.post(path, members)

    def reset(self) -> None:
        """Return to the seed: no records, no faults, the machine's time. The seed's keys stay."""
        self._api.post("reset", {})

    def close(self) -> None:
        """End it."""
        self._child.kill()


class MarketplaceSidecar:
    """A running sidecar.

    Attributes:
        url: The local API, for the app under test.
        probes_url: The probes and /metrics.
    """

    def __init__(
        self, folder: Path, emulator: MarketplaceEmulator, configuration: Mapping[str, Any] = CONFIGURATION
    ) -> None:
        """Start it with an emulator as AWS, and return once its API takes requests.

        Keys of the configuration that name a file or an address of the test's own are replaced. Records are submitted
        as soon as their hour has ended, unless `metering.settle` or `metering.spread` is set.
        """
        path = folder / "config.yaml"
        document = _beside(emulator, folder, configuration)
        path.write_text(encode(document), encoding="utf-8")
        self._child = Child(["run", "--config", str(path)], folder / "sidecar.log", {"POD_UID": f"test-{uuid.uuid4()}"})
        with self._child.ended_on_error():
            started = self._child.wait_for("the sidecar's start", self._started)
        self.url, self.probes_url = (_local(started[name]) for name in ("api", "probes"))

    def get(self, path: str) -> Any:
        """Return the JSON of a GET to the local API."""
        return self._send("GET", path, None).document()

    def post(self, path: str, message: object) -> Response:
        """Return the response, of any status, to a POST of JSON to the local API."""
        return self._send("POST", path, json.dumps(message))

    def wait_entitled(self) -> dict[str, Any]:
        """Return the entitlement once the gate is open."""

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.get("/v1/entitlement")
            return found if found["entitled"] else None

        return self._child.wait_for("the entitlement", look)

    def wait_records(self, count: int = 1) -> list[dict[str, Any]]:
        """Return the accepted records of usage once there are `count` of them. Move the clock before.

        The start probe of a custom price is not among them.
        """

        def look() -> list[dict[str, Any]] | None:
            found = [record for record in self._accepted() if record["kind"] != "probe"]
            return found if len(found) >= count else None

        return self._child.wait_for(f"{count} accepted records", look)

    def stop(self) -> int:
        """End it as the kubelet does, by SIGTERM; it submits what is open. Return its exit code."""
        return self._child.stop()

    def close(self) -> None:
        """End it without its handlers, if it still runs."""
        self._child.kill()

    def _accepted(self) -> Iterator[dict[str, Any]]:
        """Yield the accepted records of every page."""
        after = ""
        while True:
            page = self.get(f"/v1/records?status=accepted&limit={_PAGE}{after}")
            yield from page["records"]
            if page["next"] is None:
                return
            after = f"&after={page['next']}"

    def _send(self, method: str, path: str, body: str | None) -> Response:
        listener, _ = Listener.of_url(self.url)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        return listener.send(method, path, _TIMEOUT, headers=headers, body=body, largest=LARGEST)

    def _started(self) -> dict[str, Any] | None:
        for line in self._child.output.splitlines():
            if line.startswith("{") and '"sidecar.started"' in line:
                started: dict[str, Any] = json.loads(line)
                return started
        return None


def encode(configuration: Mapping[str, Any]) -> str:
    """Return a configuration as YAML, of which JSON is a part; the same one is always the same text."""

    def plain(value: object) -> str:
        return value.isoformat() if isinstance(value, datetime) else str(value)

    return json.dumps(configuration, default=plain, sort_keys=True)


def _beside(emulator: MarketplaceEmulator, folder: Path, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a sidecar that uses an emulator, with its files in `folder`; writes the key."""
    document = {name: deepcopy(group) for name, group in configuration.items() if name not in _SEEDED}
    version = document.setdefault("product", {}).get("public_key_version") or 1
    key = folder / f"{version}.pem"
    key.write_bytes(emulator.public_key(version))
    document["product"]["public_keys"] = {str(version): str(key)}
    document["metering"] = {"settle": "0s", "spread": "0s", **document.get("metering", {})}
    document["ledger"] = {**document.get("ledger", {}), "path": str(folder / "ledger.db")}
    document["api"] = {"host": "127.0.0.1", "port": 0}
    document["probes"] = {"host": "127.0.0.1", "port": 0}
    document["marketplace"] = {"mode": "emulator", "endpoint_url": emulator.url}
    document["log"] = {"level": "info", "format": "json"}
    return document


def _local(address: str) -> str:
    """Return the URL of a loopback address as the log has it, such as `127.0.0.1:40123`."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    return http_url(host.strip("[]"), int(port))
