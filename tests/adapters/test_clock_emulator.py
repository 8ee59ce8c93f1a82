"""The emulator's clock, followed over a real socket."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread

import pytest
import pytest_asyncio

from sidecar.adapters.clock import EmulatorClock, _Answer
from sidecar.domain.ports import Clock
from tests.support.tools import PATIENCE

START = datetime(2031, 5, 6, 7, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Emulated:
    """An emulator's clock that a test sets, and the server that shows it."""

    def __init__(self) -> None:
        self._shown, self._taken, self.speed = START, time.monotonic(), 0.0
        self.status = 200
        self.body: bytes | None = None
        self.asked: list[str] = []
        self.counted = Condition()

    def now(self) -> datetime:
        """Return what the clock shows."""
        return self._shown + timedelta(seconds=(time.monotonic() - self._taken) * self.speed)

    def set(self, now: datetime, speed: float) -> None:
        """Set the clock."""
        self._shown, self._taken, self.speed = now, time.monotonic(), speed

    def answer(self, path: str) -> bytes:
        """Answer one question."""
        with self.counted:
            self.asked.append(path)
            self.counted.notify_all()
        if self.body is not None:
            return self.body
        return json.dumps({"now": self.now().isoformat().replace("+00:00", "Z"), "speed": self.speed}).encode()

    def wait_for_questions(self, count: int) -> bool:
        """Return once so many more questions were asked; False after 20 s."""
        with self.counted:
            enough = len(self.asked) + count
            return self.counted.wait_for(lambda: len(self.asked) >= enough, PATIENCE)


