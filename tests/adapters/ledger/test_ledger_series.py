"""Counters in the ledger: states and usage are stored together, and outlive processes but not pods."""

import asyncio
import sqlite3
import sys
import tracemalloc
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.adapters.ledger import integrity, series, taking
from sidecar.adapters.ledger.file import open_for_writing
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.adapters.ledger.series_rows import read_state
from sidecar.adapters.ledger.store import Store
from sidecar.domain.metering.denial import Right
from sidecar.domain.metering.events import LedgerFull, LedgerUnavailable, Tags
from sidecar.domain.metering.hours import hour_of_micros, to_micros
from sidecar.domain.metering.plain import FirstSamples
from sidecar.domain.metering.series import JITTER, MOST_SEEN, SampleOutcome, SeriesBatch, SeriesSample, Temporality
from tests.adapters.ledger.conftest import OpenBooks
from tests.support.books import BLUE, HOUR, MINUTE, NOW, RED, RULES, UNBILLED_LATE, Books

SECOND = timedelta(seconds=1)


def page(books: Books, values: dict[str, str], *, started: int | None = None, tags: Tags = ()) -> SeriesBatch:
    """Return a page of the present instant with a series for each name. They have started after the pod."""
    at = to_micros(books.now)
    start = to_micros(NOW) + 1 if started is None else started
    samples = [SeriesSample(name.encode(), tags, Decimal(value), start, at) for name, value in values.items()]
    return SeriesBatch("requests", samples, Decimal(1), at)


def scrape(books: Books, after: timedelta = MINUTE, *, tags: Tags = (), **values: str) -> dict[SampleOutcome, int]:
    """Take a page some time later, and return what its samples mean."""
    books.pass_time(after)
    return dict(books.take_series(page(books, values, tags=tags))[0].outcomes)


def rows(books: Books) -> dict[bytes, sqlite3.Row]:
    """Return the rows of the series by key."""
    return {row["key"]: row for row in books.store.rows("SELECT * FROM series")}


@pytest.fixture
def counting(books: Books) -> Books:
    """Return a ledger that has begun to measure the requests."""
    books.begin_series(requests="here")
    return books


def test_increases_are_billed(counting: Books) -> None:
    """A series that has started with the app counts from zero, then by its increases."""
    assert {SampleOutcome.BEGAN: 2} == scrape(counting, a="3", b="4")
    assert {SampleOutcome.INCREASED: 2} == scrape(counting, a="3.5", b="4")
    assert {"accepted": "7.5", "open": "7.5"} == counting.shown()


def test_series_goes_on_after_restart(counting: Books) -> None:
    """The next process in the pod bills what was counted meanwhile; the same page again bills nothing."""
    scrape(counting, a="3")
    counting.restart()
    counting.begin_series(requests="here")
    scrape(counting, a="10")
    counting.restart()
    counting.take_series(page(counting, {"a": "10"}))
    assert "10" == counting.shown()["accepted"]


def test_other_pod_starts_anew(counting: Books) -> None:
    """A successor on the ledger counts its own app's counters, whatever those of the pod before were."""
    scrape(counting, a="3")
    counting.restart("pod-2")
    counting.begin_series(requests="here")
    start = to_micros(counting.now) + 1
    counting.pass_time(MINUTE)
    (receipt,) = counting.take_series(page(counting, {"a": "2"}, started=start))
    assert ({SampleOutcome.BEGAN: 1}, "5") == (receipt.outcomes, counting.shown()["accepted"])
    counting.prune()
    assert [("pod-2",)] == list(
        map(tuple, counting.store.rows("SELECT uid FROM source JOIN pod ON pod.id = source.pod"))
    )
    assert 1 == counting.count("series")


def test_unchanged_series_are_not_written(counting: Books) -> None:
    """A page with the same values writes no series; still their next step belongs to the hour of that page."""
    scrape(counting, a="3", b="4")
    before = rows(counting)
    scrape(counting, HOUR, a="3", b="4")
    assert before == rows(counting)
    scrape(counting, HOUR, a="5", b="4")
    assert {("requests", 10, ()): "7", ("requests", 11, ()): "2"} == counting.buckets()


