"""Reconciliation: each way in which a record and a charge can stand to each other."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.audit.coverage import Activity
from sidecar.domain.audit.matching import reconcile
from sidecar.domain.audit.slots import Charge, LeftOut, Reconciliation, Span, Submission, Verdict
from sidecar.domain.metering.records import RecordStatus

HOUR = datetime(2026, 11, 23, 10, tzinfo=UTC)
NEXT = HOUR + timedelta(hours=1)
POD = "6f0c1c3e-5f0b-4c53-9f0a-0b6d5c2f7a11"
OTHER_POD = "11111111-2222-3333-4444-555555555555"
ANYBODY = "botocore-session-1763892000"

TAKEN = Submission(
    id="rec-1",
    ledger="ledger.db",
    pod=POD,
    dimension="requests",
    hour=HOUR,
    quantity=1_500_000,
    status=RecordStatus.ACCEPTED,
    reason=None,
    client_token="token-1",
    metering_record_id="mr-1",
    resolved=False,
)
DOUBTED = replace(TAKEN, status=RecordStatus.UNBILLED, reason="in-doubt: 1 attempts", metering_record_id=None)
WAITING = replace(TAKEN, status=RecordStatus.SEALED, metering_record_id=None)
CARRIED = replace(TAKEN, status=RecordStatus.CARRIED, metering_record_id=None)
EXPIRED = replace(DOUBTED, reason="expired: the submission window closed")
DUPLICATE = replace(DOUBTED, reason="duplicate: the slot already holds another quantity")
WRITTEN_OFF = replace(DOUBTED, resolved=True)
CHARGE = Charge("mr-1", "requests", HOUR, 1_500_000, client_token=None, session=ANYBODY, event_id="event-1")
NAMED = replace(CHARGE, session=POD)
TOKENED = replace(CHARGE, client_token="token-1")
MORE = replace(CHARGE, quantity=2_000_000)


def verdicts(found: Reconciliation) -> list[str]:
    """Return the verdicts in their order."""
    return [slot.verdict.value for slot in found.slots]


@pytest.mark.parametrize(
    ("record", "charge", "verdict"),
    [
        (TAKEN, CHARGE, "matched"),
        (TAKEN, MORE, "different"),
        (TAKEN, replace(CHARGE, hour=NEXT), "different"),
        (TAKEN, replace(CHARGE, dimension="gigabytes"), "different"),
        (TAKEN, None, "missing-in-aws"),
        (TAKEN, replace(TOKENED, metering_record_id="mr-2"), "different"),
        (TAKEN, replace(NAMED, metering_record_id="mr-2"), "different"),
        (None, CHARGE, "missing-here"),
        (None, replace(CHARGE, session=None), "missing-here"),
        (DOUBTED, CHARGE, "settled"),
        (DOUBTED, NAMED, "settled"),
        (DOUBTED, TOKENED, "settled"),
        (DOUBTED, replace(NAMED, quantity=1), "different"),
        (DOUBTED, replace(TOKENED, hour=NEXT), "different"),
        (DOUBTED, None, "missing-in-aws"),
        (WAITING, None, "waiting"),
        (WAITING, CHARGE, "waiting"),
        (WAITING, NAMED, "waiting"),
        (WAITING, replace(NAMED, quantity=1), "different"),
        (CARRIED, None, "not-charged"),
        (CARRIED, TOKENED, "different"),
        (CARRIED, NAMED, "different"),
        (EXPIRED, None, "not-charged"),
        (EXPIRED, NAMED, "different"),
        (DUPLICATE, replace(NAMED, quantity=1), "different"),
        (WRITTEN_OFF, None, "not-charged"),
        (WRITTEN_OFF, TOKENED, "different"),
    ],
)
def test_pair_is_judged(record: Submission | None, charge: Charge | None, verdict: str) -> None:
    """One record and one charge, or either alone, make one slot with its verdict."""
    found = reconcile([each for each in [record] if each], [each for each in [charge] if each])
    assert [verdict] == verdicts(found)
    assert found.agrees == (verdict not in {"different", "missing-here", "missing-in-aws"})


@pytest.mark.parametrize(
    ("record", "charge", "expected"),
    [
        (DOUBTED, MORE, ["missing-in-aws", "missing-here"]),
        (DOUBTED, replace(CHARGE, hour=NEXT), ["missing-in-aws", "missing-here"]),
        (DOUBTED, replace(CHARGE, client_token="another"), ["missing-in-aws", "missing-here"]),
        (EXPIRED, CHARGE, ["not-charged", "missing-here"]),
        (CARRIED, CHARGE, ["not-charged", "missing-here"]),
        (WRITTEN_OFF, CHARGE, ["not-charged", "missing-here"]),
    ],
)
def test_unlike_is_not_paired(record: Submission, charge: Charge, expected: list[str]) -> None:
    """A charge that names no pod is not taken for a record that it need not be."""
    found = reconcile([record], [charge])
    assert sorted(expected) == sorted(verdicts(found))
    assert not found.agrees


@pytest.mark.parametrize(
    "sign",
    [
        replace(CHARGE, metering_record_id="mr-8", hour=HOUR - timedelta(hours=1)),
        replace(CHARGE, metering_record_id="mr-8", dimension="gigabytes"),
        replace(CHARGE, metering_record_id="mr-8"),
        replace(CHARGE, metering_record_id="mr-8", quantity=1),
        replace(CHARGE, metering_record_id="mr-8", client_token="another"),
    ],
)
def test_sign_of_another_pod_settles_nothing(sign: Charge) -> None:
    """With charges of unknown origin left over, an equal one may be another pod's too: it is reported, not settled."""
    found = reconcile([DOUBTED], [CHARGE, sign])
    assert "settled" not in verdicts(found)
    assert 3 == len(found.slots)


