"""In-memory services behind a running API, and a client that speaks raw HTTP to it."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sidecar.adapters.http.api import Address, ApiServer, Services
from sidecar.domain.entitlement.allowances import Allowance, CheckoutRefused, CheckoutRequest, UnknownCheckout
from sidecar.domain.entitlement.checkouts import Checkout, CheckoutKind, CheckoutState
from sidecar.domain.entitlement.states import Entitlement, EntitlementSource, EntitlementView, LicenseView, State
from sidecar.domain.histogram import Distribution
from sidecar.domain.metering.events import Aggregation, Dimension, Receipt, UsageBatch, UsageRefused
from sidecar.domain.metering.exports import Export
from sidecar.domain.metering.hours import to_micros
from sidecar.domain.metering.measuring import CounterView, SourceState, SourceView
from sidecar.domain.metering.quantity import MILLION
from sidecar.domain.metering.records import RecordStatus
from sidecar.domain.policy import EntitlementCheck
from sidecar.domain.status import (
    AllocationView,
    BucketView,
    Finding,
    Metering,
    ProbeAnswer,
    RecordPage,
    RecordQuery,
    RecordView,
    Status,
    Terms,
)

NOW = datetime(2026, 11, 23, 10, 5, tzinfo=UTC)
HOUR = datetime(2026, 11, 23, 10, tzinfo=UTC)
DIMENSIONS = {
    "requests": Dimension("requests"),
    "users": Dimension("users", Aggregation.UNIQUE),
}
ENTITLED = Entitlement(
    State.ENTITLED,
    "registered",
    "AWS Marketplace registered this pod.",
    EntitlementSource.LIVE,
    "0abc123example",
    1,
    since=NOW,
    registered_at=NOW,
    nonce="the-nonce",
    signature="header.body.signature",
)
LICENSE = LicenseView("arn", "AVAILABLE", NOW, NOW, None, (EntitlementView("users", "Count", 5, 2),))
RECORD = RecordView(
    id="r1",
    dimension="requests",
    hour=HOUR,
    quantity=3 * MILLION // 2,
    status=RecordStatus.SEALED,
    reason=None,
    client_token="token-1",
    metering_record_id=None,
    attempts=0,
    allocations=[AllocationView(3 * MILLION // 2, (("Team", "IT"),))],
    sealed_at=NOW,
    accepted_at=None,
    carried_to=None,
    kind="usage",
    product_code="0abc123example",
)
STATUS = Status(
    versions={"sidecar": "1.2.3", "python": "3.13.1"},
    now=NOW,
    started_at=HOUR,
    check=EntitlementCheck.REGISTER,
    pricing=None,
    entitlement=ENTITLED,
    metering=Metering.OK,
    last_success_at=NOW - timedelta(minutes=2),
    oldest_unsent_hour=HOUR,
    pod="pod-uid",
    pod_source="downward-api",
    region="us-east-1",
    credentials="irsa",
    mode="live",
    ledger_path="/var/lib/marketplace-sidecar/ledger.db",
    ledger_bytes=4096,
    ledger_used=3072,
    ledger_limit=8192,
    conservation={"requests": Terms(accepted=19 * MILLION // 2, open=2 * MILLION, submitted=15 * MILLION // 2)},
    findings=[Finding("key-rotated", "The key has expired.", "Publish the next one.", NOW)],
    answers={"accepted": 3, "ThrottlingException": 1},
    accepted_events=7,
    duplicate_events=2,
    left_unsent={"requests": MILLION // 2},
    lost_to_probe={"requests": MILLION // 4},
    in_doubt=1,
    oldest_open_hour=HOUR,
    window_closes_at=HOUR + timedelta(hours=6),
    clock_skew=timedelta(seconds=-2.5),
    refused={"invalid-usage": 3, "overloaded": 0},
    taking=Distribution([(0.5, 2), (1, 3)], 4, 6.5),
    committing=Distribution([(0.5, 1), (1, 1)], 1, 0.25),
    sources=[
        SourceView("pod_hours", SourceState.MEASURING, NOW, "counts hours of the pod", 1800.5, 12.0),
        SourceView(
            "served",
            SourceState.MEASURING,
            NOW,
            "counts served_total",
            series=3,
            counters=CounterView({"began": 3, "increased": 40}, unusable=2, folded=1),
        ),
    ],
)


class FixedClock:
    """A clock that stands at `NOW`."""

    def now(self) -> datetime:
        """Return `NOW`."""
        return NOW

    async def sleep_until(self, instant: datetime) -> None:
        """Nothing waits by this clock."""
        raise NotImplementedError


@dataclass
class FakeGate:
    """An entitlement that the test turns."""

    current: Entitlement = ENTITLED
    refusal: Exception | None = None
    waits: list[tuple[State, timedelta]] = field(default_factory=list)
    nonces: list[str] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a long poll has ended, however it did."""
    patient: bool = True
    """Long polls wait; otherwise they end immediately."""
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    answering: asyncio.Event | None = None
    """Attestations wait for it where it is set."""
    asked: int = 0

    def entitlement(self) -> Entitlement:
        """Return what the test has set."""
        self.asked += 1
        return self.current

    async def wait_while(self, state: State, timeout: timedelta) -> Entitlement:
        """Wait for `become`, noting the call and its end."""
        async with self.changed:
            self.waits.append((state, timeout))
            self.changed.notify_all()
        try:
            with suppress(TimeoutError):
                if not self.patient:
                    return self.current
                async with asyncio.timeout(timeout.total_seconds()), self.changed:
                    await self.changed.wait_for(lambda: self.current.state is not state)
        finally:
            self.ended.set()
        return self.current

    async def become(self, state: State) -> None:
        """Change the state and wake who waits for it."""
        async with self.changed:
            self.current = replace(self.current, state=state)
            self.changed.notify_all()

    async def until_waiting(self, count: int = 1) -> None:
        """Return once `count` long polls have begun."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.waits) >= count)

    async def attest(self, nonce: str) -> str:
        """Note the nonce; refuse where the test wants it."""
        self.nonces.append(nonce)
        if self.answering is not None:
            await self.answering.wait()
        if self.refusal is not None:
            raise self.refusal
        return "header.body.signature"


@dataclass
class FakeIntake:
    """Takes every batch into a list."""

    batches: list[UsageBatch] = field(default_factory=list)
    refusal: Exception | None = None
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event | None = None
    """Batches wait for it where it is set."""

    def take(self, batch: UsageBatch) -> asyncio.Future[Receipt]:
        """Note the batch; wait or refuse where the test wants it."""
        return asyncio.ensure_future(self._take(batch))

    def submit(self, batch: UsageBatch, answer: Callable[[Receipt | UsageRefused], None]) -> None:
        """Do what `take` does; a refusal that is none of usage is raised."""
        if self.refusal is not None and not isinstance(self.refusal, UsageRefused):
            raise self.refusal

        def pass_on(future: asyncio.Future[Receipt]) -> None:
            fault = future.exception()
            answer(fault if isinstance(fault, UsageRefused) else future.result())

        self.take(batch).add_done_callback(pass_on)

    async def _take(self, batch: UsageBatch) -> Receipt:
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.refusal is not None:
            raise self.refusal
        self.batches.append(batch)
        return Receipt(len(batch.events), 0)


@dataclass
class FakeExports:
    """Takes every OpenTelemetry export into a list."""

    exports: list[Export] = field(default_factory=list)
    refusal: Exception | None = None

    def instant(self) -> int:
        """Return `NOW`."""
        return to_micros(NOW)

    async def take(self, export: Export) -> None:
        """Note the export, or refuse it."""
        if self.refusal is not None:
            raise self.refusal
        self.exports.append(export)


@dataclass
class FakeBooks:
    """A ledger with one bucket and one record."""

    queries: list[RecordQuery] = field(default_factory=list)
    refusal: Exception | None = None
    asked_after: list[str | None] = field(default_factory=list)

    async def open_buckets(self, after: str | None = None) -> Sequence[BucketView]:
        """Note where the page begins; return one bucket."""
        self.asked_after.append(after)
        if self.refusal is not None:
            raise self.refusal
        return [BucketView("requests", HOUR, 5 * MILLION // 2, (("Team", "IT"),), 3)]

    async def records(self, query: RecordQuery) -> RecordPage:
        """Note the query; return a page of one."""
        self.queries.append(query)
        if self.refusal is not None:
            raise self.refusal
        return RecordPage([RECORD], "r1")


@dataclass
class FakeHealth:
    """Verdicts and a status that the test sets."""

    verdict: ProbeAnswer = field(
        default_factory=lambda: ProbeAnswer(ok=True, reason="entitled", sentence="All is well.")
    )
    refusal: Exception | None = None
    current: Status = STATUS
    gate: asyncio.Event | None = None
    """A status waits for it where it is set."""
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    readings: int = 0

    def alive(self) -> ProbeAnswer:
        """Return what the test has set."""
        return self.verdict

    def started(self) -> ProbeAnswer:
        """Return what the test has set."""
        return self.verdict

    def ready(self) -> ProbeAnswer:
        """Return what the test has set."""
        return self.verdict

    async def status(self) -> Status:
        """Return what the test has set."""
        self.readings += 1
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.refusal is not None:
            raise self.refusal
        return self.current


@dataclass
class Answer:
    """A response as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The JSON body."""
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The stable word of a problem document."""
        assert "application/problem+json" == self.headers["content-type"]
        document = self.document
        assert document["status"] == self.status
        assert document.keys() >= {"type", "title", "status", "detail"}
        return str(document["type"]).rpartition(":")[2]

    @property
    def faults(self) -> list[tuple[int, str]]:
        """Index and field of every fault listed."""
        return [(fault["index"], fault["field"]) for fault in self.document["errors"]]


