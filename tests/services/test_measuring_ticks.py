"""The sources over a real ledger, in simulated time: ticks, refusals of the disk, kills and stepped clocks."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from sidecar.adapters.resource_files import ResourceFiles
from sidecar.domain.metering.events import Dimension, LedgerUnavailable, Receipt, UsageBatch, UsageRefused
from sidecar.domain.metering.hours import hour_of
from sidecar.domain.metering.measuring import LONGEST_TICK, TICK, SourceState
from sidecar.domain.metering.quantity import MILLION, parse_signed
from sidecar.domain.metering.sources import CountWhile, PodTime, Resource, ResourceBound, ResourceKind, Source
from sidecar.services.faults import FaultRegister
from sidecar.services.measuring import Measuring
from tests.support.books import HOUR, MINUTE, NOW, RULES, Books
from tests.support.simulated_loop import SimulatedLoop

CPU = Resource(ResourceKind.CPU, ResourceBound.LIMIT, "app")
MILLIONTHS = MILLION / 3600
"""Of an hour, in a second."""


@dataclass
class Clock:
    """Wall time that a test may step, over the simulated loop's time."""

    step: timedelta = timedelta()
    unknown: bool = False

    def now(self) -> datetime:
        """Return the wall time."""
        return NOW + self.step + timedelta(seconds=asyncio.get_running_loop().time())

    def measured_ns(self) -> int | None:
        """Return the loop's time."""
        return None if self.unknown else round(asyncio.get_running_loop().time() * 1_000_000_000)

    async def sleep_until(self, instant: datetime) -> None:
        """Return once the wall clock shows `instant`; it is read again after 30 seconds."""
        while (left := (instant - self.now()).total_seconds()) > 0:  # noqa: ASYNC110 - as the system's clock does
            await asyncio.sleep(min(left, 30))


@dataclass
class Disk:
    """A ledger whose next writes fail, before or after their commit, or last long."""

    books: Books
    clock: Clock
    fails: list[str] = field(default_factory=list)
    """Of each next write: `before` or `after` its commit, or an empty text."""
    takes: float = 0.0

    async def take(self, batches: Sequence[UsageBatch], now: datetime) -> list[Receipt | UsageRefused]:
        """Store the batches, or fail."""
        fault = self.fails.pop(0) if self.fails else ""
        if fault == "before":
            raise LedgerUnavailable("disk I/O error")
        self.books.now = now
        # Shielded from a kill that comes during the write, as a thread's work is.
        fates = self.books.take_together(*batches)
        await asyncio.sleep(self.takes)
        if fault == "after":
            raise LedgerUnavailable("the answer was lost")
        return fates


@dataclass
class Pod:
    """A pod with sources, whose processes may be killed."""

    books: Books
    folder: Path
    sources: dict[str, Source]
    clock: Clock = field(default_factory=Clock)
    entitled: bool = True
    ready: bool = True
    runs: int = 0
    faults: FaultRegister = field(default_factory=FaultRegister)
    process: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.disk = Disk(self.books, self.clock)
        dimensions = [Dimension(name, source=source) for name, source in self.sources.items()]
        self.books.rules = replace(RULES, dimensions={each.name: each for each in dimensions})
        self.measuring = self.make()

    def make(self) -> Measuring:
        """Make the sources of a new process."""
        self.runs += 1
        self.measuring = Measuring(
            dimensions=list(self.books.rules.dimensions.values()),
            store=self.disk,
            clock=self.clock,
            is_entitled=lambda: self.entitled,
            is_ready=lambda: self.ready,
            read=ResourceFiles(self.folder),
            faults=self.faults,
            run=f"run-{self.runs}",
        )
        return self.measuring

    def start(self) -> None:
        """Start a process."""
        self.process = asyncio.create_task(self.make().run())

    async def kill(self) -> None:
        """End the process wherever it is."""
        assert self.process is not None
        self.process.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.process

    def write(self, text: str) -> None:
        """Write the figure of the container's CPU limit."""
        (self.folder / CPU.file_name).write_text(text)

    def billed(self, dimension: str = "pod_hours") -> int:
        """Return the millionths that the ledger has accepted."""
        return self.books.terms(dimension).accepted

    def by_hour(self) -> dict[int, float]:
        """Return the open quantity by hour of the day."""
        return {hour: parse_signed(quantity) / MILLION for (_, hour, _), quantity in self.books.buckets().items()}


