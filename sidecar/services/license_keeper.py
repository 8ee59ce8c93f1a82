"""Keeps this pod licensed under a contract price, and knows at every instant whether it is entitled.

Looks at the license at the start, then every `refresh`, holds the seats that the seller requires, and returns them when
the pod ends. What the answers mean is decided in `sidecar.domain.entitlement.licensing`. No token is ever logged.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from sidecar.domain.entitlement.licenses import License
from sidecar.domain.entitlement.licensing import LicenseStanding, LicenseTerms, Licensing, judge, next_change
from sidecar.domain.entitlement.states import (
    CLOCK_SKEW,
    AttestationFailed,
    Entitlement,
    LicenseEvidence,
    LicenseView,
    Reason,
    State,
)
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.policy import OnDenied
from sidecar.domain.ports import Clock
from sidecar.marketplace.errors import MarketplaceError
from sidecar.services.checkout_keeper import CheckoutKeeper
from sidecar.services.faults import FaultLog, FaultRegister
from sidecar.services.gate_changes import ASK_AGAIN, LOG_AGAIN, GateChanges
from sidecar.services.license_failures import explain
from sidecar.services.license_finder import LicenseFinder
from sidecar.services.license_proof import LicenseProver, ProofOutcome
from sidecar.services.license_report import LicenseFaults, view
from sidecar.services.registrar import DeniedExit
from sidecar.services.retry_schedule import FIRST_WAIT, RetrySchedule

RETURN_WITHIN = timedelta(seconds=8)
"""Real time for the return of the seats when the pod ends."""
RETURN_TRIES = 8
"""How often it is tried within that time."""
RETURN_AGAIN_SECONDS = 1.0
"""Real time between two of the tries."""
_FIND = "find"
_PROOF = "proof"


class LicenseStore(Protocol):
    """Where the evidence of the license outlives the process."""

    async def load_license(self) -> LicenseEvidence | None:
        """Return what was kept last, whichever pod and product it names."""

    async def save_license(self, evidence: LicenseEvidence) -> None:
        """Keep it durably in place of what was there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenseChoices:
    """What the seller chose, and how failed calls are explained."""

    terms: LicenseTerms
    on_denied: OnDenied
    service_account: str | None = None
    """What the pod runs as in its cluster, namespace/name; named when credentials are missing or refused."""


