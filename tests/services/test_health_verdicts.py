"""The probes and the status, for every state of the services."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from sidecar.adapters.signature import PublicKeys
from sidecar.domain.entitlement.states import State
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.metering.failing import Cause
from sidecar.domain.policy import EntitlementCheck, OnFailing, Pricing, StartProbe
from sidecar.domain.status import Figures, ProbeAnswer, Progress, Terms
from sidecar.marketplace.errors import MarketplaceError
from sidecar.marketplace.service_errors import ERRORS, CustomerNotEntitledException, ThrottlingException
from sidecar.services.health import HealthReport, Setting
from sidecar.services.intake import UsageIntake
from sidecar.services.registrar import Registrar, RegistrarSettings
from sidecar.settings import LedgerSettings, MeteringSettings, Product, Settings
from tests.services.fakes import MemoryStore
from tests.support.books import NOW, RULES, event
from tests.support.tools import PATIENCE

if TYPE_CHECKING:
    from tests.conftest import ManualClock
    from tests.services.conftest import Metering

AT_ONCE = replace(RULES, spread=timedelta())
BALANCED = Terms(accepted=5, open=2, sealed=3)


@dataclass
class Shelf:
    """What the status reads of a ledger."""

    pod: str = "pod-1"
    pod_source: str = "downward-api"
    fault: str | None = None
    unreadable: bool = False
    looks: int = 0
    held: asyncio.Event | None = None
    """Keeps a look from ending until it is set."""
    looked: asyncio.Event = field(default_factory=asyncio.Event)
    found: Progress = field(default_factory=lambda: Progress(NOW, NOW, 0))
    law: dict[str, Terms] = field(default_factory=lambda: {"requests": BALANCED})

    async def figures(self) -> Figures:
        """Return what the test has set."""
        self.looks += 1
        self.looked.set()
        if self.unreadable:
            raise LedgerUnavailable("disk I/O error")
        found = Figures(self.found, self.law, self.size())
        if self.held is not None:
            await self.held.wait()
        return found

    def size(self) -> int | None:
        """Return some size."""
        return 4096


class Desk:
    """A report over a real submitter, registrar and intake."""

    def __init__(self, metering: "Metering", check: EntitlementCheck = EntitlementCheck.NONE) -> None:
        self.metering = metering
        self.running = True
        self.refused = Counter({"overloaded": 2})
        self.skew: timedelta | None = None
        self.shelf = Shelf()
        self.intake = UsageIntake(store=MemoryStore(), gate=metering.gate, clock=metering.clock)
        self.registrar = Registrar(
            settings=RegistrarSettings(
                product_code="0abc123example", public_key_version=1, check=check, probe=StartProbe.DRY_RUN
            ),
            client=metering.marketplace,
            signatures=PublicKeys({}),
            clock=metering.clock,
            evidence=Drawer(),
            pod="pod-1",
            random=lambda: 0.5,
            log=structlog.wrap_logger(None, processors=[drop]),
        )

    def report(self, on_failing: OnFailing = OnFailing.WARN, pricing: Pricing | None = None) -> HealthReport:
        """Make the report."""
        return HealthReport(
            setting=Setting(
                Settings(
                    product=Product("0abc123example", pricing=pricing),
                    metering=MeteringSettings(on_failing=on_failing),
                    ledger=LedgerSettings(Path("/ledger.db")),
                ),
                {"sidecar": "1.0"},
                "eu-west-1",
                "irsa",
                NOW,
            ),
            gate=self.registrar,
            submitter=self.metering.submitter,
            intake=self.intake,
            ledger=self.shelf,
            clock=self.metering.clock,
            running=lambda: self.running,
            refused=self.refused,
            clock_skew=lambda: self.skew,
            faults=self.metering.faults,
        )

    async def fail(self, error: MarketplaceError | None = None) -> None:
        """Let no record be taken for longer than metering may be silent."""
        self.metering.marketplace.always["requests"] = error or ThrottlingException("slow down")
        await self.metering.start(AT_ONCE)
        self.metering.use(event("5"))
        await self.metering.until(14)


class Drawer:
    """An evidence store that keeps nothing."""

    async def load_evidence(self) -> None:
        """Have nothing."""

    async def last_accepted_at(self) -> None:
        """Have nothing."""

    async def save_evidence(self, evidence: object) -> None:
        """Keep nothing."""


def drop(*_: object) -> Mapping[str, object]:
    """Write no line."""
    raise structlog.DropEvent


async def brought_to(metering: "Metering", state: State) -> Desk:
    """Return a desk whose registrar stands so."""
    desk = Desk(metering, EntitlementCheck.METER)
    if state in {State.ENTITLED, State.SUSPENDED}:
        await desk.registrar.on_submission(accepted=True)
    if state in {State.DENIED, State.SUSPENDED}:
        await desk.registrar.on_submission(accepted=False)
    if state is State.UNAVAILABLE:
        metering.clock.step(timedelta(hours=1))
    assert state is desk.registrar.entitlement().state
    return desk


@pytest.mark.parametrize(
    ("state", "ok", "reason", "started"),
    [
        (State.PENDING, False, "pending", False),
        (State.ENTITLED, True, "metered", True),
        (State.DENIED, False, "denied", False),
        (State.UNAVAILABLE, False, "unavailable", False),
        (State.SUSPENDED, False, "suspended", True),
    ],
)
async def test_entitlement_decides(
    metering: "Metering",
    state: State,
    ok: bool,  # noqa: FBT001 - a table's column
    reason: str,
    started: bool,  # noqa: FBT001 - a table's column
) -> None:
    """Ready is entitled now, started is entitled once in this process's life, alive is neither."""
    report = (await brought_to(metering, state)).report()
    ready = report.ready()
    assert (ok, reason) == (ready.ok, ready.reason)
    assert ready.sentence
    assert (started, True) == (report.started().ok, report.alive().ok)