def test_series_that_was_away(counting: Books) -> None:
    """A series that was not on some pages goes on from its last sample, in the hour of that sample."""
    scrape(counting, a="3", b="4")
    scrape(counting, HOUR, a="3")
    scrape(counting, HOUR, a="3")
    scrape(counting, HOUR, a="3", b="6")
    assert {("requests", 10, ()): "9"} == counting.buckets()
    scrape(counting, a="4", b="7")
    assert {("requests", 10, ()): "9", ("requests", 13, ()): "2"} == counting.buckets()


def test_gone_series_are_not_read(counting: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page reads the states of its own series and of the page before, not of all that are kept for 26 hours."""
    counting.take_series(page(counting, {f"gone{number}": "1" for number in range(700)}))
    scrape(counting, a="1", b="1")
    read: list[bytes] = []
    rows, tuples = Store.rows, Store.tuples

    def watched_rows(store: Store, statement: str, *values: object) -> list[sqlite3.Row]:
        found = rows(store, statement, *values)
        read.extend(row["key"] for row in found if "key" in row.keys())  # noqa: SIM118 - a row is no mapping
        return found

    def watched_tuples(store: Store, statement: str, *values: object) -> list[tuple[Any, ...]]:
        found = tuples(store, statement, *values)
        read.extend(key for key, *_ in found)
        return found

    monkeypatch.setattr(Store, "rows", watched_rows)
    monkeypatch.setattr(Store, "tuples", watched_tuples)
    scrape(counting, a="2", b="1", gone7="3")
    assert [b"a", b"b", b"gone7"] == sorted(read)
    assert "705" == counting.shown()["accepted"]


PAGES = st.lists(
    st.tuples(
        st.dictionaries(
            st.sampled_from("abc"),
            st.tuples(
                st.sampled_from(["0", "1", "2", "7", "7.5", "100", "1E+4", "99999999999"]),
                st.sampled_from([None, -1, 1, JITTER, 5 * JITTER]),
            ),
        ),
        st.sampled_from(Right),
        st.sampled_from([MINUTE, HOUR]),
    ),
    max_size=8,
)


@pytest.mark.parametrize("scale", ["1", "0.001", "0.3333333"])
@given(pages=PAGES)
@settings(max_examples=60, deadline=None)
def test_simple_case_is_stored_alike(scale: str, pages: list[tuple[dict[str, Any], Right, timedelta]]) -> None:
    """A ledger that judges each series by itself has the same buckets, outcomes and states."""

    def play(path: Path) -> list[object]:
        found: list[object] = []
        with closing(Books(path, durable=False)) as books:
            books.begin_series(requests="here")
            for values, right, after in pages:
                books.pass_time(after)
                at = to_micros(books.now)
                samples = [
                    SeriesSample(name.encode(), RED, Decimal(value), moved and to_micros(NOW) + moved, at)
                    for name, (value, moved) in values.items()
                ]
                batch = SeriesBatch("requests", samples, Decimal(scale), at, right=right, right_since=at - 1)
                (receipt,) = books.take_series(batch)
                states = [read_state(row, (at, hour_of_micros(at))) for row in books.store.rows("SELECT * FROM series")]
                found += [+Counter(receipt.outcomes), receipt.millionths, books.buckets(), states]
        return found

    with TemporaryDirectory() as folder:
        fast = play(Path(folder, "fast.db"))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(series, "judge_plain", lambda *_: None)
            patched.setattr(FirstSamples, "judge", lambda *_: None)
            assert play(Path(folder, "full.db")) == fast


def test_new_series_of_a_running_app(counting: Books) -> None:
    """The first increment of a new series belongs to the page before."""
    scrape(counting, a="3")
    scrape(counting, HOUR, a="3", b="4")
    assert {("requests", 10, ()): "7"} == counting.buckets()


def test_step_of_a_sealed_hour_is_carried(counting: Books) -> None:
    """What belongs to an hour that is sealed is carried, or unbilled, as the seller wants."""
    scrape(counting, a="3")
    counting.pass_time(HOUR)
    counting.seal_ended()
    scrape(counting, a="5")
    assert {"accepted": "5", "sealed": "3", "open": "2"} == counting.shown()
    counting.rules = UNBILLED_LATE
    counting.pass_time(HOUR)
    counting.seal_ended()
    scrape(counting, a="9")
    assert "4" == counting.shown()["unbilled"]


def test_tags_have_buckets(counting: Books) -> None:
    """Series of one tag set share a bucket."""
    counting.pass_time(MINUTE)
    batch = page(counting, {"a": "3", "b": "4"}, tags=RED)
    other = page(counting, {"c": "5"}, tags=BLUE)
    counting.take_series(replace(batch, samples=[*batch.samples, *other.samples]))
    assert {("requests", 10, RED): "7", ("requests", 10, BLUE): "5"} == counting.buckets()


def test_several_dimensions_in_one_commit(open_books: OpenBooks) -> None:
    """Samples of several dimensions are stored together."""
    dimensions = {name: replace(RULES.dimensions["requests"], name=name) for name in ("requests", "tokens")}
    books = open_books(replace(RULES, dimensions=dimensions))
    books.begin_series(requests="here", tokens="there")
    books.pass_time(MINUTE)
    first = page(books, {"a": "3"})
    receipts = books.take_series(first, replace(first, dimension="tokens", scale=Decimal("0.5")))
    assert [3_000_000, 1_500_000] == [receipt.millionths for receipt in receipts]
    assert ("3", "1.5") == (books.shown("requests")["open"], books.shown("tokens")["open"])


def test_several_samples_in_one_push(counting: Books) -> None:
    """A push may hold several samples of one series; series that it does not name stay as they are."""
    start = to_micros(NOW) + 1
    counting.pass_time(MINUTE)
    at = to_micros(counting.now)
    samples = [SeriesSample(b"a", (), Decimal(value), start, at + value) for value in (3, 5)]
    batch = SeriesBatch("requests", samples, Decimal(1), at, whole=False)
    (receipt,) = counting.take_series(batch)
    assert {SampleOutcome.BEGAN: 1, SampleOutcome.INCREASED: 1} == receipt.outcomes
    (receipt,) = counting.take_series(batch)
    assert {SampleOutcome.STALE: 2} == receipt.outcomes
    assert "5" == counting.shown()["accepted"]


def test_memory_of_many_deltas(counting: Books) -> None:
    """An export of deltas takes little more memory than the rows of its series, which remember 32 points each."""
    at, series_of_export = to_micros(NOW), range(400)

    def export(points: range) -> SeriesBatch:
        samples = [
            SeriesSample(b"%d" % each, (), Decimal(1), at + point, at + point + 1, Temporality.DELTA)
            for point in points
            for each in series_of_export
        ]
        return SeriesBatch("requests", samples, Decimal(1), at, whole=False)

    counting.pass_time(MINUTE)
    counting.take_series(export(range(MOST_SEEN)))
    batch = export(range(MOST_SEEN, MOST_SEEN + 1))
    tracemalloc.start()
    counting.take_series(batch)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * 1024 * len(series_of_export)
    assert str((MOST_SEEN + 1) * len(series_of_export)) == counting.shown()["accepted"]


@pytest.mark.parametrize("whole", [True, False], ids=["page", "export"])
def test_another_origin_counts_nothing_old(counting: Books, *, whole: bool) -> None:
    """After a change of the source, counters that run already begin at what they show; removed sources, too."""

    def show(**values: str) -> dict[SampleOutcome, int]:
        counting.pass_time(MINUTE)
        return dict(counting.take_series(replace(page(counting, values), whole=whole))[0].outcomes)

    show(a="3")
    counting.pass_time(MINUTE)
    counting.begin_series(requests="elsewhere")
    assert {SampleOutcome.BASE_LINE: 2} == show(a="1000", b="100")
    counting.begin_series(requests="here")
    assert {SampleOutcome.BASE_LINE: 2} == show(a="9000", b="200")
    counting.begin_series()
    counting.begin_series(requests="here")
    assert {SampleOutcome.BASE_LINE: 2} == show(a="9500", b="300")
    assert {SampleOutcome.INCREASED: 2} == show(a="9501", b="300")
    assert "4" == counting.shown()["accepted"]
    assert [] == list(integrity.integrity_errors(counting.store.connection))
    counting.prune()
    assert (1, 2) == (counting.count("source"), counting.count("series"))


def test_another_origin_lifts_no_denial(counting: Books) -> None:
    """A source that changes while the pod is denied bills nothing until AWS grants the right."""
    counting.pass_time(MINUTE)
    counting.take_series(replace(page(counting, {"a": "3"}), right=Right.DENIED, right_since=to_micros(NOW)))
    counting.begin_series(requests="elsewhere")
    start = to_micros(counting.now) + 1
    counting.pass_time(MINUTE)
    batch = page(counting, {"a": "7"}, started=start)
    counting.take_series(replace(batch, right=Right.UNDECIDED, right_since=to_micros(NOW)))
    assert {} == counting.shown()


def test_gone_series_are_dropped(counting: Books) -> None:
    """A series that is gone for more than a day is dropped; if it comes back, it begins at what it shows."""
    scrape(counting, a="3", b="4")
    scrape(counting, a="3")
    counting.pass_time(28 * HOUR)
    counting.prune()
    assert {b"a"} == rows(counting).keys()
    assert {SampleOutcome.INCREASED: 1, SampleOutcome.BASE_LINE: 1} == scrape(counting, a="5", b="4")
    assert "9" == counting.shown()["accepted"]


def test_series_survive_in_rollback(counting: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Usage that cannot be stored leaves the states as they were, so the next page makes it up."""
    scrape(counting, a="3")

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(taking, "take", refuse)
        with pytest.raises(LedgerUnavailable, match="disk I/O error"):
            scrape(counting, a="10")
    scrape(counting, a="11")
    assert "11" == counting.shown()["accepted"]


def test_damaged_series_are_named(counting: Books) -> None:
    """A row that this program does not write is a finding."""
    scrape(counting, a="3")
    assert [] == list(integrity.integrity_errors(counting.store.connection))
    counting.store.connection.execute("UPDATE series SET value = 'NaN'")
    assert ["series 61 of source 1 is damaged: 'NaN' is not the value of a counter"] == list(
        integrity.integrity_errors(counting.store.connection)
    )


async def test_full_ledger_takes_no_series(tmp_path: Path) -> None:
    """States of series that leave no room for sealing are refused, and the next page makes their usage up."""
    ledger = Ledger(tmp_path / "ledger.db", RULES, max_size=4 * 2**20)
    await ledger.open("pod-1", "downward-api", NOW)
    await ledger.begin_series({"requests": "here"}, NOW)
    start, at = to_micros(NOW) + 1, to_micros(NOW + SECOND)

    def batch(count: int) -> SeriesBatch:
        samples = [SeriesSample(b"%16d" % each, (), Decimal(1), start, at) for each in range(count)]
        return SeriesBatch("requests", samples, Decimal(1), at)

    with pytest.raises(LedgerFull, match="1 events and 30000 series"):
        await ledger.take_series([batch(30_000)], NOW + SECOND)
    (receipt,) = await ledger.take_series([batch(1000)], NOW + SECOND)
    assert 1000 * 1_000_000 == receipt.millionths
    await ledger.close()


KILLED = """
import asyncio, os, signal, sqlite3, sys
from pathlib import Path
from decimal import Decimal
from datetime import timedelta
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.adapters.ledger.file import open_for_writing
from sidecar.domain.metering.hours import to_micros
from sidecar.domain.metering.series import SeriesBatch, SeriesSample
from tests.support.books import NOW, RULES

def open_and_die(path):
    connection = open_for_writing(path)
    left = [int(sys.argv[3])]
    def count(statement):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
    connection.set_trace_callback(count)
    return connection

async def main():
    ledger = Ledger(Path(sys.argv[1]), RULES, connect=open_and_die)
    await ledger.open("pod-1", "downward-api", NOW)
    await ledger.begin_series({"requests": "here"}, NOW)
    at = to_micros(NOW + timedelta(minutes=1))
    values = [SeriesSample(name, (), Decimal(sys.argv[2]), to_micros(NOW) + 1, at) for name in (b"a", b"b")]
    await ledger.take_series([SeriesBatch("requests", values, Decimal(1), at)], NOW + timedelta(minutes=1))
    await ledger.close()

asyncio.run(main())
"""


async def _try(path: Path, value: int, statements: int) -> int | None:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, str(path), str(value), str(statements))
    return await child.wait()


async def test_kill_at_every_statement(tmp_path: Path) -> None:
    """A process that is killed at any statement bills each increment once: states and usage are one transaction."""
    path = tmp_path / "ledger.db"
    Books(path).close()
    value, statement, killed, accepted = 0, 1, True, ""
    while killed:
        value += 1
        killed = await _try(path, value, statement) != 0
        statement += 11
        with closing(open_for_writing(path)) as connection:
            (accepted,) = connection.execute("SELECT accepted FROM dimension WHERE name = 'requests'").fetchone()
            kept = [row["value"] for row in connection.execute("SELECT value FROM series")]
            assert str(sum(map(int, kept))) == accepted
    assert str(2 * value) == accepted
