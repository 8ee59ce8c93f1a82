"""Keeps this pod registered with AWS Marketplace, and knows at every instant whether it is entitled.

Calls AWS from the start until AWS accepts: after faults with full jitter, after refusals every 5 minutes, so a buyer
who subscribes needs no restart. After that only the answers to MeterUsage change the entitlement; the proof is renewed
for a later restart. What the answers mean is decided in `sidecar.domain.entitlement.registration`. Neither a nonce nor
a signature is ever logged.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from structlog.typing import FilteringBoundLogger

from sidecar.domain.entitlement.registration import Registration, Standing, judge, next_change
from sidecar.domain.entitlement.states import AttestationFailed, Entitlement, EntitlementSource, Evidence, Reason, State
from sidecar.domain.entitlement.token import Refusal
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.policy import EntitlementCheck, OnDenied, StartProbe
from sidecar.domain.ports import Clock, SellerKeys
from sidecar.marketplace.client import MarketplaceMetering
from sidecar.marketplace.errors import MarketplaceError
from sidecar.marketplace.service_errors import CustomerNotEntitledException
from sidecar.services.attestation import Attestor
from sidecar.services.failed_calls import explain_refusal, interpret
from sidecar.services.faults import FaultLog, FaultRegister
from sidecar.services.gate_changes import ASK_AGAIN, LOG_AGAIN, GateChanges
from sidecar.services.ports import EvidenceStore, NoFreeSlot, NoSubscription, SubscriptionProbe
from sidecar.services.proof import Prover
from sidecar.services.registration_memory import RegistrationMemory
from sidecar.services.renewing import Renewal
from sidecar.services.retry_schedule import FIRST_WAIT, RetrySchedule
from sidecar.settings import EntitlementSettings

_REGISTRATION = "registration"
_RECORDED = "AWS Marketplace takes this pod's usage."
_LICENSED = "A license of AWS Marketplace gives this account the right to the product (entitlement.probe: license)."
_DRY_RUN = (
    "AWS Marketplace takes a dry run of this pod's usage. It checks the permission only: whether the account has a "
    "subscription is not known before the first record (entitlement.probe: dry-run)."
)


class DeniedExit(Exception):
    """The pod is denied, and the seller wants the process to end then."""

    def __init__(self, entitlement: Entitlement) -> None:
        super().__init__(f"{entitlement.reason}: {entitlement.detail}")
        self.entitlement = entitlement


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrarSettings(EntitlementSettings):
    """What the seller published and chose."""

    check: EntitlementCheck = EntitlementCheck.REGISTER
    """The check in force, never `auto`."""
    product_code: str
    public_key_version: int
    dimensions: tuple[str, ...] = ()
    """The dimensions that `check: meter` asks for."""
    service_account: str | None = None
    """What the pod runs as in its cluster, namespace/name; named when credentials are missing or refused."""
    emulator: bool = False
    """The answers come from the local emulator."""


class Registrar:
    """Registers the pod. Implements `sidecar.domain.ports.Gate`; `run` does the asking.

    Args:
        settings: What the seller published and chose.
        client: The metering service; the caller opens it.
        signatures: The seller's public keys.
        clock: Decides every instant of entitlement.
        evidence: Where proof outlives the process.
        probe: Asks for a custom price; None where the settings need no start probe.
        pod: The pod's identity; evidence of another one is worth nothing.
        random: Returns a uniform random number in [0, 1), for the jitter.
        log: Takes the events.
        refresh_clock: Brings `clock` up to date before the time in a token is judged by it; for a clock that follows
            another one, which may have been stepped meanwhile.
        monotonic: Real seconds, for the spacing of attestations.
        recheck_after: Real time after which a wait is judged anew, for the clock may have been stepped back.
    """

    def __init__(  # noqa: PLR0913 - the composition root names every part once
        self,
        *,
        settings: RegistrarSettings,
        client: MarketplaceMetering,
        signatures: SellerKeys,
        clock: Clock,
        evidence: EvidenceStore,
        pod: str,
        probe: SubscriptionProbe | None = None,
        random: Callable[[], float],
        log: FilteringBoundLogger,
        refresh_clock: Callable[[], Awaitable[None]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        recheck_after: timedelta = timedelta(seconds=60),
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._store = evidence
        probing = settings.check is EntitlementCheck.METER and settings.probe is not StartProbe.DRY_RUN
        if probing and probe is None:
            raise ValueError(f"entitlement.probe: {settings.probe} asks by a probe, and there is none")
        self._probe = probe if probing else None
        self._recheck_after = recheck_after
        self._log = log
        self._prover = Prover(
            pod=pod,
            product_code=settings.product_code,
            public_key_version=settings.public_key_version,
            client=client,
            signatures=signatures,
            clock=clock,
            refresh_clock=refresh_clock,
            log=log,
        )
        self._attestor = Attestor(self._prover, log, monotonic)
        self._renewal = Renewal(self._prover, settings.remember_for, random, log)
        self._registration = _begin(settings, clock.now())
        self._memory = RegistrationMemory(settings, self._prover, self._probe)
        self._recalled = self._unread = False
        self._recorded = False
        """Whether AWS has taken a record in this process: after whatever an earlier one has left."""
        self._kept: Evidence | None = None
        """What the ledger has."""
        self._judged: tuple[Registration, Entitlement] | None = None
        self.entitled_once = False
        """Whether the pod has been entitled in this process's life."""
        self._changes = GateChanges(
            read=self.entitlement,
            next_change=lambda now: next_change(self._registration, now),
            clock=clock,
            log=log,
            name=_REGISTRATION,
        )
        self._keeping = asyncio.Lock()
        self._retries = RetrySchedule(random=random)
        # Of its own: what is retried is no fault yet, the entitlement is one once it is unavailable.
        self._trouble = FaultRegister(log)

    @property
    def rotation_due(self) -> datetime | None:
        """When the public key version in use expired, as AWS reported it; None while it is current."""
        return self._prover.rotation_due

    def entitlement(self) -> Entitlement:
        """Return the entitlement judged at this instant."""
        registration = self._registration
        asking = registration.standing is Standing.ASKING
        if not asking and self._judged is not None and self._judged[0] is registration:
            return self._judged[1]  # time changes only an open question, and an app asks all the time
        entitlement = judge(registration, self._clock.now())
        self._judged = registration, entitlement
        self.entitled_once = self.entitled_once or entitlement.entitled
        return entitlement

    async def wait_while(self, state: State, timeout: timedelta) -> Entitlement:
        """Return the entitlement as soon as its state differs from `state`, or after `timeout` of real time."""
        return await self._changes.wait_while(state, timeout)

    async def run(self) -> None:
        """Ask until AWS accepts, then keep the proof recent. Never returns.

        Raises:
            DeniedExit: The pod is denied and `on_denied` is exit.
        """
        due = self._clock.now()
        while True:
            if not self._recalled:
                await self._recall()
            standing = self._registration.standing
            if standing is Standing.REFUSED and self._settings.on_denied is OnDenied.EXIT:
                raise DeniedExit(self.entitlement())
            if standing is Standing.GRANTED:
                await self._renew()
            elif (now := self._clock.now()) < due:
                # A clock that has stepped back must not make the wait longer than the longest there is.
                due = min(due, now + ASK_AGAIN)
                await self._pause(due)
            elif self._probe is not None and (ask_at := self._remembers_until(now)) is not None:
                await self._pause(ask_at)
            else:
                await self._ask()
                due = self._next_ask(self._clock.now())

    async def attest(self, nonce: str) -> str:
        """Return AWS's signed token over the app's own nonce. The entitlement does not depend on it.

        Raises:
            SlowDown: Called again within 10 real seconds.
            AttestationFailed: AWS gave no valid signature; names the reason.
        """
        if self._settings.check is not EntitlementCheck.REGISTER:
            raise AttestationFailed("entitlement.check is not register, so AWS Marketplace signs nothing for this pod")
        return await self._attestor.attest(nonce)

    async def on_submission(self, *, accepted: bool) -> None:
        """MeterUsage took a record of this pod, or refused it because the buyer is not entitled."""
        check = self._settings.check
        if check is EntitlementCheck.NONE:
            return
        now = self._clock.now()
        registration = self._registration
        self._recorded = self._recorded or accepted
        if not accepted:
            meaning = interpret(CustomerNotEntitledException())
            await self._move(registration.suspended(meaning.reason, meaning.detail, now))
            return
        if check is EntitlementCheck.METER and registration.standing is not Standing.GRANTED:
            registration = _grant(registration, self._settings, self._prover.metered(), recorded=True)
        elif registration.detail in {_DRY_RUN, _LICENSED}:
            registration = replace(registration, detail=_RECORDED)
        await self._move(registration.restored(now))

    async def _renew(self) -> None:
        """Return once the proof has been renewed, or anything has moved meanwhile."""
        due = self._renewal.due_at(now := self._clock.now())
        if due is None:
            await self._pause(None)
        elif now < due:
            await self._pause(due)
        else:
            evidence = await self._renewal.renew(self._clock.now)
            if evidence is not None:
                await self._move(self._registration.renewed(evidence))

    async def _ask(self) -> None:
        try:
            evidence = await self._obtain()
        except Refusal as refusal:
            await self._refuse(Reason.SIGNATURE_INVALID, explain_refusal(refusal))
        except NoSubscription as none:
            await self._refuse(none.reason, none.detail)
        except MarketplaceError as error:
            explain = interpret if self._probe is None else self._probe.explain
            meaning = explain(error, self._settings.service_account)
            if meaning.refused:
                await self._refuse(meaning.reason, meaning.detail, meaning.cure)
            else:
                await self._fault(meaning.reason, meaning.detail, error.code, meaning.cure)
        except NoFreeSlot as none:
            held_at = await self._held_at()
            if held_at is not None:
                # AWS holds records of this pod in those very hours, which is what DuplicateRequest would prove.
                self._trouble.clear(_REGISTRATION, self._clock.now())
                await self._move(_grant(self._registration, self._settings, self._prover.metered(held_at)))
                return
            detail = f"The start probe waits for the next hour: {none}. A record that AWS takes opens the gate earlier."
            await self._fault(Reason.NO_PROBE_SLOT, detail, Reason.NO_PROBE_SLOT)
        except LedgerUnavailable as error:
            detail = f"The start probe cannot be stored before it is sent: {error}."
            await self._fault(Reason.LEDGER_UNAVAILABLE, detail, Reason.LEDGER_UNAVAILABLE)
        else:
            now = self._clock.now()
            self._trouble.clear(_REGISTRATION, now)
            registration = _grant(self._registration, self._settings, evidence)
            # A record that AWS takes ends a suspension, also that of a probe; a license does not.
            recorded = self._probe is not None and self._probe.proves_record
            await self._move(registration.restored(now) if recorded else registration)

    async def _obtain(self) -> Evidence:
        """Return the proof of one attempt, by the configured check."""
        if self._probe is not None:
            await self._probe.ask()
            return self._prover.metered() if self._probe.proves_record else self._prover.licensed()
        if self._settings.check is EntitlementCheck.METER:
            return await self._prover.meter(self._settings.dimensions)
        evidence = await self._prover.register_pod()
        self._renewal.begin(self._clock.now())
        return evidence

    def _remembers_until(self, now: datetime) -> datetime | None:
        """Return until when a restarted container has nothing to ask; None once it has.

        AWS judges a pod by its first record. The probe asks again after half of the memory, so that the gate does not
        wait for an answer when the memory ends.
        """
        begin, end = self._registration.memory_from, self._registration.memory_until
        if begin is None or end is None or not self._registration.remembers(now):
            return None
        half = begin + (end - begin) / 2
        return half if now < half else None

    async def _held_at(self) -> datetime | None:
        """Return when AWS last took a record of this pod, unless it has refused the pod since."""
        evidence = self._registration.evidence
        if evidence is not None and evidence.refused_at is not None:
            return None
        try:
            return await self._store.last_accepted_at()
        except LedgerUnavailable:
            return None  # the ledger logs it

    async def _refuse(self, reason: Reason, detail: str, cure: str = "") -> None:
        await self._move(self._registration.refused(reason, detail, self._clock.now(), cure))

    async def _fault(self, reason: Reason, detail: str, code: str, cure: str = "") -> None:
        now = self._clock.now()
        self._retries.failed(_REGISTRATION, now)
        report = FaultLog(
            begins="registration.retrying",
            ends="registration.recovered",
            details={"reason": reason, "code": code},
            again_after=LOG_AGAIN,
        )
        self._trouble.observe(reason, detail, "", now, about=_REGISTRATION, report=report)
        await self._move(self._registration.faulted(reason, detail, now, cure))

    def _next_ask(self, now: datetime) -> datetime:
        if self._registration.standing is Standing.REFUSED:
            return now + ASK_AGAIN
        return self._retries.not_before(_REGISTRATION) or now

    async def _recall(self) -> None:
        """Take over what an earlier process left. Until then nothing is written in its place."""
        try:
            evidence = await self._store.load_evidence()
            accepted_at = await self._store.last_accepted_at()
        except LedgerUnavailable as error:
            if not self._unread:
                self._log.error("registration.evidence_not_read", detail=str(error))
            self._unread = True
            return
        self._recalled, self._kept = True, evidence
        if self._recorded and evidence is not None:
            evidence = evidence.recorded()
        recalled = self._memory.recall(self._registration, evidence, accepted_at, self._clock.now())
        await self._move(recalled)

    async def _pause(self, until: datetime | None) -> None:
        """Wait until an instant or a change; less while the ledger is still to be read."""
        if not self._recalled:
            again = self._clock.now() + FIRST_WAIT
            until = again if until is None else min(until, again)
        await self._changes.pause(until, self._recheck_after.total_seconds())

    async def _move(self, registration: Registration) -> None:
        self._change(registration)
        if self._recalled and registration.evidence is not None and registration.evidence != self._kept:
            await self._keep(registration.evidence)

    def _change(self, registration: Registration) -> None:
        self._registration = registration
        self._changes.note()

    async def _keep(self, evidence: Evidence) -> None:
        """Store `evidence`, or what has replaced it while the store was busy; the entitlement holds without."""
        async with self._keeping:
            evidence = self._registration.evidence or evidence
            try:
                await self._store.save_evidence(evidence)
            except LedgerUnavailable as error:
                self._log.error("registration.evidence_not_kept", detail=str(error))
            else:
                self._kept = evidence


def _begin(settings: RegistrarSettings, now: datetime) -> Registration:
    registration = Registration(
        product_code=settings.product_code,
        public_key_version=settings.public_key_version,
        source=EntitlementSource.EMULATOR if settings.emulator else EntitlementSource.LIVE,
        retry_for=settings.retry_for,
        asking_since=now,
        since=now,
    )
    if settings.check is not EntitlementCheck.NONE:
        return registration
    return registration.granted(Reason.NOT_CHECKED, "The seller asks for no check of the entitlement.", None, now)


def _grant(
    registration: Registration, settings: RegistrarSettings, evidence: Evidence, *, recorded: bool = False
) -> Registration:
    if settings.check is not EntitlementCheck.METER:
        reason, detail = Reason.REGISTERED, "AWS Marketplace has registered this pod, and its signature is right."
    elif settings.probe is StartProbe.DRY_RUN and not recorded:
        reason, detail = Reason.METERED, _DRY_RUN
    elif settings.probe is StartProbe.LICENSE and not recorded:
        reason, detail = Reason.METERED, _LICENSED
    else:
        reason, detail = Reason.METERED, _RECORDED
    return registration.granted(reason, detail, evidence, evidence.registered_at)
