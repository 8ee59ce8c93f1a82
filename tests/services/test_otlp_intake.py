"""The sources `otlp` over a real ledger: exports that are lost, repeated and reordered, and kills."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.entitlement.states import Entitlement, State
from sidecar.domain.metering.events import Dimension, LedgerUnavailable, NotEntitled
from sidecar.domain.metering.exports import Export, PointFault
from sidecar.domain.metering.hours import to_micros
from sidecar.domain.metering.measuring import CounterView, SourceState
from sidecar.domain.metering.series import SeriesBatch, SeriesReceipt, SeriesSample, Temporality
from sidecar.domain.metering.sources import Otlp
from sidecar.services.counting import Counters
from sidecar.services.faults import FaultRegister
from sidecar.services.otlp_intake import OtlpIntake
from tests.support.books import NOW, RULES, Books
from tests.support.http_fakes import ENTITLED

SCALE = Decimal("0.0000003")
DIMENSION = Dimension("tokens", source=Otlp("app.tokens", scale=SCALE))
SECOND = timedelta(seconds=1)


@dataclass
class Clock:
    """A clock that the test moves."""

    at: datetime = NOW

    def now(self) -> datetime:
        """Return where it stands."""
        return self.at

    def booted_at(self) -> datetime:
        """Return when the machine started."""
        return NOW

    async def sleep_until(self, instant: datetime) -> None:
        """Nothing waits by this clock."""
        raise NotImplementedError


@dataclass
class Store:
    """The ledger, whose next writes fail before or after their commit."""

    books: Books
    clock: Clock
    fails: list[str] = field(default_factory=list)

    async def begin_series(self, origins: Mapping[str, str], at: datetime) -> None:
        """Note the sources."""
        self.books.now = at
        self.books.begin_series(**origins)

    async def take_series(self, batches: Sequence[SeriesBatch], now: datetime) -> list[SeriesReceipt]:
        """Store samples, or fail."""
        fault = self.fails.pop(0) if self.fails else ""
        if fault == "before":
            raise LedgerUnavailable("disk I/O error")
        self.books.now = now
        receipts = self.books.take_series(*batches)
        if fault == "after":
            raise LedgerUnavailable("the answer was lost")
        return receipts


@dataclass
class Gate:
    """An entitlement that the test sets."""

    current: Entitlement = ENTITLED

    def entitlement(self) -> Entitlement:
        """Return it."""
        return self.current


@dataclass
class Pod:
    """An app that counts, and the processes of its sidecar."""

    books: Books
    temporality: Temporality = Temporality.CUMULATIVE
    clock: Clock = field(default_factory=Clock)
    gate: Gate = field(default_factory=Gate)
    faults: FaultRegister = field(default_factory=FaultRegister)
    arrivals: int = 0
    total: int = 0
    """What the app's process has counted, since its last export if it exports deltas."""
    lives: int = 0
    delivered: dict[tuple[int, int], int] = field(default_factory=dict)
    """What of the count has reached the ledger, by life, and by export for deltas."""
    sent: list[tuple[tuple[int, int], SeriesSample]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.books.rules = replace(RULES, dimensions={"tokens": DIMENSION})
        self.store = Store(self.books, self.clock)
        self.start()

    def start(self) -> None:
        """Start a process of the sidecar."""
        self.counters = Counters(origins={"tokens": "otlp"}, store=self.store, clock=self.clock, system=self.clock)
        self.intake = OtlpIntake(
            dimensions=[DIMENSION],
            counters=self.counters,
            gate=self.gate,
            clock=self.clock,
            faults=self.faults,
            arrived=self.arrive,
        )

    def arrive(self) -> None:
        """Count the exports."""
        self.arrivals += 1

    def turn(self, state: State) -> None:
        """Change the state of the gate."""
        self.gate.current = replace(ENTITLED, state=state, since=self.clock.at)

    def start_app(self) -> None:
        """Start a process of the app: its counter is zero."""
        self.clock.at += SECOND
        self.lives, self.total, self.started = self.lives + 1, 0, to_micros(self.clock.at)

    def sample(self) -> SeriesSample:
        """Return what the app exports now."""
        self.clock.at += SECOND
        at = to_micros(self.clock.at)
        found = SeriesSample(b"series", (), Decimal(self.total), self.started, at, self.temporality)
        life = self.lives, at if self.temporality is Temporality.DELTA else 0
        self.sent.append((life, found))
        if self.temporality is Temporality.DELTA:
            self.total, self.started = 0, at
        return found

    async def deliver(self, number: int, fault: str = "") -> None:
        """Bring an export to the sidecar, for the first time or again; the network or the disk may fail."""
        life, sample = self.sent[number]
        self.store.fails = [fault]
        with suppress(LedgerUnavailable):
            await self.intake.take(Export({"tokens": [sample]}))
        newest = max((before for before, _ in self.delivered), default=0)
        if fault != "before" and (self.temporality is Temporality.DELTA or life[0] >= newest):
            self.delivered[life] = max(self.delivered.get(life, 0), int(sample.value))

    @property
    def billed(self) -> int:
        """Millionths that the ledger has accepted."""
        return self.books.terms("tokens").accepted

    @property
    def truth(self) -> int:
        """Millionths of what has reached the ledger."""
        return int(sum(self.delivered.values()) * SCALE * 1_000_000)


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    """Return a pod whose app starts after its sidecar."""
    with closing(Books(tmp_path / "ledger.db")) as books:
        made = Pod(books)
        await made.counters.begin()
        made.start_app()
        yield made


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("count"), st.integers(0, 1000)),
        st.tuples(st.just("export"), st.sampled_from(["", "before", "after"])),
        st.tuples(st.just("repeat"), st.integers(0, 30), st.sampled_from(["", "before", "after"])),
        st.tuples(st.just("restart app")),
        st.tuples(st.just("restart sidecar")),
        st.tuples(st.just("pass"), st.integers(0, 5000)),
    ),
    max_size=30,
)


