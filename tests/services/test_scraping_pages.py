"""The sources of counters over a real ledger, in simulated time: pages, faults, kills, restarts and hours."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import chain
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from threading import Barrier, Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from sidecar.domain.entitlement.states import Entitlement, EntitlementSource, State
from sidecar.domain.metering.events import Dimension, LedgerUnavailable
from sidecar.domain.metering.hours import to_micros
from sidecar.domain.metering.measuring import SourceState
from sidecar.domain.metering.pages import PageUnusable
from sidecar.domain.metering.quantity import MILLION
from sidecar.domain.metering.series import SeriesBatch, SeriesReceipt
from sidecar.domain.metering.sources import Prometheus
from sidecar.services.counting import Counters
from sidecar.services.faults import FaultRegister
from sidecar.services.scraping import SILENT_AFTER, Scraping
from tests.support.books import MINUTE, NOW, RULES, Books
from tests.support.simulated_loop import SimulatedLoop
from tests.support.tools import PATIENCE

SOURCE = Prometheus("http://127.0.0.1/metrics", "served_total", tags=(("tenant", "Customer"),))
SECOND = timedelta(seconds=1)


@dataclass
class Body:
    """A page as it came."""

    text: str
    openmetrics: bool = False

    def unpack(self) -> bytes:
        """Return the page."""
        return self.text.encode()


@dataclass
class Pod:
    """An app that counts, and a sidecar that reads it; the clock is the loop's, or the test's own."""

    books: Books
    source: Prometheus = SOURCE
    counted: dict[str, float] = field(default_factory=dict)
    started_at: datetime | None = None
    broken: str | None = None
    full: bool = False
    gate: State = State.ENTITLED
    gate_since: datetime = NOW
    clock_set_by: timedelta = timedelta()
    elapsed: timedelta | None = None
    before: timedelta = timedelta()
    """What passed before this loop was made."""
    during: Callable[[], None] | None = None
    """What happens once while the next page is on its way."""
    early: bool = False
    """Whether it happens before the app has made the page."""

    def __post_init__(self) -> None:
        dimension = Dimension("served", source=self.source)
        self.books.rules = replace(RULES, dimensions={"served": dimension})
        self.faults = FaultRegister()
        self.scraping = self.make()

    def make(self) -> Scraping:
        """Make the sources of a new process."""
        origins = {"served": self.source.origin}
        self.counters = Counters(origins=origins, store=self, clock=self, system=self)
        self.scraping = Scraping(
            dimensions=list(self.books.rules.dimensions.values()),
            counters=self.counters,
            gate=self,
            clock=self,
            fetch=self.fetch,
            faults=self.faults,
        )
        return self.scraping

    async def follow(self, scraping: Scraping) -> None:
        """Begin as a sidecar does, and read pages until cancelled."""
        await self.counters.begin()
        await scraping.run()

    def entitlement(self) -> Entitlement:
        """Return the state of the gate."""
        return Entitlement(self.gate, "", "", EntitlementSource.LIVE, "code", 1, self.gate_since)

    def booted_at(self) -> datetime:
        """Return when the machine started, by the clock."""
        return NOW - MINUTE + self.clock_set_by

    def now(self) -> datetime:
        """Return the time."""
        passed = timedelta(seconds=asyncio.get_running_loop().time()) if self.elapsed is None else self.elapsed
        return NOW + self.before + passed

    async def sleep_until(self, instant: datetime) -> None:
        """Return once the clock shows `instant`."""
        await asyncio.sleep((instant - self.now()).total_seconds())

    def fetch(self, url: str, within: timedelta) -> Body:
        """Return the app's page."""
        assert (self.source.url, self.source.every) == (url, within)
        if self.broken is not None:
            raise PageUnusable(self.broken)
        during, self.during = self.during, None
        if during is not None and self.early:
            during()
        lines = [f'served_total{{tenant="{tenant}"}} {value}\n' for tenant, value in self.counted.items()]
        if self.started_at is not None:
            lines.append(f"process_start_time_seconds {self.started_at.timestamp()}\n")
        if during is not None and not self.early:
            during()
        return Body("".join(lines))

    async def begin_series(self, origins: Mapping[str, str], at: datetime) -> None:
        """Note the sources."""
        self.books.now = at
        self.books.begin_series(**origins)

    async def take_series(self, batches: Sequence[SeriesBatch], now: datetime) -> list[SeriesReceipt]:
        """Store a page, or refuse it."""
        if self.full:
            raise LedgerUnavailable("no room")
        self.books.now = now
        return self.books.take_series(*batches)

    def turn(self, gate: State) -> None:
        """Change the state of the gate."""
        self.gate, self.gate_since = gate, self.now()

    def restart(self) -> None:
        """Start the app anew."""
        self.counted.clear()
        self.started_at = self.now()

    def serve(self, count: float, tenant: str = "a") -> None:
        """Count so many requests."""
        self.counted[tenant] = self.counted.get(tenant, 0) + count

    @property
    def state(self) -> tuple[SourceState, list[str]]:
        """The state of the source, and the faults."""
        (view,) = self.scraping.views
        return view.state, [finding.code for finding in self.faults.findings]

    def accepted(self) -> int:
        """Return the millionths that are billed."""
        return self.books.terms("served").accepted


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    """Yield a pod whose app has not started."""
    with closing(Books(tmp_path / "ledger.db", durable=False)) as books:
        yield Pod(books)


