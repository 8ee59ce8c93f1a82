"""What several services need from each other and from the ledger, as protocols."""

from datetime import datetime, timedelta
from typing import Protocol

from sidecar.domain.entitlement.states import Entitlement, Evidence, State


class EvidenceStore(Protocol):
    """Where proof of a registration outlives the process. Bound to one pod."""

    async def load_evidence(self) -> Evidence | None:
        """Return what was kept last, whichever pod, product or key it names."""

    async def save_evidence(self, evidence: Evidence) -> None:
        """Keep `evidence` durably in place of what was there."""

    async def last_accepted_at(self) -> datetime | None:
        """Return when AWS last accepted a record of this pod, or said that it holds one; None when it never did."""


class NoFreeSlot(Exception):  # noqa: N818 - a state that the next hour ends
    """A start probe has no hour to lie in: this pod has records of them already."""


class SubscriptionProbe(Protocol):
    """Asks AWS by a real record whether the buyer has a subscription."""

    async def ask(self) -> None:
        """Return once AWS holds a record of this pod.

        Raises:
            MarketplaceError: AWS did not take the probe; the next call sends the same again.
            NoFreeSlot: No record can be sent in this hour.
            LedgerUnavailable: The probe could not be frozen.
        """


class EntitlementReader(Protocol):
    """The entitlement as the other services see it."""

    def entitlement(self) -> Entitlement:
        """Return the entitlement judged at this instant."""


class PodGate(EntitlementReader, Protocol):
    """The gate of this pod as the status sees it."""

    @property
    def entitled_once(self) -> bool:
        """Whether the pod has been entitled in this process's life."""

    @property
    def rotation_due(self) -> datetime | None:
        """When the public key version in use expired, as AWS reported it; None while it is current."""


class Gatekeeper(PodGate, Protocol):
    """What proves the right of this pod, and keeps the gate."""

    async def run(self) -> None:
        """Ask until cancelled.

        Raises:
            DeniedExit: The pod is denied, and the seller wants the process to end then (sidecar.services.registrar).
        """

    async def wait_while(self, state: State, timeout: timedelta) -> Entitlement:
        """Return the entitlement as soon as its state differs from `state`, or after `timeout` of real time."""

    async def attest(self, nonce: str) -> str:
        """Return AWS's signed token over the app's own nonce.

        Raises:
            SlowDown, AttestationFailed: See sidecar.domain.entitlement.states.
        """

    async def on_submission(self, *, accepted: bool) -> None:
        """Note that AWS took this pod's usage, or refused it because the buyer is not entitled."""
