"""Several checks at the same time, each on a thread of its own and with a limit.

A check that hangs, in a name lookup or on a dead volume, is given up and told as such; its thread ends with the
process. A check that breaks does not keep the others from being told.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sidecar.domain.diagnosis import Diagnosis, Subject

WITHIN = 5.0
"""Seconds that every check has."""


@dataclass(frozen=True, slots=True)
class Examination:
    """Something to look at, and every subject that it says something about."""

    subjects: Sequence[Subject]
    look: Callable[[], Iterable[Diagnosis]]
    """Blocks; yields one diagnosis for each subject."""


@dataclass(slots=True)
class _Running:
    """An examination under way."""

    examination: Examination
    told: list[Diagnosis] = field(default_factory=list)
    thread: threading.Thread | None = None

    def look(self) -> None:
        try:
            self.told.extend(self.examination.look())
        except Exception as error:  # noqa: BLE001 - one check's own fault must not hide what the others find
            words = f"the check itself failed: {type(error).__name__}: {error}"
            missing = _untold(self.examination, self.told)
            self.told += [subject.fail(words, "Report it to the maker of the sidecar.") for subject in missing]


def examine(examinations: Iterable[Examination], within: float = WITHIN) -> list[Diagnosis]:
    """Return every examination's diagnoses, in the order given, after `within` seconds at most."""
    running = [_Running(examination) for examination in examinations]
    for each in running:
        each.thread = threading.Thread(target=each.look, daemon=True, name=each.examination.subjects[0].name)
        each.thread.start()
    deadline = time.monotonic() + within
    diagnoses: list[Diagnosis] = []
    for each in running:
        if each.thread is not None:
            each.thread.join(max(deadline - time.monotonic(), 0))
        told = list(each.told)
        diagnoses += told
        words = f"there was no answer within {within:g} seconds"
        diagnoses += [subject.fail(words, _CURE) for subject in _untold(each.examination, told)]
    return diagnoses


_CURE = "Find out what hangs: a name lookup, a connection that is dropped silently (network policy), or a dead volume."


def _untold(examination: Examination, told: Iterable[Diagnosis]) -> list[Subject]:
    names = {diagnosis.name for diagnosis in told}
    return [subject for subject in examination.subjects if subject.name not in names]