@pytest.mark.parametrize(
    ("on_failing", "fault", "ok", "reason", "metering_state"),
    [
        (OnFailing.WARN, None, True, "metering-failing", "failing"),
        (OnFailing.GATE, None, False, "metering-failing", "gated"),
        (OnFailing.GATE, "disk full", False, "metering-failing", "gated"),
    ],
)
async def test_failing_gates_if_asked(
    metering: "Metering",
    on_failing: OnFailing,
    fault: str | None,
    ok: bool,  # noqa: FBT001 - a table's column
    reason: str,
    metering_state: str,
) -> None:
    """A pod that cannot submit is reported; it is locked out only where the seller wants that, until a success."""
    desk = Desk(metering)
    await desk.fail()
    desk.shelf.fault = fault
    report = desk.report(on_failing)
    assert (ok, reason) == (report.ready().ok, report.ready().reason)
    assert metering_state == (await report.status()).metering
    metering.marketplace.always.clear()
    await metering.until(14, 10)
    desk.shelf.fault = None
    assert ("not-checked", "ok") == (report.ready().reason, (await report.status()).metering)


@pytest.mark.parametrize(
    ("error", "ready", "metering_state"),
    [(CustomerNotEntitledException(), True, "failing"), (ThrottlingException(), False, "gated")],
)
async def test_refused_overage_leaves_the_pod_ready(
    metering: "Metering",
    error: MarketplaceError,
    ready: bool,  # noqa: FBT001 - a table's column
    metering_state: str,
) -> None:
    """Beside a contract `on_failing: gate` closes nothing when AWS refuses the overage, and closes for a fault."""
    desk = Desk(metering)
    await desk.fail(error)
    report = desk.report(OnFailing.GATE, Pricing.CONTRACT)
    assert (ready, "metering-failing") == (report.ready().ok, report.ready().reason)
    assert metering_state == (await report.status()).metering


async def test_ledger_fault_locks_nobody_out(metering: "Metering") -> None:
    """A ledger that cannot be written is shown by the probe and the status, and the pod stays ready."""
    desk = Desk(metering)
    desk.shelf.fault = "the ledger cannot be written: disk full"
    report = desk.report(OnFailing.GATE)
    assert (True, "ledger-unavailable") == (report.ready().ok, report.ready().reason)
    (finding,) = (await report.status()).findings
    assert "never put an older copy in place" in finding.cure
    assert "disk full" in report.ready().sentence
    assert ["ledger-unavailable"] == [finding.code for finding in (await report.status()).findings]


async def test_stopped_loop_told(metering: "Metering") -> None:
    """A process whose loops have stopped is not alive, and its metering has stopped."""
    desk = Desk(metering)
    desk.running = False
    report = desk.report()
    assert (
        ProbeAnswer(ok=False, reason="stopping", sentence="The process is ending: a loop has stopped.")
        == report.alive()
    )
    assert "stopped" == (await report.status()).metering


