"""What the probes and the operator are told: one judgement over entitlement, metering and the ledger.

Only the entitlement, and metering where the seller asked for it, decide readiness. A ledger that cannot be written is
said, but locks nobody out.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sidecar.domain import skew, timestamps
from sidecar.domain.entitlement.renewal import KEY_ROTATION_CURE
from sidecar.domain.entitlement.states import State
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.metering.failing import Failure, describe
from sidecar.domain.pod.reports import Situation
from sidecar.domain.policy import OnFailing
from sidecar.domain.ports import Clock
from sidecar.domain.status import OTHER_PRODUCT_CURE, Finding, Progress, Status, Terms, Verdict
from sidecar.services.intake import UsageIntake
from sidecar.services.registrar import Registrar
from sidecar.services.standing_faults import Since, entitlement_fault
from sidecar.services.submitter import Submitter

_FAILING_CURE = (
    "Follow the cure of the other faults. It ends with the next record of the dimension that AWS takes, or once there "
    "is room for usage again."
)


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

    async def progress(self) -> Progress:
        """Return how far the submissions have come."""

    async def terms(self) -> Mapping[str, Terms]:
        """Return the terms of the conservation law by dimension."""

    def size(self) -> int | None:
        """Return the bytes of the ledger's files, None while they cannot be seen."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where this process runs, as far as it never changes."""

    versions: Mapping[str, str]
    region: str | None
    credentials: str | None
    mode: str
    ledger_path: str
    on_failing: OnFailing
    window: timedelta
    """How old a record may be when it is sent."""
    started_at: datetime


