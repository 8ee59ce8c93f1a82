"""Which pods can have registered: more sessions than that are a sign of a pod that no ledger here knows.

Only a pod that has the ledger registers. A pod of long ago explains no registration of today.
"""

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate

from sidecar.domain.audit.coverage import SKEW
from sidecar.domain.audit.sessions import names_some_pod

_NEVER = datetime.max.replace(tzinfo=UTC)


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


@dataclass(frozen=True, slots=True, order=True)
class _Span:
    """From a first instant to a last one: of a session's registrations, or in which a pod can have registered."""

    first: datetime
    last: datetime


def others_registered(registrations: Iterable[Registration], tenures: Iterable[Tenure]) -> bool:
    """Return whether sessions that name no pod have registered, for which there are not enough pods.

    Each session takes a pod that had a ledger at all its registrations, and no other session can take that pod. A
    session without such a pod is one that pods share in turn: it takes as many as its registrations need. A pod that
    has registered under its own name takes no session.
    """
    named: set[str] = set()
    calls: dict[str, list[datetime]] = defaultdict(list)
    for each in registrations:
        if each.session is not None and names_some_pod(each.session):
            named.add(each.session)
        elif each.session is not None:
            if each.at is None:
                return True
            calls[each.session].append(each.at)
    pods = _pods(tenure for tenure in tenures if tenure.pod.rpartition("/")[2] not in named)
    return not _suffice(pods, _needed(pods, calls.values()))


def _pods(tenures: Iterable[Tenure]) -> list[_Span]:
    """Return when each pod can have registered, by AWS's clock. Several ledgers may know one pod."""
    found: dict[str, _Span] = {}
    for each in tenures:
        span = _Span(each.since - SKEW, _NEVER if each.until is None else each.until + SKEW)
        known = found.get(each.pod, span)
        found[each.pod] = _Span(min(span.first, known.first), max(span.last, known.last))
    return sorted(found.values())


def _needed(pods: Sequence[_Span], calls: Iterable[Sequence[datetime]]) -> Iterator[_Span]:
    """Yield the spans that need a pod each: one of a session, or more if no pod can have made all its calls."""
    begins, reach = [pod.first for pod in pods], list(accumulate((pod.last for pod in pods), max))
    for times in calls:
        first = last = min(times)
        for at in sorted(times):
            begun = bisect_right(begins, first)
            if begun and at <= reach[begun - 1]:
                last = at
            elif at != first:
                yield _Span(first, last)
                first = last = at
        yield _Span(first, last)


def _suffice(pods: Sequence[_Span], needed: Iterable[_Span]) -> bool:
    """Return whether each needed span lies in a pod of its own.

    In order of their begin, each takes the pod that ends first: the others have more use for a later one.
    """
    begun, ends = 0, list[datetime]()
    for span in sorted(needed):
        while begun < len(pods) and pods[begun].first <= span.first:
            insort(ends, pods[begun].last)
            begun += 1
        fit = bisect_left(ends, span.last)
        if fit == len(ends):
            return False
        ends.pop(fit)
    return True
