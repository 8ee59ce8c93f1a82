"""AWS's side as a pod meets it: the emulator's own rules behind a network and a service that fail in every known way.

What a call comes to is drawn when it is sent. A request on its way reaches the rules even if its sender is gone.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import NoReturn

from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.instants import hour_of
from sidecar.emulator.protocol.requests import Allocation, Tag
from sidecar.emulator.protocol.requests import MeterUsageRequest as Received
from sidecar.emulator.rules.meter_usage import meter_usage
from sidecar.emulator.rules.quantities import Quantity, decimal_quantity, whole_quantity
from sidecar.emulator.rules.usage_rules import record_id
from sidecar.emulator.state.entries import MeteringRecord, Subscription
from sidecar.emulator.state.seed import Seed
from sidecar.emulator.state.store import Slot, State
from sidecar.marketplace import (
    BatchMeterUsageRequest,
    BatchMeterUsageResult,
    CredentialsMissing,
    MarketplaceError,
    MeterUsageRequest,
    MeterUsageResult,
    NoAnswer,
    NotSent,
    RegisterUsageRequest,
    RegisterUsageResult,
    ResolveCustomerRequest,
    ResolveCustomerResult,
    UnknownAnswer,
    faults,
)
from sidecar.marketplace.passage import mark_unsent
from sidecar.marketplace.service_errors import error_from
from tests.simulation.clocks import World
from tests.simulation.disk import Crash
from tests.simulation.witness import Witness
from tests.support.service_model import modelled

FOREIGN = Quantity(7_777_777_123_456, decimal=True)
"""What another process has reported under the pod's name."""
NOTHING = Quantity(0, decimal=True)
CLIENT_TIMEOUT = 20.0


class Fault(StrEnum):
    """How one call goes wrong."""

    THROTTLED = "throttled"
    INTERNAL = "internal"  # a 500; not taken, which it does not tell
    TIMEOUT = "timeout"  # never reaches the service; no answer
    DROPPED = "dropped-response"  # taken; no answer
    OVERTAKEN = "overtaken"  # no answer in time; taken only later, after retries perhaps
    UNREACHABLE = "unreachable"  # connection refused
    NEVER_LEFT = "never-left"  # connected, and then silence during the TLS handshake
    NO_CREDENTIALS = "no-credentials"
    ACCESS_DENIED = "access-denied"
    NO_RECORD_ID = "no-record-id"  # taken; a 200 without MeteringRecordId
    UNMODELLED = "unmodelled"  # an error that no model defines
    OUT_OF_BOUNDS = "out-of-bounds"  # the service's clock is another one
    CONFLICT = "conflict"  # IdempotencyConflict out of the blue
    FOREIGN = "foreign-record"  # another record is already in the slot
    REJECTED_DIMENSION = "rejected-dimension"
    REJECTED_PRODUCT = "rejected-product"
    WRONG_REGION = "wrong-region"
    INTERNAL_TAKEN = "internal-taken"  # taken, and answered by the same 500


_INTERNAL = "InternalServiceErrorException"
_MODELLED = modelled("MeterUsage")
_REFUSALS = {
    Fault.THROTTLED: "ThrottlingException",
    Fault.INTERNAL: _INTERNAL,
    Fault.ACCESS_DENIED: "AccessDeniedException",
    Fault.UNMODELLED: "BrandNewException",
    Fault.OUT_OF_BOUNDS: "TimestampOutOfBoundsException",
    Fault.CONFLICT: "IdempotencyConflictException",
    Fault.REJECTED_DIMENSION: "InvalidUsageDimensionException",
    Fault.REJECTED_PRODUCT: "InvalidProductCodeException",
    Fault.WRONG_REGION: "InvalidEndpointRegionException",
}
_NEVER_SENT = {Fault.UNREACHABLE, Fault.NEVER_LEFT, Fault.NO_CREDENTIALS}
_UNANSWERED = {Fault.DROPPED, Fault.OVERTAKEN}
SILENT = (Fault.DROPPED, Fault.OVERTAKEN, Fault.NO_RECORD_ID, Fault.INTERNAL_TAKEN)
"""What leaves a pod in doubt about a record that was taken."""


