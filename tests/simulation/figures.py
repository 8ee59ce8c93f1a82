"""What a simulated life amounted to, and how it went."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sidecar.domain.status import Terms


@dataclass
class Figures:
    """What a life amounted to."""

    pod_hours: float = 0.0
    commits: int = 0
    processes: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Figures") -> None:
        """Count another life in."""
        self.pod_hours += other.pod_hours
        self.commits += other.commits
        self.processes += other.processes
        self.faults += other.faults
        self.answers += other.answers


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a life went."""

    breach: str | None
    trace: list[str]
    figures: Figures
    terms: Mapping[str, Terms]
    """The terms of the conservation law at the end; empty after a breach."""