async def test_status_tells_everything(metering: "Metering") -> None:
    """The status joins the ledger's figures, the process's counts and every finding with its cure."""
    desk = Desk(metering)
    await desk.fail()
    desk.shelf.found = Progress(NOW, NOW - timedelta(hours=1), 2, NOW - timedelta(minutes=50), NOW)
    desk.shelf.law["peak"] = replace(BALANCED, open=1)
    report = desk.report()
    status = await report.status()
    assert ("1.0", "pod-1", "downward-api", "eu-west-1", "irsa", 4096, 2) == (
        status.versions["sidecar"],
        status.pod,
        status.pod_source,
        status.region,
        status.credentials,
        status.ledger_bytes,
        status.in_doubt,
    )
    assert (NOW - timedelta(hours=1), False) == (status.oldest_unsent_hour, status.balanced)
    assert (NOW + timedelta(hours=5, minutes=10), NOW) == (status.window_closes_at, status.oldest_open_hour)
    assert {"ThrottlingException"} == status.answers.keys()
    codes = ["ThrottlingException", "metering-failing", "in-doubt", "conservation-broken"]
    assert codes == [finding.code for finding in status.findings]
    assert all(finding.cure and finding.detail for finding in status.findings)
    assert {Cause.SILENCE} == status.failing
    assert status.findings[1].detail == report.ready().sentence


async def test_duplicates_are_a_fault(metering: "Metering") -> None:
    """A duplicate is a fault of its own for a day; the third one within it makes metering failing, with that cause."""
    desk = Desk(metering)
    await metering.start(replace(AT_ONCE, failing_after=timedelta(hours=9)))
    metering.marketplace.says("requests", *[ERRORS["DuplicateRequestException"]()] * 3)
    for hour, failing in ((11, frozenset[Cause]()), (12, frozenset[Cause]()), (13, frozenset({Cause.DUPLICATES}))):
        metering.use(event("5"))
        await metering.until(hour, 10)
        status = await desk.report().status()
        codes = [finding.code for finding in status.findings]
        assert (failing, True) == (status.failing, "duplicate-reporter" in codes)
        assert bool(failing) == ("metering-failing" in codes)


async def test_other_product_is_a_fault(metering: "Metering") -> None:
    """Usage of a product that is not configured is a fault with a cure; its time does not move."""
    desk = Desk(metering)
    since = NOW - timedelta(days=2)
    desk.shelf.found = Progress(NOW, NOW, 0, other_product=3, other_product_since=since)
    (found,) = (await desk.report().status()).findings
    assert ("other-product", since) == (found.code, found.since)
    assert "3 records" in found.detail
    assert "ledger resolve" in found.cure


async def test_crowd_shares_a_read(metering: "Metering") -> None:
    """However many ask together, the ledger is read once, and once more for all who asked meanwhile."""
    desk = Desk(metering)
    desk.shelf.held = asyncio.Event()
    report = desk.report()
    first = asyncio.create_task(report.status())
    await desk.shelf.looked.wait()
    desk.shelf.found = Progress(NOW, NOW, 7)
    crowd = [asyncio.create_task(report.status()) for _ in range(100)]
    crowd[0].cancel()  # a client that hangs up takes the answer from no other client
    await asyncio.sleep(0)
    desk.shelf.held.set()
    assert 0 == (await first).in_doubt
    assert {7} == {(await each).in_doubt for each in crowd[1:]}
    assert 2 == desk.shelf.looks
    desk.shelf.found = Progress(NOW, NOW, 8)
    assert 8 == (await report.status()).in_doubt


async def test_closed_report_looks_no_more(metering: "Metering") -> None:
    """A look whose client has gone ends with the report, before the ledger is closed under it."""
    desk = Desk(metering)
    desk.shelf.held = asyncio.Event()
    report = desk.report()
    asked = asyncio.create_task(report.status())
    await desk.shelf.looked.wait()
    looks = [task for task in asyncio.all_tasks() if task.get_name() == "status"]
    asked.cancel()
    report.close()
    await asyncio.wait(looks, timeout=PATIENCE)
    assert [True] == [look.cancelled() for look in looks]


