"""Problems of a configuration, for people: key, value, reason and cure of each."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.exit_codes import BadCommand

if TYPE_CHECKING:
    from sidecar.settings.groups import Settings


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem."""

    key: str
    """The dotted path of the setting, or the name of the variable or option."""
    value: str | None
    """The value as written, shortened and without credentials; None if missing."""
    reason: str
    """The problem, as the rest of a sentence that starts with the value."""
    cure: str
    """What to do, as an imperative."""
    where: str = ""
    """File and line, or the environment variable."""


class SettingsError(BadCommand):
    """The configuration is invalid; `problems` lists everything to correct.

    Args:
        problems: The problems.
        partial: The valid settings, with defaults in place of the others; None if no file was readable.
        faulty: The dotted paths of the settings with a default in place of an invalid value.
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
