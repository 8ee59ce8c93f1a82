"""Renews the proof of a registered pod, and decides nothing about its entitlement.

A renewal that fails, is refused or does not verify changes nothing: a later call of a registered pod is no new check of
the subscription, and the earlier proof stays good until its own time is over.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from structlog.typing import FilteringBoundLogger

from sidecar.domain.entitlement.renewal import first_wait, longest_wait, next_wait, wait_after_failure
from sidecar.domain.entitlement.states import Evidence
from sidecar.domain.entitlement.token import Refusal
from sidecar.marketplace.errors import MarketplaceError
from sidecar.services.failed_calls import explain_refusal, interpret
from sidecar.services.proof import Prover


class Renewal:
    """When the proof is renewed, and the call that does it.

    A proof counts for `remember_for`; `random` is uniform in [0, 1).
    """

    def __init__(
        self, prover: Prover, remember_for: timedelta, random: Callable[[], float], log: FilteringBoundLogger
    ) -> None:
        self._prover = prover
        self._remember_for = remember_for
        self._random = random
        self._log = log
        self._due_at: datetime | None = None

    def begin(self, now: datetime) -> None:
        """The pod was registered now."""
        self._due_at = _after(now, first_wait(self._remember_for, self._random()))

    def due_at(self, now: datetime) -> datetime | None:
        """Return when the next renewal is due, None when there is none; a clock that steps back does not delay it."""
        if self._due_at is not None:
            self._due_at = min(self._due_at, now + longest_wait(self._remember_for))
        return self._due_at

    async def renew(self, now: Callable[[], datetime]) -> Evidence | None:
        """Return a new proof of the registered pod, None when there is none; either way the next renewal is set."""
        try:
            evidence = await self._prover.register_pod()
        except Refusal as refusal:
            self._fail(now(), "signature-invalid", refusal.code, explain_refusal(refusal))
        except MarketplaceError as error:
            meaning = interpret(error)
            self._fail(now(), meaning.reason, error.code, meaning.detail)
        else:
            self._due_at = _after(now(), next_wait(self._remember_for, self._random()))
            self._log.info("registration.renewed")
            return evidence
        return None

    def _fail(self, now: datetime, reason: str, code: str, detail: str) -> None:
        self._due_at = now + wait_after_failure(self._random())
        self._log.warning(
            "registration.renewal_failed", reason=reason, code=code, detail=detail, next_at=self._due_at.isoformat()
        )


def _after(now: datetime, wait: timedelta | None) -> datetime | None:
    return None if wait is None else now + wait
