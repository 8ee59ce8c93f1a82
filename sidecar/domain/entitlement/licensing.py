"""The right of this pod under a contract price: a pure state machine over looks, checkouts and silence.

`Licensing` is what is known, and changes only by its named transitions; `judge` turns it into the entitlement of one
instant. Nothing here calls, waits or stores.

- A pod that starts is admitted by a proof: a seat that it holds, or a checkout that takes none.
- Only an explicit answer closes the gate: a complete look without a good license, or a seat that AWS refuses to a pod
  that has run without one for long enough. A fault, silence and time never do.
- A pod that was admitted stays so after the license expires, and a container restart changes nothing.
- A license that is gone closes the gate only when two looks, at least `refresh` apart, agree.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Self, assert_never

from sidecar.domain.entitlement.checkouts import MARGIN, TIME_TO_LIVE
from sidecar.domain.entitlement.license_policy import LicensePolicy
from sidecar.domain.entitlement.licenses import License, Survey, Worth, shortfall
from sidecar.domain.entitlement.states import (
    CLOCK_SKEW,
    Entitlement,
    EntitlementSource,
    LicenseEvidence,
    Reason,
    State,
)
from sidecar.domain.policy import OnExpired, OnTaken
from sidecar.domain.timestamps import render

ADMIT_FOR: Final = TIME_TO_LIVE + MARGIN
"""How long AWS may refuse a pod its seat: one that another pod has lost is free again by then."""


class LicenseStanding(StrEnum):
    """What License Manager has answered about this pod."""

    ASKING = "asking"  # nothing, or nothing that decides
    GRANTED = "granted"  # a good license, and a proof
    REFUSED = "refused"  # no good license for a pod that was never admitted
    SUSPENDED = "suspended"  # the pod was admitted, and its license is stopped or gone


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenseTerms:
    """What never changes while the process lives."""

    pod: str
    product_code: str
    public_key_version: int
    sku: str
    policy: LicensePolicy
    source: EntitlementSource
    retry_for: timedelta
    """How long an answer may be missing before `pending` becomes `unavailable`."""
    remember_for: timedelta
    """How long an earlier proof entitles a restarted container while License Manager gives no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Licensing:
    """What is known about the pod's right. Every transition takes the instant at which it happened."""

    terms: LicenseTerms
    asking_since: datetime
    since: datetime
    """When the standing began."""
    standing: LicenseStanding = LicenseStanding.ASKING
    reason: Reason = Reason.REGISTERING
    detail: str = "License Manager has been asked and has not answered yet."
    cure: str = ""
    """See Entitlement."""
    license: License | None = None
    """The one that decides; None while none is known."""
    evidence: LicenseEvidence | None = None
    """Of this pod and product; made now or by an earlier process."""
    remembered: bool = False
    """The evidence is an earlier process's, and no answer has replaced it."""
    faulted_at: datetime | None = None
    """The first fault while asking. The memory counts from then on, because an answer has priority."""

    @property
    def own(self) -> str | None:
        """The ARN of the license that admitted the pod, or of its renewal; None for a pod that was never admitted."""
        return None if self.evidence is None else self.evidence.arn

    def recalled(self, evidence: LicenseEvidence) -> Self:
        """An earlier process of this pod left `evidence`. A fault before that does not make it count yet."""
        if (evidence.pod, evidence.sku) != (self.terms.pod, self.terms.sku):
            return self
        return replace(self, evidence=evidence, remembered=True, faulted_at=None)

    def looked(self, found: Survey, region: str, now: datetime) -> Self:
        """License Manager listed every license of the product, in each Region that may have one.

        A good license of a pod that is not granted changes nothing yet: `proven` or `unseated` follows.
        """
        right = found.right(self.own)
        if right is not None:
            return self._seen_good(right, region, now)
        if self.evidence is not None:
            return self._look_of_admitted(found, self.evidence, now)
        return self._look_of_new(found, region, now)

    def proven(self, license_: License, region: str, now: datetime) -> Self:
        """AWS granted every seat that the pod holds, or the checkout that takes none."""
        return self._granted(license_, self._proof(license_, region, now, seated=True), now)

    def unseated(self, license_: License, region: str, now: datetime, refused_at: datetime) -> Self:
        """The license is good and AWS refused a seat at `refused_at`. A pod that has had its seats keeps its right."""
        proof = self._proof(license_, region, now, seated=False)
        if not proof.seated:
            # A clock that went back must not prolong the time without a seat.
            first = min(proof.unseated_at or refused_at, refused_at)
            proof = replace(proof, unseated_at=first, refused_at=refused_at)
        return self._granted(license_, proof, now)

    def faulted(self, reason: Reason, detail: str, now: datetime, cure: str = "") -> Self:
        """A transient failure. Changes nothing unless the first answer is still pending."""
        if self.standing is not LicenseStanding.ASKING:
            return self
        return replace(self, reason=reason, detail=detail, cure=cure, faulted_at=self.faulted_at or now)

    def _seen_good(self, license_: License, region: str, now: datetime) -> Self:
        evidence = self.evidence
        if evidence is not None:
            refused_at, end = evidence.refused_at, evidence.end
            if refused_at is not None and end is not None and refused_at >= end:
                refused_at = None  # the old license's end: AWS has refused no seat of this one
            evidence = replace(
                evidence,
                refused_at=refused_at,
                arn=license_.arn,
                region=region,
                begin=license_.begin,
                end=license_.end,
                missing_at=None,
                closed_at=None,
            )
        match self.standing:
            case LicenseStanding.GRANTED | LicenseStanding.SUSPENDED if evidence is not None:
                return self._granted(license_, replace(evidence, proved_at=now), now)
            case LicenseStanding.REFUSED:
                # The list alone proves nothing yet, and is no refusal any more.
                return replace(
                    self,
                    standing=LicenseStanding.ASKING,
                    asking_since=now,
                    since=now,
                    reason=Reason.REGISTERING,
                    detail="A good license is listed, and its proof is not answered yet.",
                    cure="",
                    license=license_,
                    evidence=evidence,
                    faulted_at=None,
                )
            case _:
                return replace(self, license=license_, evidence=evidence)

    def _look_of_admitted(self, found: Survey, evidence: LicenseEvidence, now: datetime) -> Self:
        """Judge a look without a good license, of a pod that was admitted."""
        own = found.of(evidence.arn)
        if own is not None and own[0] is Worth.SUSPENDED:
            return self._suspended(own, evidence, now)
        if own is not None and own[0] is Worth.EXPIRED and evidence.closed_at is None:
            detail = "The license has expired. This pod keeps running until it is replaced."
            after_end = evidence.end is not None and evidence.proved_at >= evidence.end
            warned = after_end or self.reason is Reason.LICENSE_EXPIRED
            reason = Reason.LICENSE_EXPIRED if warned else Reason.LICENSED
            if refused_seat(self) is not None and right_of_expired(found, self.terms.policy) is None:
                # An expired license has no seat for a pod that never had one, and no call asks for it any more.
                evidence = replace(evidence, refused_at=now)
            return self._granted(own[1], replace(evidence, missing_at=None), now, reason, detail)
        missing_at = now if evidence.missing_at is None else min(evidence.missing_at, now)
        evidence = replace(evidence, missing_at=missing_at)
        if evidence.closed_at is None and now - missing_at < self.terms.policy.refresh:
            detail = f"No look since {render(missing_at)} shows a good license. The next look decides."
            return self._granted(self.license if own is None else own[1], evidence, now, detail=detail)
        return self._suspended(own or found.nearest(), evidence, now)

    def _look_of_new(self, found: Survey, region: str, now: datetime) -> Self:
        """Judge a look without a good license, of a pod that was never admitted."""
        expired = right_of_expired(found, self.terms.policy)
        if expired is not None:
            detail = "The license has expired, and the seller lets a pod start all the same."
            proof = self._proof(expired, region, now, seated=True)
            return self._granted(expired, proof, now, Reason.LICENSE_EXPIRED, detail)
        best = found.nearest()
        reason, detail = refusal(best, self.terms.sku, self.terms.policy)
        return self._moved(LicenseStanding.REFUSED, now, reason, detail, None if best is None else best[1])

    def _granted(
        self,
        license_: License | None,
        evidence: LicenseEvidence,
        now: datetime,
        reason: Reason = Reason.LICENSED,
        detail: str = "",
    ) -> Self:
        detail = detail or _describe(license_, self.terms.policy)
        granted = self._moved(LicenseStanding.GRANTED, now, reason, detail, license_)
        granted = replace(granted, evidence=evidence, remembered=False)
        return granted if _waits(granted) is _waits(self) else replace(granted, since=now)

    def _suspended(self, best: tuple[Worth, License] | None, evidence: LicenseEvidence, now: datetime) -> Self:
        reason, detail = refusal(best, self.terms.sku, self.terms.policy)
        suspended = self._moved(LicenseStanding.SUSPENDED, now, reason, detail, None if best is None else best[1])
        return replace(suspended, evidence=replace(evidence, closed_at=evidence.closed_at or now), remembered=False)

    def _moved(
        self, standing: LicenseStanding, now: datetime, reason: Reason, detail: str, license_: License | None
    ) -> Self:
        since = self.since if self.standing is standing else now
        return replace(self, standing=standing, since=since, reason=reason, detail=detail, cure="", license=license_)

    def _proof(self, license_: License, region: str, now: datetime, *, seated: bool) -> LicenseEvidence:
        before = self.evidence
        seated = seated or (before is not None and before.seated)
        return LicenseEvidence(
            pod=self.terms.pod,
            sku=self.terms.sku,
            arn=license_.arn,
            region=region,
            begin=license_.begin,
            end=license_.end,
            proved_at=now,
            seated=seated,
            unseated_at=None if seated or before is None else before.unseated_at,
        )


