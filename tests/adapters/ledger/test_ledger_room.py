"""How the ledger's room is judged, and what the operator hears of it."""

import errno
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import count, pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from sidecar.adapters.ledger.file import LedgerUnusable, open_for_reading, open_for_writing
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.adapters.ledger.roomwatch import RoomWatch
from sidecar.adapters.ledger.space import MEBIBYTE, Room, Space
from sidecar.domain.entitlement.checkouts import CheckoutKind
from sidecar.domain.metering.events import LedgerFull, LedgerUnavailable, Receipt, UsageBatch
from sidecar.domain.metering.hours import hour_of, to_micros
from sidecar.domain.metering.series import SeriesBatch
from tests.support.books import HOUR, NOW, RULES, event
from tests.support.licenses import CHECKOUT

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture(name="ledger")
async def _ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    """Open a ledger of at most 4 MiB."""
    ledger = Ledger(tmp_path / "ledger.db", RULES, max_size=4 * MEBIBYTE)
    await ledger.open("pod-1", "downward-api", NOW)
    yield ledger
    await ledger.close()


def room(share: float) -> Room:
    """Return a room that is taken to such a share, reserve included."""
    return Room(int(share * 1000) - 100, 100, 1000)


def test_edges_are_logged_once(tmp_path: Path) -> None:
    """From 80 % on there is a warning, from the first refusal on an error, each once; the fault keeps its beginning."""
    watch = RoomWatch(tmp_path / "ledger.db")
    with capture_logs() as lines:
        watch.see(room(0.79), NOW)
        assert [] == watch.findings()
        for seconds in range(3):
            watch.see(room(0.81), NOW + seconds * SECOND)
        assert [("ledger-filling", NOW)] == [(found.code, found.since) for found in watch.findings()]
        for seconds in range(3, 6):
            watch.refuse("no room", NOW + seconds * SECOND)
            watch.see(room(0.95), NOW + seconds * SECOND)
        assert [("ledger-full", NOW + 3 * SECOND)] == [(found.code, found.since) for found in watch.findings()]
        watch.see(room(0.5), NOW + 200 * SECOND)
        assert [] == watch.findings()
    assert [
        ("ledger.filling", "warning"),
        ("ledger.full", "error"),
        ("ledger.room_again", "warning"),
    ] == [(line["event"], line["log_level"]) for line in lines]


def test_small_usage_between_is_no_end(tmp_path: Path) -> None:
    """While a large batch comes again and again and is refused, small usage that fits does not end the refusing."""
    watch = RoomWatch(tmp_path / "ledger.db")
    with capture_logs() as lines:
        for seconds in range(0, 3 * 60 * 60, 31):
            watch.refuse("no room", NOW + seconds * SECOND, 300)
            watch.see(room(0.9), NOW + (seconds + 30) * SECOND)
    assert NOW == watch.refusing_since
    assert ["ledger.full"] == [line["event"] for line in lines if line["log_level"] == "error"]


def test_faults_have_a_cure(tmp_path: Path) -> None:
    """A full ledger names what is taken, of how much, and what to do."""
    watch = RoomWatch(tmp_path / "ledger.db")
    watch.look(Room(4 * MEBIBYTE, MEBIBYTE, 4 * MEBIBYTE), NOW)
    (found,) = watch.findings()
    assert "takes 4.0 MiB and keeps 1.0 MiB for sealing and submitting, of 4.0 MiB" in found.detail
    assert "ledger.max_size" in found.cure


async def test_limit_follows_what_is_free(tmp_path: Path) -> None:
    """Without a limit of its own the ledger may take what it has and what is free at that instant."""
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    with closing(open_for_reading(ledger.path)) as connection:
        limits = [
            Space(ledger.path, None, free={ledger.path.parent: free}.__getitem__).measure(connection, 0).limit
            for free in (10 * MEBIBYTE, 3 * MEBIBYTE, 0)
        ]
    await ledger.close()
    assert [7 * MEBIBYTE, 3 * MEBIBYTE] == [before - after for before, after in pairwise(limits)]


async def test_limit_is_no_more_than_the_volume(tmp_path: Path) -> None:
    """A `max_size` beyond what the volume has free is no promise: the volume counts."""
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    with closing(open_for_reading(ledger.path)) as connection:
        measured = Space(ledger.path, 2**40, free=lambda _: MEBIBYTE).measure(connection, 0)
    await ledger.close()
    assert measured.limit < 2**40


