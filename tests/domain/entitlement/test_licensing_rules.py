"""The entitlement under a contract price, as it follows from looks, checkouts, silence and time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sidecar.domain.entitlement.licenses import License, survey
from sidecar.domain.entitlement.licensing import (
    ADMIT_FOR,
    LicenseTerms,
    Licensing,
    judge,
    next_change,
    right_of_expired,
)
from sidecar.domain.entitlement.states import Reason, State
from sidecar.domain.policy import OnExpired, OnTaken
from tests.support.licenses import FEATURE, GOOD, HOLD_ONE, RENEWED, SKU, START, terms

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
REFRESH = timedelta(minutes=15)
SUSPENDED = replace(GOOD, status="SUSPENDED")
EXPIRED = replace(GOOD, status="EXPIRED")
LESSER = replace(RENEWED, arn="a lesser license", entitlements=(FEATURE,))
"""It never granted what is required."""
LESSER_EXPIRED = replace(LESSER, status="EXPIRED")
REGION = "eu-west-1"


def begin(of: LicenseTerms | None = None, now: datetime = START) -> Licensing:
    """Return a pod that has just started."""
    return Licensing(terms=of or terms(), asking_since=now, since=now)


def look(licensing: Licensing, *licenses: License, at: timedelta = timedelta()) -> Licensing:
    """Return the pod after a complete look at these licenses."""
    now = START + at
    return licensing.looked(survey(licenses, SKU, licensing.terms.policy, now), REGION, now)


def admit(of: LicenseTerms | None = None) -> Licensing:
    """Return a pod whose right is proved."""
    return look(begin(of), GOOD).proven(GOOD, REGION, START)


def restart(licensing: Licensing, at: timedelta = HOUR) -> Licensing:
    """Return the next process of the same pod."""
    assert licensing.evidence is not None
    return begin(licensing.terms, START + at).recalled(licensing.evidence)


def refuse(licensing: Licensing, at: timedelta = timedelta()) -> Licensing:
    """Return the pod after AWS has refused it a seat."""
    return licensing.unseated(GOOD, REGION, START + at, START + at)


def state(licensing: Licensing, at: timedelta = timedelta()) -> tuple[State, str]:
    """Return state and reason."""
    found = judge(licensing, START + at)
    return found.state, found.reason


def test_list_alone_opens_nothing() -> None:
    """A good license in the list is no proof: a checkout is."""
    assert (State.PENDING, Reason.REGISTERING) == state(look(begin(), GOOD))
    assert (State.ENTITLED, Reason.LICENSED) == state(admit())


@pytest.mark.parametrize(
    ("licenses", "reason"),
    [
        ((), Reason.NO_LICENSE),
        ((replace(GOOD, entitlements=()),), Reason.NO_LICENSE),
        ((replace(GOOD, issuer="aws:111122223333:me:issuer-fingerprint"),), Reason.NO_LICENSE),
        ((replace(GOOD, grant_type="DelegateGrant"),), Reason.NO_LICENSE),
        ((replace(GOOD, received="REJECTED"),), Reason.NO_LICENSE),
        ((replace(GOOD, received="DISABLED"),), Reason.NO_LICENSE),
        ((replace(GOOD, status="DELETED"),), Reason.NO_LICENSE),
        ((replace(GOOD, received="PENDING_ACCEPT"),), Reason.LICENSE_PENDING),
        ((replace(GOOD, begin=START + HOUR),), Reason.LICENSE_PENDING),
        ((SUSPENDED,), Reason.LICENSE_SUSPENDED),
        ((EXPIRED,), Reason.LICENSE_EXPIRED),
        ((EXPIRED, replace(RENEWED, received="PENDING_ACCEPT")), Reason.LICENSE_PENDING),
    ],
)
def test_new_pod_denied_with_its_reason(licenses: tuple[License, ...], reason: Reason) -> None:
    """A complete look without a good license denies a pod that starts, and names why."""
    assert (State.DENIED, reason) == state(look(begin(), *licenses))


def test_grant_after_denial_asks_for_the_proof() -> None:
    """A buyer who subscribes later gets in without a restart; until the proof is there nothing is denied."""
    denied = look(begin(), at=timedelta())
    listed = look(denied, GOOD, at=HOUR)
    assert (State.PENDING, Reason.REGISTERING) == state(listed, HOUR)
    assert (State.ENTITLED, Reason.LICENSED) == state(listed.proven(GOOD, REGION, START + HOUR), HOUR)


def test_silence_denies_nothing() -> None:
    """Without an answer the pod is pending, then unavailable, and never denied."""
    silent = begin().faulted(Reason.UNREACHABLE, "no route", START)
    assert (State.PENDING, Reason.UNREACHABLE) == state(silent)
    assert (State.UNAVAILABLE, Reason.UNREACHABLE) == state(silent, 30 * MINUTE)
    assert START + 30 * MINUTE == next_change(silent, START)
    assert (State.ENTITLED, Reason.LICENSED) == state(admit().faulted(Reason.UNREACHABLE, "no route", START), 99 * HOUR)


def test_memory_within_its_time() -> None:
    """A restarted container runs on the newest proof while License Manager gives no answer."""
    recalled = restart(admit()).faulted(Reason.UNREACHABLE, "no route", START + HOUR)
    assert (State.ENTITLED, Reason.REMEMBERED) == state(recalled, HOUR)
    assert (State.UNAVAILABLE, Reason.UNREACHABLE) == state(recalled, 24 * HOUR)
    never = restart(admit(terms(remember_for=timedelta()))).faulted(Reason.UNREACHABLE, "no route", START + HOUR)
    assert (State.PENDING, Reason.UNREACHABLE) == state(never, HOUR)


def test_memory_of_another_pod_is_none() -> None:
    """A new pod on the same ledger proves its own right."""
    evidence = admit().evidence
    assert evidence is not None
    assert None is begin(terms(pod="pod-2")).recalled(evidence).evidence


@pytest.mark.parametrize("status", ["SUSPENDED", "DEACTIVATED"])
def test_stopped_license_closes_the_gate(status: str) -> None:
    """A stopped license suspends the pod at the first look, a restart changes nothing, and a good one lifts it."""
    stopped = replace(GOOD, status=status)
    suspended = look(admit(), stopped, at=HOUR)
    assert (State.SUSPENDED, Reason.LICENSE_SUSPENDED) == state(suspended, HOUR)
    silent = restart(suspended, 2 * HOUR).faulted(Reason.UNREACHABLE, "no route", START + 2 * HOUR)
    assert (State.PENDING, Reason.UNREACHABLE) == state(silent, 2 * HOUR)
    assert (State.SUSPENDED, Reason.LICENSE_SUSPENDED) == state(look(restart(suspended), stopped, at=HOUR), HOUR)
    assert (State.SUSPENDED, Reason.NO_LICENSE) == state(look(restart(suspended), at=HOUR), HOUR)
    assert (State.ENTITLED, Reason.LICENSED) == state(look(suspended, GOOD, at=2 * HOUR), 2 * HOUR)


def test_another_good_license_prevents_suspension() -> None:
    """One good license of the product suffices for a pod that runs."""
    assert (State.ENTITLED, Reason.LICENSED) == state(look(admit(), SUSPENDED, RENEWED))


@pytest.mark.parametrize("status", ["SUSPENDED", "DEACTIVATED"])
def test_lesser_license_replaces_no_stopped_one(status: str) -> None:
    """A license that never granted what is required neither keeps the gate open nor opens it after a restart."""
    stopped = replace(GOOD, status=status)
    suspended = look(admit(), stopped, LESSER, at=HOUR)
    assert (State.SUSPENDED, Reason.LICENSE_SUSPENDED) == state(suspended, HOUR)
    restarted = look(restart(suspended), stopped, LESSER, at=HOUR)
    assert (State.SUSPENDED, Reason.LICENSE_SUSPENDED) == state(restarted, HOUR)
    assert (State.ENTITLED, Reason.LICENSED) == state(look(suspended, GOOD, LESSER, at=2 * HOUR), 2 * HOUR)


@pytest.mark.parametrize(
    "licenses",
    [
        (),
        (replace(GOOD, status="DELETED"),),
        (replace(GOOD, status="PENDING_DELETE"),),
        (replace(GOOD, received="DISABLED"),),
        (replace(EXPIRED, arn="an older license"),),
        (LESSER,),
        (replace(GOOD, status="DELETED"), LESSER),
    ],
)
def test_missing_license_takes_two_looks(licenses: tuple[License, ...]) -> None:
    """A license that is gone closes the gate only if two looks at least `refresh` apart agree."""
    first = look(admit(), *licenses, at=MINUTE)
    assert State.ENTITLED is state(first, MINUTE)[0]
    early = look(first, *licenses, at=REFRESH)
    assert State.ENTITLED is state(early, REFRESH)[0]
    second = look(early, *licenses, at=REFRESH + MINUTE)
    assert State.SUSPENDED is state(second, REFRESH + MINUTE)[0]
    # A restart between the two does not begin the count again, and does not end it.
    restarted = look(restart(first), *licenses, at=REFRESH)
    assert State.ENTITLED is state(restarted, REFRESH)[0]
    assert State.SUSPENDED is state(look(restarted, *licenses, at=REFRESH + MINUTE), REFRESH + MINUTE)[0]


def test_good_look_between_begins_the_count_again() -> None:
    """Two looks agree only if no good one lies between them."""
    back = look(look(admit(), at=MINUTE), GOOD, at=2 * MINUTE)
    assert State.ENTITLED is state(look(back, at=REFRESH + MINUTE), REFRESH + MINUTE)[0]


def test_expiry_while_running() -> None:
    """Expiry leaves a running pod entitled, also after a container restart; a new pod is denied."""
    expired = look(admit(), EXPIRED, at=HOUR)
    assert (State.ENTITLED, Reason.LICENSED) == state(expired, HOUR)
    assert expired.license is EXPIRED
    assert (State.ENTITLED, Reason.LICENSED) == state(look(restart(expired), EXPIRED, at=HOUR), HOUR)
    assert (State.DENIED, Reason.LICENSE_EXPIRED) == state(look(begin(terms(pod="pod-2")), EXPIRED))


def test_expiry_does_not_lift_a_suspension() -> None:
    """A license that was stopped and then expires does not open the gate."""
    suspended = look(admit(), SUSPENDED)
    assert State.SUSPENDED is state(look(suspended, EXPIRED, at=HOUR), HOUR)[0]
    assert State.SUSPENDED is state(look(restart(suspended), EXPIRED, at=HOUR), HOUR)[0]


def test_expired_license_admits_where_the_seller_wants() -> None:
    """`on_expired: warn` lets a new pod in, with the reason, also at the next look and after a container restart."""
    over = replace(EXPIRED, end=START - HOUR)
    warned = look(begin(terms(on_expired=OnExpired.WARN)), over)
    expected = (State.ENTITLED, Reason.LICENSE_EXPIRED)
    assert [expected] * 3 == [
        state(warned),
        state(look(warned, over, at=HOUR), HOUR),
        state(look(restart(warned), over, at=HOUR), HOUR),
    ]


@pytest.mark.parametrize(
    ("licenses", "expected"),
    [
        ((LESSER_EXPIRED,), (State.DENIED, Reason.LICENSE_EXPIRED, None)),
        ((EXPIRED, LESSER_EXPIRED), (State.ENTITLED, Reason.LICENSE_EXPIRED, EXPIRED)),
        ((EXPIRED, LESSER), (State.DENIED, Reason.NO_LICENSE, None)),
        ((EXPIRED, replace(LESSER, status="SUSPENDED")), (State.DENIED, Reason.LICENSE_SUSPENDED, None)),
        ((EXPIRED, replace(RENEWED, received="PENDING_ACCEPT")), (State.ENTITLED, Reason.LICENSE_EXPIRED, EXPIRED)),
    ],
)
def test_only_what_granted_enough_admits_late(
    licenses: tuple[License, ...], expected: tuple[State, Reason, License | None]
) -> None:
    """`on_expired: warn` lets a pod in by a license that granted what is required, unless an active one decides."""
    of = terms(on_expired=OnExpired.WARN)
    found = look(begin(of), *licenses)
    assert expected[:2] == state(found)
    assert expected[2] is right_of_expired(survey(licenses, SKU, of.policy, START), of.policy)


def test_expired_license_that_lacks_something_says_so() -> None:
    """A renewal of the same contract would not open the gate, so the refusal names what the license lacks."""
    detail = judge(look(begin(), LESSER_EXPIRED), START).detail
    assert "expired" in detail
    assert "has no entitlement users" in detail


def test_license_ends_with_the_calendar() -> None:
    """A license that begins or ends where the calendar does is judged as any other."""
    endless = replace(GOOD, begin=datetime.min.replace(tzinfo=UTC), end=datetime.max.replace(tzinfo=UTC))
    proven = look(begin(), endless).proven(endless, REGION, START)
    assert State.ENTITLED is state(look(proven, endless, at=HOUR), HOUR)[0]
    later = replace(GOOD, begin=datetime.max.replace(tzinfo=UTC))
    assert (State.DENIED, Reason.LICENSE_PENDING) == state(look(begin(), later))


def test_renewal_without_a_gap() -> None:
    """A renewal is another license of the product; the pod is entitled throughout."""
    renewed = look(look(admit(), EXPIRED, at=HOUR), EXPIRED, RENEWED, at=2 * HOUR)
    assert (State.ENTITLED, Reason.LICENSED) == state(renewed, 2 * HOUR)
    assert renewed.license is RENEWED


def test_amendment_down_keeps_the_right() -> None:
    """A running pod keeps its right when the contract grants less; a new one is judged by what it grants now."""
    less = replace(GOOD, entitlements=())
    kept = look(admit(), less, at=HOUR)
    assert (State.ENTITLED, Reason.LICENSED) == state(kept, HOUR)
    assert "has no entitlement users" in judge(kept, START + HOUR).detail
    assert State.ENTITLED is state(look(restart(kept), less, at=HOUR).proven(less, REGION, START + HOUR), HOUR)[0]
    assert State.DENIED is state(look(begin(), less))[0]


def test_taken_seats_admit_for_a_while() -> None:
    """A seat that AWS refuses although a lost one is certainly free again makes the pod pending, and never denied."""
    taken = refuse(look(begin(terms(HOLD_ONE)), GOOD))
    assert (State.ENTITLED, Reason.LICENSED) == state(taken)
    again = refuse(taken, ADMIT_FOR - MINUTE)
    assert (State.ENTITLED, Reason.LICENSED) == state(again, ADMIT_FOR - MINUTE)
    closed = refuse(refuse(again, ADMIT_FOR), ADMIT_FOR + MINUTE)
    assert (State.PENDING, Reason.SEATS_TAKEN) == state(closed, ADMIT_FOR + MINUTE)
    assert START + ADMIT_FOR == judge(closed, START + 2 * HOUR).since
    assert (State.PENDING, Reason.SEATS_TAKEN) == state(look(closed, GOOD, at=99 * HOUR), 99 * HOUR)
    seated = closed.proven(GOOD, REGION, START + 2 * HOUR)
    assert (State.ENTITLED, Reason.LICENSED) == state(seated, 2 * HOUR)
    assert START + 2 * HOUR == judge(seated, START + 2 * HOUR).since


def test_end_of_the_license_gives_no_seat() -> None:
    """A pod that AWS refused a seat is pending once the license has expired and its time without a seat is over."""
    taken = look(begin(terms(HOLD_ONE)), GOOD).unseated(GOOD, REGION, START, START)
    within = look(taken, EXPIRED, at=ADMIT_FOR - MINUTE)
    assert State.ENTITLED is state(within, ADMIT_FOR - MINUTE)[0]
    after = look(within, EXPIRED, at=ADMIT_FOR)
    assert (State.PENDING, Reason.SEATS_TAKEN) == state(after, ADMIT_FOR)
    assert (State.PENDING, Reason.SEATS_TAKEN) == state(look(restart(after), EXPIRED, at=ADMIT_FOR), ADMIT_FOR)


def test_warned_pod_runs_without_a_seat() -> None:
    """With `on_expired: warn` the end of the license takes no right, as it takes none from a new pod."""
    taken = look(begin(terms(HOLD_ONE, on_expired=OnExpired.WARN)), GOOD).unseated(GOOD, REGION, START, START)
    after = look(taken, EXPIRED, at=ADMIT_FOR)
    assert State.ENTITLED is state(after, ADMIT_FOR)[0]
    assert State.ENTITLED is state(look(restart(after), EXPIRED, at=ADMIT_FOR), ADMIT_FOR)[0]


def test_renewal_ends_the_wait_for_a_seat() -> None:
    """The renewed license has a seat, as far as AWS has answered: only its own refusal keeps the pod waiting."""
    taken = look(begin(terms(HOLD_ONE)), GOOD).unseated(GOOD, REGION, START, START)
    late = timedelta(days=265) + ADMIT_FOR
    ended = look(taken, EXPIRED, at=late)
    assert State.PENDING is state(ended, late)[0]
    assert State.ENTITLED is state(look(ended, RENEWED, at=late), late)[0]


def test_time_without_an_answer_takes_no_right() -> None:
    """Time alone does not end the time without a seat, also after a restart; then `remember_for` ends it."""
    taken = refuse(look(begin(terms(HOLD_ONE)), GOOD), HOUR)
    looked = look(taken.faulted(Reason.UNREACHABLE, "no route", START + 2 * HOUR), GOOD, at=9 * HOUR)
    assert None is next_change(looked, START + HOUR)
    assert (State.ENTITLED, Reason.LICENSED) == state(looked, 99 * HOUR)
    silent = restart(looked, 10 * HOUR).faulted(Reason.UNREACHABLE, "no route", START + 10 * HOUR)
    assert (State.ENTITLED, Reason.REMEMBERED) == state(silent, 25 * HOUR - MINUTE)
    # By the refusal, not by the look after it: a look shows nothing of a seat.
    assert (State.UNAVAILABLE, Reason.UNREACHABLE) == state(silent, 25 * HOUR)


def test_restart_does_not_prolong_the_time_without_a_seat() -> None:
    """The time without a seat counts from the pod's first refusal, across restarts."""
    taken = refuse(look(begin(terms(HOLD_ONE)), GOOD))
    again = refuse(look(restart(taken), GOOD, at=HOUR), HOUR)
    assert State.ENTITLED is state(again, HOUR)[0]
    closed = refuse(again, ADMIT_FOR)
    assert (State.PENDING, Reason.SEATS_TAKEN) == state(closed, ADMIT_FOR)
    silent = restart(closed, ADMIT_FOR).faulted(Reason.UNREACHABLE, "no route", START + ADMIT_FOR)
    assert State.PENDING is state(silent, ADMIT_FOR)[0]