@dataclass
class Service:
    """The metering service of the simulated world, and the network before it."""

    world: World
    state: State = field(default_factory=lambda: State(Seed()))
    weather: Mapping[Fault, float] = field(default_factory=dict)
    """The share of calls that each fault strikes."""
    random: Random = field(default_factory=lambda: Random(0))
    injected: Counter[str] = field(default_factory=Counter)
    stranger: int | None = None
    """Another process reports zeros as the pods, before they do: for each hour whose number this divides."""
    when_taken: Callable[[], None] | None = None
    """Called once, after the next record has been taken and before that is reported."""

    def subscribe(self, *, entitled: bool) -> None:
        """Let the buyer subscribe or unsubscribe."""
        self.state.keep(Subscription(entitled))

    def knows(self, pod: str) -> bool:
        """Tell whether the service holds a record of a pod."""
        return any(identity == pod for _, identity, _, _ in self.state.slots)

    def draw_fault(self) -> Fault | None:
        """Decide what happens to the next call."""
        left = self.random.random()
        for fault, share in self.weather.items():
            left -= share
            if left < 0:
                self.injected[fault.value] += 1
                return fault
        return None

    def fill_slot(self, pod: str, request: Received, quantity: Quantity = FOREIGN) -> None:
        """Let another process report under the pod's name first."""
        slot: Slot = (request.product_code, pod, request.dimension, hour_of(request.timestamp))
        if slot not in self.state.slots:
            record = MeteringRecord(
                record_id(slot), slot[0], slot[2], slot[3], quantity, (), pod, self.world.now(), client_token=None
            )
            self.state.keep(record)

    def process(self, witness: Witness, pod: str, request: Received) -> MeteringRecord:
        """Apply the rules."""
        if self.stranger is not None and hour_of(request.timestamp).hour % self.stranger == 0:
            self.fill_slot(pod, request, NOTHING)
        record = meter_usage(self.state, self.world.now(), pod, request)
        if record.client_token is None:
            witness.see_shared(request.client_token or "", record)
        else:
            witness.see_taken(request.client_token or "", record)
        if self.when_taken is not None:
            self.when_taken()
            self.when_taken = None
        return record


