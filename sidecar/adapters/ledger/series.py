"""The counters that a source reads: their states, stored together with the usage that their samples prove.

A page or push is judged first, then written in one transaction: states and usage are on disk together or not at all. A
series of the last page whose value has not changed is not written: its instant and hour are the page's. Series belong
to one pod, because the counters of another pod are others.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter, itemgetter

from sidecar.adapters.ledger import taking
from sidecar.adapters.ledger.series_rows import (
    COLUMNS,
    FRESH_COLUMNS,
    FRESH_VALUES,
    LEFT,
    PLAIN,
    Row,
    fresh_row,
    read_state,
    write_state,
)
from sidecar.adapters.ledger.store import Store
from sidecar.collector import paused_collector
from sidecar.domain.metering.denial import NEVER_DENIED, Denial
from sidecar.domain.metering.events import LedgerUnavailable, Tags, UsageBatch, UsageEvent
from sidecar.domain.metering.hours import Hour, bound_hour, from_micros, hour_of_micros
from sidecar.domain.metering.measuring import dated
from sidecar.domain.metering.plain import FirstSamples, is_same_start, judge_plain
from sidecar.domain.metering.quantity import LARGEST
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.metering.series import (
    JITTER,
    SampleOutcome,
    SeriesBatch,
    SeriesReceipt,
    SeriesSample,
    SeriesState,
    SourceTerms,
    Temporality,
    judge,
)

_CHUNK = 500
"""Keys in one statement; SQLite bounds a statement's variables."""
_DOUBTFUL = (SampleOutcome.INCONSISTENT, SampleOutcome.HELD)


@dataclass(slots=True)
class Judged:
    """What the samples of one batch mean, not stored yet."""

    batch: SeriesBatch
    source: int | None
    """The row of the source; None if it has none yet."""
    denial: Denial = NEVER_DENIED
    """What is known now of the pod's denials."""
    booted_at: int | None = None
    """What to keep of the machine's start. Small steps of the clock add up until start times move with them."""
    rows: list[Row] = field(default_factory=list)
    """States to write, in the order of `COLUMNS`."""
    fresh: list[Row] = field(default_factory=list)
    """States of series that begin, in the order of `FRESH_COLUMNS`."""
    steps: list[tuple[str, bytes]] = field(default_factory=list)
    """Series of which the value alone is to be written: value and key."""
    gone: list[bytes] = field(default_factory=list)
    """Series that were on the last page and are not on this one."""
    usage: defaultdict[tuple[Hour, Tags], int] = field(default_factory=lambda: defaultdict(int))
    outcomes: Counter[SampleOutcome] = field(default_factory=Counter)

    @property
    def states(self) -> int:
        """How many states are to be written."""
        return len(self.rows) + len(self.fresh) + len(self.steps) + len(self.gone)

    @property
    def receipt(self) -> SeriesReceipt:
        """What became of the batch once it is stored."""
        doubtful = sum(self.outcomes[each] for each in _DOUBTFUL)
        return SeriesReceipt(dict(self.outcomes), sum(self.usage.values()), doubtful)

    def events(self, now: int) -> list[UsageEvent]:
        """Return the usage as events of the hours that it belongs to. No event exceeds what a record can hold."""
        events = []
        for (hour, tags), total in self.usage.items():
            at = dated(bound_hour(hour, hour_of_micros(now)), from_micros(now))
            for start in range(0, total, LARGEST):
                part = min(LARGEST, total - start)
                events.append(UsageEvent(None, self.batch.dimension, part, None, at, tags))
        return events