def judge(licensing: Licensing, now: datetime) -> Entitlement:
    """Return the entitlement at `now`, without the license's view."""
    match licensing.standing:
        case LicenseStanding.REFUSED:
            return _answer(licensing, State.DENIED, licensing.since)
        case LicenseStanding.SUSPENDED:
            return _answer(licensing, State.SUSPENDED, licensing.since)
        case LicenseStanding.ASKING:
            return _unanswered(licensing, now)
        case LicenseStanding.GRANTED:
            return _granted(licensing)


def next_change(licensing: Licensing, now: datetime) -> datetime | None:
    """Return the next instant at which time alone may change the entitlement; None when it cannot."""
    return min((edge for edge in _edges(licensing) if edge > now), default=None)


def refused_seat(licensing: Licensing) -> tuple[datetime, datetime] | None:
    """Return when AWS first and last refused a seat to a pod that never had one; None if AWS did not."""
    evidence = licensing.evidence
    if evidence is None or evidence.seated or evidence.unseated_at is None:
        return None
    return evidence.unseated_at, evidence.refused_at or evidence.unseated_at


def _granted(licensing: Licensing) -> Entitlement:
    refused = refused_seat(licensing)
    if refused is None:
        return _answer(licensing, State.ENTITLED, licensing.since)
    detail = f"AWS showed no seat for this pod at {render(refused[1])}."
    if _waits(licensing):
        answer = _answer(licensing, State.PENDING, licensing.since)
        return replace(answer, reason=Reason.SEATS_TAKEN, detail=f"{detail} The pod waits for a seat.")
    closes_from = render(_closes_from(licensing, refused[0]))
    detail = f"{detail} The pod runs without one, unless AWS refuses it at {closes_from} or later."
    return replace(_answer(licensing, State.ENTITLED, licensing.since), detail=detail)


