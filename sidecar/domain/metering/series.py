"""Counters that a source reads: what a sample of one series proves, in which hour, and how much of that is billed.

A series is one counter with one identity in one pod. The judge compares each sample with what is kept of its series,
and returns the new state together with what is billed; the ledger stores both in one transaction. Billed is never more
than the counter's true increase: in doubt a sample is a new base line. Arithmetic is exact: decimals, no rounding but
the floor to whole millionths, whose rest stays with the series.

Instants here are epoch microseconds of the system clock, which start times are compared with. `SourceTerms.shift` leads
from it to the sidecar's own clock, which decides the hour; the two differ only with an emulator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal, Inexact, InvalidOperation
from enum import StrEnum
from operator import itemgetter
from typing import NamedTuple

from sidecar.domain.metering.denial import NEVER_DENIED, Denial, Right
from sidecar.domain.metering.events import Tags
from sidecar.domain.metering.hours import Hour, hour_of_micros
from sidecar.domain.metering.quantity import LARGEST, MILLION

MOST_RESETS = 10
"""Resets without a start time that are believed within `DOUBT_LASTS`; more look like several counters in one place."""
DOUBT_LASTS = 3600 * 1_000_000
"""Microseconds in which resets are added up, and without a new fault after which a series is billed again."""
JITTER = 1_000_000
"""Microseconds by which a start time may differ and be the same: kernels derive it from a clock that is slewed."""
MOST_SEEN = 32
"""Delta points of a series that are remembered; older ones cannot be recognized and are not billed."""
RENDERED_WITHIN = 10 * 1_000_000
"""Microseconds after the request for a page in which the app may make it, and a counter on it begin."""
_EXACT = Context(prec=2000, traps=[Inexact, InvalidOperation])
"""The difference of any two floats has fewer digits; a result that would have to be rounded raises."""
_HELD = 2
"""Strikes from which on nothing is billed."""
_DIGITS = 6
"""Fraction digits of a quantity."""
_MOST_UNITS = LARGEST // MILLION
_NOTHING = Decimal(0)


class SampleOutcome(StrEnum):
    """What a sample means."""

    INCREASED = "increased"  # the difference counts; it may be zero
    BEGAN = "began"  # the first sample of a series that started under this source: all of it counts
    BASE_LINE = "base-line"  # the first sample of a series that is older, or of an unknown age: nothing counts
    RESET = "reset"  # the counter began anew: what it shows counts
    INCONSISTENT = "inconsistent"  # no single counter does that: a new base line, nothing counts
    HELD = "held"  # the series was inconsistent again and again: a new base line, nothing counts
    DUPLICATE = "duplicate"  # the delta point was counted before
    STALE = "stale"  # not newer than the sample before, or older than what is remembered: ignored


class Temporality(StrEnum):
    """What the value of a sample is."""

    CUMULATIVE = "cumulative"  # the sum since the start
    DELTA = "delta"  # the sum between the sample's start and its instant


class SeriesSample(NamedTuple):
    """A counter's value at one moment."""

    key: bytes
    """A digest of the identity: source and labels."""
    tags: Tags
    value: Decimal
    """Finite, not negative, exact: of a float its shortest decimal."""
    started_at: int | None
    """When the counter started, or the delta's interval; None if unknown."""
    at: int
    """When the value was current."""
    temporality: Temporality = Temporality.CUMULATIVE


class SeriesState(NamedTuple):
    """What is kept of a series between two samples."""

    value: Decimal
    started_at: int | None
    """None if the sender has once not known it. Of deltas: the last cumulative sample; what was before is counted."""
    at: int
    hour: Hour
    """The hour of the last sample: the next step belongs to it."""
    rest: Decimal = _NOTHING
    """Scaled usage below a millionth that is not billed yet."""
    peak: Decimal | None = None
    """The highest value before the series was inconsistent: a value beyond it counts only from there."""
    resets: int = 0
    resets_since: int = 0
    strikes: int = 0
    """Faults in a row, each within `DOUBT_LASTS` of the one before."""
    struck_at: int = 0
    seen: tuple[tuple[int, int], ...] | None = None
    """Start and instant of the last delta points, oldest first; None for a cumulative series."""