class HealthReport:
    """Answers the probes and `/v1/status` from the services as they stand."""

    def __init__(  # noqa: PLR0913 - the composition root names every part once
        self,
        *,
        setting: Setting,
        registrar: Registrar,
        submitter: Submitter,
        intake: UsageIntake,
        ledger: ReadableLedger,
        clock: Clock,
        running: Callable[[], bool],
        refused: Mapping[str, int],
        clock_skew: Callable[[], timedelta | None],
        lasting: Sequence[Finding] = (),
        passing: Callable[[], Sequence[Finding]] = tuple,
        room: Callable[[], Room | None] = lambda: None,
    ) -> None:
        """Make the report.

        Args:
            setting: Where this process runs.
            registrar: Knows the entitlement.
            submitter: Knows how the submissions go.
            intake: Knows whether usage is taken.
            ledger: Is read for the status.
            clock: Judges everything by one instant.
            running: Tells whether every loop of the process runs.
            refused: Usage requests that were not taken, by reason; counted elsewhere.
            clock_skew: Tells by how much this clock was ahead of the service's at its last answer, if that is known.
            lasting: What was found at start and stays true.
            passing: Tells what else is found at an instant.
            room: Returns how full the ledger is, as it was measured last.
        """
        self._setting = setting
        self._registrar = registrar
        self._submitter = submitter
        self._intake = intake
        self._ledger = ledger
        self._clock = clock
        self._running = running
        self._refused = refused
        self._clock_skew = clock_skew
        self._lasting = tuple(lasting)
        self._passing = passing
        self._since = Since()
        self._room = room
        self._looking: asyncio.Task[Status] | None = None
        self._next_look: asyncio.Task[Status] | None = None

    def alive(self) -> Verdict:
        """Tell whether the process and its loops run."""
        if self._running():
            return Verdict(ok=True, reason="alive", sentence="The process and its loops run.")
        return Verdict(ok=False, reason="stopping", sentence="The process is ending: a loop has stopped.")

    def started(self) -> Verdict:
        """Tell whether the pod has been entitled once in this process's life."""
        verdict = self._entitlement()
        if self._registrar.entitled_once:
            return Verdict(ok=True, reason="started", sentence="The pod has been entitled.")
        return verdict

    def ready(self) -> Verdict:
        """Tell whether the pod is entitled now and not gated by metering."""
        verdict = self._entitlement()
        if not verdict.ok:
            return verdict
        failures = self._failures()
        if failures:
            gated = self._setting.on_failing is OnFailing.GATE
            return Verdict(ok=not gated, reason="metering-failing", sentence=describe(failures))
        if self._ledger.fault is not None:
            words = f"Usage is refused for now: {self._ledger.fault}. It goes on by itself once the cause is gone."
            return Verdict(ok=True, reason="ledger-unavailable", sentence=words)
        full = next((found for found in self._passing() if found.code == "ledger-full"), None)
        if full is not None:
            return Verdict(ok=True, reason="ledger-full", sentence=f"{full.detail}. {full.cure}")
        return verdict

    def situation(self) -> Situation:
        """Return what the cluster is told about."""
        failing = bool(self._failures())
        return Situation(self._registrar.entitlement(), self.ready(), failing, self._registrar.rotation_due)

    async def status(self) -> Status:
        """Return everything an operator asks first; also while the ledger cannot be read.

        Whoever asks during a look shares the next one, so that no crowd of scrapers keeps usage from the ledger's
        thread, and nobody is told of an instant before the question.
        """
        if self._next_look is None:
            self._next_look = asyncio.create_task(self._look_after(self._looking), name="status")
        return await asyncio.shield(self._next_look)

    def close(self) -> None:
        """Give up the looks that nobody waits for any more, before the ledger is closed under them."""
        for look in (self._looking, self._next_look):
            if look is not None:
                look.cancel()

    async def _look_after(self, running: asyncio.Task[Status] | None) -> Status:
        if running is not None:
            await asyncio.wait([running])
        self._looking, self._next_look = self._next_look, None
        return await self._look()

    async def _look(self) -> Status:
        now = self._clock.now()
        found = entitlement_fault(self._registrar.entitlement(), emulator=self._setting.mode == "emulator")
        standing = [] if found is None else [found]
        findings: list[Finding] = []
        progress, terms = Progress(self._submitter.last_success_at, None, 0), dict[str, Terms]()
        fault = self._ledger.fault
        try:
            progress, terms = await self._ledger.progress(), dict(await self._ledger.terms())
        except LedgerUnavailable as error:
            fault = str(error)
        findings += self._submitter.courses.duplicate_findings(now)
        failures = self._failures()
        if failures:
            since = min(failure.since for failure in failures)
            findings.append(Finding("metering-failing", describe(failures), _FAILING_CURE, since))
        if fault is not None:
            findings.append(Finding("ledger-unavailable", fault, "Make room, or restore the file or volume.", now))
        rotated = self._registrar.rotation_due
        if rotated is not None:
            detail = f"AWS rotated the product's public key on {timestamps.render(rotated)}"
            standing.append(Finding("public-key-rotated", detail, KEY_ROTATION_CURE, rotated))
        if progress.in_doubt:
            detail = f"{progress.in_doubt} records may or may not have been taken by AWS"
            cure = "Run `marketplace-sidecar ledger reconcile --cloudtrail`, or decide with `ledger resolve`."
            findings.append(Finding("in-doubt", detail, cure, now))
        if progress.other_product:
            detail = f"{progress.other_product} records hold usage of a product that is not configured any more"
            since = progress.other_product_since or now
            findings.append(Finding("other-product", detail, OTHER_PRODUCT_CURE, since))
        off = self._clock_skew()
        if off is not None and abs(off) > skew.DOUBTFUL_FROM:
            findings.append(Finding("clock-skew", skew.describe(off), skew.CURE, now))
        if not all(found.balanced for found in terms.values()):
            detail = "accepted usage and its parts differ"
            cure = "Run `marketplace-sidecar ledger verify`; it names the row. Keep the file."
            findings.append(Finding("conservation-broken", detail, cure, now))
        dated = self._since.date(findings)
        room = self._room()
        return Status(
            versions=self._setting.versions,
            now=now,
            started_at=self._setting.started_at,
            entitlement=self._registrar.entitlement(),
            metering=self._metering(),
            last_success_at=self._submitter.last_success_at,
            oldest_unsent_hour=progress.oldest_unsent_hour,
            pod=self._ledger.pod,
            pod_source=self._ledger.pod_source,
            region=self._setting.region,
            credentials=self._setting.credentials,
            mode=self._setting.mode,
            ledger_path=self._setting.ledger_path,
            ledger_bytes=self._ledger.size(),
            ledger_used=None if room is None else room.used,
            ledger_limit=None if room is None else room.limit,
            conservation=terms,
            findings=[*standing, *self._lasting, *self._passing(), *self._submitter.findings.values(), *dated],
            answers=dict(self._submitter.answers),
            accepted_events=self._intake.accepted,
            duplicate_events=self._intake.duplicates,
            left_unsent=dict(self._submitter.left_unsent),
            in_doubt=progress.in_doubt,
            oldest_open_hour=progress.oldest_open_hour,
            window_closes_at=_after(progress.oldest_unsent_at, self._setting.window),
            clock_skew=off,
            failing=frozenset(failure.cause for failure in failures),
            refused=dict(self._refused),
            taking=self._intake.taking.distribution(),
            committing=self._intake.committing.distribution(),
        )

    def _entitlement(self) -> Verdict:
        entitlement = self._registrar.entitlement()
        reason = entitlement.reason if entitlement.state is State.ENTITLED else entitlement.state.value
        return Verdict(ok=entitlement.entitled, reason=reason, sentence=entitlement.detail)

    def _failures(self) -> list[Failure]:
        return self._submitter.courses.failures(self._clock.now())

    def _metering(self) -> str:
        if not self._running():
            return "stopped"
        if not self._failures():
            return "ok"
        return "gated" if self._setting.on_failing is OnFailing.GATE else "failing"


def _after(instant: datetime | None, window: timedelta) -> datetime | None:
    return None if instant is None else instant + window