def _waits(licensing: Licensing) -> bool:
    """Return whether AWS's last answer about a seat keeps the gate closed."""
    refused = refused_seat(licensing) if licensing.standing is LicenseStanding.GRANTED else None
    return refused is not None and refused[1] >= _closes_from(licensing, refused[0])


def _closes_from(licensing: Licensing, unseated_at: datetime) -> datetime:
    """Return from when on a refused seat closes the gate."""
    match licensing.terms.policy.on_taken:
        case OnTaken.ADMIT:
            return unseated_at + ADMIT_FOR
        case OnTaken.WAIT:
            return unseated_at


def _unanswered(licensing: Licensing, now: datetime) -> Entitlement:
    memory, faulted_at = _memory(licensing), licensing.faulted_at
    if memory is not None and faulted_at is not None and memory[0] - CLOCK_SKEW <= now < memory[1]:
        return replace(
            _answer(licensing, State.ENTITLED, faulted_at),
            reason=Reason.REMEMBERED,
            detail=f"An earlier process of this pod had a good license at {render(memory[0])}. While License Manager "
            f"gives no answer, it counts until {render(memory[1])}. {licensing.detail}",
            source=EntitlementSource.REMEMBERED,
            until=memory[1],
        )
    since = max([licensing.asking_since, *(edge for edge in _edges(licensing) if edge <= now)])
    if now < licensing.asking_since + licensing.terms.retry_for:
        return _answer(licensing, State.PENDING, since)
    return _answer(licensing, State.UNAVAILABLE, since)