def test_waiting_for_a_seat() -> None:
    """With `on_taken: wait` a new pod is pending from the start, with the reason."""
    taken = refuse(look(begin(terms(HOLD_ONE, on_taken=OnTaken.WAIT)), GOOD))
    assert (State.PENDING, Reason.SEATS_TAKEN) == state(taken)
    assert (State.PENDING, Reason.SEATS_TAKEN) == state(taken, 99 * HOUR)


@pytest.mark.parametrize("on_taken", list(OnTaken))
def test_lost_seat_keeps_the_right(on_taken: OnTaken) -> None:
    """A running pod that loses its seat stays entitled while the license is good, also after a restart."""
    running = look(begin(terms(HOLD_ONE, on_taken=on_taken)), GOOD).proven(GOOD, REGION, START)
    assert (State.ENTITLED, Reason.LICENSED) == state(refuse(running, HOUR), 99 * HOUR)
    again = refuse(look(restart(running), GOOD, at=HOUR), HOUR)
    assert (State.ENTITLED, Reason.LICENSED) == state(again, 99 * HOUR)


def test_memory_of_another_product_is_none() -> None:
    """The license of one product gives no right to the next product on the same ledger."""
    evidence = admit().evidence
    assert evidence is not None
    assert None is begin(replace(terms(), sku="prod-another")).recalled(evidence).evidence


