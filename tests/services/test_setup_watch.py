"""How a running sidecar tells what of its set-up is not right: once in the log, and as long as it lasts."""

import asyncio
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from sidecar.domain.check_result import Check, CheckResult
from sidecar.marketplace.service_clock import ServiceClock
from sidecar.services.faults import FaultRegister
from sidecar.services.setup_watch import RECHECK_INTERVAL, ClockWatch, SetupWatch

if TYPE_CHECKING:
    from tests.conftest import ManualClock

DNS, CLOCK = Check("dns", "Names."), Check("node clock", "Time.")
MINUTE = timedelta(minutes=1)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
UNKNOWN, LATE = DNS.fail("no such name", "Ask DNS."), CLOCK.warn("a minute late", "Use NTP.")


class Watched:
    """A set-up that looks one way after another, a minute apart; it stays as it was last."""

    def __init__(self, clock: "ManualClock", *looks: Sequence[CheckResult]) -> None:
        self.looks = list(looks)
        self.rests: list[float] = []
        self.shown: list[list[str]] = []
        """The codes that the status shows after each look."""
        self._clock = clock
        self.faults = FaultRegister()
        self.watch = SetupWatch(
            self._look, self.faults, spread=timedelta(seconds=20), random=lambda: 0.25, rest=self._rest
        )

    async def live(self) -> list[Any]:
        """Watch until all is right; the log lines."""
        with structlog.testing.capture_logs() as lines:
            await self.watch.run(self._clock)
        self.shown.append([finding.code for finding in self.faults.findings])
        return lines

    def _look(self) -> Sequence[CheckResult]:
        return self.looks.pop(0)

    async def _rest(self, seconds: float) -> None:
        if self.rests:
            self.shown.append([finding.code for finding in self.faults.findings])
            self._clock.step(MINUTE)
        self.rests.append(seconds)


def told(lines: Sequence[Any]) -> list[tuple[str, str]]:
    """Return event and subject of each line."""
    return [(line["event"], line["check"]) for line in lines]


async def test_right_setup_is_looked_at_once(clock: "ManualClock") -> None:
    """After a share of the spread one look shows that all is right; nothing is said, and no other follows."""
    watched = Watched(clock, [DNS.ok("found"), CLOCK.skipped("no date")])
    assert [] == await watched.live()
    assert ([5.0], [[]]) == (watched.rests, watched.shown)


async def test_fault_is_told_once_and_passes(clock: "ManualClock") -> None:
    """A fault is shown from the first look to the one that finds it gone, and logged at both ends."""
    watched = Watched(clock, [UNKNOWN, LATE], [UNKNOWN, LATE], [DNS.ok("found"), LATE], [CLOCK.ok("right")])
    lines = await watched.live()
    assert [
        ("setup.wrong", "dns"),
        ("setup.doubtful", "node clock"),
        ("setup.mended", "dns"),
        ("setup.mended", "node clock"),
    ] == told(lines)
    assert ["error", "warning", "info", "info"] == [line["log_level"] for line in lines]
    assert [2 * MINUTE, 3 * MINUTE] == [line["lasted"] for line in lines[2:]]
    both = ["setup-dns", "setup-node-clock"]
    assert [both, both, ["setup-node-clock"], []] == watched.shown
    assert [5.0, *[RECHECK_INTERVAL.total_seconds() * 0.75] * 3] == watched.rests


async def test_unjudged_fault_stands(clock: "ManualClock") -> None:
    """What a look leaves out or cannot judge is shown on: only a look that finds it right ends a fault."""
    watched = Watched(clock, [LATE], [UNKNOWN], [DNS.ok("found"), CLOCK.skipped("no date")], [CLOCK.ok("right")])
    lines = await watched.live()
    assert [["setup-node-clock"], ["setup-node-clock", "setup-dns"], ["setup-node-clock"], []] == watched.shown
    assert 1 == told(lines).count(("setup.doubtful", "node clock"))


