"""The answers of the probes and of `/v1/status`: one judgment over entitlement, metering and the ledger.

Only the entitlement, and metering where the seller asked for it, decide readiness. A ledger that cannot be written is
reported and does not close the gate.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from sidecar.domain import skew, timestamps
from sidecar.domain.entitlement.renewal import KEY_ROTATION_CURE
from sidecar.domain.entitlement.states import State
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.metering.failing import Failure, closes_gate, describe
from sidecar.domain.metering.measuring import SourceView
from sidecar.domain.plaintext import pluralize
from sidecar.domain.pod.reports import Situation
from sidecar.domain.ports import Clock
from sidecar.domain.status import (
    LEDGER_CURE,
    OTHER_PRODUCT_CURE,
    Figures,
    Finding,
    Metering,
    ProbeAnswer,
    Progress,
    Status,
)
from sidecar.services.entitlement_fault import entitlement_fault
from sidecar.services.faults import FaultRegister
from sidecar.services.intake import UsageIntake
from sidecar.services.ports import PodGate
from sidecar.services.submitter import Submitter
from sidecar.settings import EntitlementCheck, Settings

_FAILING_CURE = (
    "Follow the cure of the other faults. It ends with the next record of the dimension that AWS takes, or once there "
    "is room for usage again."
)
_DOUBT_CURE = "Run `marketplace-sidecar ledger reconcile --cloudtrail`, or decide with `ledger resolve`."
_BROKEN_CURE = "Run `marketplace-sidecar ledger verify`; it names the row. Keep the file."


class Room(Protocol):
    """How full the ledger is, in bytes."""

    @property
    def used(self) -> int:
        """Pages in use, the log and its index."""

    @property
    def limit(self) -> int:
        """What it may take at most."""


class ReadableLedger(Protocol):
    """What the status needs of the ledger."""

    pod: str
    pod_source: str
    fault: str | None
    """Why the ledger could not be used the last time; None while it can."""

    async def figures(self) -> Figures:
        """Return what a status shows of the ledger."""

    def size(self) -> int | None:
        """Return the bytes of the ledger's files, None while they cannot be seen."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where this process runs, as far as it never changes."""

    settings: Settings
    versions: Mapping[str, str]
    region: str | None
    credentials: str | None
    started_at: datetime