@pytest.fixture
def make_pod(tmp_path: Path) -> Iterator[Callable[..., Pod]]:
    """Return a maker of pods, whose ledger is closed at the end."""
    books: list[Books] = []

    def make(**sources: Source) -> Pod:
        folder = tmp_path / f"pod-{len(books)}"
        folder.mkdir()
        books.append(Books(folder / "ledger.db", durable=False))
        return Pod(books[-1], folder, sources or {"pod_hours": PodTime()})

    yield make
    for each in books:
        each.close()


def live(life: Coroutine[object, object, None]) -> None:
    """Run a test in simulated time."""
    loop = SimulatedLoop(Random(1))
    with closing(loop):
        loop.run_until_complete(life)
    assert [] == loop.callback_errors


def test_hours_are_billed_to_the_second(make_pod: Callable[..., Pod]) -> None:
    """From 10:20 to 13:05 an entitled pod has 40 minutes, two whole hours and 5 minutes; each hour has its own."""
    pod = make_pod()

    async def life() -> None:
        pod.start()
        await asyncio.sleep((2 * HOUR + 45 * MINUTE).total_seconds())
        await pod.kill()
        await pod.measuring.finish()

    live(life())
    expected = {10: 2 / 3, 11: 1.0, 12: 1.0, 13: 1 / 12}
    assert expected == pytest.approx(pod.by_hour(), abs=1e-5)
    assert round(2.75 * MILLION) >= pod.billed() > 2.75 * MILLION - 100


def test_nothing_counts_after_the_last_sample(make_pod: Callable[..., Pod]) -> None:
    """A process that continues for the app after SIGTERM measures no further time."""
    pod = make_pod()

    async def life() -> None:
        pod.start()
        await asyncio.sleep(600)
        await pod.measuring.finish()
        await asyncio.sleep(600)
        await pod.kill()
        await pod.measuring.finish()

    live(life())
    assert 600 * MILLIONTHS == pytest.approx(pod.billed(), abs=100)


@pytest.mark.parametrize("step", [timedelta(hours=-3), timedelta(hours=3), timedelta(days=-40), timedelta(minutes=45)])
def test_stepped_wall_clock_changes_no_amount(make_pod: Callable[..., Pod], step: timedelta) -> None:
    """A wall clock that is set does not change what is billed, and no tick waits for it."""
    pod = make_pod()

    async def life() -> None:
        pod.start()
        for change in (timedelta(), step, -step):
            pod.clock.step += change
            await asyncio.sleep(600)
        await pod.kill()
        await pod.measuring.finish()

    live(life())
    assert 1800 * MILLIONTHS == pytest.approx(pod.billed(), abs=100)
    assert 0 == pod.measuring.views[0].missed


@pytest.mark.parametrize(
    ("source", "billed"),
    [(PodTime(CountWhile.ENTITLED), 600), (PodTime(CountWhile.READY), 300)],
    ids=["entitled", "ready"],
)
def test_time_counts_while(make_pod: Callable[..., Pod], source: PodTime, billed: int) -> None:
    """Time counts while the gate is open, or the sidecar is ready; a tick in which that changes does not count."""
    pod = make_pod(pod_hours=source)

    async def life() -> None:
        pod.entitled = pod.ready = False
        pod.start()
        await asyncio.sleep(300)
        pod.entitled = True
        await asyncio.sleep(300)
        pod.ready = True
        await asyncio.sleep(300)
        await pod.kill()
        await pod.measuring.finish()

    live(life())
    assert billed * MILLIONTHS >= pod.billed() >= (billed - TICK.total_seconds() - 1) * MILLIONTHS


def test_refusal_of_the_ledger_counts_nothing_twice(make_pod: Callable[..., Pod]) -> None:
    """What the ledger refuses is stored later, and what it stored without an answer is not stored again."""
    pod = make_pod()

    async def life() -> None:
        pod.disk.fails = ["before"] * 20 + ["after", "", "after", "after", "before"]
        pod.start()
        await asyncio.sleep(3600)
        await pod.kill()
        await pod.measuring.finish()

    live(life())
    assert MILLION == pytest.approx(pod.billed(), abs=100)
    assert pod.billed() <= MILLION


def test_refused_hours_keep_their_hour(make_pod: Callable[..., Pod]) -> None:
    """Usage that waits for the disk over an hour's edge still goes into the hour in which it was measured."""
    pod = make_pod()

    async def life() -> None:
        pod.start()
        await asyncio.sleep(2399)
        pod.disk.fails = ["before"] * 10
        await asyncio.sleep(601)
        await pod.kill()
        await pod.measuring.finish()

    live(life())
    assert {10: 2 / 3, 11: 1 / 6} == pytest.approx(pod.by_hour(), abs=1e-4)