@pytest.mark.parametrize("hour", [HOUR - timedelta(days=1), NEXT])
def test_span_hides_no_sign_of_another_pod(hour: datetime) -> None:
    """A charge of unknown origin in an hour that is not asked about still keeps a like one from being settled."""
    sign = replace(CHARGE, metering_record_id="mr-8", hour=hour)
    found = reconcile([DOUBTED], [CHARGE, sign], span=Span(HOUR, NEXT))
    assert ["missing-here", "missing-in-aws"] == sorted(verdicts(found))


def test_charge_of_another_place_settles_nothing() -> None:
    """Where charges that name no pod lie in two accounts or Regions, a like one need not be this pod's."""
    here, there = "111122223333 eu-west-1", "444455556666 eu-west-1"
    known = replace(TAKEN, id="rec-0", hour=HOUR - timedelta(hours=1), client_token="token-0")
    charged = replace(CHARGE, hour=known.hour, account_region=here)
    like = replace(CHARGE, metering_record_id="mr-8", account_region=there)
    near = replace(like, account_region=here)
    assert ["matched", "missing-here", "missing-in-aws"] == verdicts(reconcile([known, DOUBTED], [charged, like]))
    assert ["matched", "settled"] == verdicts(reconcile([known, DOUBTED], [charged, near]))
    assert ["matched", "settled"] == verdicts(reconcile([known, DOUBTED], [charged, replace(like, session=POD)]))
    stranger = replace(CHARGE, metering_record_id="mr-9", session=OTHER_POD, account_region=there)
    assert Verdict.SETTLED in reconcile([known, DOUBTED], [charged, near, stranger]).counts


HERE, THERE = "111122223333 us-east-1", "111122223333 eu-west-1"
TRIED = replace(DOUBTED, sealed_at=NEXT, attempted_at=NEXT)
COVERING = Activity(HOUR, NEXT + timedelta(hours=1), {HOUR, NEXT})
EARLIER = replace(TAKEN, id="rec-0", hour=HOUR - timedelta(hours=1), client_token="token-0", metering_record_id="mr-0")
CHARGED = replace(CHARGE, metering_record_id="mr-0", hour=EARLIER.hour, account_region=HERE)


@pytest.mark.parametrize(
    ("records", "charges", "registrations", "note"),
    [
        ([EARLIER], [CHARGED], [], "show no charge"),
        ([replace(EARLIER, pod=OTHER_POD)], [CHARGED], [], "do not show where its pod ran"),
        ([replace(EARLIER, ledger="copy.db")], [CHARGED], [], "copy.db has records of its pod, too"),
        ([], [replace(CHARGED, session=POD)], [], "show no charge"),
        ([], [replace(CHARGED, session=POD)], [(POD, THERE)], "show its pod in two places"),
        ([], [], [(POD, HERE)], "show no charge"),
        ([], [], [(OTHER_POD, HERE), (ANYBODY, HERE)], "do not show where its pod ran"),
        ([], [], [], "do not show where its pod ran"),
    ],
    ids=["its record", "other pod", "other ledger", "its charge", "two places", "registered", "another's", "nothing"],
)
def test_absence_is_judged_where_the_pod_ran(
    records: list[Submission], charges: list[Charge], registrations: list[tuple[str, str]], note: str
) -> None:
    """A restored volume may be in another Region than the pod of a record in doubt: the log there proves nothing."""
    found = reconcile([TRIED, *records], charges, [POD, OTHER_POD], registrations, log={HERE: COVERING})
    (doubt,) = [slot for slot in found.slots if slot.submission == TRIED]
    assert ("show no charge" in note) == (doubt.verdict is Verdict.NOT_CHARGED)
    assert note in doubt.note


