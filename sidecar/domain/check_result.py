"""The result of a check of the set-up: what it found, why that matters, and what to do about it.

Only a result that asks for an action has a cure.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class CheckStatus(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"  # it works, or may; an operator should know
    FAIL = "fail"  # entitlement or metering will not work, or usage may be lost
    SKIPPED = "skipped"  # it does not apply here, or could not be judged


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one check."""

    name: str
    status: CheckStatus
    found: str
    """What is the case, for a person; never a key, a token or a signature."""
    why: str
    """Why it matters."""
    cure: str = ""
    """What to do; empty when nothing is."""

    @property
    def code(self) -> str:
        """Its stable name among the faults of a running sidecar."""
        return f"setup-{self.name.replace(' ', '-')}"


@dataclass(frozen=True, slots=True)
class Check:
    """What is checked: a stable name, and why it matters."""

    name: str
    why: str

    def ok(self, found: str) -> CheckResult:
        """Return that all is well."""
        return CheckResult(self.name, CheckStatus.OK, found, self.why)

    def warn(self, found: str, cure: str) -> CheckResult:
        """Return a doubt."""
        return CheckResult(self.name, CheckStatus.WARN, found, self.why, cure)

    def fail(self, found: str, cure: str) -> CheckResult:
        """Return a fault that must be repaired."""
        return CheckResult(self.name, CheckStatus.FAIL, found, self.why, cure)

    def skipped(self, found: str) -> CheckResult:
        """Return why the check was not judged."""
        return CheckResult(self.name, CheckStatus.SKIPPED, found, self.why)


def failed(results: Iterable[CheckResult]) -> bool:
    """Return whether any check failed."""
    return any(result.status is CheckStatus.FAIL for result in results)
