"""The sidecar that may already run in this pod, as its `/v1/status` shows it.

Calls the configured local API once. An answer that is not a status counts as no sidecar.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.api_client import NoStatus, fetch_status
from sidecar.settings import ApiSettings


@dataclass(frozen=True, slots=True)
class RunningSidecar:
    """The status document of a running sidecar."""

    document: Mapping[str, Any]

    def uses(self, ledger: Path) -> bool:
        """Return whether it uses this ledger, and so is the configured one."""
        shown = self.document.get("ledger")
        return isinstance(shown, dict) and shown.get("path") == str(ledger)

    def faults(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield detail and cure of each of its faults with a code that begins with `prefix`."""
        for code, detail, cure in self.all_faults():
            if code.startswith(prefix):
                yield detail, cure

    def all_faults(self) -> Iterator[tuple[str, str, str]]:
        """Yield code, what was found and cure of each of its faults."""
        for fault in self.document.get("faults") or ():
            match fault:
                case {"code": str(code), "detail": str(detail), "cure": str(cure)}:
                    yield code, detail, cure
                case _:
                    continue

    def last_sample(self, dimension: str) -> str | None:
        """Return when the source of a dimension has brought its last sample in this process; None if it has not."""
        for source in self.document.get("sources") or ():
            match source:
                case {"dimension": str(name), "last_sample_at": str(at)} if name == dimension:
                    return at
                case _:
                    continue
        return None

    @property
    def state(self) -> str | None:
        """The state of its entitlement."""
        state = self._entitlement.get("state")
        return state if isinstance(state, str) else None

    @property
    def registered(self) -> bool:
        """It has AWS's answer to a registration."""
        return self._entitlement.get("registered_at") is not None

    @property
    def reason(self) -> str | None:
        """The stable word for the reason of its entitlement."""
        reason = self._entitlement.get("reason")
        return reason if isinstance(reason, str) else None

    @property
    def _entitlement(self) -> Mapping[str, Any]:
        entitlement = self.document.get("entitlement")
        return entitlement if isinstance(entitlement, dict) else {}


def find_running(api: ApiSettings) -> RunningSidecar | None:
    """Return the sidecar that answers at the configured local API, None when none does."""
    if api.socket is None and api.port == 0:
        return None
    try:
        return RunningSidecar(fetch_status(api))
    except NoStatus:
        return None