def _memory(licensing: Licensing) -> tuple[datetime, datetime] | None:
    """Return from when until when the earlier process's evidence entitles; None if it does not."""
    evidence, remember_for = licensing.evidence, licensing.terms.remember_for
    if not licensing.remembered or evidence is None or evidence.closed_at is not None or not remember_for:
        return None
    refused = refused_seat(licensing)
    if refused is None:
        return evidence.proved_at, evidence.proved_at + remember_for
    # Looks renew the proof and show nothing of a seat, so whoever blocks the checkouts alone must gain nothing by them.
    first, last = refused
    return None if last >= _closes_from(licensing, first) else (last, last + remember_for)


def _edges(licensing: Licensing) -> Iterator[datetime]:
    if licensing.standing is LicenseStanding.ASKING:
        yield licensing.asking_since + licensing.terms.retry_for
        memory = _memory(licensing)
        if memory is not None:
            yield memory[0] - CLOCK_SKEW
            yield memory[1]


def _describe(license_: License | None, policy: LicensePolicy) -> str:
    """Return why a pod with this license is entitled."""
    lacking = "" if license_ is None else shortfall(license_, policy)
    if lacking:
        return f"{lacking} It granted that before, so this pod keeps its right until it is replaced."
    return "A good license of AWS Marketplace grants what the product requires."


def right_of_expired(found: Survey, policy: LicensePolicy) -> License | None:
    """Return the expired license by which a pod may start all the same; None if none lets it.

    A license that is active now, or stopped, decides before it. One that never granted what is required gives no right.
    """
    if policy.on_expired is not OnExpired.WARN or found.best(Worth.LACKING, Worth.SUSPENDED) is not None:
        return None
    expired = (each for worth, each in reversed(found.found) if worth is Worth.EXPIRED)
    return next((each for each in expired if not shortfall(each, policy)), None)


def refusal(best: tuple[Worth, License] | None, sku: str, policy: LicensePolicy) -> tuple[Reason, str]:
    """Return why a look without a good license closes the gate.

    `best` is the license that comes nearest, with its worth; None if there is none.
    """
    if best is None:
        detail = f"This AWS account has received no license of AWS Marketplace for product {sku}."
        return Reason.NO_LICENSE, detail
    worth, license_ = best
    name = f"The license {license_.arn}"
    match worth:
        case Worth.SUSPENDED:
            reason, detail = Reason.LICENSE_SUSPENDED, f"{name} is {license_.status}."
        case Worth.EXPIRED:
            end = "" if license_.end is None else f" on {render(license_.end)}"
            reason, detail = Reason.LICENSE_EXPIRED, f"{name} expired{end}. {shortfall(license_, policy)}".rstrip()
        case Worth.PENDING if license_.received != "ACTIVE":
            reason, detail = Reason.LICENSE_PENDING, f"{name} waits: its grant is {license_.received}, not ACTIVE."
        case Worth.PENDING:
            begin = "later" if license_.begin is None else f"on {render(license_.begin)}"
            reason, detail = Reason.LICENSE_PENDING, f"{name} begins {begin}."
        case Worth.LACKING:
            reason, detail = Reason.NO_LICENSE, shortfall(license_, policy)
        case Worth.GOOD | Worth.GONE | Worth.FOREIGN:
            state = f"its status is {license_.status}, its grant is {license_.received}"
            reason, detail = Reason.NO_LICENSE, f"{name} gives no right: {state}."
        case _:
            assert_never(worth)
    return reason, detail


def _answer(licensing: Licensing, state: State, since: datetime) -> Entitlement:
    evidence = licensing.evidence
    return Entitlement(
        state=state,
        reason=licensing.reason,
        detail=licensing.detail,
        cure=licensing.cure,
        source=licensing.terms.source,
        product_code=licensing.terms.product_code,
        public_key_version=licensing.terms.public_key_version,
        since=since,
        registered_at=None if evidence is None else evidence.proved_at,
    )