def simulate(life: Coroutine[object, object, None]) -> None:
    """Run a test in simulated time."""
    loop = SimulatedLoop(Random(1))
    with closing(loop):
        loop.run_until_complete(life)
    assert [] == loop.callback_errors


def live(pod: Pod, *steps: object) -> None:
    """Run the sidecar; between the calls that are given, the seconds that are given pass."""

    async def run() -> None:
        process = asyncio.create_task(pod.follow(pod.make()))
        for step in steps:
            if callable(step):
                step()
            else:
                assert isinstance(step, (int, float))
                await asyncio.sleep(step)
        process.cancel()
        with suppress(asyncio.CancelledError):
            await process
        pod.before += timedelta(seconds=asyncio.get_running_loop().time())

    simulate(run())


def test_pages_are_read(pod: Pod) -> None:
    """The page is read at each interval; the status has its series, and the tags come from the labels."""
    shown: list[tuple[SourceState, list[str]]] = []
    look = lambda: shown.append(pod.state)  # noqa: E731
    live(pod, 1, look, pod.restart, lambda: pod.serve(3), lambda: pod.serve(4, "b"), 16, look, lambda: pod.serve(1), 15)
    assert [(SourceState.WAITING, []), (SourceState.MEASURING, [])] == shown
    assert {("served", 10, (("Customer", "a"),)): "4", ("served", 10, (("Customer", "b"),)): "4"} == pod.books.buckets()


def test_hours_edge(pod: Pod) -> None:
    """A page is taken at the end of each hour: what is counted after it belongs to the new hour."""
    edge = 40 * 60
    count = lambda: pod.serve(1)  # noqa: E731
    live(pod, 1, pod.restart, count, edge - 2, count, 2, count, 30)
    assert {("served", 10, (("Customer", "a"),)): "2", ("served", 11, (("Customer", "a"),)): "1"} == pod.books.buckets()


def test_silent_source(pod: Pod) -> None:
    """A page that does not come is a fault after two minutes; the next good one ends it and makes the usage up."""
    states: list[tuple[SourceState, list[str]]] = []

    def turn(broken: str | None) -> None:
        states.append(pod.state)
        pod.broken = broken
        pod.serve(5)

    with capture_logs() as lines:
        live(
            pod,
            1,
            pod.restart,
            lambda: pod.serve(1),
            20,
            lambda: turn("is cut"),
            20,
            lambda: turn("is cut"),
            SILENT_AFTER.seconds,
            lambda: turn(None),
            20,
        )
    faulty = SourceState.FAULTY
    assert [(SourceState.MEASURING, []), (faulty, []), (faulty, ["source-silent"])] == states
    assert ((SourceState.MEASURING, []), 16 * MILLION) == (pod.state, pod.accepted())
    assert ["source.silent", "source.recovered"] == [line["event"] for line in lines]
    assert "dimension served: no sample for" in lines[0]["detail"]