@pytest.mark.parametrize("temporality", Temporality)
@given(steps=STEPS)
@settings(max_examples=150, deadline=None)
async def test_each_unit_counts_once(temporality: Temporality, steps: list[tuple[object, ...]]) -> None:
    """Whatever is lost, repeated or reordered, and whoever restarts: what reached the ledger is billed once."""
    with TemporaryDirectory() as folder, closing(Books(Path(folder, "ledger.db"), durable=False)) as books:
        pod = Pod(books, temporality)
        await pod.counters.begin()
        pod.start_app()
        for step in steps:
            await play(pod, step)
            assert pod.truth == pod.billed
        pod.total += 1
        pod.sample()
        await pod.deliver(-1)
        assert pod.truth == pod.billed


async def play(pod: Pod, step: tuple[object, ...]) -> None:
    """Play one step."""
    match step:
        case "count", int(amount):
            pod.total += amount
        case "export", str(fault):
            pod.sample()
            await pod.deliver(-1, fault)
        case "repeat", int(back), str(fault) if pod.sent:
            await pod.deliver(-1 - back % len(pod.sent), fault)
        case ("restart app",):
            pod.start_app()
        case ("restart sidecar",):
            pod.books.restart()
            pod.start()
        case "pass", int(seconds):
            pod.clock.at += timedelta(seconds=seconds)
        case _:  # a repetition before the first export
            pass


async def test_refusal_of_the_ledger(pod: Pod) -> None:
    """An export that the ledger refuses is not answered; the same export counts once it is taken."""
    pod.total = 10_000_000
    pod.sample()
    pod.store.fails = ["before"]
    with pytest.raises(LedgerUnavailable):
        await pod.intake.take(Export({"tokens": [pod.sent[-1][1]]}))
    assert 0 == pod.billed
    await pod.deliver(-1)
    assert 3_000_000 == pod.billed


async def test_begin_that_the_ledger_refused(pod: Pod) -> None:
    """Counting began when the process did, also if the ledger could note it only with the first export."""
    began: list[datetime] = []

    async def begin(origins: Mapping[str, str], at: datetime) -> None:
        began.append(at)
        if len(began) == 1:
            raise LedgerUnavailable("disk I/O error")

    pod.start()
    pod.store.begin_series = begin  # type: ignore[method-assign]
    await pod.counters.begin()
    pod.clock.at += SECOND
    await pod.counters.take([])
    await pod.counters.take([])
    assert [pod.clock.at - SECOND] * 2 == began