@dataclass(eq=False, repr=False, kw_only=True)
class HealthReport:
    """Answers the probes and `/v1/status` from the present state of the services.

    `refused` counts the usage requests that were not taken, by reason. `clock_skew` returns by how much this clock was
    ahead of the service's at its last answer, if known.
    """

    setting: Setting
    gate: PodGate
    submitter: Submitter
    intake: UsageIntake
    ledger: ReadableLedger
    clock: Clock
    running: Callable[[], bool]
    refused: Mapping[str, int]
    clock_skew: Callable[[], timedelta | None]
    faults: FaultRegister
    room: Callable[[], Room | None] = lambda: None
    room_findings: Callable[[], Sequence[Finding]] = tuple
    sources: Callable[[], Sequence[SourceView]] = tuple
    _reading: asyncio.Task[Status] | None = field(default=None, init=False)
    _next_read: asyncio.Task[Status] | None = field(default=None, init=False)

    def alive(self) -> ProbeAnswer:
        """Return whether the process and its loops run."""
        if self.running():
            return ProbeAnswer(ok=True, reason="alive", sentence="The process and its loops run.")
        return ProbeAnswer(ok=False, reason="stopping", sentence="The process is ending: a loop has stopped.")

    def started(self) -> ProbeAnswer:
        """Return whether the pod has been entitled once in this process's life."""
        verdict = self._entitlement()
        if self.gate.entitled_once:
            return ProbeAnswer(ok=True, reason="started", sentence="The pod has been entitled.")
        return verdict

    def ready(self) -> ProbeAnswer:
        """Return whether the pod is entitled now and not gated by metering."""
        verdict = self._entitlement()
        if not verdict.ok:
            return verdict
        failures = self._failures()
        if failures:
            return ProbeAnswer(
                ok=not self._closes_gate(failures), reason="metering-failing", sentence=describe(failures)
            )
        if self.ledger.fault is not None:
            words = (
                f"Usage is refused for now: {self.ledger.fault}. The sidecar accepts it again once the cause is gone."
            )
            return ProbeAnswer(ok=True, reason="ledger-unavailable", sentence=words)
        full = next((found for found in self.room_findings() if found.code == "ledger-full"), None)
        if full is not None:
            return ProbeAnswer(ok=True, reason="ledger-full", sentence=f"{full.detail}. {full.cure}")
        return verdict

    def situation(self) -> Situation:
        """Return what is reported to the cluster."""
        failing = bool(self._failures())
        findings = self.faults.findings
        return Situation(self.gate.entitlement(), self.ready(), failing, self.gate.rotation_due, findings)

    async def status(self) -> Status:
        """Return everything that an operator asks first; also while the ledger cannot be read.

        Callers that come while the ledger is being read share the next read, so scrapes cannot starve usage, and no
        caller gets figures from before its call.
        """
        if self._next_read is None:
            self._next_read = asyncio.create_task(self._read_after(self._reading), name="status")
        return await asyncio.shield(self._next_read)

    def close(self) -> None:
        """Cancel the reads whose callers have gone, before the ledger is closed under them."""
        for read in (self._reading, self._next_read):
            if read is not None:
                read.cancel()

    async def _read_after(self, running: asyncio.Task[Status] | None) -> Status:
        if running is not None:
            await asyncio.wait([running])
        self._reading, self._next_read = self._next_read, None
        return await self._read_status()

    def _register(self, now: datetime, ledger_fault: str | None) -> Sequence[Failure]:
        """Bring the faults that this process knows by itself up to date, and return why metering fails."""
        failures = self._failures()
        self.submitter.courses.register_duplicates(self.faults, now)
        since = min((failure.since for failure in failures), default=None)
        self.faults.update("metering-failing", describe(failures), _FAILING_CURE, now, since=since)
        self.faults.update("ledger-unavailable", ledger_fault, LEDGER_CURE, now)
        off = self.clock_skew()
        wrong = off is not None and abs(off) > skew.DOUBTFUL_FROM
        self.faults.update("clock-skew", skew.describe(off) if off is not None and wrong else None, skew.CURE, now)
        return failures

    def _register_books(self, now: datetime, figures: Figures) -> None:
        """Bring the faults that only a readable ledger shows up to date; without one they stay as they were."""
        progress, terms = figures.progress, figures.terms
        count, other = progress.in_doubt, progress.other_product
        detail = f"AWS may or may not have accepted {pluralize(count, 'record')}" if count else None
        self.faults.update("in-doubt", detail, _DOUBT_CURE, now)
        detail = f"{pluralize(other, 'record')} of a product that is not configured any more" if other else None
        self.faults.update("other-product", detail, OTHER_PRODUCT_CURE, now, since=progress.other_product_since)
        balanced = all(found.balanced for found in terms.values())
        detail = None if balanced else "accepted usage and its parts differ"
        self.faults.update("conservation-broken", detail, _BROKEN_CURE, now)

    def _entitlement_faults(self) -> list[Finding]:
        """Return the faults that have an instant of their own, with AWS's answers."""
        denied = entitlement_fault(self.gate.entitlement())
        found = [] if denied is None else [denied]
        rotated = self.gate.rotation_due
        if rotated is not None:
            detail = f"AWS rotated the product's public key on {timestamps.render(rotated)}"
            found.append(Finding("public-key-rotated", detail, KEY_ROTATION_CURE, rotated))
        return found

    async def _read_status(self) -> Status:
        now = self.clock.now()
        try:
            found = await self.ledger.figures()
        except LedgerUnavailable as error:
            found = Figures(Progress(self.submitter.last_success_at, None, 0), {}, self.ledger.size())
            failures = self._register(now, str(error))
        else:
            failures = self._register(now, self.ledger.fault)
            self._register_books(now, found)
        progress, terms = found.progress, found.terms
        room = self.room()
        return Status(
            versions=self.setting.versions,
            now=now,
            started_at=self.setting.started_at,
            check=self.setting.settings.check,
            pricing=self.setting.settings.product.pricing,
            product_id=self.setting.settings.product.id,
            entitlement=self.gate.entitlement(),
            metering=self._metering(),
            # The ledger has the start probe, too, which is no course of a dimension.
            last_success_at=max(filter(None, (self.submitter.last_success_at, progress.last_success_at)), default=None),
            oldest_unsent_hour=progress.oldest_unsent_hour,
            pod=self.ledger.pod,
            pod_source=self.ledger.pod_source,
            region=self.setting.region,
            credentials=self.setting.credentials,
            mode=self.setting.settings.marketplace.mode,
            ledger_path=str(self.setting.settings.ledger.path),
            ledger_bytes=found.size,
            ledger_used=None if room is None else room.used,
            ledger_limit=None if room is None else room.limit,
            conservation=terms,
            findings=[*self._entitlement_faults(), *self.room_findings(), *self.faults.findings],
            answers=dict(self.submitter.answers),
            accepted_events=self.intake.accepted,
            duplicate_events=self.intake.duplicates,
            left_unsent=dict(self.submitter.left_unsent),
            lost_to_probe=dict(self.submitter.lost_to_probe),
            in_doubt=progress.in_doubt,
            oldest_open_hour=progress.oldest_open_hour,
            window_closes_at=_after(progress.oldest_unsent_at, self.setting.settings.metering.window),
            clock_skew=self.clock_skew(),
            failing=frozenset(failure.cause for failure in failures),
            refused=dict(self.refused),
            taking=self.intake.taking.distribution(),
            committing=self.intake.committing.distribution(),
            sources=self.sources(),
        )

    def _entitlement(self) -> ProbeAnswer:
        entitlement = self.gate.entitlement()
        reason = entitlement.reason if entitlement.state is State.ENTITLED else entitlement.state.value
        return ProbeAnswer(ok=entitlement.entitled, reason=reason, sentence=entitlement.detail)

    def _failures(self) -> list[Failure]:
        return self.submitter.courses.failures(self.clock.now())

    def _metering(self) -> Metering:
        if not self.running():
            return Metering.STOPPED
        failures = self._failures()
        if not failures:
            return Metering.OK
        return Metering.GATED if self._closes_gate(failures) else Metering.FAILING

    def _closes_gate(self, failures: Sequence[Failure]) -> bool:
        settings = self.setting.settings
        return closes_gate(failures, settings.metering.on_failing, overage=settings.check is EntitlementCheck.LICENSE)


def _after(instant: datetime | None, window: timedelta) -> datetime | None:
    return None if instant is None else instant + window
