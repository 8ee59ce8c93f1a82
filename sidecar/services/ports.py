"""What several services need from each other and from the ledger, as protocols."""

from datetime import datetime
from typing import Protocol

from sidecar.domain.entitlement.states import Entitlement, Evidence


class EvidenceStore(Protocol):
    """Where proof of a registration outlives the process. Bound to one pod."""

    async def load_evidence(self) -> Evidence | None:
        """Return what was kept last, whichever pod, product or key it names."""

    async def save_evidence(self, evidence: Evidence) -> None:
        """Keep `evidence` durably in place of what was there."""

    async def last_accepted_at(self) -> datetime | None:
        """Return when AWS last accepted a record of this pod; None when it never did."""


class EntitlementReader(Protocol):
    """The entitlement as the other services see it."""

    def entitlement(self) -> Entitlement:
        """Return the entitlement judged at this instant."""
