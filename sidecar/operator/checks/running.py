"""The sidecar that may be running beside the one who asks: what its `/v1/status` says.

Asks the configured local API only, once, over the unix socket where there is one. Whatever is no status counts as no
sidecar.
"""

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.settings import ApiSettings

_TIMEOUT = 2.0
_LARGEST = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RunningSidecar:
    """What a running sidecar says of itself."""

    document: Mapping[str, Any]

    def uses(self, ledger: Path) -> bool:
        """Tell whether it works on this ledger, so that it is the configured one."""
        shown = self.document.get("ledger")
        return isinstance(shown, dict) and shown.get("path") == str(ledger)

    def faults(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield what was found and the cure of each of its faults whose code begins with `prefix`."""
        for fault in self.document.get("faults") or ():
            match fault:
                case {"code": str(code), "detail": str(detail), "cure": str(cure)} if code.startswith(prefix):
                    yield detail, cure

    @property
    def registered(self) -> bool:
        """It has AWS's answer to a registration."""
        entitlement = self.document.get("entitlement")
        return isinstance(entitlement, dict) and entitlement.get("registered_at") is not None


def find_running(api: ApiSettings) -> RunningSidecar | None:
    """Return the sidecar that answers at the configured local API, None when none does."""
    if api.socket is None and api.port == 0:
        return None
    try:
        status, body = _get(api)
        document = json.loads(body) if status == http.HTTPStatus.OK else None
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return None
    return RunningSidecar(document) if isinstance(document, dict) and "conservation" in document else None


def _get(api: ApiSettings) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(api.host, api.port, timeout=_TIMEOUT)
    try:
        if api.socket is not None:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(_TIMEOUT)
            connection.sock.connect(str(api.socket))
        token = None if api.token_file is None else api.token_file.read_text("ascii").strip()
        connection.request("GET", "/v1/status", headers={} if token is None else {"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, answer.read(_LARGEST)
    finally:
        connection.close()
