"""The registration of this pod with AWS Marketplace: a pure state machine.

`Registration` is what is known, and changes only by its named transitions; `judge` turns it into the entitlement of
one instant and is asked at every read, because a memory runs out and a wait becomes too long without anybody acting.
Nothing here calls, waits or stores.

- Only an explicit answer opens or closes the gate. Throttling, faults and silence never close it.
- A wrong signature is a refusal. It is asked again as seldom as any other one and with a fresh nonce, so only a
  right signature over that nonce gets the pod out of it.
- What MeterUsage refused only MeterUsage lifts: a later RegisterUsage of the same pod never raises and proves nothing.
- A refusal voids the memory of earlier processes, so a restart cannot bypass it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from sidecar.domain.entitlement.states import CLOCK_SKEW, Entitlement, EntitlementSource, Evidence, Reason, State
from sidecar.domain.timestamps import render


class Standing(StrEnum):
    """The last answer of AWS Marketplace about the pod in this process."""

    ASKING = "asking"  # nothing, or nothing that decides
    GRANTED = "granted"  # yes, or no check is configured
    REFUSED = "refused"  # no, or an answer with a wrong signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What is known about the pod's registration. Every transition takes the instant at which it happened."""

    product_code: str
    public_key_version: int
    source: EntitlementSource
    retry_for: timedelta
    """How long an answer may be missing before `pending` becomes `unavailable`."""
    asking_since: datetime
    since: datetime
    """When the standing, or a suspension's end, began."""
    standing: Standing = Standing.ASKING
    reason: Reason = Reason.REGISTERING
    detail: str = "AWS Marketplace has been asked and has not answered yet."
    cure: str = ""
    """See Entitlement."""
    evidence: Evidence | None = None
    """Of this pod and product; made now or by an earlier process."""
    memory_from: datetime | None = None
    """When AWS gave the newest proof that an earlier process left; None if there is none that holds."""
    memory_until: datetime | None = None
    """Until when that proof entitles; None if it does not."""
    faulted_at: datetime | None = None
    """The first fault while asking. The memory counts from then on, because a refusal has priority."""

    @property
    def suspended_at(self) -> datetime | None:
        """Since when MeterUsage refuses the pod."""
        return None if self.evidence is None else self.evidence.suspended_at

    def recalled(
        self,
        evidence: Evidence,
        remember_for: timedelta,
        proved_at: datetime | None,
        *,
        trusted_at: datetime | None = None,
    ) -> Self:
        """An earlier process of this pod left `evidence`, which AWS proved at `proved_at`, or which proves nothing.

        From `trusted_at` on it counts without a fault: AWS judges a pod once, so there is nothing to ask again.
        """
        if proved_at is None or not remember_for:
            return replace(self, evidence=evidence, memory_from=None, memory_until=None)
        return replace(
            self,
            evidence=evidence,
            memory_from=proved_at,
            memory_until=proved_at + remember_for,
            faulted_at=self.faulted_at or trusted_at,
        )

    def recalled_late(self, evidence: Evidence) -> Self:
        """An earlier process left `evidence`, and AWS has answered before it could be read.

        The answer has priority. A suspension continues; a refusal voids the earlier proof.
        """
        match self.standing:
            case Standing.GRANTED if self.evidence is not None:
                suspended_at = self.suspended_at or evidence.suspended_at
                refused_at = None if _is_proof(self.evidence) else evidence.refused_at
                return replace(self, evidence=replace(self.evidence, suspended_at=suspended_at, refused_at=refused_at))
            case Standing.REFUSED if self.evidence is None:
                return replace(self, evidence=_voided(evidence, self.since))
            case _:
                return self

    def remembers(self, now: datetime) -> bool:
        """Return whether the memory counts at `now`, so that AWS is not asked yet."""
        proved_at, until = self.memory_from, self.memory_until
        if self.standing is not Standing.ASKING or self.faulted_at is None or proved_at is None or until is None:
            return False
        return _holds(proved_at, until, now)

    def granted(self, reason: Reason, detail: str, evidence: Evidence | None, now: datetime) -> Self:
        """AWS Marketplace granted the registration, as `evidence` proves; a suspension continues."""
        return replace(
            self,
            standing=Standing.GRANTED,
            since=now,
            reason=reason,
            detail=detail,
            evidence=None if evidence is None else self._succeed(evidence),
            memory_from=None,
            memory_until=None,
        )

    def renewed(self, evidence: Evidence) -> Self:
        """AWS Marketplace signed a newer proof for the registered pod; nothing else changes, a suspension continues."""
        if self.standing is not Standing.GRANTED:
            return self
        return replace(self, evidence=self._succeed(evidence))

    def refused(self, reason: Reason, detail: str, now: datetime, cure: str = "") -> Self:
        """AWS Marketplace refused, or another server answered in its name."""
        evidence = self.evidence
        if evidence is not None and self.standing is not Standing.REFUSED:
            evidence = _voided(evidence, now)
        since = self.since if self.standing is Standing.REFUSED else now
        return replace(
            self,
            standing=Standing.REFUSED,
            since=since,
            reason=reason,
            detail=detail,
            cure=cure,
            evidence=evidence,
            memory_from=None,
            memory_until=None,
        )

    def faulted(self, reason: Reason, detail: str, now: datetime, cure: str = "") -> Self:
        """A transient failure. Changes nothing unless the first answer is still pending."""
        if self.standing is not Standing.ASKING:
            return self
        return replace(self, reason=reason, detail=detail, cure=cure, faulted_at=self.faulted_at or now)

    def suspended(self, reason: Reason, detail: str, now: datetime) -> Self:
        """MeterUsage refused. A pod that never was entitled cannot be suspended: it is denied."""
        if self.evidence is None:
            return self.refused(reason, detail, now)
        if self.suspended_at is not None:
            return self
        return replace(self, evidence=replace(self.evidence, suspended_at=now))

    def restored(self, now: datetime) -> Self:
        """MeterUsage took a record."""
        if self.evidence is None or self.evidence.recorded() == self.evidence:
            return self
        ends = self.suspended_at is not None and self.standing is Standing.GRANTED
        return replace(self, since=now if ends else self.since, evidence=self.evidence.recorded())

    def _succeed(self, evidence: Evidence) -> Evidence:
        """Return `evidence` with what only an accepted record lifts; a proof outdates a refusal."""
        refused_at = None if _is_proof(evidence) or self.evidence is None else self.evidence.refused_at
        return replace(evidence, suspended_at=self.suspended_at, refused_at=refused_at)


