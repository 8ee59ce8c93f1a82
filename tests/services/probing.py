"""A pod with a custom price: the real registrar, start probe and submitter over a real ledger, before AWS's rules."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import structlog

from sidecar.adapters.ledger.courses import read_courses
from sidecar.adapters.ledger.evidence import last_accepted_at, read_evidence, write_evidence
from sidecar.adapters.ledger.probe_slots import last_held_at
from sidecar.adapters.signature import PublicKeys
from sidecar.domain.entitlement.states import Entitlement, Evidence, State
from sidecar.domain.metering.quantity import MILLION
from sidecar.domain.policy import EntitlementCheck, ProbeHour
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.requests import MeterUsageRequest as Received
from sidecar.emulator.rules.meter_usage import meter_usage
from sidecar.emulator.rules.quantities import decimal_quantity
from sidecar.emulator.state.entries import Subscription
from sidecar.emulator.state.seed import Seed
from sidecar.emulator.state.store import State as Account
from sidecar.marketplace import MarketplaceError, MeterUsageRequest, MeterUsageResult, NoAnswer
from sidecar.marketplace.service_errors import ThrottlingException, TimestampOutOfBoundsException, error_from
from sidecar.services.faults import FaultRegister
from sidecar.services.registrar import DeniedExit, Registrar, RegistrarSettings
from sidecar.services.start_probe import StartProbe
from sidecar.services.submitter import Submitter
from tests.services.fakes import Marketplace as Scripted
from tests.services.fakes import Shelf
from tests.support.books import RULES, Books, event
from tests.support.service_model import modelled

if TYPE_CHECKING:
    from tests.conftest import ManualClock

SETTINGS = RegistrarSettings(
    product_code=RULES.product_code, public_key_version=1, dimensions=("requests",), check=EntitlementCheck.METER
)
ONE = {"requests": RULES.dimensions["requests"]}
Fault = Callable[["Aws", MeterUsageRequest], MarketplaceError | None]
"""Returns how a call goes wrong; None lets it through."""


class Aws(Scripted):
    """The emulator's own rules behind faults that a test chooses."""

    def __init__(self, clock: "ManualClock") -> None:
        super().__init__(clock.now)
        self.account = Account(Seed())
        self.faults: list[Fault] = []
        """One for each call to come; afterwards every call goes through."""
        self.always_fault: Fault | None = None
        self.pod = "pod-1"
        self.never_answers = False
        """The next call is taken, and nothing comes back."""

    def subscribe(self, *, entitled: bool) -> None:
        """Let the buyer subscribe or unsubscribe."""
        self.account.keep(Subscription(entitled))

    @property
    def held(self) -> int:
        """What AWS charges for, in millionths."""
        return sum(record.quantity.millionths for record in self.account.records)

    @property
    def zeros(self) -> list[int]:
        """The hours of the day of the records of nothing."""
        return [record.hour.hour for record in self.account.records if not record.quantity.millionths]

    async def meter_usage(self, request: MeterUsageRequest) -> MeterUsageResult:
        """Take it by the rules, or fail as the test wants it."""
        self.requests.append(request)
        self.called_at.append(self.now())
        await (asyncio.sleep(0) if self.wait is None else self.wait(request))
        if self.faults:
            fault: Fault | None = self.faults.pop(0)
        else:
            fault = self.always_fault
        error = None if fault is None else fault(self, request)
        if error is not None:
            raise error
        identifier = self.take(request)
        if self.never_answers:
            self.never_answers = False
            await asyncio.Event().wait()
        return MeterUsageResult(metering_record_id=identifier, request_id="request-1")

    def take(self, request: MeterUsageRequest) -> str:
        """Apply the rules."""
        received = Received(
            product_code=request.product_code,
            timestamp=request.timestamp,
            dimension=request.usage_dimension,
            quantity=decimal_quantity(request.usage_quantity_as_decimal or "0"),
            client_token=request.client_token,
        )
        try:
            return meter_usage(self.account, self.now(), self.pod, received).metering_record_id
        except ServiceError as error:
            raise error_from(modelled("MeterUsage"), error.code, error.message, "request-1", error.status) from error


def _drop(*_: object) -> NoReturn:
    """Log nothing."""
    raise structlog.DropEvent


def throttled(_: Aws, __: MeterUsageRequest) -> MarketplaceError:
    """Too many calls of the account."""
    return ThrottlingException("slow down")


def lost_before(_: Aws, __: MeterUsageRequest) -> MarketplaceError:
    """The request never arrives, and nobody says so."""
    return NoAnswer("the connection was dropped")