def begin(store: Store, origins: Mapping[str, str], at: int) -> None:
    """Note the sources that this process measures by counters, inside the caller's transaction.

    A counter that starts after the first call for its dimension counts from zero. If a source comes from elsewhere than
    before, counters that run already begin at what they show.

    Args:
        store: The ledger.
        origins: Where the counters of each dimension come from; a change means other counters.
        at: The present instant by the system clock, in epoch microseconds.
    """
    for row in store.rows("SELECT * FROM source WHERE pod = ?", store.pod):
        if row["dimension"] not in origins and row["origin"]:
            # The app may report the dimension itself meanwhile: nothing of this time may be counted later.
            _forget(store, row, "", at)
    for dimension, origin in origins.items():
        known = _source(store, dimension)
        if known is None:
            _note(store, dimension, origin, at)
        elif known["origin"] != origin:
            _forget(store, known, origin, at)


def _note(store: Store, dimension: str, origin: str, at: int) -> None:
    store.connection.execute(
        "INSERT INTO source (pod, dimension, origin, since) VALUES (?, ?, ?, ?)", (store.pod, dimension, origin, at)
    )


def _forget(store: Store, row: sqlite3.Row, origin: str, at: int) -> None:
    """Begin a source of another origin: the key of a series does not name its counter.

    The states stay with the old row: pruning drops them in steps, however many they are.
    """
    store.connection.execute(
        "UPDATE source SET dimension = ?, origin = '' WHERE id = ?", (f"{LEFT}{row['id']}", row["id"])
    )
    store.connection.execute(
        "INSERT INTO source (pod, dimension, origin, since, forgotten_at, denied_at, denial_ended_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (store.pod, row["dimension"], origin, row["since"], at, row["denied_at"], row["denial_ended_at"]),
    )


def _source(store: Store, dimension: str) -> sqlite3.Row | None:
    rows = store.rows("SELECT * FROM source WHERE pod = ? AND dimension = ?", store.pod, dimension)
    return rows[0] if rows else None


@paused_collector()
def judge_batches(store: Store, batches: Sequence[SeriesBatch]) -> list[Judged]:
    """Return what batches mean; writes nothing. They are of different dimensions.

    Raises:
        LedgerUnavailable: The states cannot be read.
    """
    try:
        return [_judge_batch(store, batch) for batch in batches]
    except sqlite3.Error as error:
        raise LedgerUnavailable(f"the ledger cannot be read: {error}") from error


def _judge_batch(store: Store, batch: SeriesBatch) -> Judged:
    source = _source(store, batch.dimension)
    known = NEVER_DENIED if source is None else Denial(source["denied_at"], source["denial_ended_at"])
    denial = known.meet(batch.right, batch.at, batch.right_since)
    judged = Judged(batch, None if source is None else source["id"], denial.settle(batch.at), batch.booted_at)
    terms = SourceTerms(
        batch.scale,
        since=batch.at,
        shift=batch.shift,
        in_order=batch.whole,
        every=batch.every,
        denial=NEVER_DENIED if denial == NEVER_DENIED else denial,
    )
    if source is None:
        _judge_all(judged, batch.samples, {}, terms, None)
        return judged
    page = None if source["last_at"] is None else (source["last_at"], Hour(source["last_hour"]))
    terms = replace(terms, since=source["since"], forgotten_at=source["forgotten_at"])
    samples, factor = batch.samples, terms.factor
    is_plain = False
    if batch.whole and page is not None:
        step = _clock_step(source, batch)
        terms = replace(terms, last_at=page[0], last_hour=page[1], clock_step=step or 0)
        if step is not None and abs(step) <= JITTER:
            judged.booted_at = source["booted_at"]
        if factor is not None and abs(terms.clock_step) <= JITTER:
            is_plain = True  # otherwise start times have moved with the clock, and each state is written
            samples = _judge_plain(store, judged, terms, factor, page)
    kept = _rows_of(store, source["id"], batch, samples, plain=not is_plain)
    if batch.whole and factor is not None:
        samples = _judge_first(judged, samples, kept, FirstSamples(terms, factor))
    _judge_all(judged, samples, kept, terms, page)
    if batch.whole:
        # They were on the page before and are not on this one: from now on they keep the date of that page.
        judged.gone += [key for key, row in kept.items() if not row["dated"]]
    return judged