def test_last_sample_is_taken_once(make_pod: Callable[..., Pod]) -> None:
    """A drain bills up to its begin, also if the ledger refuses first, and nothing after it."""
    pod = make_pod()

    async def life() -> None:
        pod.start()
        await asyncio.sleep(40)
        await pod.kill()
        pod.disk.fails = ["before"]
        await pod.measuring.finish()
        await asyncio.sleep(20)
        await pod.measuring.finish()

    live(life())
    assert 40 * MILLIONTHS == pytest.approx(pod.billed(), abs=2)


@pytest.mark.parametrize("stalled", [20, 32, 49])
def test_last_sample_survives_a_stalled_ledger(make_pod: Callable[..., Pod], stalled: int) -> None:
    """Time is billed up to the signal, however long the ledger stalls; the last sample's own call is cut off."""
    pod = make_pod()

    async def life() -> None:
        pod.start()
        await asyncio.sleep(599)
        pod.disk.takes = 120
        await asyncio.sleep(1 + stalled)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await pod.measuring.finish()
        await asyncio.sleep(5)
        await pod.kill()
        await pod.measuring.finish()

    live(life())
    assert (600 + stalled) * MILLIONTHS == pytest.approx(pod.billed(), abs=2)


def test_stalled_write_misses_no_sample(make_pod: Callable[..., Pod]) -> None:
    """What is measured while a write stalls, here for 70 seconds from an hour's end, is stored as soon as it ends."""
    pod = make_pod()

    async def life() -> None:
        pod.start()
        await asyncio.sleep(2399)
        pod.disk.takes = 70
        await asyncio.sleep(2)
        pod.disk.takes = 0
        await asyncio.sleep(70)
        await pod.kill()

    live(life())
    assert {10: 2400 / 3600, 11: 60 / 3600} == pytest.approx(pod.by_hour(), abs=1e-5)
    assert 0 == pod.measuring.views[0].missed


def test_last_sample_that_was_not_taken_is_taken_later(make_pod: Callable[..., Pod]) -> None:
    """A call that is cut off while it reads a container's resource leaves the last sample to the next call."""
    pod = make_pod(vcpu_hours=CPU)
    pod.write("1000")

    async def life() -> None:
        pod.start()
        await asyncio.sleep(610)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        loop._thread_free_at = loop.time() + 3
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await pod.measuring.finish()
        await pod.kill()
        await asyncio.sleep(4)
        await pod.measuring.finish()

    live(life())
    assert 615 * MILLIONTHS == pytest.approx(pod.billed("vcpu_hours"), abs=1e3)


def test_slow_write_loses_no_later_one(make_pod: Callable[..., Pod]) -> None:
    """The last sample waits for the write of the sample before, or the end of that write would hide its refusal."""
    pod = make_pod()

    async def life() -> None:
        pod.start()
        await asyncio.sleep(599)
        pod.disk.takes = 5
        await asyncio.sleep(2)
        # The write that lasts has begun; the repetition of its batch is quick, and the batch after it is refused.
        pod.disk.takes, pod.disk.fails = 0, ["", "before"]
        await pod.measuring.finish()
        await asyncio.sleep(10)
        pod.disk.fails = []
        await pod.kill()
        await pod.measuring.finish()

    live(life())
    assert 601 * MILLIONTHS == pytest.approx(pod.billed(), abs=2)


def test_tick_after_the_last_sample_counts_nothing(make_pod: Callable[..., Pod]) -> None:
    """A tick that had begun, and reads a container's resource only after the last sample, adds no time."""
    pod = make_pod()

    async def life() -> None:
        await pod.measuring._take_samples()
        await asyncio.sleep(10)
        await pod.measuring.finish()
        await asyncio.sleep(10)
        await pod.measuring._take_samples()
        await pod.measuring.finish()

    live(life())
    assert 10 * MILLIONTHS == pytest.approx(pod.billed(), abs=2)


def test_blocked_process_misses_time(make_pod: Callable[..., Pod]) -> None:
    """A process that could not take a sample for 100 seconds does not bill them, and says how many they were."""
    pod = make_pod(vcpu_hours=CPU)
    pod.write("1000")

    async def life() -> None:
        pod.start()
        await asyncio.sleep(TICK.total_seconds() + 1)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        loop._thread_free_at = loop.time() + 100
        await asyncio.sleep(300)
        await pod.kill()
        await pod.measuring.finish()

    with capture_logs() as lines:
        live(life())
    view = pod.measuring.views[0]
    assert LONGEST_TICK.total_seconds() < view.missed < 100 + 2 * TICK.total_seconds()
    assert (view.observed * MILLIONTHS) == pytest.approx(pod.billed("vcpu_hours"), abs=2)
    assert ["source.time_missed"] == [line["event"] for line in lines]