@pytest.mark.parametrize(
    ("free", "passed", "events", "asked"),
    [
        (2**30, 0.049, 1, 0),
        (2**30, 0.05, 1, 1),
        (100 * MEBIBYTE, 0.0, 6_000, 1),
        (8 * MEBIBYTE, 0.0, 400, 1),
    ],
    ids=["a moment ago", "too long ago", "a large batch", "little room"],
)
async def test_room_is_measured_in_time(tmp_path: Path, free: int, passed: float, events: int, asked: int) -> None:
    """A measurement serves the next commits for a moment, while they surely spend only a part of what was found."""
    ledger, now, calls = Ledger(tmp_path / "ledger.db", RULES), 100.0, 0

    def ask(_: Path) -> int:
        nonlocal calls
        calls += 1
        return free

    ledger._space = Space(ledger.path, None, ask, lambda: now)
    await ledger.open("pod-1", "downward-api", NOW)
    await ledger.take([UsageBatch([event("1", id="first")])], NOW)
    calls, now = 0, now + passed
    await ledger.take([UsageBatch([event("1", id=str(number)) for number in range(events)])], NOW)
    assert asked == calls
    await ledger.close()


async def test_small_commits_spend_the_room(tmp_path: Path) -> None:
    """Many commits within a moment end at a measurement: what they may have written counts."""
    free = 200 * MEBIBYTE
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    ledger._space = Space(ledger.path, None, lambda _: free, lambda: 100.0)
    await ledger.open("pod-1", "downward-api", NOW)
    await ledger.take([UsageBatch([event("1", id="first")])], NOW)
    free, taken = 0, 0
    with suppress(LedgerFull):
        while taken < 1000:
            await ledger.take([UsageBatch([event("1", id=f"{taken}-{number}") for number in range(100)])], NOW)
            taken += 1
    assert 0 < taken * 125 * 4096 < 50 * MEBIBYTE
    with pytest.raises(LedgerFull):
        await ledger.take([UsageBatch([event("1", id="last")])], NOW)
    await ledger.close()


async def test_refusal_stores_nothing(ledger: Ledger) -> None:
    """A refused batch names when to come again and leaves no trace; a smaller one is still taken."""
    large = UsageBatch([event("1", id=f"{number:0200}") for number in range(20_000)])
    with pytest.raises(LedgerFull, match="for sealing and submitting") as refused:
        await ledger.take([large], NOW)
    assert 30 == refused.value.retry_after
    assert None is ledger.fault
    await ledger.take([UsageBatch([event("1", id="small")])], NOW)
    assert 1_000_000 == (await ledger.terms())["requests"].accepted


def large(name: str) -> UsageBatch:
    """Return a batch for which a ledger of 4 MiB has no room."""
    return UsageBatch([event("1", id=f"{name}{number:0200}") for number in range(20_000)])


async def test_group_without_room(ledger: Ledger) -> None:
    """Batches that do not fit together are stored one by one: what fits is taken, and only the rest is refused."""
    first, last = UsageBatch([event("1", id="first")]), UsageBatch([event("1")])
    taken, refused, also_taken = await ledger.take([first, large("a"), last], NOW)
    assert (Receipt(1, 0), Receipt(1, 0)) == (taken, also_taken)
    assert isinstance(refused, LedgerFull)
    assert 2_000_000 == (await ledger.terms())["requests"].accepted
    with pytest.raises(LedgerFull):
        await ledger.take([large("a"), large("b")], NOW)
    assert 2_000_000 == (await ledger.terms())["requests"].accepted