def _judge_plain(
    store: Store, judged: Judged, terms: SourceTerms, factor: int, page: tuple[int, Hour]
) -> list[SeriesSample]:
    """Judge the samples of a page in the simple case, and return the others."""
    statement = f"SELECT key, value, started_at FROM series WHERE source = ? AND dated = 0 AND {PLAIN}"
    plain = {row[0]: row for row in store.tuples(statement, judged.source)}
    billed: defaultdict[Tags, int] = defaultdict(int)
    stay, others = 0, []
    for sample in judged.batch.samples:
        row = plain.pop(sample.key, None)
        if row is None:
            others.append(sample)
            continue
        key, value, started_at = row
        shown = str(sample.value)
        millionths = None
        if is_same_start(started_at, sample.started_at) and sample.temporality is Temporality.CUMULATIVE:
            millionths = judge_plain(value, shown, factor)
        if millionths is None:
            others.append(sample)
        elif shown == value:
            stay += 1
        else:
            judged.steps.append((shown, key))
            billed[sample.tags] += millionths
    if stay or judged.steps:
        judged.outcomes[SampleOutcome.INCREASED] = stay + len(judged.steps)
    if not terms.denial.bars(page[0]):
        judged.usage.update({(page[1], tags): millionths for tags, millionths in billed.items() if millionths})
    judged.gone += plain
    return others


def _judge_first(
    judged: Judged, samples: Sequence[SeriesSample], kept: Mapping[bytes, sqlite3.Row], first: FirstSamples
) -> list[SeriesSample]:
    """Judge in the simple case the samples of a page that have no series in `kept`, and return the others."""
    others, began = [], 0
    for sample in samples:
        key, tags, value, started_at, at, _ = sample
        shown = str(value)
        found = None if key in kept else first.judge(sample, shown)
        if found is None:
            others.append(sample)
            continue
        unit, millionths = found
        if unit.outcome is SampleOutcome.BEGAN:
            began += 1
        if millionths and unit.hour is not None:
            judged.usage[unit.hour, tags] += millionths
        judged.fresh.append((key, shown, started_at, at, unit.state.hour))
    judged.outcomes += Counter({SampleOutcome.BEGAN: began, SampleOutcome.BASE_LINE: len(judged.fresh) - began})
    return others


def _judge_all(
    judged: Judged,
    samples: Sequence[SeriesSample],
    kept: dict[bytes, sqlite3.Row],
    terms: SourceTerms,
    page: tuple[int, Hour] | None,
) -> None:
    """Judge samples, those of one series in their order; takes from `kept` the rows of their series."""
    batch, key_of = judged.batch, attrgetter("key")
    # Series by series: the states of all of them together would take far more memory than their rows.
    for key, group in groupby(sorted(samples, key=key_of), key_of):
        (*earlier, newest), row = group, kept.pop(key, None)
        if row is not None and batch.whole and _stands_still(row, newest):
            judged.outcomes[SampleOutcome.INCREASED] += 1
            continue
        state = None if row is None else read_state(row, page)
        for sample in earlier:
            state = _judge_one(judged, state, sample, terms)
        after = _judge_one(judged, state, newest, terms)
        begun = fresh_row(key, after) if batch.whole else None
        if begun is None:
            judged.rows.append(write_state(key, after, 0 if batch.whole else 1))
        else:
            judged.fresh.append(begun)


def _judge_one(judged: Judged, state: SeriesState | None, sample: SeriesSample, terms: SourceTerms) -> SeriesState:
    """Note what a sample means, and return the new state of its series."""
    found = judge(state, sample, terms)
    judged.outcomes[found.outcome] += 1
    if found.millionths and found.hour is not None:
        judged.usage[found.hour, sample.tags] += found.millionths
    return found.state


def _clock_step(source: sqlite3.Row, batch: SeriesBatch) -> int | None:
    """Return by how much the clock was set since the kept start of the machine; None if there is no such start."""
    if batch.booted_at is None or source["booted_at"] is None:
        return None
    if batch.at - batch.booted_at < source["last_at"] - source["booted_at"]:
        return None  # the machine has been up for less time than at the last page: it started again
    return batch.booted_at - int(source["booted_at"])