class _Call:
    """One request on its way, and the answer to it."""

    def __init__(
        self, service: Service, witness: Witness, pod: str, request: Received, fault: Fault | None, number: str
    ) -> None:
        self._service = service
        self._witness = witness
        self._pod = pod
        self._request = request
        self._fault = fault
        self._number = number
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[MeterUsageResult] = self._loop.create_future()

    @property
    def never_leaves(self) -> bool:
        """No byte of it is ever sent."""
        return self._fault in _NEVER_SENT

    def send(self) -> None:
        """Let the request travel as its fault wants it."""
        latency = 0.01 + self._service.random.random() * 0.5
        match self._fault:
            case None | Fault.NO_RECORD_ID | Fault.INTERNAL_TAKEN:
                self._arrive_after(latency)
            case Fault.FOREIGN:
                self._service.fill_slot(self._pod, self._request)
                self._arrive_after(latency)
            case Fault.DROPPED:
                self._arrive_after(latency)
                self._fail_after(CLIENT_TIMEOUT, NoAnswer("read timed out"))
            case Fault.OVERTAKEN:
                self._arrive_after(CLIENT_TIMEOUT + self._service.random.random() * 900)
                self._fail_after(CLIENT_TIMEOUT, NoAnswer("read timed out"))
            case Fault.TIMEOUT:
                self._fail_after(CLIENT_TIMEOUT, NoAnswer("read timed out"))
            case Fault.UNREACHABLE:
                self._fail_after(latency, NotSent("connection refused"))
            case Fault.NEVER_LEFT:
                self._fail_after(CLIENT_TIMEOUT, NotSent("the TLS handshake timed out"))
            case Fault.NO_CREDENTIALS:
                self._fail_after(latency, CredentialsMissing("the token file is gone"))
            case refused:
                self._fail_after(latency, self._refusal(_REFUSALS[refused]))

    def _arrive_after(self, seconds: float) -> None:
        self._loop.call_later(seconds, self._arrive)

    def _fail_after(self, seconds: float, error: MarketplaceError) -> None:
        self._loop.call_later(seconds, self._fail, error)

    def _arrive(self) -> None:
        try:
            record = self._service.process(self._witness, self._pod, self._request)
        except ServiceError as error:
            if self._fault is Fault.INTERNAL_TAKEN:
                self._fail(self._refusal(_INTERNAL))
            elif self._fault not in _UNANSWERED:
                self._fail(error_from(_MODELLED, error.code, error.message, self._number, error.status))
            return
        if self._fault is Fault.NO_RECORD_ID:
            self._fail(UnknownAnswer("a success without a MeteringRecordId"))
        elif self._fault is Fault.INTERNAL_TAKEN:
            self._fail(self._refusal(_INTERNAL))
        elif self._fault not in _UNANSWERED and not self.answer.done():
            record_id = record.metering_record_id
            self.answer.set_result(MeterUsageResult(metering_record_id=record_id, request_id=self._number))

    def _refusal(self, code: str) -> MarketplaceError:
        return error_from(_MODELLED, code, "injected", self._number, 500 if code == _INTERNAL else 400)

    def _fail(self, error: MarketplaceError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class PodClient:
    """The service as one process of one pod reaches it."""

    def __init__(self, service: Service, pod: str, witness: Witness) -> None:
        self._service = service
        self._pod = pod
        self._witness = witness
        self.dead = False

    async def meter_usage(self, request: MeterUsageRequest) -> MeterUsageResult:
        """Send one record."""
        if self.dead:
            raise Crash
        service, witness = self._service, self._witness
        number = witness.see_sent(self._pod, request)
        if broken := list(faults(request)):
            witness.fail(f"the request breaks the service's limits: {broken}")
        call = _Call(service, witness, self._pod, _receive(request), service.draw_fault(), str(number))
        call.send()
        try:
            result = await call.answer
        except MarketplaceError as error:
            witness.see_answer(request, error)
            raise
        except asyncio.CancelledError as cut:
            if call.never_leaves and not self.dead:
                witness.see_answer(request, NotSent("cut off"))
                mark_unsent(cut)
            raise
        witness.see_answer(request, None)
        return result

    async def register_usage(self, request: RegisterUsageRequest) -> RegisterUsageResult:
        """Refuse: registration is not simulated here."""
        _refuse(request)

    async def batch_meter_usage(self, request: BatchMeterUsageRequest) -> BatchMeterUsageResult:
        """Refuse: a container product has no use for it."""
        _refuse(request)

    async def resolve_customer(self, request: ResolveCustomerRequest) -> ResolveCustomerResult:
        """Refuse: a container product has no use for it."""
        _refuse(request)


def _receive(request: MeterUsageRequest) -> Received:
    """Read a request as the service does from the wire."""
    allocations = request.usage_allocations
    return Received(
        product_code=request.product_code,
        timestamp=request.timestamp,
        dimension=request.usage_dimension,
        quantity=_quantity(request.usage_quantity, request.usage_quantity_as_decimal),
        allocations=None
        if allocations is None
        else tuple(
            Allocation(
                _quantity(share.allocated_usage_quantity, share.allocated_usage_quantity_as_decimal),
                tuple(Tag(tag.key, tag.value) for tag in share.tags or ()),
            )
            for share in allocations
        ),
        client_token=request.client_token,
    )


def _quantity(whole: int | None, decimal: str | None) -> Quantity:
    return decimal_quantity(decimal) if decimal is not None else whole_quantity(whole or 0)


def _refuse(request: object) -> NoReturn:
    raise NotImplementedError(type(request).__name__)
