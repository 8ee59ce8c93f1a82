"""A pod whose registrar talks to a scripted metering service, with a clock that does not move and a store in memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import structlog
from structlog.testing import LogCapture

from sidecar.adapters.signature import PublicKeys
from sidecar.domain.entitlement.states import Evidence
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.marketplace.errors import MarketplaceError
from sidecar.marketplace.types import (
    BatchMeterUsageRequest,
    BatchMeterUsageResult,
    MeterUsageRequest,
    MeterUsageResult,
    RegisterUsageRequest,
    RegisterUsageResult,
    ResolveCustomerRequest,
    ResolveCustomerResult,
)
from sidecar.services.registrar import DeniedExit, Registrar, RegistrarSettings

if TYPE_CHECKING:
    from tests.conftest import ManualClock, Signer

SETTINGS = RegistrarSettings(product_code="0abc123example", public_key_version=1, dimensions=("requests", "seats"))


class Marketplace:
    """A metering service that says what it was told to say; the last word stays in force."""

    def __init__(self, clock: "ManualClock", seller: "Signer") -> None:
        self.clock = clock
        self.seller = seller
        self.script: list[Callable[[], None]] = []
        self.claims: dict[str, object] = {}
        self.rotation: datetime | None = None
        self.registrations: list[RegisterUsageRequest] = []
        self.metered: list[MeterUsageRequest] = []
        self.called_at: list[datetime] = []
        self.hold = asyncio.Event()
        self.hold.set()

    def says(self, *errors: MarketplaceError | None) -> None:
        """Answer the next calls so; None is yes."""
        self.script = [answer(error) for error in errors]

    async def register_usage(self, request: RegisterUsageRequest) -> RegisterUsageResult:
        """Sign, or raise what the script names."""
        self.registrations.append(request)
        await self._follow_script()
        claims = {
            "productCode": request.product_code,
            "publicKeyVersion": request.public_key_version,
            "nonce": request.nonce,
            "iat": int(self.clock.now().timestamp()),
        }
        token = self.seller.token(claims | self.claims)
        return RegisterUsageResult(signature=token, public_key_rotation_timestamp=self.rotation)

    async def meter_usage(self, request: MeterUsageRequest) -> MeterUsageResult:
        """Take it, or raise what the script names."""
        self.metered.append(request)
        await self._follow_script()
        return MeterUsageResult(metering_record_id=None)

    async def batch_meter_usage(self, request: BatchMeterUsageRequest) -> BatchMeterUsageResult:
        """Is not for containers."""
        raise NotImplementedError

    async def resolve_customer(self, request: ResolveCustomerRequest) -> ResolveCustomerResult:
        """Is not for containers."""
        raise NotImplementedError

    async def _follow_script(self) -> None:
        self.called_at.append(self.clock.now())
        await self.hold.wait()
        if self.script:
            say = self.script[0]
            if len(self.script) > 1:
                del self.script[0]
            say()


def answer(error: MarketplaceError | None) -> Callable[[], None]:
    """Return one word of a script."""

    def say() -> None:
        if error is not None:
            raise error

    return say


class Shelf:
    """An evidence store in memory, whose disk may be full."""

    def __init__(self) -> None:
        self.kept: Evidence | None = None
        self.accepted_at: datetime | None = None
        self.full = False
        self.writes = 0

    async def load_evidence(self) -> Evidence | None:
        """Return what was kept last."""
        await asyncio.sleep(0)
        if self.full:
            raise LedgerUnavailable("disk I/O error")
        return self.kept

    async def last_accepted_at(self) -> datetime | None:
        """Return when a record was last accepted."""
        return self.accepted_at

    def accept(self, at: datetime) -> None:
        """Note that AWS took a record, as the ledger does."""
        self.accepted_at = at
        self.kept = None if self.kept is None else self.kept.recorded()

    async def save_evidence(self, evidence: Evidence) -> None:
        """Keep it."""
        await asyncio.sleep(0)
        self.writes += 1
        if self.full:
            raise LedgerUnavailable("the disk is full")
        self.kept = evidence


class Scene:
    """A pod whose processes may be started one after the other."""

    def __init__(self, clock: "ManualClock", seller: "Signer") -> None:
        self.clock = clock
        self.marketplace = Marketplace(clock, seller)
        self.shelf = Shelf()
        self.lines = LogCapture()
        self.pod = "pod-1"
        self.real = 0.0
        self.recheck_after = timedelta(hours=1)
        self.refresh_clock: Callable[[], Awaitable[None]] | None = None
        self.keys = PublicKeys({1: seller.key.public_key()})
        self.process: asyncio.Task[None] | None = None

    def make(self, settings: RegistrarSettings = SETTINGS) -> Registrar:
        """Return the registrar of a new process."""
        log = structlog.wrap_logger(
            None, processors=[self.lines], wrapper_class=structlog.make_filtering_bound_logger("debug")
        )
        return Registrar(
            settings=settings,
            client=self.marketplace,
            signatures=self.keys,
            clock=self.clock,
            evidence=self.shelf,
            pod=self.pod,
            random=lambda: 0.5,
            log=log,
            refresh_clock=self.refresh_clock,
            monotonic=lambda: self.real,
            recheck_after=self.recheck_after,
        )

    def run(self, registrar: Registrar) -> asyncio.Task[None]:
        """Let a process run until the next one, or the test's end."""
        self.process = asyncio.create_task(registrar.run())
        return self.process

    async def start(self, settings: RegistrarSettings = SETTINGS) -> Registrar:
        """Return the registrar of a new process after its first answer."""
        await self.stop()
        registrar = self.make(settings)
        self.process = self.run(registrar)
        await self.clock.settle()
        return registrar

    async def stop(self) -> None:
        """Kill the running process."""
        if self.process is not None:
            self.process.cancel()
            with contextlib.suppress(asyncio.CancelledError, DeniedExit):
                await self.process

    def events(self, prefix: str = "registration.") -> list[str]:
        """Return the names of the lines that were logged."""
        return [line["event"] for line in self.lines.entries if line["event"].startswith(prefix)]


@pytest.fixture
async def scene(clock: "ManualClock", seller: "Signer") -> AsyncIterator[Scene]:
    """A pod that AWS registers unless the script has it otherwise."""
    scene = Scene(clock, seller)
    yield scene
    await scene.stop()
