"""What a series of looks at the sidecar has shown: its last status, whether it answers now, and since when it does not.

A sidecar that is away is no end of it: the last status stays in sight, and its return is told.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sidecar.api_client import NoStatus
from sidecar.commands.status.screen import Page, compose, lines_of, show
from sidecar.terminal.colours import Colour, Paint
from sidecar.terminal.durations import format_duration
from sidecar.terminal.text import printable


class Following:
    """Looks, and remembers what it takes to say what has changed."""

    def __init__(self, fetch: Callable[[], Mapping[str, Any]], now: Callable[[], datetime]) -> None:
        """Make it.

        Args:
            fetch: Returns the status, or raises NoStatus.
            now: The wall clock of the one who looks.
        """
        self._fetch = fetch
        self._now = now
        self.seen: Mapping[str, Any] | None = None
        """The last status that came."""
        self.fault: NoStatus | None = None
        """Why none came the last time."""
        self.away_since: datetime | None = None
        """By the clock of the one who looks; a clock that goes back makes no absence negative."""
        self.returned: tuple[datetime, timedelta] | None = None
        """When it answered again, and after how long."""

    def look(self) -> None:
        """Ask once."""
        try:
            self.seen = self._fetch()
        except NoStatus as fault:
            self.fault = fault
            self.away_since = self.away_since or self._now()
            return
        if self.away_since is not None:
            self.returned = self._now(), self.away_for
        self.fault = self.away_since = None

    @property
    def away_for(self) -> timedelta:
        """How long nobody has answered."""
        return max(self._now() - self.away_since, timedelta()) if self.away_since else timedelta()

    def document(self) -> Mapping[str, Any]:
        """Return the status for a program, or that there is none."""
        if self.fault is None:
            return self.seen or {}
        return {
            "answered": False,
            "reason": str(self.fault),
            "cure": self.fault.cure,
            "since": show(self.away_since),
        }


@dataclass(frozen=True, slots=True)
class View:
    """How the status is shown."""

    place: str
    window: timedelta
    paint: Paint

    def told(self, fault: NoStatus) -> str:
        """Return why there is no status, and the cure, for standard error."""
        return f"{printable(str(fault))}\ncure: {printable(fault.cure)}"

    def lines(self, following: Following, columns: int) -> list[str]:
        """Return the lines of the last look."""
        page = Page(self.place, self.window, columns, self.paint)
        shown = [] if following.seen is None else compose(following.seen, page)
        if following.fault is not None:
            away = f"NO ANSWER since {show(following.away_since)} ({format_duration(following.away_for)})"
            known = "This is what it said before:" if shown else ""
            return [
                *(self.paint(line, Colour.BAD) for line in lines_of([away], page)),
                *lines_of([str(following.fault), f"cure: {following.fault.cure}"], page),
                "",
                *lines_of([known] if known else [], page),
                *shown,
            ]
        if following.returned is not None:
            at, lasted = following.returned
            again = f"answers again since {show(at)}, after {format_duration(lasted)} without an answer"
            return [*(self.paint(line, Colour.DOUBTFUL) for line in lines_of([again], page)), *shown]
        return shown