@dataclass(frozen=True, slots=True)
class SeriesBatch:
    """The samples of one dimension that one scrape or one push brings; stored whole or not at all."""

    dimension: str
    samples: Sequence[SeriesSample]
    """A page has a series once. A push may have several samples of one; they are judged in this order."""
    scale: Decimal
    at: int
    """When the page was taken, or the push came; every sample of a page has this instant."""
    shift: int = 0
    """As in `SourceTerms`."""
    every: int = 0
    """Microseconds between two pages."""
    booted_at: int | None = None
    """When the machine started, by the clock of the page: it moves only when the clock is set. None if unknown."""
    right: Right = Right.ENTITLED
    """What AWS has answered about the pod."""
    right_since: int = 0
    """When that answer came."""
    whole: bool = True
    """A page, which has every series that there is; otherwise a push, which says nothing of the others."""


@dataclass(frozen=True, slots=True)
class SeriesReceipt:
    """What became of a batch; given once it is on disk."""

    outcomes: Mapping[SampleOutcome, int]
    """Samples by their meaning."""
    millionths: int
    """What was billed."""
    inconsistent: int
    """Series that are inconsistent or held now, judged by this batch."""


@dataclass(frozen=True, slots=True)
class SourceTerms:
    """What holds for every sample of one scrape or push."""

    scale: Decimal
    """Multiplies the counter; positive."""
    since: int
    """When this pod began to measure: a counter that started later counts from zero."""
    forgotten_at: int | None = None
    """States of series up to this instant may have been dropped: what started before it begins at what it shows."""
    last_at: int | None = None
    """The last complete page; None before the first one, and for a source without pages."""
    last_hour: Hour | None = None
    shift: int = 0
    """Microseconds from the system clock to the sidecar's clock."""
    in_order: bool = True
    """The sidecar takes the samples itself, one after the other; otherwise a sender dates them, and may repeat them."""
    every: int = 0
    """Microseconds between two samples."""
    clock_step: int = 0
    """Microseconds by which the system clock was set since the start times were kept, which may have moved with it."""
    denial: Denial = NEVER_DENIED
    """Decides what is not billed, because the pod was denied when it was counted; states move on."""

    @property
    def factor(self) -> int | None:
        """Millionths that one unit of the counter makes; None if they are not whole, and leave a rest."""
        millionths = _EXACT.scaleb(self.scale, _DIGITS)
        return int(millionths) if millionths == millionths.to_integral_value() else None

    @property
    def doubt(self) -> int:
        """Microseconds in which resets are added up: enough samples for more than `MOST_RESETS` of two workers."""
        return max(DOUBT_LASTS, 4 * MOST_RESETS * self.every)

    def start(self, sample: SeriesSample) -> int | None:
        """Return when the counter of a sample started; None if that is not known.

        OTLP senders that do not know it write the instant of the first sample, as JavaScript's observable counters do.
        """
        if not self.in_order and sample.started_at == sample.at:
            return None
        return sample.started_at

    def is_past(self, start: int, sample: SeriesSample) -> bool:
        """Return whether a counter can have started then and be in the sample."""
        return start <= sample.at + (RENDERED_WITHIN if self.in_order else 0)

    def hour(self, instant: int) -> Hour:
        """Return the hour of an instant by the sidecar's clock."""
        return hour_of_micros(instant + self.shift)


class Judgement(NamedTuple):
    """What a sample means for its series, and what is billed for it."""

    outcome: SampleOutcome
    state: SeriesState
    millionths: int = 0
    hour: Hour | None = None
    """Where the usage belongs; None if there is none."""


def shortest(number: float) -> Decimal:
    """Return the shortest decimal that stands for a float, as it is written in its page."""
    return Decimal(repr(number))


def judge(state: SeriesState | None, sample: SeriesSample, terms: SourceTerms) -> Judgement:
    """Return what a sample means.

    Args:
        state: What is kept of the series; None if it is seen for the first time.
        sample: The sample.
        terms: What holds for the source.
    """
    found = _judge(state, sample, terms)
    if terms.denial is NEVER_DENIED or found.hour is None:
        return found
    if not terms.denial.bars(_begin_of(state, sample, terms, found.outcome)):
        return found
    rest = _NOTHING if state is None else state.rest
    return Judgement(found.outcome, found.state._replace(rest=rest))


def _begin_of(state: SeriesState | None, sample: SeriesSample, terms: SourceTerms, outcome: SampleOutcome) -> int:
    """Return the instant from which on the increase of a sample was counted."""
    started = sample.at if sample.started_at is None else sample.started_at
    if sample.temporality is Temporality.DELTA:
        return _provable_begin(started, sample)
    if state is None or state.seen is not None:
        # The last complete page did not have it.
        return started if terms.last_at is None else max(started, terms.last_at)
    # Only a reset begins anew: another start may have moved with the clock.
    return max(state.at, terms.start(sample) or 0) if outcome is SampleOutcome.RESET else state.at


