"""What is wrong with a configuration, for a person: key, value, reason and cure of every problem at once."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.settings.groups import Settings


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to put right."""

    key: str
    """The dotted path of the setting, or the name of the variable or option."""
    value: str | None
    """As it was written, shortened and without credentials; None when it is missing."""
    reason: str
    """What is wrong, as the rest of a sentence that starts with the value."""
    cure: str
    """What to do, as an order."""
    where: str = ""
    """File and line, or the environment variable."""


class SettingsError(Exception):
    """The configuration cannot be used; `problems` lists everything that must be put right.

    Args:
        problems: What was found.
        partial: What could be read, with stand-ins for the rest; None where no file could be read.
        faulty: The dotted paths of the settings that hold a stand-in.
    """

    def __init__(
        self, problems: Sequence[Problem], partial: "Settings | None" = None, faulty: Collection[str] = ()
    ) -> None:
        super().__init__(explain(problems))
        self.problems = tuple(problems)
        self.partial = partial
        self.faulty = frozenset(faulty)


def explain(problems: Sequence[Problem]) -> str:
    """Return the problems as lines for standard error, one for each below a heading."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return "\n".join([f"{count} in the configuration:", *map(_line, problems)])


def _line(problem: Problem) -> str:
    value = "" if problem.value is None else f" = {problem.value}"
    where = f" ({problem.where})" if problem.where else ""
    return f"  {problem.key}{value}: {problem.reason}; {problem.cure}{where}"