@pytest.mark.parametrize(
    ("span", "hours"),
    [
        (Span(), [10, 11, 12]),
        (Span(since=NEXT), [11, 12]),
        (Span(until=NEXT), [10]),
        (Span(NEXT, NEXT + timedelta(hours=1)), [11]),
    ],
)
def test_span_chooses_what_is_judged(span: Span, hours: list[int]) -> None:
    """Slots and strangers of other hours are left out, the end of the span among them."""
    records = [
        replace(
            TAKEN, id=f"rec-{n}", hour=HOUR + timedelta(hours=n), client_token=f"token-{n}", metering_record_id=None
        )
        for n in range(3)
    ]
    strangers = [
        replace(CHARGE, metering_record_id=f"mr-{n}", session=OTHER_POD, hour=HOUR + timedelta(hours=n))
        for n in range(3)
    ]
    found = reconcile(records, strangers, span=span)
    assert hours == [slot.submission.hour.hour for slot in found.slots if slot.submission]
    assert len(hours) == found.of_other_pods


def test_hour_of_either_side_is_judged() -> None:
    """A pair whose sides lie in two hours is a difference in both of them."""
    elsewhere = replace(CHARGE, hour=NEXT)
    for span in (Span(until=NEXT), Span(since=NEXT)):
        assert ["different"] == verdicts(reconcile([TAKEN], [elsewhere], span=span))


def test_pod_without_records_is_no_stranger() -> None:
    """A charge that names a pod of the ledger is compared, even where no record of the pod is left or ever was."""
    assert 1 == reconcile([], [NAMED]).of_other_pods
    found = reconcile([], [NAMED], [POD])
    assert (["missing-here"], 0) == (verdicts(found), found.of_other_pods)


def test_registrations_of_others_are_a_sign() -> None:
    """Where another pod has registered, it may have made a charge that names no pod."""
    for sign, verdict in ((False, "settled"), (True, "missing-in-aws")):
        assert verdict in verdicts(reconcile([DOUBTED], [CHARGE], left_out=LeftOut(others_registered=sign)))


def test_old_charge_is_told_apart() -> None:
    """A charge of before the first record that is kept is reported as that; unbilled records are always kept."""
    old = replace(NAMED, metering_record_id="mr-0", hour=HOUR - timedelta(hours=1))
    expired = replace(EXPIRED, id="rec-0", hour=HOUR - timedelta(hours=2), client_token="token-0")
    notes = {slot.note for slot in reconcile([expired, TAKEN], [CHARGE, old]).slots if slot.submission is None}
    assert {"of an hour whose records are no longer all kept here; --from leaves such hours out"} == notes


def test_likely_charge_is_told() -> None:
    """What is not settled for want of certainty is named on both sides."""
    found = reconcile([DOUBTED], [CHARGE, replace(CHARGE, metering_record_id="mr-8", dimension="gigabytes")])
    notes = {slot.note for slot in found.slots if slot.note.startswith("perhaps")}
    assert {"perhaps mr-1, which may be another pod's", "perhaps rec-1; it may be another pod's"} == notes


def test_two_doubted_records_share_no_charge() -> None:
    """Two pods in doubt about like quantities: one charge that names neither settles neither."""
    other = replace(DOUBTED, id="rec-2", pod=OTHER_POD, client_token="token-2")
    assert Verdict.SETTLED not in reconcile([DOUBTED, other], [CHARGE]).counts
    assert 1 == reconcile([DOUBTED, other], [NAMED]).counts[Verdict.SETTLED]


@pytest.mark.parametrize(
    ("decided", "verdict"),
    [
        (WRITTEN_OFF, "missing-in-aws"),
        (replace(CARRIED, resolved=True), "missing-in-aws"),
        (CARRIED, "settled"),
        (EXPIRED, "settled"),
    ],
)
def test_decided_record_may_be_the_charge(decided: Submission, verdict: str) -> None:
    """AWS may hold a record that a person wrote off or carried; it does not hold one that was never in doubt."""
    other = replace(DOUBTED, id="rec-2", pod=OTHER_POD, client_token="token-2")
    found = reconcile([decided, other], [CHARGE])
    assert [verdict] == [slot.verdict for slot in found.slots if slot.submission == other]


