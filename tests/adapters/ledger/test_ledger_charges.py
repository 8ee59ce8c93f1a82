"""What is left out of a comparison of records and charges changes nothing about the rest."""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.adapters.ledger.auditing import SUBMISSION_COLUMNS
from sidecar.adapters.ledger.charges import ChargeTable
from sidecar.domain.audit.coverage import Activity
from sidecar.domain.audit.matching import reconcile
from sidecar.domain.audit.slots import (
    EVERY_HOUR,
    Charge,
    FailedCall,
    Reconciliation,
    Span,
    Tally,
    UndescribedCall,
    Verdict,
)
from sidecar.domain.metering.hours import hour_of, to_micros
from sidecar.domain.metering.records import RecordStatus

HOUR = datetime(2026, 11, 23, 10, tzinfo=UTC)
PODS = ("6f0c1c3e-5f0b-4c53-9f0a-0b6d5c2f7a11", "22222222-2222-3333-4444-555555555555")
STRANGER = "11111111-2222-3333-4444-555555555555"
TASK = "0123456789abcdef0123456789abcdef"
SESSIONS = [None, *PODS, STRANGER, TASK, "botocore-session-1"]
REASONS = {"unbilled": "in-doubt: 1 attempts"}

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "uid": st.sampled_from(PODS),
            "name": st.sampled_from(["requests", "peak"]),
            "hour": st.integers(0, 2),
            "quantity": st.sampled_from(["1", "2.5"]),
            "status": st.sampled_from(["accepted", "accepted", "accepted", "unbilled", "sealed", "carried"]),
            "metering_record_id": st.sampled_from(["mr-1", "mr-2", "mr-3", "mr-4", None]),
        }
    ),
    max_size=6,
)
CHARGES = st.lists(
    st.builds(
        Charge,
        metering_record_id=st.sampled_from(["mr-1", "mr-2", "mr-3", "mr-4", "mr-5"]),
        dimension=st.sampled_from(["requests", "peak"]),
        hour=st.integers(0, 2).map(lambda number: HOUR + timedelta(hours=number)),
        quantity=st.sampled_from([1_000_000, 2_500_000]),
        client_token=st.sampled_from([None, "token-0", "token-1", "token-9"]),
        session=st.sampled_from(SESSIONS),
        event_id=st.just("event"),
        account_region=st.sampled_from(["1 us-east-1", "1 eu-west-1"]),
    ),
    max_size=7,
)
CUT_CALLS = st.lists(
    st.builds(
        UndescribedCall,
        metering_record_id=st.sampled_from([None, "mr-1", "mr-2", "mr-9"]),
        session=st.sampled_from(SESSIONS),
        event_id=st.just("event"),
        account_region=st.sampled_from(["1 us-east-1", "1 eu-west-1"]),
        hour=st.integers(0, 2).map(lambda number: HOUR + timedelta(hours=number)),
    ),
    max_size=2,
)
FAILED_CALLS = st.lists(
    st.builds(
        FailedCall,
        error=st.just("InternalFailure"),
        dimension=st.just("requests"),
        hour=st.integers(0, 2).map(lambda number: HOUR + timedelta(hours=number)),
        quantity=st.sampled_from([1_000_000, 2_500_000]),
        client_token=st.sampled_from([None, "token-0", "token-9"]),
        session=st.sampled_from(SESSIONS),
    ),
    max_size=2,
)
SPANS = st.sampled_from([EVERY_HOUR, Span(HOUR + timedelta(hours=1)), Span(None, HOUR + timedelta(hours=2))])


def filled(
    rows: Sequence[dict[str, object]],
    charges: Sequence[Charge],
    undescribed: Sequence[UndescribedCall] = (),
    failed: Sequence[FailedCall] = (),
) -> ChargeTable:
    """Return a table with these records and charges, and calls that may be charges."""
    table = ChargeTable()
    for charge in charges:
        table.add(charge)
    for call in undescribed:
        table.add_undescribed(call)
    for each in failed:
        table.add_failed(each)
    for number, row in enumerate(rows):
        at = to_micros(HOUR) + number
        whole = {
            **row,
            "seq": number,
            "hour": hour_of(HOUR) + int(str(row["hour"])) * 3600,
            "reason": REASONS.get(str(row["status"])),
            "client_token": f"token-{number}",
            "metering_record_id": row["metering_record_id"] if row["status"] == "accepted" else None,
            "resolved": 0,
            "sealed_at": at,
            "attempted_at": at,
        }
        marks = ", ".join("?" * len(SUBMISSION_COLUMNS))
        table._connection.execute(
            f"INSERT INTO submission VALUES (NULL, 'ledger.db', {marks})",
            [whole[column] for column in SUBMISSION_COLUMNS],
        )
    return table


def compared(table: ChargeTable, span: Span, *, leave_out: bool) -> Reconciliation:
    """Compare what is in a table."""
    left_out = table.leave_out(PODS, span, keep=True) if leave_out else table.identify()
    hours = {HOUR + timedelta(hours=number) for number in range(-1, 4)}
    log = {place: Activity(min(hours), max(hours), hours) for place in ("1 us-east-1", "1 eu-west-1")}
    return reconcile(table.submissions(), table.charges(), PODS, (), span, log, left_out, table.failed_calls())


