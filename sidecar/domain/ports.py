"""What the services and listeners need from each other and from the world, as protocols.

Time is an argument or comes from a `Clock`; nothing else in the product reads a clock of its own for a decision.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from sidecar.domain.entitlement import Entitlement, Evidence, State
from sidecar.domain.status import BucketView, RecordPage, RecordQuery, Status, Verdict
from sidecar.domain.usage import Receipt, UsageBatch


class Clock(Protocol):
    """Wall time and waiting. In emulator mode both follow the emulator's clock."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""

    async def sleep_until(self, instant: datetime) -> None:
        """Return once `now()` has reached `instant`, judged anew whenever the clock is stepped or sped up."""


class SignatureCheck(Protocol):
    """The seller's public keys."""

    def verify(self, signing_input: bytes, signature: bytes, version: int) -> bool:
        """Tell whether `signature` is the RSASSA-PSS SHA-256 one of `signing_input` under the key of `version`.

        Raises:
            KeyError: There is no key of that version.
        """


class EvidenceStore(Protocol):
    """Where proof of a registration outlives the process. Bound to one pod."""

    async def load_evidence(self) -> Evidence | None:
        """Return what was kept last, whichever pod, product or key it names."""

    async def save_evidence(self, evidence: Evidence) -> None:
        """Keep `evidence` durably in place of what was there."""

    async def last_accepted_at(self) -> datetime | None:
        """Return when AWS last accepted a record of this pod; None when it never did."""


class Gate(Protocol):
    """The entitlement as the listeners see it."""

    def entitlement(self) -> Entitlement:
        """Return the entitlement judged at this instant."""

    async def wait_while(self, state: State, timeout: timedelta) -> Entitlement:
        """Return the entitlement as soon as its state differs from `state`, or after `timeout` of real time."""

    async def attest(self, nonce: str) -> str:
        """Return AWS's signed token over the app's own nonce.

        Raises:
            SlowDown: Called again too early (sidecar.domain.entitlement).
            AttestationFailed: AWS gave no valid signature; says why (sidecar.domain.entitlement).
        """


class Intake(Protocol):
    """Takes usage."""

    async def take(self, batch: UsageBatch) -> Receipt:
        """Return once the batch is on disk.

        Raises:
            UsageRefused: One of its kinds; nothing was stored.
        """


class Books(Protocol):
    """The ledger as its readers see it."""

    async def open_buckets(self) -> Sequence[BucketView]:
        """Return the open buckets, oldest hour first."""

    async def records(self, query: RecordQuery) -> RecordPage:
        """Return one page of metering records, oldest first."""


class Health(Protocol):
    """What the probes answer."""

    def alive(self) -> Verdict:
        """Tell whether the process and its loops run."""

    def started(self) -> Verdict:
        """Tell whether the pod has been entitled once in this process's life."""

    def ready(self) -> Verdict:
        """Tell whether the pod is entitled now and not gated by metering or the ledger."""

    async def status(self) -> Status:
        """Return everything an operator asks first."""
