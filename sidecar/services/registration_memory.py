"""What an earlier process of this pod left of its registration, and how much of it counts now.

It may be read late, because the ledger could not be read before: AWS's answers since then have priority, but a
suspension or a refusal that the ledger has is not forgotten.
"""

from dataclasses import replace
from datetime import datetime

from sidecar.domain.entitlement.registration import Registration, Standing
from sidecar.domain.entitlement.states import Evidence
from sidecar.domain.policy import EntitlementCheck
from sidecar.services.ports import SubscriptionProbe
from sidecar.services.proof import Prover
from sidecar.settings import EntitlementSettings


class RegistrationMemory:
    """Judges the evidence that the ledger has; `probe` is None where the settings need no start probe."""

    def __init__(self, settings: EntitlementSettings, prover: Prover, probe: SubscriptionProbe | None) -> None:
        self._settings = settings
        self._prover = prover
        self._probe = probe

    def recall(
        self, registration: Registration, evidence: Evidence | None, accepted_at: datetime | None, now: datetime
    ) -> Registration:
        """Return the registration with what counts of `evidence`, and of the last record that AWS took."""
        if self._settings.check is EntitlementCheck.NONE:
            return registration  # nothing was asked, and no earlier answer closes the gate either
        if evidence is not None and not self._prover.concerns(evidence):
            evidence = None
        if evidence is None and self._probe is not None and accepted_at is not None:
            # The record alone proves the subscription, so a refusal must have something to void.
            evidence = self._prover.metered(accepted_at)
        if evidence is None:
            return registration
        if not evidence.follows_records:
            evidence = _follow_records(evidence, accepted_at, now)
        if registration.standing is not Standing.ASKING:
            return registration.recalled_late(evidence)
        if self._probe is not None:
            return self._recall_probed(registration, self._probe, evidence, accepted_at, now)
        return registration.recalled(evidence, self._settings.remember_for, self._proved_at(evidence, accepted_at))

    def _recall_probed(
        self,
        registration: Registration,
        probe: SubscriptionProbe,
        evidence: Evidence,
        accepted_at: datetime | None,
        now: datetime,
    ) -> Registration:
        """Recall what AWS took of this pod, or the license that proved the subscription.

        Evidence without either is a dry run's, and counts as none.
        """
        licensed_at = None if probe.proves_record else evidence.licensed_at
        newest = max((proof for proof in (accepted_at, licensed_at) if proof is not None), default=None)
        if newest is None:
            return registration
        proved_at = self._proved_at(evidence, newest)
        return registration.recalled(evidence, self._settings.remember_for, proved_at, trusted_at=now)

    def _proved_at(self, evidence: Evidence, accepted_at: datetime | None) -> datetime | None:
        if self._settings.check is not EntitlementCheck.METER:
            return self._prover.proved_at(evidence)
        # A dry run proves no subscription; what AWS accepted before it refused the pod proves nothing any more.
        return accepted_at if evidence.refused_at is None else None


def _follow_records(evidence: Evidence, accepted_at: datetime | None, now: datetime) -> Evidence:
    """Return evidence of an older version without what AWS has lifted since: only its times give the order.

    A proof from the future shows a wrong clock and lifts nothing.
    """

    def still(at: datetime | None, *proofs: datetime | None) -> datetime | None:
        return None if at is not None and any(proof and at < proof <= now for proof in proofs) else at

    return replace(
        evidence,
        suspended_at=still(evidence.suspended_at, accepted_at),
        refused_at=still(evidence.refused_at, accepted_at, evidence.licensed_at),
        follows_records=True,
    )
