"""The faults of this process: each is logged when it begins and when it ends, and dated by its first sight.

Decides nothing and stops nothing. One thing has one fault at a time: another code replaces the earlier one.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from structlog.typing import FilteringBoundLogger

from sidecar.domain.status import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultLog:
    """How a fault is logged."""

    begins: str
    """The event of a new fault, with its detail and cure."""
    ends: str | None = None
    """The event of its end, with the number of observations and how long it lasted; None for a fault without an end."""
    about: Mapping[str, object] = field(default_factory=dict)
    """Members of both lines."""
    details: Mapping[str, object] = field(default_factory=dict)
    """Further members of the first line; they take precedence over `detail` and `cure`."""
    level: int = logging.WARNING
    again_after: timedelta | None = None
    """A fault that lasts is logged again after this time, with the number of lines left out; None: never."""


@dataclass(slots=True)
class _Trouble:
    """What is wrong with one thing, across a change of its code."""

    finding: Finding
    report: FaultLog | None
    began_at: datetime
    logged_at: datetime
    count: int = 0
    suppressed: int = 0


class FaultRegister:
    """The faults that there are now."""

    def __init__(self, log: FilteringBoundLogger | None = None) -> None:
        self._log: FilteringBoundLogger = structlog.get_logger() if log is None else log
        self._troubles: dict[str, _Trouble] = {}

    @property
    def findings(self) -> list[Finding]:
        """What an operator must know now, the fault that began first in front."""
        return [trouble.finding for trouble in self._troubles.values()]

    def observe(
        self,
        code: str,
        detail: str,
        cure: str,
        now: datetime,
        *,
        about: str | None = None,
        since: datetime | None = None,
        kind: str | None = None,
        report: FaultLog | None = None,
    ) -> None:
        """Note that a fault is there. A known one gets the new detail and keeps its `since`.

        Args:
            code: The fault's stable name.
            detail: What is wrong, with its figures.
            cure: What to do.
            now: The instant of the observation.
            about: What the fault concerns, if several things can have this code; the code itself by default.
            since: When it began, if that is known; the first observation by default.
            kind: See Finding.
            report: How it is logged; None: not here. A new code, cure or event is logged as a new fault is.
        """
        about = code if about is None else about
        known = self._troubles.get(about)
        before = None if known is None else known.finding
        # A clock that has gone back must not leave a fault that begins in the future.
        began_at = min(before.since if before is not None and before.code == code else since or now, now)
        finding = Finding(code, detail, cure, began_at, kind)
        trouble = known or _Trouble(finding, None, began_at, now)
        changed = (
            before is None or (before.code, before.cure) != (code, cure) or _event(trouble.report) != _event(report)
        )
        trouble.finding, trouble.report = finding, report
        trouble.count += 1
        self._troubles[about] = trouble
        if report is not None:
            self._report(trouble, report, now, changed=changed)

    def update(
        self,
        code: str,
        detail: str | None,
        cure: str,
        now: datetime,
        *,
        since: datetime | None = None,
        report: FaultLog | None = None,
    ) -> None:
        """Observe a fault if there is a detail, else clear it; the arguments are those of `observe`."""
        if detail:
            self.observe(code, detail, cure, now, since=since, report=report)
        else:
            self.clear(code, now)

    def clear(self, about: str, now: datetime, **members: object) -> None:
        """Note that a fault is over, by its code or what it concerns; without such a fault nothing happens.

        Args:
            about: As given to `observe`, or the code where none was given.
            now: The instant of the observation.
            members: Further members of the line.
        """
        trouble = self._troubles.pop(about, None)
        if trouble is not None and trouble.report is not None and trouble.report.ends is not None:
            lasted = max(now - trouble.began_at, timedelta())
            self._log.info(
                trouble.report.ends, **{**trouble.report.about, **members, "faults": trouble.count, "lasted": lasted}
            )

    def _report(self, trouble: _Trouble, report: FaultLog, now: datetime, *, changed: bool) -> None:
        due = report.again_after is not None and not trouble.logged_at <= now < trouble.logged_at + report.again_after
        if not changed and not due:
            trouble.suppressed += 1
            return
        members: dict[str, object] = {"detail": trouble.finding.detail, **report.about}
        if trouble.finding.cure:
            members["cure"] = trouble.finding.cure
        if report.again_after is not None:
            members["suppressed"] = trouble.suppressed
        trouble.logged_at, trouble.suppressed = now, 0
        self._log.log(report.level, report.begins, **{**members, **report.details})


def _event(report: FaultLog | None) -> str | None:
    return None if report is None else report.begins
