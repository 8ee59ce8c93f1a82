"""What several services need from each other and from the ledger, as protocols."""

from datetime import datetime, timedelta
from typing import Protocol

from sidecar.domain.entitlement.states import Entitlement, Evidence, Reason, State
from sidecar.marketplace.errors import MarketplaceError
from sidecar.services.failed_calls import Explanation


class EvidenceStore(Protocol):
    """Where proof of a registration outlives the process. Bound to one pod."""

    async def load_evidence(self) -> Evidence | None:
        """Return what was kept last, whichever pod, product or key it names."""

    async def save_evidence(self, evidence: Evidence) -> None:
        """Keep `evidence` durably in place of what was there."""

    async def last_accepted_at(self) -> datetime | None:
        """Return when AWS last accepted a record of this pod, or said that it holds one; None when it never did."""


class NoFreeSlot(Exception):
    """A start probe has no hour to lie in: this pod has records of them already."""


class NoSubscription(Exception):
    """AWS has answered a start probe that the buyer has no right to the product."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class SubscriptionProbe(Protocol):
    """Asks AWS whether the buyer has a subscription: by a real record, or by a license."""

    @property
    def proves_record(self) -> bool:
        """Whether AWS holds a record of this pod once the probe has succeeded."""

    async def ask(self) -> None:
        """Return once AWS has proved the subscription.

        Raises:
            NoSubscription: AWS has answered that there is none.
            MarketplaceError: AWS did not take the probe; the next call sends the same again.
            NoFreeSlot: No record can be sent in this hour.
            LedgerUnavailable: The probe could not be frozen.
        """

    def explain(self, error: MarketplaceError, service_account: str | None) -> Explanation:
        """Return what a failed call of `ask` means for the entitlement.

        `service_account` is what the pod runs as in its cluster, namespace/name.
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