def _provable_begin(started: int, sample: SeriesSample) -> int:
    """Return when a delta's interval began at the earliest: of one in which the clock was set back that is unknown."""
    return started if started <= sample.at else 0


def _judge(state: SeriesState | None, sample: SeriesSample, terms: SourceTerms) -> Judgement:
    if sample.temporality is Temporality.DELTA:
        return _judge_delta(state, sample, terms)
    if state is not None and not terms.in_order and sample.at <= state.at:
        return Judgement(SampleOutcome.STALE, state)
    if state is None or state.seen is not None:
        return _begin(state, sample, terms)
    return _judge_next(state, sample, terms)


def _judge_next(state: SeriesState, sample: SeriesSample, terms: SourceTerms) -> Judgement:
    """Judge a sample that follows another one."""
    outcome = _compare(state, sample, terms)
    if outcome is SampleOutcome.INCONSISTENT:
        return _strike(state, sample, terms, strikes=1)
    if outcome is SampleOutcome.RESET and terms.start(sample) is None:
        state = _count_reset(state, sample, terms)
        if state.resets > MOST_RESETS:
            return _strike(state, sample, terms, strikes=_HELD)
    if state.strikes and not _is_recent(state.struck_at, sample.at, terms):
        state = state._replace(strikes=0)
    after = _moved(state, sample, terms)
    if state.strikes >= _HELD:
        return Judgement(SampleOutcome.HELD, after)
    if outcome is SampleOutcome.RESET:
        return _bill(after._replace(peak=None), outcome, sample.value, state.hour, sample, terms)
    base = state.value
    if state.peak is not None and sample.value >= state.peak:
        base, after = max(base, state.peak), after._replace(peak=None)
    return _bill(after, outcome, _subtract(sample.value, base), state.hour, sample, terms)


def _is_recent(earlier: int, at: int, terms: SourceTerms) -> bool:
    return 0 <= at - earlier < terms.doubt


def _count_reset(state: SeriesState, sample: SeriesSample, terms: SourceTerms) -> SeriesState:
    if _is_recent(state.resets_since, sample.at, terms):
        return state._replace(resets=state.resets + 1)
    return state._replace(resets=1, resets_since=sample.at)


def _begin(state: SeriesState | None, sample: SeriesSample, terms: SourceTerms) -> Judgement:
    """Judge the first sample of a series."""
    hour = terms.hour(sample.at)
    started = terms.start(sample)
    after = SeriesState(sample.value, started, sample.at, hour)
    # A series that was sent as deltas before has counted part of its sum.
    known_since = max(terms.since - JITTER, terms.forgotten_at or 0)
    if started is None or started <= known_since or not terms.is_past(started, sample) or state is not None:
        return Judgement(SampleOutcome.BASE_LINE, after)
    first = terms.hour(started)
    if terms.last_at is not None and terms.last_hour is not None and terms.last_at > started:
        first = terms.last_hour
    return _bill(after, SampleOutcome.BEGAN, sample.value, min(first, hour), sample, terms)


def _compare(state: SeriesState, sample: SeriesSample, terms: SourceTerms) -> SampleOutcome:
    """Judge a sample by the one before: INCREASED, RESET or INCONSISTENT."""
    lower, started = sample.value < state.value, terms.start(sample)
    if started is None:
        return SampleOutcome.RESET if lower else SampleOutcome.INCREASED
    if state.started_at is not None and _is_same_start(started - state.started_at, terms):
        return SampleOutcome.INCONSISTENT if lower else SampleOutcome.INCREASED
    if state.started_at is None and not terms.in_order:
        # A collector dates its own beginning; the first point, which would show it, may be lost.
        is_newer = state.at < started
        return SampleOutcome.INCREASED if not lower else SampleOutcome.RESET if is_newer else SampleOutcome.INCONSISTENT
    if state.at - JITTER < started and terms.is_past(started, sample):
        return SampleOutcome.RESET
    if state.started_at is None and not lower:
        return SampleOutcome.INCREASED
    return SampleOutcome.INCONSISTENT


