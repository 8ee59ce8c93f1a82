"""How a refusal of usage becomes a problem of HTTP."""

from sidecar.adapters.http.problems import HttpProblem, ProblemKind, busy
from sidecar.domain.metering.events import (
    IdReused,
    InvalidUsage,
    LedgerUnavailable,
    NotEntitled,
    Overloaded,
    UsageRefused,
)
from sidecar.domain.metering.validation import MOST_FAULTS


def problem_of(refusal: HttpProblem | UsageRefused) -> HttpProblem:
    """Return the problem of a refusal; a new kind of refusal is raised as it is."""
    match refusal:
        case HttpProblem():
            return refusal
        case IdReused(faults=faults):
            return HttpProblem(ProblemKind.ID_REUSED, f"{_counted(refusal)}; nothing was stored", faults=faults)
        case InvalidUsage(faults=faults):
            return HttpProblem(ProblemKind.INVALID_USAGE, f"{_counted(refusal)}; nothing was stored", faults=faults)
        case NotEntitled():
            return HttpProblem(ProblemKind.NOT_ENTITLED, str(refusal))
        case LedgerUnavailable(retry_after=seconds):
            return busy(ProblemKind.LEDGER_UNAVAILABLE, str(refusal), seconds)
        case Overloaded(retry_after=seconds):
            return busy(ProblemKind.OVERLOADED, str(refusal), seconds)
        case _:
            raise refusal


def _counted(refusal: InvalidUsage) -> str:
    count = len(refusal.faults)
    if refusal.more:
        return f"more than {count} faults; the first {count} are listed, and the rest of the batch was not read"
    if count > MOST_FAULTS:
        return f"{count} faults; the first {MOST_FAULTS} are listed"
    return "one fault" if count == 1 else f"{count} faults"