@given(rows=ROWS, charges=CHARGES, cut=CUT_CALLS, failed=FAILED_CALLS, span=SPANS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_leaving_out_changes_nothing(
    rows: list[dict[str, object]],
    charges: list[Charge],
    cut: list[UndescribedCall],
    failed: list[FailedCall],
    span: Span,
) -> None:
    """Every slot but the matched ones is the same, and these are counted with their quantities."""
    with closing(filled(rows, charges, cut, failed)) as table:
        complete = compared(table, span, leave_out=False)
    with closing(filled(rows, charges, cut, failed)) as table:
        short = compared(table, span, leave_out=True)
        parts = [list(part(span)) for part in (table.matched, table.single_records, table.single_charges)]
    for part in parts:
        assert part == sorted(part, key=lambda slot: slot.key)
    left_out = [slot for part in parts for slot in part]
    assert Counter(map(repr, complete.slots)) == Counter(map(repr, [*short.slots, *left_out]))
    counted: Counter[tuple[Verdict, str, str]] = Counter()
    for slot in left_out:
        if slot.submission is not None and slot.submission.status is RecordStatus.ACCEPTED:
            counted[slot.verdict, slot.submission.dimension, "Submission"] += slot.submission.quantity
        if slot.charge is not None:
            counted[slot.verdict, slot.charge.dimension, "Charge"] += slot.charge.quantity
    tallied: Counter[tuple[Verdict, str, str]] = Counter()
    for tally in short.tallies:
        tallied[tally.verdict, tally.dimension, "Submission"] += tally.submitted
        tallied[tally.verdict, tally.dimension, "Charge"] += tally.charged
    assert +tallied == counted
    assert (complete.counts, complete.of_other_pods, complete.size, complete.undescribed) == (
        short.counts,
        short.of_other_pods,
        short.size,
        short.undescribed,
    )


def test_what_agrees_is_not_held() -> None:
    """Only what differs, or is open, is left for the comparison; the rest is read from the table, one at a time."""
    rows: list[dict[str, object]] = [
        {"uid": PODS[0], "name": "requests", "hour": hour, "quantity": "1", "status": status, "metering_record_id": mr}
        for hour, status, mr in ((0, "accepted", "mr-1"), (1, "accepted", "mr-2"), (2, "unbilled", None))
    ]
    matched = Charge("mr-1", "requests", HOUR, 1_000_000, None, PODS[0], "event", "1 us-east-1")
    more = replace(matched, metering_record_id="mr-2", hour=HOUR + timedelta(hours=1), quantity=2_000_000)
    stranger = replace(matched, metering_record_id="mr-9", session=STRANGER)
    with closing(filled(rows, [matched, matched, more, stranger])) as table:
        left_out = table.leave_out(PODS, EVERY_HOUR, keep=True)
        assert (["rec-1", "rec-2"], [more]) == ([each.id for each in table.submissions()], list(table.charges()))
        (slot,) = table.matched(EVERY_HOUR)
        assert (Verdict.MATCHED, matched) == (slot.verdict, slot.charge)
        assert [] == list(table.matched(Span(HOUR + timedelta(hours=1))))
    assert [Tally(Verdict.MATCHED, "requests", 1, 1_000_000, 1_000_000)] == left_out.tallies
    assert 1 == left_out.of_other_pods


def test_what_has_no_counterpart_is_not_held() -> None:
    """Records that no charge can be, and charges that no record can be, are read from the table, one at a time."""
    rows: list[dict[str, object]] = [
        {"uid": PODS[0], "name": "requests", "hour": hour, "quantity": "1", "status": status, "metering_record_id": mr}
        for hour, status, mr in ((0, "accepted", "mr-1"), (1, "carried", None), (2, "sealed", None))
    ]
    unknown = Charge("mr-7", "requests", HOUR, 2_000_000, None, None, "event", "1 us-east-1")
    of_an_open_slot = replace(unknown, metering_record_id="mr-8", hour=HOUR + timedelta(hours=2))
    of_a_slot_of_the_pod = replace(unknown, metering_record_id="mr-9", session=PODS[0], hour=HOUR + timedelta(hours=2))
    with closing(filled(rows, [unknown, of_an_open_slot, of_a_slot_of_the_pod])) as table:
        left_out = table.leave_out(PODS, EVERY_HOUR)
        assert (["rec-2"], ["mr-8", "mr-9"]) == (
            [each.id for each in table.submissions()],
            [each.metering_record_id for each in table.charges()],
        )
        assert ["rec-0", "rec-1"] == [slot.key[2] for slot in table.single_records(EVERY_HOUR)]
        assert ["mr-7"] == [slot.key[2] for slot in table.single_charges(EVERY_HOUR)]
    assert [
        Tally(Verdict.MISSING_IN_AWS, "requests", 1, submitted=1_000_000),
        Tally(Verdict.NOT_CHARGED, "requests", 1),
        Tally(Verdict.MISSING_HERE, "requests", 1, charged=2_000_000),
    ] == left_out.tallies
    assert 1 == left_out.unknown


def test_tables_leave_no_file(tmp_path: Path) -> None:
    """The temporary file has no name: it cannot outlive the process."""
    with closing(ChargeTable()) as table:
        (name,) = [row["file"] for row in table._connection.execute("PRAGMA database_list")]
    assert ("", []) == (name, list(tmp_path.iterdir()))
