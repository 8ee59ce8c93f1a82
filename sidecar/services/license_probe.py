"""The start probe of a custom price by License Manager: proves the subscription by a license, and reports no usage.

The license proves the right by a checkout of `AWS::Marketplace::Usage`, which consumes nothing and is returned
immediately. A license without it proves the right by another entitlement without a count; one that has none is proof
itself. One call of `ask` is one attempt; the registrar decides when to ask.
"""

import asyncio
from datetime import timedelta
from typing import Final

from sidecar.domain.entitlement.license_policy import LicensePolicy
from sidecar.domain.entitlement.licenses import License
from sidecar.domain.entitlement.licensing import refusal
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.ports import Clock
from sidecar.marketplace.errors import MarketplaceError, UnknownAnswer
from sidecar.services.checkout_keeper import CheckoutKeeper
from sidecar.services.failed_calls import Explanation
from sidecar.services.license_failures import explain
from sidecar.services.license_finder import LicenseFinder
from sidecar.services.license_proof import LicenseProver, ProofOutcome
from sidecar.services.ports import NoSubscription

LEDGER_RETRY: Final = timedelta(seconds=5)
_MOST_CHECKOUTS: Final = 2
"""Of one attempt: the one that an earlier process left, and a new one."""


class LicenseProbe:
    """The probe of one pod. Implements `sidecar.services.ports.SubscriptionProbe`.

    The checkouts are of this probe alone. With a custom price the policy requires nothing.
    """

    proves_record = False
    """AWS holds no record after it."""

    def __init__(
        self, *, finder: LicenseFinder, checkouts: CheckoutKeeper, sku: str, policy: LicensePolicy, clock: Clock
    ) -> None:
        self._finder = finder
        self._checkouts = checkouts
        self._sku = sku
        self._policy = policy
        self._clock = clock
        self._prover = LicenseProver(checkouts, policy)
        self._loaded = False
        self._proved = asyncio.Event()

    async def ask(self) -> None:
        """Return once a good license has proved the right.

        Raises:
            NoSubscription: Neither the pod's Region nor us-east-1 has a good license.
            MarketplaceError: License Manager gave no answer that decides.
            LedgerUnavailable: The checkout could not be stored before it is sent.
        """
        if not self._loaded:
            await self._checkouts.load(())
            self._loaded = True
        license_ = await self._find()
        for _ in range(_MOST_CHECKOUTS):
            proof = await self._prover.prove(license_, seated=False)
            if proof.outcome is ProofOutcome.PROVEN:
                self._proved.set()
                return
            if proof.error is not None:
                raise proof.error
        raise UnknownAnswer("the checkout that proves the license is not answered yet")

    def explain(self, error: MarketplaceError, service_account: str | None) -> Explanation:
        """Return what a failed call of `ask` means. No failure closes the gate."""
        return explain(error, service_account)

    async def run(self) -> None:
        """Repeat the returns that failed, until cancelled: the answer to one must not delay the gate."""
        while True:
            await self._proved.wait()
            self._proved.clear()
            while (due := self._checkouts.due_at(self._clock.now())) is not None:
                await self._clock.sleep_until(due)
                try:
                    await self._checkouts.run_due()
                except LedgerUnavailable:
                    await self._clock.sleep_until(self._clock.now() + LEDGER_RETRY)  # the ledger logs it

    async def _find(self) -> License:
        answer = await self._finder.find()
        if answer.license is not None:
            return answer.license
        if answer.error is not None:
            raise answer.error
        raise NoSubscription(*refusal(answer.survey.nearest(), self._sku, self._policy))