@pytest.mark.parametrize(
    ("then", "again"),
    [
        (DNS.fail("no such name, asked twice", UNKNOWN.cure), False),
        (DNS.fail("no answer", "Open port 53."), True),
        (DNS.warn("slow", UNKNOWN.cure), True),
    ],
)
async def test_other_fault_is_told_anew(clock: "ManualClock", then: CheckResult, *, again: bool) -> None:
    """Another figure of the same fault is only shown; another cure or result is a line of its own."""
    watched = Watched(clock, [UNKNOWN], [then], [DNS.ok("found")])
    first = clock.now()
    details: list[tuple[str, datetime]] = []
    rest = watched._rest

    async def look_before_rest(seconds: float) -> None:
        details.extend((finding.detail, finding.since) for finding in watched.faults.findings)
        await rest(seconds)

    watched.watch = SetupWatch(watched._look, watched.faults, spread=MINUTE, random=lambda: 0.0, rest=look_before_rest)
    lines = await watched.live()
    assert (3 if again else 2) == len(lines)
    assert [(UNKNOWN.found, first), (then.found, first)] == details


async def test_lack_of_threads_ends_nothing(clock: "ManualClock", monkeypatch: pytest.MonkeyPatch) -> None:
    """A look for which no thread can be had is made up for later, and never ends the process."""
    watched = Watched(clock, [UNKNOWN], [DNS.ok("found")])
    start, refusals = threading.Thread.start, [True, False, True, False]

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "setup" and refusals.pop(0):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert [("setup.wrong", "dns"), ("setup.mended", "dns")] == told(await watched.live())
    assert [[], ["setup-dns"], ["setup-dns"], []] == watched.shown


async def test_hanging_look_is_left(clock: "ManualClock") -> None:
    """A look that hangs keeps no process from ending: its thread is not waited for, and its result is dropped."""
    asked, released = threading.Event(), threading.Event()

    def look() -> Sequence[CheckResult]:
        asked.set()
        released.wait()
        return [UNKNOWN]

    faults = FaultRegister()
    watch = SetupWatch(look, faults, spread=timedelta(), random=lambda: 0.0)
    life = asyncio.create_task(watch.run(clock))
    await asyncio.to_thread(asked.wait)
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "setup"]
    assert thread.daemon
    life.cancel()
    await asyncio.wait([life])
    released.set()
    await asyncio.to_thread(thread.join)
    assert ([], True) == (faults.findings, life.cancelled())


@pytest.mark.parametrize(
    ("skew", "age", "asked"),
    [
        (None, timedelta(), True),
        (timedelta(), timedelta(minutes=59), False),
        (timedelta(minutes=1), timedelta(minutes=59), False),
        (timedelta(), timedelta(hours=1), True),
        (timedelta(seconds=-61), timedelta(), True),
    ],
    ids=["unknown", "right", "nearly right", "old", "wrong"],
)
async def test_clock_is_watched(skew: timedelta | None, age: timedelta, *, asked: bool) -> None:
    """AWS is asked for its time while none of its answers is known, is recent, or shows a right clock."""
    real, looks, rests = 0.0, list[float](), list[float]()
    service_clock = ServiceClock(lambda: NOON, lambda: real)
    if skew is not None:
        # A date counts by whole seconds.
        service_clock.note(NOON, NOON - skew - (timedelta(seconds=1) if skew > timedelta() else timedelta()))
    real = age.total_seconds()

    async def rest(seconds: float) -> None:
        if rests:
            raise asyncio.CancelledError
        rests.append(seconds)

    watch = ClockWatch(service_clock, lambda: looks.append(real), random=lambda: 0.5, rest=rest)
    with pytest.raises(asyncio.CancelledError):
        await watch.run()
    assert ([RECHECK_INTERVAL.total_seconds()], asked) == (rests, bool(looks))