def test_charge_of_a_copied_pod_settles_nothing() -> None:
    """If another ledger has records of the pod, too, a charge without a pod's name may be of either."""
    copied, charge = replace(EARLIER, ledger="copy.db"), replace(CHARGE, account_region=HERE)
    assert Verdict.SETTLED not in reconcile([DOUBTED, copied], [CHARGED, charge]).counts
    assert 1 == reconcile([DOUBTED, EARLIER], [CHARGED, charge]).counts[Verdict.SETTLED]


def test_other_ledger_explains_its_charges() -> None:
    """With the other pod's ledger given, its charges are its own, and what is left is certain."""
    other = replace(TAKEN, id="rec-2", pod=OTHER_POD, client_token="token-2", metering_record_id="mr-8")
    charges = [CHARGE, replace(CHARGE, metering_record_id="mr-8")]
    assert Verdict.SETTLED not in reconcile([DOUBTED], charges).counts
    assert ["settled", "matched"] == verdicts(reconcile([DOUBTED, other], charges))


def test_charges_of_named_strangers_are_left_out() -> None:
    """A charge that names another pod is counted, not compared, and keeps nothing from being settled."""
    stranger = replace(CHARGE, metering_record_id="mr-8", session=OTHER_POD)
    task = replace(CHARGE, metering_record_id="mr-9", session="0123456789abcdef0123456789abcdef")
    found = reconcile([DOUBTED], [CHARGE, stranger, task])
    assert (["settled"], 2) == (verdicts(found), found.of_other_pods)


def test_task_is_named_by_its_arn() -> None:
    """On ECS a session is named after the task, with which the ledger's ARN ends."""
    record = replace(DOUBTED, pod="arn:aws:ecs:eu-west-1:111122223333:task/shop/0123456789abcdef0123456789abcdef")
    charge = replace(MORE, session="0123456789abcdef0123456789abcdef")
    assert ["different"] == verdicts(reconcile([record], [charge]))


def test_repeated_call_counts_once() -> None:
    """AWS logs the identical repeat as a call of its own; it charged once."""
    repeat = replace(CHARGE, event_id="event-2", session="botocore-session-2")
    assert ["matched"] == verdicts(reconcile([TAKEN], [CHARGE, repeat]))


def test_conflicting_log_is_a_difference() -> None:
    """Two charges under one metering record id cannot both be right: the second is left over."""
    found = reconcile([TAKEN], [MORE, CHARGE])
    assert ["matched", "missing-here"] == sorted(verdicts(found))


def test_two_records_name_one_charge() -> None:
    """One receipt for two records proves one of them."""
    twin = replace(TAKEN, id="rec-2", hour=NEXT, client_token="token-2")
    assert ["matched", "missing-in-aws"] == verdicts(reconcile([TAKEN, twin], [CHARGE]))


@given(
    st.lists(st.sampled_from([TAKEN, DOUBTED, WAITING, CARRIED, EXPIRED, WRITTEN_OFF]), max_size=6),
    st.lists(st.sampled_from([CHARGE, NAMED, TOKENED, MORE, replace(CHARGE, session=OTHER_POD)]), max_size=6),
    st.data(),
)
def test_nothing_is_lost_or_told_twice(records: list[Submission], charges: list[Charge], data: st.DataObject) -> None:
    """Every record is in one slot, every charge in one or left out as another pod's, and none in two."""
    hours = st.integers(0, 2).map(lambda number: HOUR + timedelta(hours=number))
    records = [
        replace(each, id=f"rec-{number}", hour=data.draw(hours), client_token=f"token-{number}")
        for number, each in enumerate(records)
    ]
    charges = [
        replace(each, metering_record_id=f"mr-{number}", hour=data.draw(hours)) for number, each in enumerate(charges)
    ]
    found = reconcile(records, charges)
    assert sorted(each.id for each in records) == sorted(slot.submission.id for slot in found.slots if slot.submission)
    told = [slot.charge.metering_record_id for slot in found.slots if slot.charge]
    assert len(told) == len(set(told))
    assert len(charges) == len(told) + found.of_other_pods
    for slot in found.slots:
        if slot.verdict is Verdict.SETTLED:
            assert slot.submission is not None
            assert slot.charge is not None
            assert (slot.submission.quantity, slot.submission.hour) == (slot.charge.quantity, slot.charge.hour)
            assert slot.submission.in_doubt