def test_inconsistent_source(pod: Pod) -> None:
    """A counter that goes down without a restart is a fault until it is plausible again."""
    states: list[tuple[SourceState, list[str]]] = []

    def turn(value: float) -> None:
        states.append(pod.state)
        pod.counted["a"] = value

    live(pod, 1, pod.restart, lambda: pod.serve(100), 20, lambda: turn(40), 15, lambda: turn(50), 15, lambda: turn(50))
    inconsistent = (SourceState.INCONSISTENT, ["source-inconsistent"])
    assert [(SourceState.MEASURING, []), inconsistent, (SourceState.MEASURING, [])] == states
    assert 110 * MILLION == pod.accepted()


def test_refusal_of_the_ledger(pod: Pod) -> None:
    """What the ledger refuses is made up by the next page."""
    live(pod, 1, pod.restart, lambda: pod.serve(1), 20, lambda: setattr(pod, "full", True), lambda: pod.serve(5), 60)
    assert MILLION == pod.accepted()
    pod.full = False
    live(pod, 1)
    assert 6 * MILLION == pod.accepted()


def test_denied_pod_is_not_billed(pod: Pod) -> None:
    """What the app counts while the pod is denied is not billed, also once the pod is entitled."""
    live(
        pod,
        *(1, pod.restart, lambda: pod.serve(1), 20),
        *(lambda: pod.turn(State.DENIED), 16, lambda: pod.serve(100), 20, lambda: pod.serve(1000)),
        *(lambda: pod.turn(State.ENTITLED), 20, lambda: pod.serve(2), 20),
    )
    assert 3 * MILLION == pod.accepted()


@pytest.mark.parametrize("undecided", [State.PENDING, State.UNAVAILABLE])
def test_denied_pod_stays_denied(pod: Pod, undecided: State) -> None:
    """A sidecar that restarts in a denied pod bills nothing until AWS grants the right, however long that takes."""
    live(pod, 1, pod.restart, lambda: pod.serve(1), 20, lambda: pod.turn(State.DENIED), 16, lambda: pod.serve(100))
    live(pod, lambda: pod.turn(undecided), 16, lambda: pod.serve(1000), 20, lambda: pod.serve(1000), 20)
    live(pod, lambda: pod.serve(10_000), 1, lambda: pod.turn(State.ENTITLED), 20, lambda: pod.serve(2), 20)
    live(pod, lambda: pod.turn(undecided), 1, lambda: pod.serve(3), 16)
    assert 6 * MILLION == pod.accepted()


def test_grant_while_a_page_is_read(pod: Pod) -> None:
    """A grant that comes while a slow page is read does not bill what was counted before it."""

    def grant() -> None:
        pod.serve(500)
        pod.gate, pod.gate_since = State.ENTITLED, NOW + pod.before + 8 * SECOND

    live(pod, 1, pod.restart, lambda: pod.turn(State.DENIED), 16, lambda: pod.serve(1), 5)
    pod.during = grant
    live(pod, 40, lambda: pod.serve(3), 20)
    assert 3 * MILLION == pod.accepted()


def test_new_labels_after_a_denial(pod: Pod) -> None:
    """A series that the entitled pod shows for the first time is billed whole, though its process began denied."""
    live(pod, 1, pod.restart, lambda: pod.turn(State.DENIED), 16, lambda: pod.serve(1), 20)
    live(pod, lambda: pod.turn(State.ENTITLED), 40, lambda: pod.serve(10, "b"), 20)
    assert 10 * MILLION == pod.accepted()


@pytest.mark.parametrize("early", [False, True])
def test_clock_that_is_set_while_a_page_is_read(pod: Pod, *, early: bool) -> None:
    """A page of which the instant and the start times are by two clocks is dropped; the next one counts all."""
    live(pod, 1, pod.restart, lambda: pod.serve(1000), 20)

    def set_clock() -> None:
        by = timedelta(hours=8)
        assert pod.started_at is not None
        pod.started_at += by
        pod.clock_set_by += by
        pod.before += by

    pod.during, pod.early = set_clock, early
    live(pod, 5, lambda: pod.serve(1), 40)
    assert "inconsistent" not in str(pod.scraping.views)
    assert 1001 * MILLION == pod.accepted()


