"""A series of status requests: the last status, whether the sidecar answers now, and since when it does not.

While the sidecar does not answer, the last status remains visible; its return is shown.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sidecar.api_client import NoStatus
from sidecar.commands.status.screen import Page, compose, lines_of, show
from sidecar.terminal.colors import Color, Paint
from sidecar.terminal.durations import format_duration
from sidecar.terminal.text import printable


class Following:
    """Polls the status, and remembers the last one and the time without an answer.

    `fetch` returns the status, or raises NoStatus; `now` is the wall clock of this command.
    """

    def __init__(self, fetch: Callable[[], Mapping[str, Any]], now: Callable[[], datetime]) -> None:
        self._fetch = fetch
        self._now = now
        self.seen: Mapping[str, Any] | None = None
        """The last status."""
        self.fault: NoStatus | None = None
        """Why the last request had no answer; None if it had one."""
        self.away_since: datetime | None = None
        """By the clock of this command."""
        self.returned: tuple[datetime, timedelta] | None = None
        """When it answered again, and after how long."""

    def poll(self) -> None:
        """Request the status once."""
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
        """How long the sidecar has not answered; never negative."""
        return max(self._now() - self.away_since, timedelta()) if self.away_since else timedelta()

    def document(self) -> Mapping[str, Any]:
        """Return the status for a program, or the reason that there is none."""
        if self.fault is None:
            return self.seen or {}
        return {"answered": False, "reason": str(self.fault), "cure": self.fault.cure, "since": show(self.away_since)}


@dataclass(frozen=True, slots=True)
class View:
    """How the status is shown."""

    place: str
    window: timedelta
    paint: Paint

    def no_status(self, fault: NoStatus) -> str:
        """Return why there is no status, and the cure, for standard error."""
        return f"{printable(str(fault))}\ncure: {printable(fault.cure)}"

    def lines(self, following: Following, columns: int) -> list[str]:
        """Return the lines of the last poll."""
        page = Page(self.place, self.window, columns, self.paint)
        shown = [] if following.seen is None else compose(following.seen, page)
        if following.fault is not None:
            away = f"NO ANSWER since {show(following.away_since)} ({format_duration(following.away_for)})"
            known = "Its last status:" if shown else ""
            return [
                *(self.paint(line, Color.BAD) for line in lines_of([away], page)),
                *lines_of([str(following.fault), f"cure: {following.fault.cure}"], page),
                "",
                *lines_of([known] if known else [], page),
                *shown,
            ]
        if following.returned is not None:
            at, lasted = following.returned
            again = f"answers again since {show(at)}, after {format_duration(lasted)} without an answer"
            return [*(self.paint(line, Color.DOUBTFUL) for line in lines_of([again], page)), *shown]
        return shown
