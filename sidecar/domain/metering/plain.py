"""The simple case that nearly all samples of pages are, judged in a tenth of the time.

Whatever these functions answer is what `judge` answers; a property test compares both. In the simple case values are
whole numbers, one unit of the counter makes whole millionths, and the state of the series has nothing left over or in
doubt.
"""

from decimal import Decimal

from sidecar.domain.metering.quantity import LARGEST
from sidecar.domain.metering.series import (
    JITTER,
    Judgement,
    SampleOutcome,
    SeriesSample,
    SourceTerms,
    Temporality,
    judge,
)

_FIRST = (SampleOutcome.BEGAN, SampleOutcome.BASE_LINE)


def is_same_start(kept: int | None, shown: int | None) -> bool:
    """Return whether a sample shows the start time that its state keeps, and goes on to keep."""
    return kept == shown or (kept is not None and shown is not None and abs(kept - shown) <= JITTER)


def judge_plain(before: str, shown: str, factor: int) -> int | None:
    """Return what a sample bills, in millionths, if its series was on the page before.

    The start time is the same, and the state moves on by its value alone.

    Args:
        before: The value that is kept, as text.
        shown: The value of the sample, as text.
        factor: As in `SourceTerms`.

    Returns:
        None if the case is not so simple: `judge` decides.
    """
    if not (before.isdecimal() and shown.isdecimal()):
        return None
    millionths = (int(shown) - int(before)) * factor
    return millionths if 0 <= millionths <= LARGEST else None


class FirstSamples:
    """Judges the first samples of series on one page: those with the same start time differ in their values alone."""

    def __init__(self, terms: SourceTerms, factor: int) -> None:
        """Judge by terms, and by the factor that they have."""
        self._terms = terms
        self._factor = factor
        self._units: dict[int | None, Judgement] = {}

    def judge(self, sample: SeriesSample, shown: str) -> tuple[Judgement, int] | None:
        """Return what the first sample of a series means. The state that it begins has no rest.

        Args:
            sample: The sample; all samples of the page have its instant.
            shown: Its value as text.

        Returns:
            What a counter that shows one unit means, of which only the value is another, and the millionths that are
            billed. None if the case is not so simple: `judge` decides.
        """
        if not shown.isdecimal() or sample.temporality is not Temporality.CUMULATIVE:
            return None
        unit = self._units.get(sample.started_at)
        if unit is None:
            unit = self._units[sample.started_at] = judge(None, sample._replace(value=Decimal(1)), self._terms)
        millionths = int(shown) * self._factor
        if unit.outcome not in _FIRST or millionths > LARGEST:
            return None
        return unit, 0 if unit.hour is None else millionths