def test_machine_that_starts_again(pod: Pod) -> None:
    """A node that starts again is no clock that was set, though the app starts the same time after each boot."""
    live(pod, 1, pod.restart, lambda: pod.serve(1000), 20)
    assert pod.started_at is not None
    after_boot, by = pod.started_at - pod.booted_at(), timedelta(hours=1)
    pod.clock_set_by += by  # the boot, and not the clock, is later
    pod.started_at = pod.booted_at() + after_boot
    pod.before += by - 15 * SECOND
    pod.counted["a"] = 50
    live(pod, 100)
    assert 1050 * MILLION == pod.accepted()


@pytest.mark.parametrize("hours", [8, -8])
@pytest.mark.parametrize("down", [False, True])
def test_clock_that_is_set(pod: Pod, hours: int, *, down: bool) -> None:
    """A start time that is derived from the clock moves when the clock is set, also while no sidecar runs."""

    def set_clock() -> None:
        by = timedelta(hours=hours)
        assert pod.started_at is not None
        pod.started_at += by
        pod.clock_set_by += by
        pod.before += by

    before = [1, pod.restart, lambda: pod.serve(1000), 20]
    after = [set_clock, lambda: pod.serve(1), 20]
    if down:
        live(pod, *before)
        live(pod, *after)
    else:
        live(pod, *before, *after)
    assert 1001 * MILLION == pod.accepted()


@pytest.mark.parametrize(
    ("steps", "whole"),
    [([0.7] * 8, False), ([0.7] * 8, True), ([0.9, 0.9, *[-0.9] * 4], False), ([0.9, -1.8, 0.9, 1.8, -0.9], False)],
)
def test_small_steps_of_the_clock(pod: Pod, steps: list[float], *, whole: bool) -> None:
    """Steps of the clock that are each as small as jitter add up, and are no restart of the app."""
    counts, started_at = 0, NOW + timedelta(seconds=1.2)

    def go_on(seconds: float) -> None:
        nonlocal counts, started_at
        by, counts = timedelta(seconds=seconds), counts + 2
        started_at += by
        pod.started_at = started_at.replace(microsecond=0) if whole else started_at  # as a kernel's time of boot is
        pod.clock_set_by += by
        pod.before += by
        pod.serve(1)
        pod.serve(1, f"b{counts}")  # a series that begins between two steps
        pod.serve(0, "still")

    live(pod, 2, partial(go_on, 0), 20, *chain.from_iterable((partial(go_on, each), 31) for each in steps))
    assert "inconsistent" not in str(pod.scraping.views)
    assert counts * MILLION == pod.accepted()


def test_pages_that_do_not_come(pod: Pod) -> None:
    """All pages are asked for at the same time, however many do not come."""
    names = [f"served-{number}" for number in range(60)]
    all_asked = Barrier(len(names))

    def fetch(_url: str, _within: timedelta) -> Body:
        all_asked.wait(PATIENCE)
        raise PageUnusable("does not come")

    async def ask() -> None:
        scraping = Scraping(
            dimensions=[Dimension(name, source=replace(SOURCE, url=f"{SOURCE.url}/{name}")) for name in names],
            counters=pod.counters,
            gate=pod,
            clock=pod,
            fetch=fetch,
            faults=pod.faults,
        )
        await scraping.finish()

    asyncio.run(ask())
    assert not all_asked.broken


def test_page_of_several_dimensions(pod: Pod) -> None:
    """Dimensions that name one page share it and its instant; one that the page does not suit hides no other."""
    fetched: list[str] = []
    taken: list[SeriesBatch] = []

    def fetch(url: str, _within: timedelta) -> Body:
        fetched.append(url)
        return Body("served_total 1\nother_total 2\nthird_total NaN\n")

    async def take_series(batches: Sequence[SeriesBatch], _now: datetime) -> list[SeriesReceipt]:
        taken.extend(batches)
        return [SeriesReceipt({}, 0, 0) for _ in batches]

    async def ask() -> None:
        metrics = ("served_total", "third_total", "other_total")
        pod.make()
        scraping = Scraping(
            dimensions=[Dimension(metric, source=Prometheus(SOURCE.url, metric)) for metric in metrics],
            counters=pod.counters,
            gate=pod,
            clock=pod,
            fetch=fetch,
            faults=pod.faults,
        )
        process = asyncio.create_task(scraping.run())
        await asyncio.sleep(1)
        process.cancel()
        measuring = SourceState.MEASURING
        assert [measuring, SourceState.FAULTY, measuring] == [view.state for view in scraping.views]

    pod.take_series = take_series  # type: ignore[assignment]
    simulate(ask())
    assert [SOURCE.url] == fetched
    assert [("served_total", 1), ("other_total", 2)] == [
        (batch.dimension, int(sample.value)) for batch in taken for sample in batch.samples
    ]
    assert 1 == len({batch.at for batch in taken})


