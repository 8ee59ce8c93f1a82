"""What the drain does until when: each of its deadlines, in simulated time."""

import asyncio
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

import pytest
from structlog.testing import capture_logs

from sidecar.app.drain import QUIET_PERIOD, Drain
from sidecar.app.pod_end import OPEN_HOUR_RESERVE
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.pod.lifecycle import PodEnd
from tests.support.simulated_loop import SimulatedLoop

TIMEOUT = timedelta(seconds=25)
RESERVE, QUIET = OPEN_HOUR_RESERVE.total_seconds(), QUIET_PERIOD.total_seconds()
NEVER = 1e6
LATER = 5.0

STAYS, GRACE_LEFT = PodEnd(ending=False), PodEnd(ending=True, left=timedelta(seconds=30))
MAY_LAG = PodEnd(ending=False, may_lag=True)


@dataclass
class Seats:
    """The seats of a contract price."""

    process: "Process"

    async def drain(self, *, ending: bool) -> None:
        """Return them, as the license keeper does."""
        assert self.process.seats_take is not None
        self.process.note("seats" if ending else "seats stay")
        await asyncio.sleep(self.process.seats_take)
        self.process.note("seats returned")


@dataclass
class Process:
    """A process whose steps last as long as a test wants, and what it did at which second."""

    answer_takes: float = 0.0
    end: PodEnd | None = field(default_factory=lambda: PodEnd(ending=True))
    later: PodEnd | None = None
    """What the cluster answers from second `LATER` on."""
    answers: list[PodEnd | None] = field(default_factory=list)
    """What it answers before all that."""
    timeout: timedelta = TIMEOUT
    sample_takes: float = 0.0
    ended_hours_take: float = 0.0
    open_hour_takes: float = 0.0
    storing_takes: float = 0.0
    usage_until: float = float("-inf")
    """The app reports usage in every second until this one."""
    seats_take: float | None = None
    """How long the return of the seats takes; None for a product without a contract price."""
    fails: bool = False
    ledger_fault: str | None = None
    done: list[tuple[float, str]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    def note(self, step: str) -> None:
        """Write a step down with its second."""
        self.done.append((round(asyncio.get_running_loop().time(), 3), step))

    @property
    def last_taken(self) -> float:
        """When usage last came."""
        return min(float(int(asyncio.get_running_loop().time())), self.usage_until)

    async def drain(self, *, ending: bool) -> None:
        """Submit, as the submitter does."""
        open_hour = any(step == "stored" for _, step in self.done)
        self.note("open hour" if ending else "ended hours")
        await asyncio.sleep(self.open_hour_takes if open_hour else self.ended_hours_take)
        if self.fails:
            raise LedgerUnavailable("the disk is gone")
        self.note("submitted")

    def close(self) -> None:
        """Close the intake, as often as it is asked."""
        self._closed.set()

    async def finish(self) -> None:
        """Take the last sample of the sources, once."""
        self.note("measured")
        takes, self.sample_takes = self.sample_takes, 0.0
        await asyncio.sleep(takes)

    async def _store(self) -> None:
        await self._closed.wait()
        await asyncio.sleep(self.storing_takes)
        self.note("stored")

    async def _stop_api(self) -> None:
        self.note("api stopped")

    async def _ask_end(self) -> PodEnd | None:
        self.note("asked")
        await asyncio.sleep(self.answer_takes)
        if self.answers:
            return self.answers.pop(0)
        return self.end if self.done[-1][0] < LATER else self.later

    async def _live(self) -> None:
        self._closed = asyncio.Event()
        await Drain(
            submitter=self,
            intake=self,
            sources=(self,),
            storing=asyncio.create_task(self._store()),
            stop_api=self._stop_api,
            timeout=self.timeout,
            ask_end=self._ask_end,
            ledger_fault=lambda: self.ledger_fault,
            seats=None if self.seats_take is None else Seats(self),
        ).run()
        self.note("over")

    def run(self) -> list[str]:
        """Drain; the steps without their seconds."""
        loop = SimulatedLoop(Random(1))
        with capture_logs() as lines, closing(loop):
            loop.run_until_complete(self._live())
        assert [] == loop.callback_errors
        self.events = [line["event"] for line in lines]
        return [step for _, step in self.done]

    def second_of(self, step: str) -> float:
        """Return when a step was taken last."""
        return next(second for second, done in reversed(self.done) if done == step)


def test_order_of_a_drain() -> None:
    """The cluster is asked first, usage is stored before the open hour is sealed, and nothing waits in vain."""
    process = Process()
    steps = process.run()
    assert {"asked", "measured", "ended hours"} == set(steps[:3])
    assert ["submitted", "api stopped", "stored", "measured", "open hour", "submitted", "over"] == steps[3:]
    assert (0.0, ["sidecar.stopped"]) == (process.second_of("over"), process.events)


def test_living_pod_keeps_its_open_hour() -> None:
    """A container that is merely restarted submits ended hours only."""
    process = Process(end=PodEnd(ending=False))
    assert "open hour" not in process.run()


def test_app_finishes_its_requests() -> None:
    """The API stops once no usage has come for the quiet period."""
    process = Process(usage_until=3.0)
    process.run()
    assert 3.0 + QUIET == process.second_of("api stopped")


@pytest.mark.parametrize("busy", [Process(ended_hours_take=NEVER), Process(usage_until=NEVER)], ids=["aws", "app"])
def test_reserve_of_open_hour(busy: Process) -> None:
    """Neither ended hours that are refused nor an app that never falls silent use up the open hour's reserve."""
    busy.run()
    assert TIMEOUT.total_seconds() - RESERVE == busy.second_of("api stopped")
    assert ["shutdown.ended_hours_wait", "sidecar.stopped"] == busy.events


def test_grace_shortened_during_the_drain() -> None:
    """A second deletion with a shorter grace period ends the ended hours immediately; the open hour has its reserve."""
    process = Process(end=GRACE_LEFT, later=PodEnd(ending=True, left=timedelta(seconds=8)), ended_hours_take=NEVER)
    process.open_hour_takes = NEVER
    process.run()
    assert (LATER, LATER + RESERVE) == (process.second_of("open hour"), process.second_of("over"))


@pytest.mark.parametrize(
    ("first", "later", "ends"),
    [
        (STAYS, PodEnd(ending=True), True),
        (STAYS, None, False),
        (None, STAYS, False),
        (None, None, True),
        (GRACE_LEFT, STAYS, True),
        (MAY_LAG, PodEnd(ending=True), True),
        (MAY_LAG, MAY_LAG, False),
        (MAY_LAG, None, True),
    ],
)
def test_newest_answer_decides(first: PodEnd | None, later: PodEnd | None, ends: bool) -> None:  # noqa: FBT001 - a column
    """A pod that is deleted meanwhile submits its open hour; a lost answer changes none but an old status."""
    process = Process(end=first, later=later, ended_hours_take=LATER + 1)
    assert ends is ("open hour" in process.run())


def test_late_status_is_awaited() -> None:
    """A Job whose completion the cluster shows late submits its open hour then; the API takes usage until then."""
    process = Process(end=MAY_LAG, later=PodEnd(ending=True), seats_take=0.0)
    assert {"open hour", "seats"} < set(process.run())
    assert LATER == process.second_of("api stopped")


def test_old_status_after_silence_is_awaited() -> None:
    """A status that may lag is awaited also if it comes after questions without an answer, which ended the wait."""
    process = Process(end=MAY_LAG, later=PodEnd(ending=True), ended_hours_take=4.0)
    process.answers = [None, None]
    assert "open hour" in process.run()


@pytest.mark.parametrize(("timeout", "waits"), [(25.0, 15.0), (12.0, 5.0), (10.0, 5.0), (4.0, 2.0)])
def test_status_that_stays_is_no_end(timeout: float, waits: float) -> None:
    """A Job's sidecar that is restarted takes usage until the reserve begins, and leaves the hour and its seats."""
    process = Process(end=MAY_LAG, later=MAY_LAG, timeout=timedelta(seconds=timeout), seats_take=0.0)
    # A refusal in between is a look less.
    process.answers = [MAY_LAG, None]
    steps = process.run()
    assert (True, False) == ("seats stay" in steps, "open hour" in steps)
    assert waits == process.second_of("api stopped")


@pytest.mark.parametrize(("takes", "between"), [(2.0, 7.0), (0.1, 1.1)], ids=["silent", "refuses"])
def test_silent_cluster_is_asked_seldom(takes: float, between: float) -> None:
    """Silence leaves the API server, and the thread that waits for it, some seconds; a refusal does not."""
    process = Process(answer_takes=takes, end=None, ended_hours_take=NEVER)
    process.run()
    asked = [second for second, step in process.done if step == "asked"]
    assert pytest.approx([0.0, between, 2 * between]) == asked[:3]


@pytest.mark.parametrize(("then", "ends"), [(STAYS, False), (GRACE_LEFT, True), (None, True)])
def test_refused_question_is_repeated(then: PodEnd | None, ends: bool) -> None:  # noqa: FBT001 - a column
    """A first question that is refused at once leaves the open hour to the second one; nothing waits for a third."""
    process = Process(end=None)
    process.answers = [None, then]
    assert ends is ("open hour" in process.run())
    assert 1.0 == process.second_of("over")


def test_one_refusal_hides_no_deletion() -> None:
    """A pod that is deleted after a question was refused submits its open hour."""
    process = Process(end=GRACE_LEFT, ended_hours_take=4)
    process.answers = [STAYS, None, STAYS]
    assert "open hour" in process.run()


def test_failed_question_counts_as_no_answer() -> None:
    """A question that fails in a way that nobody foresaw costs no open hour."""

    async def fail() -> PodEnd:
        raise ValueError("a bug")

    process = Process()
    process._ask_end = fail  # type: ignore[method-assign]
    assert "open hour" in process.run()


@pytest.mark.parametrize(("left", "sample_ends", "over"), [(None, 15.0, 25.0), (20.0, 7.0, 17.0), (13.0, 5.0, 10.0)])
def test_last_sample_leaves_the_open_hour_its_time(left: float | None, sample_ends: float, over: float) -> None:
    """A page that does not come leaves the open hour its reserve, or half of it where there is no more."""
    grace = None if left is None else timedelta(seconds=left)
    process = Process(end=PodEnd(ending=True, left=grace), sample_takes=NEVER, open_hour_takes=NEVER)
    process.run()
    assert (sample_ends, over) == (process.second_of("open hour"), process.second_of("over"))
    assert "shutdown.last_sample_missed" == process.events[0]


def test_timeout_ends_all() -> None:
    """An open hour that AWS refuses ends the drain at the timeout, with a line that shows it."""
    process = Process(open_hour_takes=NEVER)
    process.run()
    assert (TIMEOUT.total_seconds(), ["shutdown.incomplete"]) == (process.second_of("over"), process.events)


def test_silent_cluster_ends_with_the_timeout() -> None:
    """Without an answer of the cluster the open hour is not sealed, and the process ends at the timeout."""
    process = Process(answer_takes=NEVER)
    assert "open hour" not in process.run()
    assert (TIMEOUT.total_seconds(), ["shutdown.incomplete"]) == (process.second_of("over"), process.events)


@pytest.mark.parametrize("answer_takes", [0.0, 1.5])
def test_grace_shortens_both_deadlines(answer_takes: float) -> None:
    """The rest of the grace period bounds the drain from its start on, whenever the answer comes."""
    left = timedelta(seconds=17)
    process = Process(answer_takes, PodEnd(ending=True, left=left), ended_hours_take=NEVER, open_hour_takes=NEVER)
    process.run()
    within = left.total_seconds() - 3
    assert (within - RESERVE, within) == (process.second_of("api stopped"), process.second_of("over"))


def test_short_grace_leaves_the_reserve() -> None:
    """A grace period below the reserve ends the ended hours at the answer, and the open hour has its reserve."""
    end = PodEnd(ending=True, left=timedelta(seconds=1))
    process = Process(2.0, end, ended_hours_take=NEVER, open_hour_takes=NEVER)
    process.run()
    assert (2.0, RESERVE) == (process.second_of("api stopped"), process.second_of("over"))


def test_late_answer_bounds_the_open_hour() -> None:
    """An answer that comes after the first deadline still bounds the open hour; one that is over cuts it off."""
    end = PodEnd(ending=True, left=timedelta(seconds=5))
    process = Process(16.0, end, end, open_hour_takes=NEVER)
    process.run()
    assert (16.0, ["shutdown.incomplete"]) == (process.second_of("over"), process.events)


def test_slow_disk_ends_with_the_timeout() -> None:
    """A disk that does not answer cannot hold the process beyond the timeout; usage in memory is not acknowledged."""
    process = Process(storing_takes=NEVER)
    assert "open hour" not in process.run()
    assert (TIMEOUT.total_seconds(), ["shutdown.incomplete"]) == (process.second_of("over"), process.events)


def test_failed_ledger_ends_the_drain() -> None:
    """A ledger that cannot be used ends the drain with one line, and the intake all the same."""
    process = Process(fails=True)
    assert ["stored", "over"] == process.run()[-2:]
    assert ["shutdown.ledger_unavailable"] == process.events


def test_unusable_ledger_promises_nothing() -> None:
    """A drain that ends while the ledger cannot be used does not report that the rest is in the ledger."""
    process = Process(ended_hours_take=NEVER, open_hour_takes=NEVER, ledger_fault="another file lies at ledger.db")
    process.run()
    assert ["shutdown.ended_hours_wait", "shutdown.ledger_unavailable"] == process.events


def test_failed_intake_is_raised() -> None:
    """A drain does not hide why the intake ended."""

    async def fail() -> None:
        raise ValueError("a bug")

    process = Process()
    process._store = fail  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="a bug"):
        process.run()


def test_seats_return_beside_the_open_hour() -> None:
    """Neither service delays the other: the seats return while the open hour is submitted."""
    steps = Process(seats_take=1.0, open_hour_takes=3.0).run()
    assert ["open hour", "seats", "seats returned", "submitted", "over"] == steps[-5:]


def test_restarted_container_keeps_its_seats() -> None:
    """Only the end of the pod returns the seats."""
    assert "seats stay" in Process(seats_take=0.0, end=PodEnd(ending=False)).run()


@pytest.mark.parametrize("takes", [NEVER, 20.0])
def test_silent_license_manager_ends_with_the_whole(takes: float) -> None:
    """A return without an answer holds the process up no longer than its time."""
    process = Process(seats_take=takes, ended_hours_take=NEVER)
    assert "seats returned" not in process.run()
    assert TIMEOUT.total_seconds() == process.done[-1][0]