@pytest.mark.parametrize("fault", [LedgerUnavailable("the disk is gone"), ValueError("a damaged row")])
async def test_fault_among_single_commits(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    """What was stored before a fault has its receipt: sent again, an event without an id would count twice."""
    store_usage = Ledger._store_usage

    def fail_for_two(ledger: Ledger, store: Any, batches: Any, now: Any) -> Any:
        if len(batches[0].events) == 2:
            raise fault
        return store_usage(ledger, store, batches, now)

    monkeypatch.setattr(Ledger, "_store_usage", fail_for_two)
    two = UsageBatch([event("1"), event("1")])
    taken, failed, refused = await ledger.take([UsageBatch([event("1")]), two, large("a")], NOW)
    assert (Receipt(1, 0), str(fault)) == (taken, str(failed))
    assert isinstance(refused, LedgerFull)
    assert [Receipt(1, 0)] == await ledger.take([UsageBatch([event("1")])], NOW)
    assert 2_000_000 == (await ledger.terms())["requests"].accepted


async def test_log_returns_to_its_size(ledger: Ledger) -> None:
    """A log that grew next to a reader is cut to its bound at the next tidying, and keeps its room after that."""
    log = ledger.path.with_name("ledger.db-wal")
    bound = 512 * 1024
    with closing(open_for_reading(ledger.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM event").fetchone()
        for number in range(60):
            await ledger.take([UsageBatch([event("1", id=f"{number}-{part}") for part in range(20)])], NOW)
        assert log.stat().st_size > 3 * bound // 2
    while await ledger.prune(NOW):
        pass
    assert bound <= log.stat().st_size < bound + 4 * 4096


async def test_refused_opening_keeps_the_room(tmp_path: Path) -> None:
    """A start that fails while the ledger is opened leaves the room for the next start as it found it."""
    path = tmp_path / "ledger.db"
    first = Ledger(path, RULES)
    await first.open("pod-1", "downward-api", NOW)
    await first.close()
    held = path.with_name("ledger.db-reserve").stat().st_size

    def connect(path: Path) -> sqlite3.Connection:
        raise LedgerUnusable(path, "database or disk is full", "Make room on the volume.")

    refused = Ledger(path, RULES, connect=connect)
    with pytest.raises(LedgerUnusable, match="disk is full"):
        await refused.open("pod-1", "downward-api", NOW)
    await refused.close()

    assert held == path.with_name("ledger.db-reserve").stat().st_size


async def fill(ledger: Ledger) -> None:
    """Report batches of 100 events until one is refused."""
    for number in count():
        try:
            await ledger.take([UsageBatch([event("1", id=f"{number}-{part:0100}") for part in range(100)])], NOW)
        except LedgerFull:
            return


async def test_room_is_found_without_usage(ledger: Ledger) -> None:
    """Refusing ends once pruning has made room, though no usage comes: a pod whose gate it has closed gets none."""
    await fill(ledger)
    await ledger.prune(NOW + 2 * HOUR)
    assert NOW == ledger.room_watch.refusing_since
    for hour, name in await ledger.sealable(before=hour_of(NOW + HOUR), zero_from=hour_of(NOW), now=NOW + HOUR):
        await ledger.seal(hour, name, lambda: NOW + HOUR, RULES.settle)
    while await ledger.prune(NOW + 30 * HOUR):
        pass
    assert None is ledger.room_watch.refusing_since
    assert [] == ledger.room_watch.findings()


async def test_restart_does_not_end_refusing(tmp_path: Path) -> None:
    """A refusal continues in the next process, until there is room for what was refused; then it is over for good."""
    first = Ledger(tmp_path / "ledger.db", RULES, max_size=4 * MEBIBYTE)
    await first.open("pod-1", "downward-api", NOW)
    await fill(first)
    await first.close()
    found = []
    for hours, size in ((1, 4), (2, 16), (3, 16)):
        ledger = Ledger(tmp_path / "ledger.db", RULES, max_size=size * MEBIBYTE)
        await ledger.open("pod-1", "downward-api", NOW + hours * HOUR)
        found.append(ledger.room_watch.refusing_since)
        await ledger.close()
    assert [NOW, None, None] == found
    with closing(open_for_reading(tmp_path / "ledger.db")) as connection:
        (kept,) = connection.execute("SELECT value FROM meta WHERE key = 'refusing-since'")
    assert None is json.loads(kept["value"])[0]


async def test_small_usage_after_a_restart_is_no_end(tmp_path: Path) -> None:
    """Small usage ends a refusal of an earlier process only once no batch was refused for a while."""
    first = Ledger(tmp_path / "ledger.db", RULES, max_size=4 * MEBIBYTE)
    await first.open("pod-1", "downward-api", NOW)
    await fill(first)
    await first.close()
    found = []
    for minutes in (10, 20):
        ledger = Ledger(tmp_path / "ledger.db", RULES, max_size=4 * MEBIBYTE)
        await ledger.open("pod-1", "downward-api", NOW + minutes * MINUTE)
        for passed in (1, 2, 4):
            await ledger.take([UsageBatch([event("1", id=f"{minutes}-{passed}")])], NOW + (minutes + passed) * MINUTE)
            found.append(ledger.room_watch.refusing_since)
            if minutes == 10:
                break
        await ledger.close()
    assert [NOW, NOW, NOW, None] == found


async def test_room_is_known_from_the_start(tmp_path: Path) -> None:
    """A ledger that is full when it is opened is reported before usage comes."""
    found = []
    for size in (5 * MEBIBYTE, 4 * MEBIBYTE):
        ledger = Ledger(tmp_path / "ledger.db", RULES, max_size=size)
        await ledger.open("pod-1", "downward-api", NOW)
        found.append([each.code for each in ledger.room_watch.findings()])
        await fill(ledger)
        await ledger.close()
    assert [[], ["ledger-full"]] == found


def test_waiting_batch_keeps_refusing(tmp_path: Path) -> None:
    """Free room that does not take what was refused last is no end of refusing; half of the limit always is."""
    watch = RoomWatch(tmp_path / "ledger.db")
    watch.refuse("no room", NOW, 300)
    watch.look(room(0.75), NOW + 60 * SECOND)
    assert NOW == watch.refusing_since
    watch.refuse("no room", NOW + 60 * SECOND, 5000)
    watch.look(room(0.55), NOW + 240 * SECOND)
    assert NOW == watch.refusing_since
    watch.look(room(0.45), NOW + 240 * SECOND)
    assert None is watch.refusing_since


def test_full_ledger_forgets_no_waiting_batch(tmp_path: Path) -> None:
    """A look at a ledger that takes nothing at all forgets no batch that was refused; the end of refusing does."""
    watch = RoomWatch(tmp_path / "ledger.db")
    watch.refuse("no room", NOW, 300)
    found = []
    for seconds, share in ((60, 1.1), (300, 0.9), (300, 0.6), (400, 1.1), (600, 0.9)):
        watch.look(room(share), NOW + seconds * SECOND)
        found.append(watch.refusing_since)
    assert [NOW, NOW, None, NOW + 400 * SECOND, None] == found


async def test_refusal_names_the_batch(ledger: Ledger) -> None:
    """A refusal says what the batch may take: otherwise a ledger that is not full by its figures seems to be."""
    with pytest.raises(LedgerFull, match=r"of 4\.0 MiB; 20000 events at a time may take 6\.[0-9] MiB more"):
        await ledger.take([UsageBatch([event("1", id=f"{number:0200}") for number in range(20_000)])], NOW)


class Failing:
    """A connection of which statements with a text fail."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Pass on everything, and fail nothing yet."""
        self.connection = connection
        self.text: str | None = None

    def __getattr__(self, name: str) -> Any:
        """Pass on."""
        return getattr(self.connection, name)

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        """Run a statement, or fail as on a full or broken volume."""
        if self.text is not None and self.text in statement:
            raise sqlite3.OperationalError("database or disk is full")
        return self.connection.execute(statement, *values)


@pytest.fixture(name="failing")
async def _failing(tmp_path: Path) -> AsyncIterator[tuple[Ledger, list[Failing]]]:
    """Open a ledger of at most 4 MiB, with the connections that it has made."""
    made: list[Failing] = []

    def connect(path: Path) -> sqlite3.Connection:
        made.append(Failing(open_for_writing(path)))
        return cast("sqlite3.Connection", made[-1])

    ledger = Ledger(tmp_path / "ledger.db", RULES, max_size=4 * MEBIBYTE, connect=connect)
    await ledger.open("pod-1", "downward-api", NOW)
    yield ledger, made
    made[-1].text = None
    await ledger.close()


async def test_log_that_cannot_be_cut(failing: tuple[Ledger, list[Failing]]) -> None:
    """A reader has made the log grow, and the full volume does not let it be cut: usage is refused, nothing ends."""
    ledger, made = failing
    made[-1].text = "TRUNCATE"

    async def fill() -> None:
        for number in range(1000):
            events = [event("1", id=f"id-{number}-{each}-{'x' * 100}") for each in range(200)]
            await ledger.take([UsageBatch(events)], NOW)

    with closing(open_for_reading(ledger.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM bucket").fetchone()
        with pytest.raises(LedgerUnavailable) as refused:
            await fill()
    assert "the ledger's room cannot be measured: database or disk is full" in str(refused.value)


async def test_series_that_cannot_be_read(failing: tuple[Ledger, list[Failing]]) -> None:
    """A page whose states cannot be read is refused as any other usage, and taken on a fresh connection."""
    ledger, made = failing
    await ledger.begin_series({"requests": "page"}, NOW)
    batch = SeriesBatch("requests", (), Decimal(1), to_micros(NOW))
    made[-1].text = "FROM source"
    with pytest.raises(LedgerUnavailable):
        await ledger.take_series([batch], NOW)
    assert 0 == (await ledger.take_series([batch], NOW))[0].millionths
    assert 2 == len(made)


async def test_closed_ledger_takes_no_step(tmp_path: Path) -> None:
    """A step after the end is an error, not a wait without end."""
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    await ledger.close()
    with pytest.raises(RuntimeError, match="the ledger is closed"):
        await ledger.take([UsageBatch([event("1")])], NOW)


async def test_volume_that_does_not_answer(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume whose room cannot be asked for refuses what needs room, and nothing ends."""

    def fail(_: object) -> object:
        raise OSError(errno.ESTALE, "Stale file handle")

    ledger._space._trusted_until = 0.0
    with monkeypatch.context() as patched:
        patched.setattr(os, "statvfs", fail)
        for step in (
            ledger.take([UsageBatch([event("1")])], NOW),
            ledger.take_series([SeriesBatch("requests", (), Decimal(1), to_micros(NOW))], NOW),
            ledger.checkouts.save_checkout(replace(CHECKOUT, kind=CheckoutKind.APP)),
            ledger.room(NOW),
        ):
            with pytest.raises(LedgerUnavailable, match="the ledger's room cannot be measured"):
                await step
        assert not await ledger.prune(NOW)
    assert [Receipt(1, 0)] == await ledger.take([UsageBatch([event("1")])], NOW)