def test_one_page_is_unpacked_at_a_time(pod: Pod) -> None:
    """However many pages come at once, one of them has its room."""
    steps: list[str] = []

    class Noted(Body):
        def unpack(self) -> bytes:
            steps.append("unpacked")
            return super().unpack()

    async def take_series(batches: Sequence[SeriesBatch], _now: datetime) -> list[SeriesReceipt]:
        await asyncio.sleep(1)
        steps.append("stored")
        return [SeriesReceipt({}, 0, 0) for _ in batches]

    async def ask() -> None:
        pod.make()
        scraping = Scraping(
            dimensions=[Dimension(name, source=replace(SOURCE, url=f"{SOURCE.url}/{name}")) for name in "abc"],
            counters=pod.counters,
            gate=pod,
            clock=pod,
            fetch=lambda _url, _within: Noted("served_total 1\n"),
            faults=pod.faults,
        )
        await scraping.finish()

    pod.take_series = take_series  # type: ignore[assignment]
    simulate(ask())
    assert ["unpacked", "stored"] * 3 == steps


def test_last_page_beside_one_that_does_not_come(pod: Pod) -> None:
    """The last page does not wait for the page that was on its way when the loops were cancelled."""
    both_asked = Barrier(2)

    def fetch(_url: str, _within: timedelta) -> Body:
        asked.set()
        both_asked.wait(PATIENCE)
        raise PageUnusable("does not come")

    async def end() -> None:
        pod.elapsed = timedelta()
        scraping = pod.make()
        running = asyncio.create_task(scraping.run())
        await asyncio.to_thread(asked.wait, PATIENCE)
        running.cancel()
        await scraping.finish()

    asked = Event()
    pod.fetch = fetch  # type: ignore[assignment]
    asyncio.run(end())
    assert not both_asked.broken


def test_last_page(pod: Pod) -> None:
    """The last page is taken once at the end; an app that is gone is no fault then."""

    async def end() -> None:
        pod.elapsed = timedelta()
        scraping = pod.make()
        process = asyncio.create_task(pod.follow(scraping))
        await asyncio.sleep(1)
        process.cancel()
        pod.elapsed = MINUTE
        pod.restart()
        pod.serve(3)
        pod.elapsed = 2 * MINUTE
        await scraping.finish()
        pod.serve(4)
        await scraping.finish()

    simulate(end())
    assert 3 * MILLION == pod.accepted()


