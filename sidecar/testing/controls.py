"""The emulator's control API as objects: the clock, the customers, the faults.

Refuses to know how the emulator was started. A refused request is a `ControlRefused` with the emulator's sentence.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sidecar.http_client import Listener, Response

_TIMEOUT = 30.0
LARGEST = 1 << 30
"""Bytes of an answer: the records and events of a long test are many."""
_SHOWN = 200
_JSON = {"Content-Type": "application/json", "Accept": "application/json"}


class ControlRefused(Exception):
    """The emulator refused a control request; the message names the member, its value and what is allowed."""


class ControlApi:
    """The addresses under `/_emulator` of one emulator."""

    def __init__(self, url: str) -> None:
        self._listener, _ = Listener.of_url(url)

    def get(self, path: str) -> Any:
        """Return what a control address shows."""
        return self._send("GET", path, None)

    def post(self, path: str, members: Mapping[str, object]) -> Any:
        """Send a control request and return its answer."""
        return self._send("POST", path, json.dumps(members))

    def read(self, path: str) -> bytes:
        """Return the body of a control address as it is."""
        return self._listener.get(f"/_emulator/{path}", _TIMEOUT).body

    def _send(self, method: str, path: str, body: str | None) -> Any:
        response = self._listener.send(
            method, f"/_emulator/{path}", _TIMEOUT, headers=_JSON, body=body, largest=LARGEST
        )
        if response.status != 200:
            raise ControlRefused(f"{method} /_emulator/{path}: {response.status}: {_reason(response)}")
        return response.document()


class EmulatedClock:
    """The emulator's clock, which the sidecar follows: the machine's until a test changes it."""

    def __init__(self, api: ControlApi) -> None:
        self._api = api

    @property
    def now(self) -> datetime:
        """The emulated time, aware, in UTC."""
        return datetime.fromisoformat(self._api.get("clock")["now"])

    def set(self, now: datetime) -> None:
        """Set the time; `now` is aware."""
        self._api.post("clock", {"now": now.isoformat()})

    def advance(self, by: timedelta) -> None:
        """Step forward by whole seconds."""
        self._api.post("clock", {"advance": f"{int(by.total_seconds())}s"})

    def run(self, speed: float) -> None:
        """Let `speed` emulated seconds pass in a real one; 0 stops the time."""
        self._api.post("clock", {"speed": speed})


class Customers:
    """Who is subscribed. Without a name it is the account that the pods run in."""

    def __init__(self, api: ControlApi) -> None:
        self._api = api

    def entitle(
        self,
        *,
        customer_identifier: str | None = None,
        customer_aws_account_id: str | None = None,
        license_arn: str | None = None,
        entitlements: Sequence[Mapping[str, Any]] | None = None,
    ) -> str:
        """Subscribe a customer and return a registration token for ResolveCustomer.

        `entitlements` are what GetEntitlements returns, in AWS's members; None leaves them.
        """
        members = _members("entitle", customer_identifier, customer_aws_account_id, license_arn)
        if entitlements is not None:
            members["entitlements"] = list(entitlements)
        token: str = self._api.post("customers", members)["RegistrationToken"]
        return token

    def unsubscribe(
        self,
        *,
        customer_identifier: str | None = None,
        customer_aws_account_id: str | None = None,
        license_arn: str | None = None,
    ) -> None:
        """Unsubscribe a customer; running pods of the account without a name lose MeterUsage, too."""
        members = _members("unsubscribe", customer_identifier, customer_aws_account_id, license_arn)
        self._api.post("customers", members)


class Faults:
    """What goes wrong with the next calls of an operation."""

    def __init__(self, api: ControlApi) -> None:
        self._api = api

    def add(self, operation: str, fault: str, count: int = 1) -> None:
        """Let the next `count` calls of an operation (`*`: of any) fail; faults are `throttle`, a model's error, ..."""
        self._api.post("faults", {"operation": operation, "fault": fault, "count": count})

    def pending(self) -> list[dict[str, Any]]:
        """Return the faults that have not happened yet."""
        faults: list[dict[str, Any]] = self._api.get("faults")["faults"]
        return faults

    def clear(self) -> None:
        """Withdraw all of them."""
        for fault in self.pending():
            self.add(fault["operation"], fault["fault"], 0)


def _reason(response: Response) -> object:
    try:
        document = response.document()
    except ValueError:
        return response.body[:_SHOWN].decode(errors="replace")
    return document.get("detail", document) if isinstance(document, dict) else document


def _members(action: str, identifier: str | None, account: str | None, arn: str | None) -> dict[str, object]:
    named = {"CustomerIdentifier": identifier, "CustomerAWSAccountId": account, "LicenseArn": arn}
    return {"action": action, **{name: value for name, value in named.items() if value is not None}}
