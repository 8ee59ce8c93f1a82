"""What the APIs show: verdicts, buckets, records, the state of the whole sidecar.

Views only: nothing here decides. Quantities are millionths, hours and times aware datetimes in UTC.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from sidecar.domain.entitlement.states import Entitlement
from sidecar.domain.histogram import Distribution
from sidecar.domain.metering.events import Tags
from sidecar.domain.metering.failing import Cause
from sidecar.domain.metering.measuring import SourceView
from sidecar.domain.metering.records import RecordStatus
from sidecar.domain.policy import EntitlementCheck, Pricing

LEDGER_CURE = (
    "Follow the detail if it names a cure. Otherwise make room on the ledger's volume, or mount the volume again; "
    "never put an older copy in place."
)
"""What an operator does about a ledger that cannot be read or written."""
OTHER_PRODUCT_CURE = (
    "Check product.code. If the usage belongs to the product that is configured now, carry it with `ledger resolve`; "
    "otherwise write it off there."
)
"""What an operator does about usage that was taken for a product that is not configured any more."""


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """A probe's answer."""

    ok: bool
    reason: str
    """A stable word: `entitled`, `pending`, `denied`, `metering-failing`, `ledger-unavailable`, ..."""
    sentence: str
    """The reason for a person, with the cure where there is one."""


MOST_BUCKETS = 1000
"""Open buckets in one answer: a listing of a hundred thousand would keep usage waiting."""


@dataclass(frozen=True, slots=True)
class BucketView:
    """One open bucket."""

    dimension: str
    hour: datetime
    quantity: int
    tags: Tags
    events: int
    key: str = field(default="", compare=False)
    """The position of a listing after this bucket."""


@dataclass(frozen=True, slots=True)
class AllocationView:
    """One tag set's share of a metering record."""

    quantity: int
    tags: Tags


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFacts:
    """What each reader of a metering record sees; the quantity is in millionths."""

    id: str
    dimension: str
    hour: datetime
    quantity: int
    status: RecordStatus
    reason: str | None
    client_token: str
    metering_record_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordView(RecordFacts):
    """One metering record."""

    attempts: int
    allocations: Sequence[AllocationView]
    sealed_at: datetime
    accepted_at: datetime | None
    carried_to: datetime | None
    kind: str
    """usage | late | probe."""
    product_code: str | None
    """The product under which its usage was taken; None until a sidecar of this version has opened an older ledger."""


_RECORD_ID = re.compile(r"rec-[1-9][0-9]{0,17}", re.ASCII)


def is_record_id(text: str) -> bool:
    """Return whether a text can be the id of a record; the record itself may have been dropped since."""
    return _RECORD_ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class RecordQuery:
    """Which records to list; every part that is given must match."""

    status: str | None = None
    dimension: str | None = None
    hour: datetime | None = None
    after: str | None = None
    """The id that ended the page before."""
    limit: int = 100


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A page of records, at least one; `next` is the `after` of the following one, None at the end.

    It has fewer than the limit where its records have many allocations.
    """

    records: Sequence[RecordView]
    next: str | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the submissions have come."""

    last_success_at: datetime | None
    oldest_unsent_hour: datetime | None
    in_doubt: int
    """Records whose fate at AWS is unknown."""
    oldest_unsent_at: datetime | None = None
    """What the oldest record that waits is dated; the submission window counts from there."""
    oldest_open_hour: datetime | None = None
    """The oldest hour with usage that is not sealed."""
    other_product: int = 0
    """Unbilled records of a product that is not configured any more, and that no person has resolved."""
    other_product_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of the conservation law for one dimension, in millionths."""

    accepted: int = 0
    open: int = 0
    sealed: int = 0
    submitted: int = 0
    unbilled: int = 0
    remainder: int = 0

    @property
    def balanced(self) -> bool:
        """Every accepted unit is in exactly one place."""
        return self.accepted == self.open + self.sealed + self.submitted + self.unbilled + self.remainder


@dataclass(frozen=True, slots=True)
class Figures:
    """What a status shows of the ledger, at one instant."""

    progress: Progress
    terms: Mapping[str, Terms]
    """By dimension."""
    size: int | None
    """Bytes of the ledger's files; None while they cannot be seen."""


class Metering(StrEnum):
    """Whether usage reaches AWS."""

    OK = "ok"
    FAILING = "failing"  # no success for too long, duplicates, or no room
    GATED = "gated"  # failing, and the seller closes the gate then
    STOPPED = "stopped"  # the process ends


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault an operator can act on."""

    code: str
    detail: str
    cure: str
    since: datetime
    kind: str | None = None
    """One of few names to count it by, if the code is AWS's own."""


@dataclass(frozen=True, slots=True)
class Status:
    """Everything an operator asks first."""

    versions: Mapping[str, str]
    """Of the sidecar itself and of what its behavior rests on, by name; `sidecar` is always there."""
    now: datetime
    started_at: datetime
    check: EntitlementCheck
    """The check in force."""
    pricing: Pricing | None
    entitlement: Entitlement
    metering: Metering
    last_success_at: datetime | None
    oldest_unsent_hour: datetime | None
    pod: str
    pod_source: str
    """downward-api | web-identity | pod-identity | ecs-task | ledger."""
    region: str | None
    credentials: str | None
    """Which identity signs: irsa, ecs-task-role, static-keys, ..."""
    mode: str
    ledger_path: str
    ledger_bytes: int | None
    conservation: Mapping[str, Terms]
    product_id: str | None = None
    """product.id; None if it is not configured."""
    findings: Sequence[Finding] = ()
    answers: Mapping[str, int] = field(default_factory=dict)
    """Attempts of this process by AWS's answer."""
    accepted_events: int = 0
    """Of this process."""
    duplicate_events: int = 0
    left_unsent: Mapping[str, int] = field(default_factory=dict)
    """Millionths by dimension that the pod's end leaves unsent; empty until then."""
    lost_to_probe: Mapping[str, int] = field(default_factory=dict)
    """Millionths by dimension that no record takes, because the start probe has the pod's last hour."""
    in_doubt: int = 0
    """Records whose fate at AWS is unknown."""
    oldest_open_hour: datetime | None = None
    """The oldest hour with usage that is not sealed; in health it is this one, or has just ended."""
    window_closes_at: datetime | None = None
    """The last instant at which the oldest record that waits is still sent; None while none waits."""
    clock_skew: timedelta | None = None
    """By how much this clock was ahead of the service's at its last answer; None while that is not known."""
    failing: frozenset[Cause] = frozenset()
    """Why metering fails; empty while it does not."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Usage requests of this process that were not taken, by the word of the problem."""
    taking: Distribution | None = None
    """How long usage that was taken waited for its durable answer, in this process."""
    ledger_used: int | None = None
    """Bytes of the ledger's limit that are used; None before they were measured."""
    ledger_limit: int | None = None
    committing: Distribution | None = None
    """How long the ledger took for each durable commit of usage, in this process."""
    sources: Sequence[SourceView] = ()
    """The dimensions that the sidecar measures itself."""

    @property
    def balanced(self) -> bool:
        """The conservation law holds for every dimension."""
        return all(terms.balanced for terms in self.conservation.values())