def _is_proof(evidence: Evidence) -> bool:
    """Return whether AWS's signature or a license proves the subscription; of a record `restored` knows."""
    return bool(evidence.signature) or evidence.licensed_at is not None


def _voided(evidence: Evidence, now: datetime) -> Evidence:
    return replace(evidence, nonce="", signature="", refused_at=now)


def judge(registration: Registration, now: datetime) -> Entitlement:
    """Return the entitlement at `now`. Nonce and signature are included only while the pod is entitled."""
    match registration.standing:
        case Standing.REFUSED:
            return _answer(registration, State.DENIED, registration.since)
        case _ if registration.suspended_at is not None:
            return replace(
                _answer(registration, State.SUSPENDED, registration.suspended_at),
                reason=Reason.CUSTOMER_NOT_ENTITLED,
                detail=f"AWS Marketplace refuses this pod's usage since {render(registration.suspended_at)}. Once the "
                "buyer has subscribed again, the next metering record that AWS takes opens the gate.",
                cure="",
            )
        case Standing.GRANTED:
            return _answer(registration, State.ENTITLED, registration.since)
        case Standing.ASKING:
            return _unanswered(registration, now)


def next_change(registration: Registration, now: datetime) -> datetime | None:
    """Return the next instant at which time alone may change the entitlement; None when it cannot."""
    if registration.standing is not Standing.ASKING:
        return None
    return min((edge for edge in _edges(registration) if edge > now), default=None)


def _unanswered(registration: Registration, now: datetime) -> Entitlement:
    proved_at, until, faulted_at = registration.memory_from, registration.memory_until, registration.faulted_at
    if proved_at is not None and until is not None and faulted_at is not None and _holds(proved_at, until, now):
        return replace(
            _answer(registration, State.ENTITLED, faulted_at),
            reason=Reason.REMEMBERED,
            detail=f"An earlier process of this pod left proof of {render(proved_at)} from AWS Marketplace. While AWS "
            f"gives no answer, it counts until {render(until)}. {registration.detail}",
            source=EntitlementSource.REMEMBERED,
            until=until,
        )
    since = max([registration.asking_since, *(edge for edge in _edges(registration) if edge <= now)])
    if now < registration.asking_since + registration.retry_for:
        return _answer(registration, State.PENDING, since)
    return _answer(registration, State.UNAVAILABLE, since)


def _holds(proved_at: datetime, until: datetime, now: datetime) -> bool:
    """Return whether the memory is within its time; one from the future shows a wrong clock and proves nothing."""
    return proved_at - CLOCK_SKEW <= now < until


def _edges(registration: Registration) -> Iterator[datetime]:
    yield registration.asking_since + registration.retry_for
    if registration.memory_from is not None and registration.memory_until is not None:
        yield registration.memory_from - CLOCK_SKEW
        yield registration.memory_until


def _answer(registration: Registration, state: State, since: datetime) -> Entitlement:
    evidence = registration.evidence
    proof = evidence if state is State.ENTITLED else None
    return Entitlement(
        state=state,
        reason=registration.reason,
        detail=registration.detail,
        cure=registration.cure,
        source=registration.source,
        product_code=registration.product_code,
        public_key_version=registration.public_key_version,
        since=since,
        registered_at=None if evidence is None else evidence.registered_at,
        nonce=None if proof is None else proof.nonce or None,
        signature=None if proof is None else proof.signature or None,
    )