class Wire:
    """One connection; sends exactly the bytes that a test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> "Wire":
        """Connect over TCP."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    @classmethod
    async def open_unix(cls, path: Path) -> "Wire":
        """Connect to a unix socket."""
        return cls(*await asyncio.open_unix_connection(path))

    def send(self, data: bytes) -> None:
        """Send `data` as it is."""
        self._writer.write(data)

    async def receive(self, *, body: bool = True) -> Answer:
        """Return the next answer; `body` is False for one to HEAD."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        length = int(headers.get("content-length", "0")) if body else 0
        return Answer(int(first.split()[1]), headers, await self._reader.readexactly(length))

    async def at_end(self) -> bool:
        """Return whether the server closes the connection without another byte."""
        return await self.rest() == b""

    async def rest(self) -> bytes:
        """Return what comes until the server closes."""
        try:
            return await self._reader.read()
        except ConnectionError:
            return b""

    def hang_up_sending(self) -> None:
        """Tell the server that nothing more is sent."""
        self._writer.write_eof()

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


def request(
    method: str, target: str, body: bytes | str = b"", *, host: str = "localhost", headers: Sequence[str] = ()
) -> bytes:
    """Return a whole HTTP/1.1 request."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


class FakeLicenses:
    """A license that grants every entitlement but `unknown`, and checkouts in memory."""

    def __init__(self) -> None:
        self.refusal: CheckoutRefused | None = None
        """What the next calls raise."""
        self.held: dict[str, Checkout] = {}

    def allowance(self, name: str, requested: int) -> Allowance:
        """Grant up to five."""
        self._refuse()
        return Allowance(name, requested <= 5, 5, 0, None, NOW)

    async def check_out(self, request: CheckoutRequest) -> tuple[Checkout, bool]:
        """Hold it."""
        self._refuse()
        made = request.id not in self.held
        self.held[request.id] = Checkout(
            id=request.id,
            kind=CheckoutKind.APP,
            sku="prod-1",
            issuer="aws",
            entitlement=request.entitlement,
            unit="Count",
            count=request.count,
            drawdown=request.drawdown,
            client_token="token",
            region="us-east-1",
            state=CheckoutState.HELD,
            intended_at=NOW,
            expires_at=NOW,
        )
        return self.held[request.id], made

    async def confirm(self, id_: str) -> Checkout:
        """Return it."""
        self._refuse()
        if id_ not in self.held:
            raise UnknownCheckout("unknown")
        return self.held[id_]

    async def give_back(self, id_: str) -> None:
        """Forget it."""
        self._refuse()
        if id_ not in self.held:
            raise UnknownCheckout("unknown")
        del self.held[id_]

    async def listing(self) -> list[Checkout]:
        """Return what is held."""
        return list(self.held.values())[:1000]

    def _refuse(self) -> None:
        if self.refusal is not None:
            raise self.refusal