def test_memory_from_the_future_proves_nothing() -> None:
    """A proof dated further ahead than clocks differ counts only once its time has come."""
    recalled = restart(admit(), -HOUR).faulted(Reason.UNREACHABLE, "no route", START - HOUR)
    assert (State.UNAVAILABLE, Reason.UNREACHABLE) == state(recalled, -6 * MINUTE)
    assert (State.ENTITLED, Reason.REMEMBERED) == state(recalled, -5 * MINUTE)


def test_clock_back_does_not_prolong_the_time_without_a_seat() -> None:
    """A refusal that lies in the future counts from the present one."""
    taken = refuse(look(begin(terms(HOLD_ONE)), GOOD), 24 * HOUR)
    again = refuse(refuse(taken), ADMIT_FOR)
    assert (State.PENDING, Reason.SEATS_TAKEN) == state(again, ADMIT_FOR)


def test_clock_back_does_not_keep_a_missing_license() -> None:
    """A look that lies in the future counts from the present one: the next one, `refresh` later, decides."""
    first = look(admit(), at=24 * HOUR)
    second = look(first, at=timedelta())
    assert State.ENTITLED is state(second)[0]
    assert State.SUSPENDED is state(look(second, at=REFRESH), REFRESH)[0]


def test_expired_look_between_begins_the_count_again() -> None:
    """A look that shows the pod's own expired license lies between two that show none: these do not agree."""
    back = look(look(admit(), at=MINUTE), EXPIRED, at=2 * MINUTE)
    assert State.ENTITLED is state(look(back, at=REFRESH + MINUTE), REFRESH + MINUTE)[0]
