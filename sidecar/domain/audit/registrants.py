"""Which pods can have registered: more sessions than that are a sign of a pod that no ledger here knows.

Only a pod that has the ledger registers. A pod of long ago explains no registration of today.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sidecar.domain.audit.coverage import SKEW
from sidecar.domain.audit.sessions import names_some_pod


@dataclass(frozen=True, slots=True)
class Registration:
    """A RegisterUsage call that AWS answered."""

    session: str | None
    """The name of the session that signed the call, which may name a pod."""
    account_region: str
    at: datetime | None
    """None if the log has no time for it."""


@dataclass(frozen=True, slots=True)
class Tenure:
    """When a pod had a ledger."""

    pod: str
    since: datetime
    until: datetime | None
    """When the next pod took the ledger; None for the last one."""

    def holds(self, at: datetime) -> bool:
        """Return whether the pod can have registered at `at`, by AWS's clock."""
        return self.since - SKEW <= at and (self.until is None or at <= self.until + SKEW)


def others_registered(registrations: Iterable[Registration], tenures: Collection[Tenure]) -> bool:
    """Return whether more sessions that name no pod have registered than pods had a ledger then."""
    sessions: dict[frozenset[str], set[str]] = defaultdict(set)
    for each in registrations:
        if each.session is not None and not names_some_pod(each.session):
            able = frozenset(tenure.pod for tenure in tenures if each.at is not None and tenure.holds(each.at))
            sessions[able].add(each.session)
    # Around a take-over either pod may have registered. What only one of the pods explains takes it from the others.
    for pods in {*sessions, frozenset(tenure.pod for tenure in tenures)}:
        explained = [found for able, found in sessions.items() if able <= pods]
        if len(set().union(*explained)) > len(pods):
            return True
    return False