def test_deletion_is_seen(pod: Pod) -> None:
    """From the deletion on a page is taken each second: what the app counts until a second before its end is billed."""
    billed: list[int] = []

    def step(*, end: bool = False) -> None:
        billed.append(pod.accepted() // MILLION)
        pod.serve(1)
        pod.broken = "cannot be reached" if end else None

    def hasten() -> None:
        pod.scraping.hasten()

    with capture_logs() as lines:
        live(
            pod,
            1,
            pod.restart,
            lambda: pod.serve(10),
            15,
            step,
            4,
            step,
            hasten,
            0.1,
            step,
            1,
            step,
            0.8,
            lambda: step(end=True),
            SILENT_AFTER.seconds * 2,
            step,
        )
    # The two counts before the deletion come with it, and what is counted after the app's last page never.
    assert [10, 10, 12, 13, 13, 13] == billed
    assert ((SourceState.MEASURING, []), []) == (pod.state, lines)


def test_deletion_is_assumed_for_a_time(pod: Pod) -> None:
    """A deletion that is only assumed changes the pace for a limited time, or until it is known that there is none."""
    taken: list[float] = []

    async def live_on() -> None:
        scraping = pod.make()
        loop = asyncio.get_running_loop()

        async def scrape(address: object, *, at_end: bool = False) -> None:
            taken.append(loop.time())

        scraping._scrape = scrape  # type: ignore[method-assign]
        process = asyncio.create_task(pod.follow(scraping))
        for pause, within in ((32.6, timedelta(seconds=2.5)), (31, None), (2.4, timedelta())):
            await asyncio.sleep(pause)
            scraping.hasten(within)
        await asyncio.sleep(20)
        process.cancel()

    simulate(live_on())
    assert [0, 15, 30, 32.6, 33.6, 34.6, 35.6, 50.6, 63.6, 64.6, 65.6, 66.6, 81.6] == [round(at, 1) for at in taken]


def test_slow_page_of_deleted_pod(pod: Pod) -> None:
    """A page that takes longer than a second is followed by as long a pause."""
    taken: list[float] = []

    async def live_on() -> None:
        scraping = pod.make()
        loop = asyncio.get_running_loop()

        async def scrape(address: object, *, at_end: bool = False) -> None:
            taken.append(loop.time())
            await asyncio.sleep(5)

        scraping._scrape = scrape  # type: ignore[method-assign]
        scraping.hasten()
        process = asyncio.create_task(pod.follow(scraping))
        await asyncio.sleep(26)
        process.cancel()

    simulate(live_on())
    assert [0, 10, 20] == [round(at) for at in taken]


MOVES = st.one_of(
    st.tuples(st.just("serve"), st.sampled_from("ab"), st.floats(0, 1000)),
    st.sampled_from(["page", "lost page", "full", "kill", "restart"]).map(lambda word: (word, "", 0.0)),
)


@settings(max_examples=60, deadline=None)
@given(
    moves=st.lists(MOVES, max_size=40), scale=st.sampled_from(["1", "0.001", "0.333333333333"]), starts=st.booleans()
)
def test_never_more_than_the_truth(moves: list[tuple[str, str, float]], scale: str, *, starts: bool) -> None:
    """Billed is at most the true increase; only what was counted after the last page before a restart is missed."""

    async def play(pod: Pod) -> None:
        pod.elapsed = timedelta()
        factor = Decimal(scale)
        await pod.begin_series({"served": SOURCE.origin}, pod.now())
        pod.elapsed += 2 * SECOND
        pod.started_at = pod.now() if starts else None
        true: dict[str, Decimal] = {}
        seen: dict[str, Decimal] = {}
        missed = Decimal(0)
        scraping = pod.make()
        for word, tenant, count in moves:
            pod.elapsed += 7 * SECOND
            if word == "serve":
                pod.serve(count, tenant)
            elif word == "restart":
                missed += sum(
                    (Decimal(repr(pod.counted[each])) - seen.get(each, Decimal(0)) for each in pod.counted), Decimal(0)
                )
                seen = {}
                pod.counted.clear()
                pod.started_at = pod.now() if starts else None
            elif word == "kill":
                scraping = pod.make()
            else:
                pod.broken, pod.full = ("is cut" if word == "lost page" else None), word == "full"
                await scraping._scrape(scraping._addresses[0])
                if word == "page":
                    for each, value in pod.counted.items():
                        now = Decimal(repr(value))
                        true[each] = true.get(each, Decimal(0)) + now - seen.get(each, Decimal(0))
                        seen[each] = now
        proved = sum((total * factor for total in true.values()), Decimal(0)) * MILLION
        billed = pod.accepted()
        assert billed <= proved
        if starts:
            assert proved - billed < len(true) + 1
        assert missed >= 0

    with TemporaryDirectory() as folder:
        books = Books(Path(folder) / "ledger.db", durable=False)
        pod = Pod(books, replace(SOURCE, scale=Decimal(scale)))
        asyncio.run(play(pod))
        assert [] == books.breaches()
        books.close()


def test_start_of_the_pod(pod: Pod) -> None:
    """An app that ran before this pod was read begins at what it shows."""
    pod.started_at = NOW - MINUTE
    pod.serve(100)
    live(pod, 20, lambda: pod.serve(1), 20)
    assert MILLION == pod.accepted()
    assert to_micros(NOW) == pod.books.store.one("SELECT since FROM source")["since"]
