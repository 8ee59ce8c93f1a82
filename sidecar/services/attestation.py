"""Attestations: AWS Marketplace's signed token over a nonce of the app, which the app verifies itself.

An attestation does not change the pod's entitlement; the registrar owns that. The sidecar verifies each token before it
returns it, and limits the calls to the account's quota.
"""

import math
import time
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from sidecar.domain.entitlement.states import AttestationFailed, SlowDown
from sidecar.domain.entitlement.token import Refusal
from sidecar.marketplace.errors import MarketplaceError
from sidecar.services.failed_calls import explain_refusal, interpret
from sidecar.services.proof import Prover

SPACING = 10.0
"""Real seconds between two attestations, however fast the clock of entitlement goes: the quota is AWS's."""


class Attestor:
    """Gets tokens over the app's nonces."""

    def __init__(
        self, prover: Prover, log: FilteringBoundLogger, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._prover = prover
        self._log = log
        self._monotonic = monotonic
        self._asked_at = -math.inf

    async def attest(self, nonce: str) -> str:
        """Return AWS's signed token over `nonce`.

        Raises:
            SlowDown: Called again within `SPACING`, whatever became of the call before.
            AttestationFailed: AWS gave no valid signature; names the reason.
        """
        now = self._monotonic()
        left = self._asked_at + SPACING - now
        if left > 0:
            raise SlowDown(math.ceil(left))
        self._asked_at = now
        try:
            return (await self._prover.register(nonce)).signature
        except Refusal as refusal:
            self._log.error("registration.attestation_refused", rule=refusal.code, detail=refusal.sentence)
            raise AttestationFailed(explain_refusal(refusal)) from refusal
        except MarketplaceError as error:
            meaning = interpret(error)
            self._log.warning("registration.attestation_failed", reason=meaning.reason, code=error.code)
            raise AttestationFailed(meaning.detail) from error
