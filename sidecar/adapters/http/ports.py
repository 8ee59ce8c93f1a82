"""What the listeners need from the services and the ledger, as protocols."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

from sidecar.domain.entitlement.allowances import Allowance, CheckoutRequest
from sidecar.domain.entitlement.checkouts import Checkout
from sidecar.domain.entitlement.states import Entitlement, State
from sidecar.domain.metering.events import Receipt, UsageBatch, UsageRefused
from sidecar.domain.metering.exports import Export
from sidecar.domain.status import BucketView, ProbeAnswer, RecordPage, RecordQuery, Status


class Gate(Protocol):
    """The entitlement as the listeners see it."""

    def entitlement(self) -> Entitlement:
        """Return the entitlement judged at this instant."""

    async def wait_while(self, state: State, timeout: timedelta) -> Entitlement:
        """Return the entitlement as soon as its state differs from `state`, or after `timeout` of real time."""

    async def attest(self, nonce: str) -> str:
        """Return AWS's signed token over the app's own nonce.

        Raises:
            SlowDown: Called again too early (sidecar.domain.entitlement.states).
            AttestationFailed: AWS gave no valid signature; with the reason (sidecar.domain.entitlement.states).
        """


class Intake(Protocol):
    """Takes usage."""

    def take(self, batch: UsageBatch) -> asyncio.Future[Receipt]:
        """Return a future that has its receipt once the batch is on disk.

        Raises:
            UsageRefused: One of its kinds; nothing was stored. The future may have it as its exception instead.
        """

    def submit(self, batch: UsageBatch, answer: Callable[[Receipt | UsageRefused], None]) -> None:
        """Do what `take` does without a future: `answer` gets the receipt once the batch is on disk, or the refusal."""


class ExportIntake(Protocol):
    """Takes the samples of OpenTelemetry exports."""

    def instant(self) -> int:
        """Return epoch microseconds of the clock that the app dates its data points by."""

    async def take(self, export: Export) -> None:
        """Return once the samples, and what they bill, are on disk.

        Raises:
            UsageRefused: One of its kinds; nothing was stored.
        """


class Licenses(Protocol):
    """The license as the app uses it."""

    def allowance(self, name: str, requested: int) -> Allowance:
        """Return whether the license grants `requested` of an entitlement, from memory.

        Raises:
            CheckoutRefused: One of its kinds (sidecar.domain.entitlement.allowances).
        """

    async def check_out(self, request: CheckoutRequest) -> tuple[Checkout, bool]:
        """Return the checkout that AWS holds, and whether this request made it; raises as `allowance` does."""

    async def confirm(self, id_: str) -> Checkout:
        """Note that the app still uses a checkout, and return it; raises as `allowance` does."""

    async def give_back(self, id_: str) -> None:
        """Return a seat; raises as `allowance` does."""

    async def listing(self) -> Sequence[Checkout]:
        """Return the app's checkouts, those that are live first."""


class LedgerReader(Protocol):
    """The ledger as its readers see it."""

    async def open_buckets(self, after: str | None = None) -> Sequence[BucketView]:
        """Return open buckets, oldest hour first: `MOST_BUCKETS`, and one more where there are more.

        Args:
            after: The greatest `key` of the page before.
        """

    async def records(self, query: RecordQuery) -> RecordPage:
        """Return one page of metering records, oldest first."""


class Health(Protocol):
    """What the probes answer."""

    def alive(self) -> ProbeAnswer:
        """Return whether the process and its loops run."""

    def started(self) -> ProbeAnswer:
        """Return whether the pod has been entitled once in this process's life."""

    def ready(self) -> ProbeAnswer:
        """Return whether the pod is entitled now and not gated by metering or the ledger."""

    async def status(self) -> Status:
        """Return everything an operator asks first."""