def lost_after(aws: Aws, request: MeterUsageRequest) -> MarketplaceError:
    """The request is taken, and the answer is lost."""
    aws.take(request)
    return NoAnswer("the connection was dropped")


def out_of_bounds(aws: Aws, request: MeterUsageRequest) -> MarketplaceError | None:
    """AWS takes no usage of an hour before the present one."""
    if request.timestamp < aws.now().replace(minute=0, second=0, microsecond=0):
        return TimestampOutOfBoundsException("before the software started")
    return None


class Cabinet(Shelf):
    """The ledger as the registrar needs it, too."""

    async def load_evidence(self) -> Evidence | None:
        """Return what was kept last."""
        return read_evidence(self._step("load_evidence").store.connection)

    async def save_evidence(self, evidence: Evidence) -> None:
        """Keep it."""
        books = self._step("save_evidence")
        with books.store.transaction():
            write_evidence(books.store, evidence)

    async def last_accepted_at(self) -> object:
        """Return when AWS last showed that it holds a record."""
        asked = (self.books.store.connection, self.books.pod, RULES.product_code)
        return max((at for at in (last_accepted_at(*asked), last_held_at(*asked)) if at), default=None)


class Pod:
    """One pod with a subscription to be proved; its process may be killed and started again."""

    def __init__(self, clock: "ManualClock", path: Path, settings: RegistrarSettings = SETTINGS) -> None:
        self.clock = clock
        self.aws = Aws(clock)
        self.settings = settings
        self.rules = replace(RULES, dimensions=ONE)
        self.books = Books(path, self.rules, now=clock.now(), durable=False)
        self.cabinet = Cabinet(self.books)
        self.reported = 0
        """What the app has reported and was acknowledged, in millionths."""
        self.openings: list[Entitlement] = []
        """Every instant at which the gate was seen open."""
        self._tasks: list[asyncio.Task[None]] = []
        self.registrar = self._make()

    def _make(self) -> Registrar:
        probe = StartProbe(
            store=self.cabinet,
            client=self.aws,
            clock=self.clock,
            dimension="requests",
            preferred=self.settings.probe_hour,
        )
        self.registrar = Registrar(
            settings=self.settings,
            client=self.aws,
            signatures=PublicKeys({}),
            clock=self.clock,
            evidence=self.cabinet,  # type: ignore[arg-type]
            pod=self.books.pod,
            random=lambda: 0.5,
            log=structlog.wrap_logger(None, processors=[_drop]),
            probe=probe,
            recheck_after=timedelta(hours=1),
        )
        self.submitter = Submitter(
            store=self.cabinet,
            client=self.aws,
            gate=self.registrar,
            clock=self.clock,
            rules=self.rules,
            pod=self.books.pod,
            random=lambda: 0.5,
            faults=FaultRegister(),
            courses=read_courses(self.books.store.connection),
        )
        return self.registrar

    async def start(self, pod: str = "pod-1", *, reopened: bool = True) -> Registrar:
        """Start a process, as `pod`, and let it do what it does at once; perhaps on the ledger as it is open."""
        await self.kill()
        self.books.now = self.clock.now()
        if reopened:
            self.books.restart(pod)
        self.aws.pod = pod
        self._make()
        self._tasks = [asyncio.create_task(self.registrar.run()), asyncio.create_task(self.submitter.run())]
        await self.clock.settle()
        return self.registrar

    async def kill(self) -> None:
        """Let the process go as it stands."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError, DeniedExit):
                await task
        self._tasks = []

    async def pass_time(self, by: timedelta, use_every: timedelta = timedelta(minutes=10)) -> None:
        """Let time pass; where the gate is open the app uses one unit now and then."""
        end = self.clock.now() + by
        while self.clock.now() < end:
            entitlement = self.registrar.entitlement()
            if entitlement.entitled:
                self.openings.append(entitlement)
                self.use()
            await self.clock.advance(min(use_every, end - self.clock.now()))

    def use(self, quantity: int = 1) -> None:
        """Report usage, which the ledger takes."""
        self.books.now = self.clock.now()
        self.books.take(event(str(quantity)))
        self.reported += quantity * MILLION

    async def end(self) -> None:
        """Let the pod terminate in order."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        self._tasks = []
        await self.submitter.drain(ending=True)

    @property
    def state(self) -> State:
        """What the gate shows now."""
        return self.registrar.entitlement().state

    def close(self) -> None:
        """Let go of the ledger, which must be sound."""
        breaches = self.books.breaches()
        self.books.close()
        assert [] == breaches


CURRENT = replace(SETTINGS, probe_hour=ProbeHour.CURRENT)