def test_unknown_clock_bills_nothing(make_pod: Callable[..., Pod]) -> None:
    """Before the emulator has shown its clock no time is measured, and its first answer is no jump."""
    pod = make_pod()

    async def life() -> None:
        pod.clock.unknown = True
        pod.start()
        await asyncio.sleep(100)
        pod.clock.unknown = False
        await asyncio.sleep(100)
        await pod.kill()

    live(life())
    assert pod.billed() <= 100 * MILLIONTHS


def test_resource_follows_its_file(make_pod: Callable[..., Pod]) -> None:
    """Cores count times hours, as the file shows them; without a valid file nothing is billed and a fault names it."""
    pod = make_pod(vcpu_hours=CPU)
    shown: list[tuple[SourceState, list[str]]] = []

    async def life() -> None:
        pod.start()
        for text in (None, "500", "1500", "many", "1500"):
            if text is not None:
                pod.write(text)
            await asyncio.sleep(600)
            view = pod.measuring.views[0]
            shown.append((view.state, [fault.detail for fault in pod.faults.findings]))
        await pod.kill()
        await pod.measuring.finish()

    with capture_logs() as lines:
        live(life())
    file = pod.folder / "app.limits.cpu"
    measuring: tuple[SourceState, list[str]] = (SourceState.MEASURING, [])
    missing = f"dimension vcpu_hours: {file} cannot be read: No such file or directory"
    garbled = f"dimension vcpu_hours: {file} does not hold a positive whole number"
    assert [
        (SourceState.FAULTY, [missing]),
        measuring,
        measuring,
        (SourceState.FAULTY, [garbled]),
        measuring,
    ] == shown
    true = (0.5 * 600 + 1.5 * 600 + 1.5 * 600) * MILLIONTHS
    assert true >= pod.billed("vcpu_hours") >= true - 1.5 * 5 * TICK.total_seconds() * MILLIONTHS
    events = [line["event"] for line in lines]
    assert ["source.unreadable", "source.recovered"] * 2 == events
    assert 1200 == pytest.approx(pod.measuring.views[0].missed, abs=3 * TICK.total_seconds())


def test_resource_waits_for_the_gate(make_pod: Callable[..., Pod]) -> None:
    """Cores of a pod that is not entitled are not billed."""
    pod = make_pod(vcpu_hours=CPU)
    pod.write("4000")
    pod.entitled = False

    async def life() -> None:
        pod.start()
        await asyncio.sleep(600)
        await pod.kill()

    live(life())
    view = pod.measuring.views[0]
    assert (SourceState.WAITING, 0, 0) == (view.state, view.observed, view.missed)
    assert 0 == pod.billed("vcpu_hours")


lives = st.lists(
    st.tuples(
        st.floats(0, 120),
        st.floats(0, 60),
        st.lists(st.sampled_from(["", "before", "after"]), max_size=8),
        st.sampled_from([0.0, 0.0, 3.0, 40.0]),
        st.sampled_from([timedelta(), HOUR, -HOUR, 50 * MINUTE]),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lives)
def test_kills_bill_at_most_the_truth(
    make_pod: Callable[..., Pod], lives: list[tuple[float, float, list[str], float, timedelta, bool]]
) -> None:
    """Kills anywhere, a bad disk and a stepped clock: never more than the lives, at least them without lost ticks."""
    pod = make_pod()
    lived = lost = 0.0

    async def life() -> None:
        nonlocal lived, lost
        for lasts, rests, fails, takes, step, drains in lives:
            pod.disk.fails, pod.disk.takes = list(fails), takes
            pod.clock.step += step
            pod.start()
            await asyncio.sleep(lasts)
            await pod.kill()
            if drains:
                await pod.measuring.finish()
                await pod.measuring.finish()
            lived += lasts
            # A tick and what a slow disk had not stored; refused writes, which the next tick repeats.
            lost += (TICK.total_seconds() + takes) * (1 + len(fails))
            await asyncio.sleep(rests)

    live(life())
    assert (lived - lost) * MILLIONTHS - len(lives) <= pod.billed() <= lived * MILLIONTHS
    assert pod.books.terms("pod_hours").balanced


def test_measured_dimension_is_open_in_the_present_hour(make_pod: Callable[..., Pod]) -> None:
    """A short life is in the present hour's bucket, as an event of that hour is."""
    pod = make_pod()

    async def life() -> None:
        pod.start()
        await asyncio.sleep(60)
        await pod.kill()

    live(life())
    assert [hour_of(NOW) // 3600 % 24] == list(pod.by_hour())
