"""Several checks at the same time, each on a thread of its own and with a limit.

A check that hangs, in a name lookup or on a dead volume, is reported as such; its thread ends with the process. A check
that raises does not hide the results of the others.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sidecar.domain.check_result import Check, CheckResult

WITHIN = 5.0
"""Seconds that every check has."""


@dataclass(frozen=True, slots=True)
class CheckRun:
    """A function, and every check of which it yields a result."""

    checks: Sequence[Check]
    poll: Callable[[], Iterable[CheckResult]]
    """Blocks; yields one result for each check."""


@dataclass(slots=True)
class _Running:
    """A run under way."""

    run: CheckRun
    answered: list[CheckResult] = field(default_factory=list)
    thread: threading.Thread | None = None

    def poll(self) -> None:
        try:
            self.answered.extend(self.run.poll())
        except Exception as error:  # noqa: BLE001 - one check's own fault must not hide what the others find
            words = f"the check itself failed: {type(error).__name__}: {error}"
            missing = _unanswered(self.run, self.answered)
            self.answered += [check.fail(words, "Report this as a bug of the sidecar.") for check in missing]


def run_checks(runs: Iterable[CheckRun], within: float = WITHIN) -> list[CheckResult]:
    """Return every run's results, in the order given, after `within` seconds at most."""
    running = [_Running(run) for run in runs]
    for each in running:
        each.thread = threading.Thread(target=each.poll, daemon=True, name=each.run.checks[0].name)
        each.thread.start()
    deadline = time.monotonic() + within
    results: list[CheckResult] = []
    for each in running:
        if each.thread is not None:
            each.thread.join(max(deadline - time.monotonic(), 0))
        answered = list(each.answered)
        results += answered
        words = f"there was no answer within {within:g} seconds"
        results += [check.fail(words, _CURE) for check in _unanswered(each.run, answered)]
    return results


_CURE = "Find out what hangs: a name lookup, a connection that is dropped silently (network policy), or a dead volume."


def _unanswered(run: CheckRun, answered: Iterable[CheckResult]) -> list[Check]:
    names = {result.name for result in answered}
    return [check for check in run.checks if check.name not in names]