def _is_same_start(moved: int, terms: SourceTerms) -> bool:
    """Return whether a start time that has moved so far may be the same. Some are derived from a clock that was set."""
    return abs(moved) <= JITTER or abs(moved - terms.clock_step) <= JITTER


def _strike(state: SeriesState, sample: SeriesSample, terms: SourceTerms, strikes: int) -> Judgement:
    if _is_recent(state.struck_at, sample.at, terms):
        strikes += state.strikes
    known = [state.value, sample.value] if state.peak is None else [state.value, sample.value, state.peak]
    after = _moved(state, sample, terms)._replace(
        started_at=_next_start(state, sample, terms),
        peak=max(known),
        strikes=min(strikes, _HELD),
        struck_at=sample.at,
    )
    return Judgement(SampleOutcome.INCONSISTENT, after)


def _moved(state: SeriesState, sample: SeriesSample, terms: SourceTerms) -> SeriesState:
    """Return the state with the sample as its last one. A start time that jitters stays what it was."""
    started = _next_start(state, sample, terms)
    stays = abs(terms.clock_step) <= JITTER  # otherwise start times move together, and later steps count from here
    if stays and started is not None and state.started_at is not None and abs(started - state.started_at) <= JITTER:
        started = state.started_at
    return SeriesState(sample.value, started, sample.at, terms.hour(sample.at), *state[4:])


def _next_start(state: SeriesState, sample: SeriesSample, terms: SourceTerms) -> int | None:
    """Return the start time to keep. What a sender dates that has once not known it is never a start from zero."""
    return None if state.started_at is None and not terms.in_order else terms.start(sample)


def _judge_delta(state: SeriesState | None, sample: SeriesSample, terms: SourceTerms) -> Judgement:
    """Judge the sum of an interval: each counts once, whatever the order in which they come."""
    started = sample.at if sample.started_at is None else sample.started_at
    hour = terms.hour(sample.at)
    point, begin = (started, sample.at), _provable_begin(started, sample)
    if state is None:
        state = SeriesState(_NOTHING, None, sample.at, hour, seen=())
    elif state.seen is None:
        if begin < state.at:
            # Cumulative until now: a part of the interval was counted by it.
            return Judgement(SampleOutcome.BASE_LINE, state)
        state = state._replace(started_at=state.at, seen=())
    elif state.started_at is not None and begin < state.started_at:
        return Judgement(SampleOutcome.BASE_LINE, state)
    seen = state.seen or ()
    if point in seen:
        return Judgement(SampleOutcome.DUPLICATE, state)
    if len(seen) == MOST_SEEN and sample.at <= min(at for _, at in seen):
        return Judgement(SampleOutcome.STALE, state)
    kept = tuple(sorted((*seen, point), key=itemgetter(1)))[-MOST_SEEN:]
    if terms.forgotten_at is not None and begin < terms.forgotten_at:
        return Judgement(SampleOutcome.BASE_LINE, state._replace(seen=kept))
    after = state._replace(at=max(sample.at, state.at), hour=max(hour, state.hour), seen=kept)
    return _bill(after, SampleOutcome.INCREASED, sample.value, min(terms.hour(started), hour), sample, terms)


def _bill(
    after: SeriesState, outcome: SampleOutcome, increase: Decimal, hour: Hour, sample: SeriesSample, terms: SourceTerms
) -> Judgement:
    """Bill what the increase and the rest make together, down to a whole millionth."""
    if not increase:
        return Judgement(outcome, after)
    if not after.rest and terms.scale == 1 and increase == (units := int(increase)) and units <= _MOST_UNITS:
        return Judgement(outcome, after, units * MILLION, hour)  # as below, for most counters
    whole = _EXACT.scaleb(_EXACT.fma(increase, terms.scale, after.rest), _DIGITS)
    millionths = int(whole.to_integral_value(ROUND_FLOOR))
    if millionths > LARGEST:
        # No record can hold it, and no buyer has used it in one step.
        return _strike(after._replace(peak=None), sample, terms, strikes=1)
    rest = _EXACT.scaleb(_EXACT.subtract(whole, Decimal(millionths)), -_DIGITS) or _NOTHING
    return Judgement(outcome, after if rest == after.rest else after._replace(rest=rest), millionths, hour)


def _subtract(value: Decimal, base: Decimal) -> Decimal:
    """Return how much `value` exceeds `base`, never less than nothing."""
    difference = _EXACT.subtract(value, base)
    return difference if difference > 0 else _NOTHING