class Server:
    """The emulator's HTTP server, which a test may stop."""

    def __init__(self, emulated: Emulated) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = emulated.answer(self.path)
                self.send_response(emulated.status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """Stop answering; again is harmless."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


@pytest.fixture(name="emulated")
def _emulated() -> Emulated:
    """Hold the clock still at the start."""
    return Emulated()


@pytest.fixture(name="server")
def _server(emulated: Emulated) -> Iterator[Server]:
    """Serve the clock."""
    server = Server(emulated)
    yield server
    server.stop()


@pytest_asyncio.fixture(name="clock")
async def _clock(server: Server) -> AsyncIterator[EmulatorClock]:
    """Follow the served clock."""
    clock = EmulatorClock(server.url)
    await clock.start()
    yield clock
    await clock.close()


async def test_shows_emulators_time(clock: EmulatorClock, emulated: Emulated) -> None:
    """After the start the clock shows what the emulator's shows, in UTC."""
    port: Clock = clock
    assert START == port.now()
    assert port.now().tzinfo is UTC
    assert "/_emulator/clock" == emulated.asked[0]


async def test_time_runs_between_answers(clock: EmulatorClock, emulated: Emulated) -> None:
    """Between two answers the clock continues at the emulator's speed."""
    emulated.set(START, 3600)
    before = emulated.now()
    await clock.refresh()
    assert before <= clock.now() <= emulated.now() + HOUR
    shown = clock.now()
    await asyncio.sleep(0.01)
    assert clock.now() - shown >= timedelta(seconds=36)


async def test_system_clock_before_answer(server: Server) -> None:
    """A clock that has not asked yet shows the system's time."""
    clock = EmulatorClock(server.url)
    before = datetime.now(UTC)
    assert before <= clock.now() <= datetime.now(UTC)
    assert clock.measured_ns() is None
    await clock.close()


async def test_measured_time_is_the_emulators(clock: EmulatorClock, emulated: Emulated) -> None:
    """What is measured follows the emulator's time, a step included."""
    before = clock.measured_ns()
    emulated.set(START + HOUR, 0)
    await clock.refresh()
    shown = clock.measured_ns()
    assert before is not None
    assert shown is not None
    assert 3600 * 10**9 == shown - before


async def test_step_is_seen(clock: EmulatorClock, emulated: Emulated) -> None:
    """A step is seen by the next question, forwards and backwards."""
    for instant in (START + 5 * HOUR, START - 5 * HOUR):
        emulated.set(instant, 0)
        await clock.refresh()
        assert clock.now() == instant


async def test_asks_by_itself(clock: EmulatorClock, emulated: Emulated) -> None:
    """The emulator is asked again and again in the background."""
    assert await asyncio.to_thread(emulated.wait_for_questions, 3)


async def test_hour_passes_in_a_second(clock: EmulatorClock, emulated: Emulated) -> None:
    """At 3600 times the speed a wait of an hour takes a second."""
    emulated.set(START, 3600)
    await clock.refresh()
    began = time.monotonic()
    await clock.sleep_until(START + HOUR)
    took = time.monotonic() - began
    assert clock.now() >= START + HOUR
    assert 0.5 < took


@pytest.mark.parametrize(("now", "speed"), [(START + HOUR, 0), (START, 1e6), (START + 2 * HOUR, 1e-6)])
async def test_change_ends_wait(clock: EmulatorClock, emulated: Emulated, now: datetime, speed: float) -> None:
    """A wait on a clock that does not move ends when the clock is stepped past it or set going."""
    waiting = asyncio.create_task(clock.sleep_until(START + HOUR))
    assert await asyncio.to_thread(emulated.wait_for_questions, 2)
    assert not waiting.done()
    emulated.set(now, speed)
    async with asyncio.timeout(PATIENCE):
        await waiting
    assert clock.now() >= START + HOUR


async def test_step_back_prolongs_wait(clock: EmulatorClock, emulated: Emulated) -> None:
    """A wait whose time has nearly come continues when the clock is set back."""
    emulated.set(START + HOUR - timedelta(seconds=2), 1)
    await clock.refresh()
    waiting = asyncio.create_task(clock.sleep_until(START + HOUR))
    emulated.set(START, 0)
    await clock.refresh()
    assert await asyncio.to_thread(emulated.wait_for_questions, 10)
    assert not waiting.done()
    emulated.set(START + HOUR, 0)
    async with asyncio.timeout(PATIENCE):
        await waiting


async def test_past_instant_yields(clock: EmulatorClock) -> None:
    """A wait for the past ends immediately, on a clock that does not move too."""
    async with asyncio.timeout(PATIENCE):
        await clock.sleep_until(START)
    assert START <= clock.now()


async def test_silence_keeps_last_answer(clock: EmulatorClock, server: Server, emulated: Emulated) -> None:
    """An emulator that is gone leaves the last answer in force."""
    server.stop()
    await clock.refresh()
    assert START == clock.now()


async def test_not_found_means_system(clock: EmulatorClock, emulated: Emulated) -> None:
    """A 404 is the system's clock for good, and ends running waits on the emulator's."""
    emulated.set(START - timedelta(days=36500), 0)
    await clock.refresh()
    waiting = asyncio.create_task(clock.sleep_until(START - timedelta(days=18000)))
    emulated.status = 404
    async with asyncio.timeout(PATIENCE):
        await waiting
    before = datetime.now(UTC)
    assert before <= clock.now() <= datetime.now(UTC)
    earliest = time.monotonic_ns()
    measured = clock.measured_ns()
    assert measured is not None
    assert earliest <= measured <= time.monotonic_ns()
    emulated.status = 200
    asked = len(emulated.asked)
    await clock.refresh()
    assert len(emulated.asked) == asked


BAD = [
    b"",
    b"null",
    b"[]",
    b"\xff",
    b"[" * 4000,
    b'{"now": "2031-05-06T07:30:00Z"}',
    b'{"now": "2031-05-06T07:30:00", "speed": 1}',
    b'{"now": "yesterday", "speed": 1}',
    b'{"now": 5, "speed": 1}',
    b'{"now": "2031-05-06T08:30:00Z", "speed": "1"}',
    b'{"now": "2031-05-06T08:30:00Z", "speed": -1}',
    b'{"now": "2031-05-06T08:30:00Z", "speed": NaN}',
    b'{"now": "2031-05-06T08:30:00Z", "speed": 1e999}',
    b'{"now": "2031-05-06T08:30:00Z", "speed": 1' + b"0" * 400 + b"}",
    b'{"now": "0001-01-01T00:00:00+23:59", "speed": 1}',
    b'{"now": "2031-05-06T08:30:00Z", "speed": 1, "more": "' + b"x" * 5000 + b'"}',
]


@pytest.mark.parametrize("body", BAD)
async def test_nonsense_changes_nothing(clock: EmulatorClock, emulated: Emulated, body: bytes) -> None:
    """An answer that shows no clock is as good as none."""
    emulated.body = body
    await clock.refresh()
    assert START == clock.now()


async def test_fault_changes_nothing(clock: EmulatorClock, emulated: Emulated) -> None:
    """An answer with a status other than 200 and 404 is as good as none."""
    emulated.set(START + HOUR, 0)
    emulated.status = 500
    await clock.refresh()
    assert START == clock.now()


async def test_end_of_calendar_is_the_end(clock: EmulatorClock, emulated: Emulated) -> None:
    """A clock that runs out of the calendar stays at its last instant."""
    emulated.body = b'{"now": "9999-12-31T23:59:59Z", "speed": 1e300}'
    await clock.refresh()
    assert clock.now() == datetime.max.replace(tzinfo=UTC)


async def test_clock_does_not_tremble(server: Server) -> None:
    """An answer that allows the time shown already changes nothing; one that does not sets the clock to its middle."""
    clock = EmulatorClock(server.url)
    clock._take(_Answer(START, 3600, asked=10.0, answered=10.2))
    reading = clock._reading
    clock._take(_Answer(START + timedelta(seconds=3600), 3600, asked=11.0, answered=11.2))
    clock._take(_Answer(START + timedelta(seconds=3600 * 2 + 300), 3600, asked=12.0, answered=12.2))
    assert clock._reading is reading
    clock._take(_Answer(START + timedelta(seconds=3600 * 3 + 500), 3600, asked=13.0, answered=13.2))
    assert clock._reading is not None
    assert START + timedelta(seconds=3600 * 3 + 500) == clock._reading.at(13.1)
    await clock.close()


async def test_start_is_bounded(server: Server) -> None:
    """Without a listener the clock starts; it follows as soon as there is an answer."""
    server.stop()
    clock = EmulatorClock(server.url)
    await clock.start()
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=10)
    await clock.close()


async def test_proxies_are_ignored(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment is not asked for the time."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    clock = EmulatorClock(server.url)
    await clock.refresh()
    assert START == clock.now()
    await clock.close()


async def test_close_ends_everything(server: Server) -> None:
    """After the close no task is left, and closing does not need a start."""
    clock = EmulatorClock(server.url)
    await clock.start()
    await clock.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await EmulatorClock(server.url).close()