class LicenseKeeper:
    """The gate of a contract price; `run` does the asking.

    `random` is uniform in [0, 1). A wait is judged anew after `recheck_after` of real time, because the clock may have
    been stepped back.
    """

    rotation_due: datetime | None = None
    """A license needs no public key."""

    def __init__(  # noqa: PLR0913 - the composition root names every part once
        self,
        *,
        choices: LicenseChoices,
        finder: LicenseFinder,
        checkouts: CheckoutKeeper,
        store: LicenseStore,
        clock: Clock,
        faults: FaultRegister,
        random: Callable[[], float],
        log: FilteringBoundLogger,
        recheck_after: timedelta = timedelta(seconds=60),
    ) -> None:
        self._choices = choices
        self._policy = choices.terms.policy
        self._finder = finder
        self._store = store
        self._clock = clock
        self._log = log
        self._recheck_after = recheck_after
        self._licensing = Licensing(terms=choices.terms, asking_since=clock.now(), since=clock.now())
        self._view: LicenseView | None = None
        self._good: tuple[License, str] | None = None
        """The license of the last look that gives the right, and its Region."""
        self._find_at = clock.now()
        self._recalled = self._unread = False
        self._kept: LicenseEvidence | None = None
        """What the ledger has."""
        self._retries = RetrySchedule(random=random)
        # Of its own: what is retried is no fault yet, the entitlement is one once it is unavailable.
        self._trouble = FaultRegister(log)
        self._report = LicenseFaults(faults, self._policy, log)
        self._ending = False
        self._prover = LicenseProver(checkouts, self._policy)
        self.checkouts = checkouts
        self.entitled_once = False
        """Whether the pod has been entitled in this process's life."""
        self.changes = GateChanges(
            read=self.entitlement,
            next_change=lambda now: next_change(self._licensing, now),
            clock=clock,
            log=log,
            name="license",
        )

    @property
    def license(self) -> License | None:
        """The license that decides; None while none is known."""
        return self._licensing.license

    @property
    def good_license(self) -> License | None:
        """The license that a checkout may take from; None while none is good."""
        return None if self._good is None or not self._recalled else self._good[0]

    def entitlement(self) -> Entitlement:
        """Return the entitlement judged at this instant."""
        entitlement = replace(judge(self._licensing, self._clock.now()), license=self._view)
        self.entitled_once = self.entitled_once or entitlement.entitled
        return entitlement

    async def wait_while(self, state: State, timeout: timedelta) -> Entitlement:
        """Return the entitlement as soon as its state differs from `state`, or after `timeout` of real time."""
        return await self.changes.wait_while(state, timeout)

    async def attest(self, nonce: str) -> str:
        """Refuse: with a contract price AWS Marketplace signs nothing for the pod.

        Raises:
            AttestationFailed: Always.
        """
        del nonce
        raise AttestationFailed("entitlement.check is license, so AWS Marketplace signs nothing for this pod")

    async def on_submission(self, *, accepted: bool) -> None:
        """Ignore what MeterUsage answers: with a contract price it is about overage and never touches the gate."""

    async def run(self) -> None:
        """Look, prove and hold until cancelled; raises DeniedExit if the pod is denied and `on_denied` is exit."""
        while True:
            try:
                if not self._recalled:
                    await self._recall()
                wake = await self._turn()
                if not self._recalled:
                    wake = min(wake, self._clock.now() + FIRST_WAIT)
            except LedgerUnavailable:
                wake = self._clock.now() + FIRST_WAIT  # the ledger logs it
            if self._licensing.standing is LicenseStanding.REFUSED and self._choices.on_denied is OnDenied.EXIT:
                raise DeniedExit(self.entitlement())
            # A clock that has stepped back must not make the wait longer than the longest there is.
            wake = min(wake, self._clock.now() + max(self._policy.refresh, ASK_AGAIN))
            await self.changes.pause(wake, self._recheck_after.total_seconds())

    async def drain(self, *, ending: bool) -> None:
        """Return every seat if the pod itself ends; a container that is restarted goes on holding them."""
        if not ending:
            return
        self._ending = True
        try:
            async with asyncio.timeout(RETURN_WITHIN.total_seconds()):
                if not self._recalled:
                    await self._recall()  # the end came during the start: an earlier process of the pod may hold seats
                for _ in range(RETURN_TRIES if self._recalled else 0):
                    if not await self.checkouts.return_all():
                        return
                    await asyncio.sleep(RETURN_AGAIN_SECONDS)
        except (TimeoutError, LedgerUnavailable):
            pass
        self._log.warning("license.seats_not_returned", cure="AWS returns them by itself within 60 minutes.")

    async def _turn(self) -> datetime:
        """Do what is due now and return when to look again."""
        now = self._clock.now()
        if self._find_at <= now or self._find_at > now + max(self._policy.refresh, ASK_AGAIN):
            await self._find()
        await self._prove()
        unknown = frozenset(self.checkouts.unknown)
        try:
            await self.checkouts.run_due()
        finally:
            # Also if the ledger has refused a step. The license may be suspended since the last look: only a new one
            # shows whether another seat may be taken.
            if self.checkouts.unknown - unknown:
                self._good, self._find_at = None, self._clock.now()
        self._show()
        now = self._clock.now()
        return min(
            each for each in (self._find_at, self._proof_due_at(), self.checkouts.due_at(now)) if each is not None
        )

    async def _find(self) -> None:
        await self.checkouts.reload_doubts()
        answer = await self._finder.find(self._licensing.own)
        now = self._clock.now()
        if answer.error is not None:
            self._fail(_FIND, answer.error)
            self._find_at = self._retries.not_before(_FIND) or now
            await self._move(self._faulted(answer.error, now))
            return
        self._succeed(_FIND)
        self._good = None if answer.license is None else (answer.license, answer.region)
        if self._good is None and not self._recalled and self._licensing.evidence is None:
            self._find_at = self._next_find_at(now)  # what the ledger has may keep the gate open
            return
        await self._move(self._licensing.looked(answer.survey, answer.region, now))
        self._find_at = self._next_find_at(now)

    def _next_find_at(self, now: datetime) -> datetime:
        policy, license_, evidence = self._policy, self._licensing.license, self._licensing.evidence
        due = now + policy.refresh
        if self._licensing.standing in {LicenseStanding.REFUSED, LicenseStanding.SUSPENDED}:
            due = min(due, now + ASK_AGAIN)
        edges = [] if license_ is None else [license_.begin]
        if license_ is not None and license_.end is not None and license_.end < due:
            edges.append(license_.end + CLOCK_SKEW)
        if evidence is not None and evidence.missing_at is not None:
            edges.append(evidence.missing_at + policy.refresh)
        return min([due, *(edge for edge in edges if edge is not None and edge > now)])

    def _proof_due_at(self) -> datetime | None:
        """Return when the proof is due, or a seat that is still missing; None while neither is."""
        if self._good is None or self._ending:
            return None
        license_, evidence = self._good[0], self._licensing.evidence
        # The last missing seat may have been granted between two proofs; until one is made the pod counts as unseated.
        unseated = evidence is not None and not evidence.seated and evidence.unseated_at is not None
        if self._licensing.standing is LicenseStanding.GRANTED and self._prover.holds_all(license_) and not unseated:
            return None
        now = self._clock.now()
        if self._prover.is_answered(license_):
            return now
        waits = (self._retries.not_before(_PROOF), self._prover.not_before(license_))
        return max((wait for wait in waits if wait is not None), default=now)

    async def _prove(self) -> None:
        due = self._proof_due_at()
        if self._good is None or due is None or due > self._clock.now():
            return
        license_, region = self._good
        if not self._recalled and self._prover.needs_checkout(license_):
            self._retries.failed(_PROOF, self._clock.now())  # an earlier process may have made the checkout
            return
        evidence = self._licensing.evidence
        proof = await self._prover.prove(license_, seated=evidence is not None and evidence.seated)
        now = self._clock.now()
        match proof.outcome:
            case ProofOutcome.PROVEN:
                self._succeed(_PROOF)
                await self._move(self._licensing.proven(license_, region, now))
            case ProofOutcome.UNSEATED:
                self._succeed(_PROOF)
                await self._move(self._licensing.unseated(license_, region, now, proof.refused_at or now))
            case ProofOutcome.UNANSWERED if proof.error is not None:
                self._fail(_PROOF, proof.error)
                await self._move(self._faulted(proof.error, now))
            case ProofOutcome.UNANSWERED:
                self._retries.failed(_PROOF, now)  # something has lapsed, or is being returned first

    def _faulted(self, error: MarketplaceError, now: datetime) -> Licensing:
        meaning = explain(error, self._choices.service_account)
        return self._licensing.faulted(meaning.reason, meaning.detail, now, meaning.cure)

    def _fail(self, name: str, error: MarketplaceError) -> None:
        now = self._clock.now()
        self._retries.failed(name, now)
        meaning = explain(error, self._choices.service_account)
        report = FaultLog(
            begins="license.retrying",
            ends="license.recovered",
            about={"call": name},
            details={"reason": meaning.reason, "code": error.code},
            again_after=LOG_AGAIN,
        )
        self._trouble.observe(meaning.reason, meaning.detail, "", now, about=name, report=report)

    def _succeed(self, name: str) -> None:
        self._retries.succeeded(name)
        self._trouble.clear(name, self._clock.now())

    async def _recall(self) -> None:
        """Take over what an earlier process left. Until then no refusal decides, and no checkout is made."""
        try:
            evidence = await self._store.load_license()
            await self.checkouts.load({required.name for required in self._policy.require if required.hold})
        except LedgerUnavailable as error:
            if not self._unread:
                self._log.error("license.evidence_not_read", detail=str(error))
            self._unread = True
            detail = f"What the ledger has of the license cannot be read: {error}."
            self._licensing = self._licensing.faulted(Reason.LEDGER_UNAVAILABLE, detail, self._clock.now())
            self.changes.note()
            return
        self._recalled, self._kept = True, evidence
        self._retries.succeeded(_PROOF)
        if self._licensing.evidence is not None:
            return  # AWS has answered meanwhile; the next look writes that
        self._find_at = self._clock.now()
        if evidence is not None:
            self._licensing = self._licensing.recalled(evidence)
            if self._licensing.evidence is not None:
                self._finder.prefer(evidence.region)
            self.changes.note()

    async def _move(self, licensing: Licensing) -> None:
        self._licensing = licensing
        self._show()
        evidence = licensing.evidence
        if evidence is None or evidence == self._kept:
            return
        try:
            await self._store.save_license(evidence)
        except LedgerUnavailable as error:
            self._log.error("license.evidence_not_kept", detail=str(error))  # the next look tries again
        else:
            self._kept = evidence

    def _show(self) -> None:
        """Bring what is shown, and the faults, up to date."""
        now = self._clock.now()
        self._view = view(self._licensing.license, self._policy, self.checkouts.held(), now)
        self._report.update(self._licensing, self.checkouts, now)
        self.changes.note()