def _rows_of(
    store: Store, source: int, batch: SeriesBatch, samples: Sequence[SeriesSample], *, plain: bool
) -> dict[bytes, sqlite3.Row]:
    """Return the rows that samples concern: of series that are gone there may be many more than on any page.

    Of a page also those of series that it does not show any more. Rows in the simple case only if `plain`, or if a
    sample concerns them.
    """
    statement = f"SELECT {COLUMNS} FROM series WHERE source = ?"
    found: dict[bytes, sqlite3.Row] = {}
    if not store.rows("SELECT 1 FROM series WHERE source = ? LIMIT 1", source):
        return found
    if batch.whole:
        where = "dated = 0" if plain else f"dated = 0 AND NOT ({PLAIN})"
        found = {bytes(row["key"]): row for row in store.rows(f"{statement} AND {where}", source)}
    missing = [key for key in {sample.key for sample in samples} if key not in found]
    for start in range(0, len(missing), _CHUNK):
        keys = missing[start : start + _CHUNK]
        marks = ",".join("?" * len(keys))
        found |= {bytes(row["key"]): row for row in store.rows(f"{statement} AND key IN ({marks})", source, *keys)}
    return found


def _stands_still(row: sqlite3.Row, sample: SeriesSample) -> bool:
    """Return whether a page shows a series as the page before did: then nothing of it is to be written."""
    return (
        row["value"] == str(sample.value)
        and row["started_at"] == sample.started_at
        and not row["dated"]
        and not row["strikes"]
        and row["seen"] is None
        and sample.temporality is Temporality.CUMULATIVE
    )


@paused_collector()
def write(store: Store, judged: Sequence[Judged], rules: MeteringRules, now: int) -> None:
    """Write what batches mean: states and usage. Inside the caller's transaction.

    Args:
        store: The ledger.
        judged: What `judge_batches` has returned on this ledger, with nothing written to it since.
        rules: The product's.
        now: The present instant by the sidecar's clock.
    """
    for each in judged:
        batch, source = each.batch, each.source
        if source is None:
            _note(store, batch.dimension, "", batch.at)
            source = int(store.one("SELECT max(id) AS id FROM source")["id"])
        _write_states(store, source, each)
        if batch.whole:
            hour = hour_of_micros(batch.at + batch.shift)
            store.connection.execute(
                "UPDATE source SET last_at = ?, last_hour = ?, booted_at = ? WHERE id = ?",
                (batch.at, hour, each.booted_at, source),
            )
        store.connection.execute(
            "UPDATE source SET denied_at = ?1, denial_ended_at = ?2"
            " WHERE id = ?3 AND (denied_at IS NOT ?1 OR denial_ended_at IS NOT ?2)",
            (*each.denial, source),
        )
    events = [event for each in judged for event in each.events(now)]
    if events:
        taking.take(store, [UsageBatch(events)], rules, now)


def _write_states(store: Store, source: int, judged: Judged) -> None:
    """Write states in the order of their table: a row that follows its neighbor takes half of the time."""
    store.connection.executemany(
        f"INSERT OR REPLACE INTO series (source, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ((source, *row) for row in sorted(judged.rows, key=itemgetter(0))),
    )
    store.connection.executemany(
        f"INSERT OR REPLACE INTO series ({FRESH_COLUMNS}, source, {FRESH_VALUES.format(source)}",
        sorted(judged.fresh, key=itemgetter(0)),
    )
    store.connection.executemany(
        f"UPDATE series SET value = ? WHERE source = {source:d} AND key = ?", sorted(judged.steps, key=itemgetter(1))
    )
    store.connection.executemany(
        "UPDATE series SET dated = 1, (at, hour) = (SELECT last_at, last_hour FROM source WHERE id = ?1)"
        " WHERE source = ?1 AND key = ?2",
        ((source, key) for key in judged.gone),
    )