@pytest.mark.parametrize("temporality", Temporality)
async def test_denied_pod_is_not_billed(pod: Pod, temporality: Temporality) -> None:
    """AWS has refused the pod: its export is refused, and what began then is not billed later, by any process."""
    pod.temporality = temporality
    pod.start_app()

    async def deliver(count: int) -> None:
        pod.clock.at += SECOND
        pod.total += count
        pod.sample()
        await pod.intake.take(Export({"tokens": [pod.sent[-1][1]]}))

    pod.turn(State.DENIED)
    with pytest.raises(NotEntitled):
        await deliver(1_000_000)
    assert (0, 0) == (pod.billed, pod.arrivals)
    pod.start()
    pod.turn(State.PENDING)
    await deliver(1_000_000)
    pod.clock.at += SECOND
    pod.turn(State.ENTITLED)
    await deliver(1_000_000)
    assert 0 == pod.billed
    await deliver(2_000_000)
    assert 600_000 == pod.billed


async def test_status_of_a_source(pod: Pod) -> None:
    """A source waits until its first sample; then the status has its time and the number of its series."""
    (view,) = pod.intake.views
    assert (SourceState.WAITING, None, 0) == (view.state, view.last_sample_at, view.series)
    other = SeriesSample(b"another", (), Decimal(1), None, to_micros(pod.clock.at))
    export = Export({"tokens": [pod.sample(), other]})
    export.folded["tokens"] = 1
    export.faults["app.tokens", PointFault.NEGATIVE] = 3
    await pod.intake.take(export)
    (view,) = pod.intake.views
    assert CounterView({"began": 1, "base-line": 1, "refused": 3}, unusable=0, folded=1) == view.counters
    assert (SourceState.MEASURING, pod.clock.at, 2) == (view.state, view.last_sample_at, view.series)
    assert 1 == pod.arrivals


async def test_inconsistent_series(pod: Pod) -> None:
    """A value that goes back without a new start is a fault, bills nothing, and ends with the next good export."""
    pod.total = 10
    await pod.intake.take(Export({"tokens": [pod.sample()]}))
    pod.total = 5
    await pod.intake.take(Export({"tokens": [pod.sample()]}))
    (finding,) = pod.faults.findings
    assert "source-inconsistent" == finding.code
    assert finding.detail.startswith("dimension tokens: 1 of 1 series of app.tokens")
    assert [SourceState.INCONSISTENT] == [view.state for view in pod.intake.views]
    assert 3 == pod.billed
    await pod.intake.take(Export({"tokens": [pod.sample()]}))
    assert [] == list(pod.faults.findings)
    assert [SourceState.MEASURING] == [view.state for view in pod.intake.views]


async def test_refused_data_points(pod: Pod) -> None:
    """Refused data points are a fault until an export brings good ones alone; other metrics change nothing."""
    bad = Export()
    bad.faults["app.tokens", PointFault.KIND] = 2
    await pod.intake.take(bad)
    (finding,) = pod.faults.findings
    assert "source-refused" == finding.code
    assert "2 data points refused" in finding.detail
    await pod.intake.take(Export())
    assert ["source-refused"] == [each.code for each in pod.faults.findings]
    await pod.intake.take(Export({"tokens": [pod.sample()]}))
    assert [] == list(pod.faults.findings)


async def test_start_that_the_ledger_refuses(pod: Pod) -> None:
    """A ledger that refuses at the start is asked again before the first sample."""
    asked: list[datetime] = []
    begin = pod.store.begin_series

    async def refuse_once(origins: Mapping[str, str], at: datetime) -> None:
        asked.append(at)
        if len(asked) == 1:
            raise LedgerUnavailable("disk I/O error")
        await begin(origins, at)

    pod.store.begin_series = refuse_once  # type: ignore[method-assign]
    pod.start()
    await pod.counters.begin()
    pod.start_app()
    pod.total = 10_000_000
    pod.sample()
    await pod.deliver(-1)
    assert 2 == len(asked)
    assert 3_000_000 == pod.billed
    await pod.counters.begin()
    assert 2 == len(asked)
