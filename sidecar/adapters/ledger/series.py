"""The counters that a source reads: their states, stored together with the usage that their samples prove.

A page or push is judged first, then written in one transaction: states and usage are on disk together or not at all. A
series of the last page whose value has not changed is not written: its instant and hour are the page's. Series belong
to one pod, because the counters of another pod are others.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sidecar.adapters.ledger import taking
from sidecar.adapters.ledger.series_rows import COLUMNS, Row, read_state, write_state
from sidecar.adapters.ledger.store import Store
from sidecar.domain.metering.denial import NEVER_DENIED, Denial
from sidecar.domain.metering.events import LedgerUnavailable, Tags, UsageBatch, UsageEvent
from sidecar.domain.metering.hours import Hour, from_micros, hour_of_micros
from sidecar.domain.metering.measuring import dated
from sidecar.domain.metering.quantity import LARGEST
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.metering.series import (
    Outcome,
    SeriesBatch,
    SeriesReceipt,
    SeriesSample,
    SeriesState,
    SourceTerms,
    Temporality,
    bound_hour,
    judge,
)

_CHUNK = 500
"""Keys in one statement; SQLite bounds a statement's variables."""
_DOUBTFUL = (Outcome.INCONSISTENT, Outcome.HELD)


@dataclass(slots=True)
class Judged:
    """What the samples of one batch mean, not stored yet."""

    batch: SeriesBatch
    source: int | None
    """The row of the source; None if it has none yet."""
    denial: Denial = NEVER_DENIED
    """What is known now of the pod's denials."""
    rows: list[Row] = field(default_factory=list)
    """States to write, in the order of `COLUMNS`."""
    usage: defaultdict[tuple[Hour, Tags], int] = field(default_factory=lambda: defaultdict(int))
    outcomes: Counter[Outcome] = field(default_factory=Counter)

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
            store.connection.execute("DELETE FROM series WHERE source = ?", (row["id"],))
            _note(store, row["dimension"], "", at, forgotten_at=at)
    for dimension, origin in origins.items():
        known = _source(store, dimension)
        if known is None:
            _note(store, dimension, origin, at, forgotten_at=None)
        elif known["origin"] != origin:
            _note(store, dimension, origin, at, forgotten_at=at)


def _note(store: Store, dimension: str, origin: str, at: int, *, forgotten_at: int | None) -> None:
    store.connection.execute(
        "INSERT INTO source (pod, dimension, origin, since, forgotten_at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET origin = excluded.origin, forgotten_at = excluded.forgotten_at",
        (store.pod, dimension, origin, at, forgotten_at),
    )


def _source(store: Store, dimension: str) -> sqlite3.Row | None:
    rows = store.rows("SELECT * FROM source WHERE pod = ? AND dimension = ?", store.pod, dimension)
    return rows[0] if rows else None


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
    judged = Judged(batch, None if source is None else source["id"], denial.settle(batch.at))
    terms = SourceTerms(
        batch.scale,
        since=batch.at,
        shift=batch.shift,
        in_order=batch.whole,
        every=batch.every,
        denial=NEVER_DENIED if denial == NEVER_DENIED else denial,
    )
    kept: dict[bytes, sqlite3.Row] = {}
    if source is not None:
        terms = replace(
            terms,
            since=source["since"],
            forgotten_at=source["forgotten_at"],
            last_at=source["last_at"] if batch.whole else None,
            last_hour=source["last_hour"] if batch.whole else None,
            clock_step=_clock_step(source, batch),
        )
        kept = _rows_of(store, source["id"], batch)
    page = None if source is None or source["last_at"] is None else (source["last_at"], Hour(source["last_hour"]))
    fresh: dict[bytes, SeriesState] = {}
    for sample in batch.samples:
        row = kept.pop(sample.key, None)
        if row is not None and batch.whole and _stands_still(row, sample):
            judged.outcomes[Outcome.INCREASED] += 1
            continue
        state = fresh.get(sample.key) if row is None else read_state(row, page)
        found = judge(state, sample, terms)
        judged.outcomes[found.outcome] += 1
        if found.millionths and found.hour is not None:
            judged.usage[found.hour, sample.tags] += found.millionths
        fresh[sample.key] = found.state
    own_dates = 0 if batch.whole else 1
    judged.rows = [write_state(key, state, own_dates) for key, state in fresh.items()]
    if batch.whole:
        # They were on the page before and are not on this one: from now on they keep the date of that page.
        judged.rows += [write_state(key, read_state(row, page), 1) for key, row in kept.items() if not row["dated"]]
    return judged


def _clock_step(source: sqlite3.Row, batch: SeriesBatch) -> int:
    """Return by how much the clock was set since the last page, also if that was another process's."""
    if batch.booted_at is None or source["booted_at"] is None:
        return 0
    return batch.booted_at - int(source["booted_at"])


def _rows_of(store: Store, source: int, batch: SeriesBatch) -> dict[bytes, sqlite3.Row]:
    """Return the rows that the batch concerns: of series that are gone there may be many more than on any page."""
    statement, found = f"SELECT {COLUMNS} FROM series WHERE source = ?", {}
    if batch.whole:
        found = {bytes(row["key"]): row for row in store.rows(f"{statement} AND dated = 0", source)}
    missing = [key for key in {sample.key for sample in batch.samples} if key not in found]
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
            _note(store, batch.dimension, "", batch.at, forgotten_at=None)
            source = int(store.one("SELECT max(id) AS id FROM source")["id"])
        store.connection.executemany(
            f"INSERT OR REPLACE INTO series (source, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((source, *row) for row in each.rows),
        )
        if batch.whole:
            hour = hour_of_micros(batch.at + batch.shift)
            store.connection.execute(
                "UPDATE source SET last_at = ?, last_hour = ?, booted_at = ? WHERE id = ?",
                (batch.at, hour, batch.booted_at, source),
            )
        store.connection.execute(
            "UPDATE source SET denied_at = ?1, denial_ended_at = ?2"
            " WHERE id = ?3 AND (denied_at IS NOT ?1 OR denial_ended_at IS NOT ?2)",
            (*each.denial, source),
        )
    events = [event for each in judged for event in each.events(now)]
    if events:
        taking.take(store, [UsageBatch(events)], rules, now)
