"""What AWS has charged is never judged as not charged, whatever the log shows of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import event, given, settings
from hypothesis import strategies as st

from sidecar.domain.audit.coverage import Activity
from sidecar.domain.audit.matching import reconcile
from sidecar.domain.audit.slots import Charge, FailedCall, LeftOut, Submission, UndescribedCall, Verdict
from sidecar.domain.metering.records import RecordStatus

HOUR = datetime(2026, 11, 23, 10, tzinfo=UTC)
HOURS = {HOUR + timedelta(hours=number) for number in range(-1, 9)}
REGIONS = ("1 us-east-1", "1 eu-west-1")
UIDS = [f"{number}{number}{number}11111-2222-3333-4444-555555555555" for number in range(3)]
TASKS = [f"{number:x}123456789abcdef0123456789abcdef" for number in range(6)]
SHARED = "f" * 32
"""A session that several pods share, though it looks like a pod's own."""


@dataclass(frozen=True)
class Pod:
    """Where a pod ran, and whether its sessions are named after it, which is so for its whole life."""

    number: int
    region: str
    named: bool

    @property
    def uid(self) -> str:
        return UIDS[self.number]

    def session(self, choice: int) -> str | None:
        """Return the name of one of the pod's sessions."""
        return self.uid if self.named else (TASKS[self.number], TASKS[self.number + 3], SHARED, "app", None)[choice]


@dataclass(frozen=True)
class Attempt:
    """A record as it was, and how the log shows its call."""

    pod: int
    hour: int
    quantity: int
    answered: bool
    charged: bool
    shown: str
    session: int = 0
    copied: bool = False


PODS = st.tuples(*(st.builds(Pod, st.just(number), st.sampled_from(REGIONS), st.booleans()) for number in range(3)))
SHOWN = ["whole", "whole", "whole", "cut", "failed"]
"""How the log shows a call: cut calls have AWS's receipt."""
ATTEMPTS = st.lists(
    st.builds(
        Attempt,
        pod=st.integers(0, 2),
        hour=st.integers(1, 3),
        quantity=st.integers(0, 2),
        answered=st.booleans(),
        charged=st.booleans(),
        shown=st.sampled_from(SHOWN),
        session=st.integers(0, 4),
        copied=st.sampled_from([False, False, False, True]),
    ),
    max_size=6,
    unique_by=lambda attempt: (attempt.pod, attempt.hour),
)
PROBES = st.lists(st.sampled_from([*SHOWN, "not"]), min_size=3, max_size=3)
"""How the log shows the first record of each pod, which AWS took."""


def _record(number: int, attempt: Attempt, pod: Pod) -> Submission:
    """Return the record as the ledger has it: accepted, or in doubt because its answer was lost."""
    taken = attempt.answered and attempt.charged
    at = HOUR + timedelta(hours=attempt.hour)
    return Submission(
        id=f"rec-{number}",
        ledger="ledger.db",
        pod=pod.uid,
        dimension="requests",
        hour=at,
        quantity=attempt.quantity,
        status=RecordStatus.ACCEPTED if taken else RecordStatus.UNBILLED,
        reason=None if taken else "in-doubt: 1 attempts",
        client_token=f"token-{number}",
        metering_record_id=f"mr-{number}" if taken else None,
        resolved=False,
        sealed_at=at + timedelta(hours=1),
        attempted_at=at + timedelta(hours=1),
    )


@given(
    pods=PODS,
    probes=PROBES,
    attempts=ATTEMPTS,
    ours=st.sets(st.integers(0, 2), min_size=1),
    regions=st.sets(st.sampled_from(REGIONS), min_size=1),
    lost=st.sets(st.integers(0, 2)),
)
@settings(max_examples=400)
def test_charged_record_is_never_not_charged(
    pods: Sequence[Pod],
    probes: list[str],
    attempts: list[Attempt],
    ours: set[int],
    regions: set[str],
    lost: set[int],
) -> None:
    """Files of some Regions, lost, cut or failed calls, copies, odd sessions: what is charged is never not-charged."""
    first = [Attempt(pod, 0, 0, True, shown != "not", shown) for pod, shown in enumerate(probes)]  # noqa: FBT003
    # Files that lack charges of a pod lack one that AWS has answered, too: otherwise nothing shows that they do.
    lost &= {attempt.pod for attempt in attempts if attempt.answered and attempt.charged}
    charged: dict[Submission, bool] = {}
    copies: list[Submission] = []
    charges: list[Charge] = []
    failed: list[FailedCall] = []
    cut: list[UndescribedCall] = []
    for number, attempt in enumerate([*first, *attempts]):
        pod, receipt = pods[attempt.pod], f"mr-{number}"
        session = pod.session(attempt.session)
        record = _record(number, attempt, pod)
        if attempt.pod in ours:
            charged[record] = attempt.charged
        if attempt.pod in ours and attempt.copied:
            doubted = replace(
                record, status=RecordStatus.UNBILLED, reason="in-doubt: pod ended", metering_record_id=None
            )
            copies.append(replace(doubted, ledger="copy.db"))
        if pod.region not in regions or not attempt.charged or (attempt.hour and attempt.pod in lost):
            continue
        accepted = record.metering_record_id is not None
        if attempt.shown == "failed" and not accepted:
            failed.append(FailedCall("Internal", "requests", record.hour, record.quantity, None, session))
        elif attempt.shown == "cut" and not (accepted and attempt.pod in ours):
            cut.append(UndescribedCall(receipt, session, "event", pod.region, record.hour + timedelta(hours=1)))
        else:
            charges.append(
                Charge(receipt, "requests", record.hour, record.quantity, None, session, "event", pod.region)
            )
    log = {region: Activity(min(HOURS), max(HOURS), HOURS) for region in regions}
    found = reconcile(
        [*charged, *copies],
        charges,
        [UIDS[number] for number in ours],
        log=log,
        left_out=LeftOut(undescribed=cut),
        failed=failed,
    )
    absent = [slot.submission for slot in found.slots if slot.verdict is Verdict.NOT_CHARGED]
    event(f"{len(absent)} not charged")
    assert not any(record in copies or charged[record] for record in absent if record is not None)