@dataclass
class Api:
    """A running API and the services behind it."""

    gate: FakeGate = field(default_factory=FakeGate)
    intake: FakeIntake = field(default_factory=FakeIntake)
    books: FakeBooks = field(default_factory=FakeBooks)
    health: FakeHealth = field(default_factory=FakeHealth)
    refused: Counter[str] = field(default_factory=Counter)
    licenses: FakeLicenses | None = field(default_factory=FakeLicenses)
    exports: FakeExports | None = None
    unix_socket: Path | None = None
    token_file: Path | None = None
    dimensions: Mapping[str, Dimension] = field(default_factory=lambda: DIMENSIONS)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen, on a free port by default."""
        self.server = ApiServer(
            Address(host, port, self.unix_socket, self.token_file),
            Services(
                FixedClock(),
                self.gate,
                self.intake,
                self.books,
                self.health,
                self.refused,
                self.licenses,
                self.exports,
            ),
            self.dimensions,
        )
        await self.server.start()

    async def stop(self) -> None:
        """Stop with 5 s for what runs."""
        await self.server.stop(timedelta(seconds=5))

    @property
    def port(self) -> int:
        """The port in use."""
        return self.server.port

    async def exchange(self, data: bytes, *, body: bool = True) -> Answer:
        """Send `data` on a connection of its own and return the first answer."""
        wire = await Wire.open(self.port)
        try:
            wire.send(data)
            return await wire.receive(body=body)
        finally:
            await wire.close()

    async def get(self, target: str, *headers: str, host: str = "localhost") -> Answer:
        """GET `target`."""
        return await self.exchange(request("GET", target, host=host, headers=headers))

    async def post(self, target: str, body: bytes | str, *headers: str, media: str = "application/json") -> Answer:
        """POST `body` as `media`."""
        return await self.exchange(request("POST", target, body, headers=(f"Content-Type: {media}", *headers)))

    async def report(self, body: bytes | str, *headers: str, media: str = "application/json") -> Answer:
        """POST usage."""
        return await self.post("/v1/usage", body, *headers, media=media)