async def test_status_without_ledger(metering: "Metering") -> None:
    """While the ledger cannot be read the status still answers, and shows it."""
    desk = Desk(metering)
    desk.shelf.unreadable = True
    status = await desk.report().status()
    assert ["ledger-unavailable"] == [finding.code for finding in status.findings]
    assert ({}, None, None) == (dict(status.conservation), status.oldest_unsent_hour, status.window_closes_at)


async def test_counts_of_this_process(metering: "Metering") -> None:
    """Accepted and repeated events of this process are distinguished, and the last success with its time."""
    desk = Desk(metering)
    await metering.start(AT_ONCE)
    metering.use(event("5"))
    await metering.until(12)
    desk.intake.accepted, desk.intake.duplicates = 7, 3
    status = await desk.report().status()
    last: datetime | None = status.last_success_at
    assert (7, 3, {"accepted": 1}) == (status.accepted_events, status.duplicate_events, dict(status.answers))
    assert {"overloaded": 2} == status.refused
    assert last == metering.marketplace.called_at[-1]


async def test_start_probe_is_a_success(metering: "Metering") -> None:
    """The status has the last success of the ledger, which knows the start probe, or a newer one of the process."""
    desk = await brought_to(metering, State.ENTITLED)
    desk.shelf.found = replace(desk.shelf.found, last_success_at=NOW)
    assert NOW == (await desk.report().status()).last_success_at
    desk.metering.submitter.last_success_at = NOW + timedelta(hours=1)
    assert NOW + timedelta(hours=1) == (await desk.report().status()).last_success_at


@pytest.mark.parametrize(
    ("skew", "words"),
    [
        (None, None),
        (timedelta(), None),
        (timedelta(minutes=1), None),
        (timedelta(seconds=61), "61s ahead of"),
        (timedelta(minutes=-5), "5m behind"),
    ],
)
async def test_skew_is_told(metering: "Metering", skew: timedelta | None, words: str | None) -> None:
    """A clock more than a minute off AWS's is a fault with a cure; before the first answer nothing is reported."""
    desk = Desk(metering)
    desk.skew = skew
    status = await desk.report().status()
    told = [finding for finding in status.findings if finding.code == "clock-skew"]
    assert (skew, words is not None) == (status.clock_skew, bool(told))
    assert all(words in finding.detail and "NTP" in finding.cure for finding in told if words)


async def test_since_does_not_move(metering: "Metering", clock: "ManualClock") -> None:
    """Every fault of the status keeps its `since` from one look to the next, also while the ledger cannot be read."""
    desk = await brought_to(metering, State.SUSPENDED)
    desk.skew = timedelta(minutes=3)
    desk.shelf.fault = "disk I/O error"
    desk.shelf.law["peak"] = replace(BALANCED, open=1)
    desk.shelf.found = Progress(NOW, NOW, 2, other_product=3)
    metering.marketplace.says("requests", *[ERRORS["DuplicateRequestException"]()] * 3)
    metering.marketplace.always["peak"] = ThrottlingException("slow down")
    await metering.start(AT_ONCE)
    for hour in (11, 12, 13):
        metering.use(event("5"), event("5", dimension="peak"))
        await metering.until(hour, 10)
    desk.registrar._prover.rotation_due = NOW
    report = desk.report()
    shown = {finding.code: finding.since for finding in (await report.status()).findings}
    faults = {"ThrottlingException", "DuplicateRequestException", "duplicate-reporter", "metering-failing"}
    books = {"in-doubt", "other-product", "conservation-broken", "ledger-unavailable"}
    assert faults | books | {"entitlement-suspended", "public-key-rotated", "clock-skew"} == shown.keys()
    for unreadable in (False, True, False):
        await clock.advance(timedelta(minutes=7))
        desk.shelf.unreadable = unreadable
        assert shown == {finding.code: finding.since for finding in (await report.status()).findings}


async def test_ended_fault_begins_anew(metering: "Metering", clock: "ManualClock") -> None:
    """A fault that was gone at one look has another beginning at the next."""
    desk, report = (desk := Desk(metering)), desk.report()
    desk.skew = timedelta(minutes=3)
    (first,) = (await report.status()).findings
    desk.skew = timedelta()
    assert [] == (await report.status()).findings
    await clock.advance(timedelta(minutes=7))
    desk.skew = timedelta(minutes=3)
    assert [first.since + timedelta(minutes=7)] == [found.since for found in (await report.status()).findings]
