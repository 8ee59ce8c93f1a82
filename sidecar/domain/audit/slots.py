"""Reconciliation: records as the ledger has them, charges as AWS's log has them, and the verdict on each slot.

What pairs them and judges each pair is in `sidecar.domain.audit.matching`.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sidecar.domain.metering.records import RecordStatus, UnbilledReason
from sidecar.domain.status import RecordFacts


class Verdict(StrEnum):
    """What the comparison of a slot has found."""

    MATCHED = "matched"  # AWS holds exactly what the ledger has as accepted
    SETTLED = "settled"  # in doubt here until now: AWS holds exactly it
    MISSING_IN_AWS = "missing-in-aws"  # taken by AWS or in doubt here, and AWS's log does not show it
    MISSING_HERE = "missing-here"  # charged by AWS, and no record here is it
    DIFFERENT = "different"  # both have it, and not the same
    WAITING = "waiting"  # still being submitted
    NOT_CHARGED = "not-charged"  # carried, unbilled or in doubt here, and AWS holds nothing of it


DIFFERENCES = frozenset({Verdict.MISSING_IN_AWS, Verdict.MISSING_HERE, Verdict.DIFFERENT})


def may_be_held(status: str, reason: str | None, resolved: int) -> bool:
    """Return whether AWS may hold a record without a receipt, by the ledger alone.

    A person's decision does not change that. It also removes the reason of a record that is carried.
    """
    if status == RecordStatus.CARRIED:
        return bool(resolved)
    return status == RecordStatus.SEALED or UnbilledReason.IN_DOUBT.begins(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission(RecordFacts):
    """A metering record as the ledger has it."""

    ledger: str
    """Which ledger holds it."""
    pod: str
    """The uid of the pod that it was sealed for."""
    resolved: bool
    """A person has decided about it."""
    sealed_at: datetime | None = None
    """When it was frozen; no attempt is older."""
    attempted_at: datetime | None = None
    """When its latest attempt began, by the pod's clock; before `sealed_at` if the clock was set back behind that."""

    @property
    def may_be_held(self) -> bool:
        """AWS may hold it, and no receipt says so."""
        return may_be_held(self.status, self.reason, self.resolved)

    @property
    def in_doubt(self) -> bool:
        """AWS may hold it, and it is not decided yet."""
        undecided = self.status is RecordStatus.UNBILLED and not self.resolved
        return undecided and UnbilledReason.IN_DOUBT.begins(self.reason)


@dataclass(frozen=True, slots=True)
class Charge:
    """A metering record as AWS's log has it."""

    metering_record_id: str
    dimension: str
    hour: datetime
    quantity: int
    """Millionths."""
    client_token: str | None
    session: str | None
    """The name of the session that signed the call, which may name a pod."""
    event_id: str
    account_region: str = ""
    """The account and Region in which it was charged."""


@dataclass(frozen=True, slots=True)
class FailedCall:
    """A call that failed by AWS's log, with an error that does not prove that AWS charged nothing."""

    error: str
    """AWS's code."""
    dimension: str
    hour: datetime
    quantity: int
    """Millionths."""
    client_token: str | None
    session: str | None
    """The name of the session that signed the call, which may name a pod."""


@dataclass(frozen=True, slots=True)
class UndescribedCall:
    """A call that may have been charged, of which AWS's log does not show what it reports."""

    metering_record_id: str | None
    """AWS's receipt, if the log shows it: then AWS has charged the call, unless it is of another product."""
    session: str | None
    """The name of the session that signed the call, which may name a pod."""
    event_id: str
    account_region: str
    """The account and Region in which it was made."""
    hour: datetime
    """The UTC hour in which it was made."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One record, one charge, or both, and the verdict on them."""

    verdict: Verdict
    submission: Submission | None
    charge: Charge | None
    note: str = ""

    @property
    def to_settle(self) -> bool:
        """It is in doubt here, and AWS's log decides it: AWS holds it, or the log covers it and shows no charge."""
        decided = self.verdict in {Verdict.SETTLED, Verdict.NOT_CHARGED}
        return decided and self.submission is not None and self.submission.in_doubt

    @property
    def key(self) -> tuple[datetime, str, str]:
        """Hour, dimension and name, to sort by."""
        if self.submission is not None:
            return self.submission.hour, self.submission.dimension, self.submission.id
        assert self.charge is not None  # noqa: S101 - a slot has at least one side
        return self.charge.hour, self.charge.dimension, self.charge.metering_record_id

    @property
    def hours(self) -> list[datetime]:
        """The hour of each side that it has."""
        return [side.hour for side in (self.submission, self.charge) if side is not None]


@dataclass(frozen=True, slots=True)
class Tally:
    """Slots of one dimension and verdict that are only counted; quantities in millionths."""

    verdict: Verdict
    dimension: str
    slots: int
    submitted: int = 0
    """Of records that AWS took, by the ledger."""
    charged: int = 0


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What needs no comparison, and what it shows about the rest."""

    tallies: Sequence[Tally] = ()
    """Of the hours that are judged."""
    origins: Collection[tuple[str | None, str]] = ()
    """The session, and the account and Region, of all charges."""
    unknown: int = 0
    """Charges that no record here can be, and that name no other pod: they may be of any."""
    sessions: Collection[str] = ()
    """The sessions with the name of a pod of no ledger under which a record was charged."""
    places: Collection[tuple[str, str, str]] = ()
    """The ledger, the pod, and the account and Region, of all matched records."""
    ledgers: Collection[tuple[str, str]] = ()
    """The pod and the ledger of all records."""
    kept_from: datetime | None = None
    """The hour from which on the ledgers keep every record that AWS took."""
    of_other_pods: int = 0
    """Charges of pods whose ledger was not given, in the hours that are judged."""
    undescribed: Collection[UndescribedCall] = ()
    """Calls with no record's receipt: of each place, hour, session and receipt one."""
    undescribed_events: int = 0
    """All of them."""
    others_registered: bool = False
    """More pods have registered than had a ledger then."""


NOTHING_LEFT_OUT = LeftOut()


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What came out, sorted by hour and dimension."""

    slots: Sequence[Slot]
    of_other_pods: int
    """Charges that name a pod of a ledger that was not given; they are not compared."""
    tallies: Sequence[Tally] = ()
    """Slots that are not among `slots`."""
    undescribed: int = 0
    """Calls that are not compared, because the log does not show what they report."""

    @property
    def size(self) -> int:
        """The number of slots, with those that are only counted."""
        return sum(self.counts.values())

    @property
    def agrees(self) -> bool:
        """AWS charged exactly what was submitted."""
        return not any(self.counts[verdict] for verdict in DIFFERENCES)

    @property
    def counts(self) -> Counter[Verdict]:
        """How many slots have which verdict."""
        counts = Counter(slot.verdict for slot in self.slots)
        for tally in self.tallies:
            counts[tally.verdict] += tally.slots
        return counts


@dataclass(frozen=True, slots=True)
class Span:
    """The hours that are judged: from `since` on and before `until`, each open where it is None."""

    since: datetime | None = None
    until: datetime | None = None

    def holds(self, hour: datetime) -> bool:
        """Return whether `hour` is one of them."""
        return (self.since is None or hour >= self.since) and (self.until is None or hour < self.until)


EVERY_HOUR = Span()
