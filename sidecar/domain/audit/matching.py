"""Pairs the ledger's records with AWS's charges: which pod made a charge, and the meaning of each pair and each rest.

Never guesses which pod made a charge: a record in doubt is found only by its client token, by the pod that the charge
names, or when the log shows no sign of another pod.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from sidecar.domain import timestamps
from sidecar.domain.audit.coverage import Log, gap
from sidecar.domain.audit.sessions import Sessions, pod_named
from sidecar.domain.audit.slots import (
    EVERY_HOUR,
    NOTHING_LEFT_OUT,
    Charge,
    FailedCall,
    LeftOut,
    Reconciliation,
    Slot,
    Span,
    Submission,
    UndescribedCall,
    Verdict,
)
from sidecar.domain.metering.quantity import render
from sidecar.domain.metering.records import RecordStatus

_NOBODYS = "no record here is it: another ledger's, or metered past the sidecar"
_OLD = "of an hour whose records are no longer all kept here; --from leaves such hours out"
_NOT_KEPT_FOREVER = frozenset({RecordStatus.ACCEPTED, RecordStatus.CARRIED})
"""The oldest of these that is kept shows from when on all are, if the ledger does not know it."""


def reconcile(
    submissions: Iterable[Submission],
    charges: Iterable[Charge],
    pods: Collection[str] = (),
    registrations: Collection[tuple[str, str]] = (),
    span: Span = EVERY_HOUR,
    log: Log | None = None,
    left_out: LeftOut = NOTHING_LEFT_OUT,
    failed: Iterable[FailedCall] = (),
) -> Reconciliation:
    """Pair records and charges of one product and judge every pair and every single one.

    Args:
        submissions: Every record of one or several pods, also outside the span.
        charges: All that AWS charged, also outside the span: a sign of another pod counts in whichever hour it is. A
            call that was repeated counts once.
        pods: The uids of pods that have no records any more, or never had: a charge of theirs is no stranger's.
        registrations: The sessions under which pods have registered, with account and Region.
        span: The hours to return slots of.
        log: When AWS's log has events, by place; without it no absence means anything.
        left_out: Pairs, and charges of other pods, that were found before and are not among these.
        failed: Calls of which the log does not show whether AWS charged them: a record in doubt may be one of them.
    """
    pairing = _Pairing(list(submissions), _distinct(charges), pods, registrations, left_out)
    pairing.pair_by_identifier()
    pairing.pair_by_token()
    pairing.pair_by_pod()
    pairing.pair_the_only_ones()
    return pairing.conclude(span, log or {}, failed)


class _Pairing:
    """The records and charges that are not paired yet, and the slots that are."""

    def __init__(
        self,
        submissions: list[Submission],
        charges: list[Charge],
        pods: Collection[str],
        registrations: Collection[tuple[str, str]],
        left_out: LeftOut,
    ) -> None:
        self._left_out = left_out
        self._origins = {(charge.session, charge.account_region) for charge in charges}.union(left_out.origins)
        self._submissions = dict.fromkeys(submissions)
        self._charges = dict.fromkeys(charges)
        self._all_submissions = submissions
        self._pods = {submission.pod for submission in submissions}.union(pods)
        self._sessions = Sessions(self._pods, _proven(submissions, charges).union(left_out.sessions))
        self._places: dict[tuple[str, str], set[str]] = defaultdict(set)
        """Where the records of each ledger and pod are charged, as far as the log proves."""
        for ledger, pod, place in left_out.places:
            self._places[ledger, pod].add(place)
        self._named: dict[str, set[str]] = defaultdict(set)
        """Where sessions that are named after a pod were charged, or have registered, by pod."""
        cut = {
            (each.session, each.account_region) for each in left_out.undescribed if each.metering_record_id is not None
        }
        for session, place in self._origins.union(registrations, cut):
            named = None if session is None else pod_named(session, self._pods)
            if named is not None:
                self._named[named].add(place)
        self._ledgers: dict[str, set[str]] = defaultdict(set)
        """The ledgers that have records of each pod: of two, one is a copy, and what both have is one record of AWS."""
        for pod, ledger in {(each.pod, each.ledger) for each in submissions}.union(left_out.ledgers):
            self._ledgers[pod].add(ledger)
        self._slots: list[Slot] = []
        self._notes: dict[Submission | Charge, str] = {}

    def pair_by_identifier(self) -> None:
        """Pair what has the same metering record id; of two charges under one, the one that is the record."""
        by_id: dict[str, list[Charge]] = defaultdict(list)
        for charge in self._charges:
            by_id[charge.metering_record_id].append(charge)
        for submission in list(self._submissions):
            if submission.metering_record_id is None:
                continue
            found = by_id.get(submission.metering_record_id, [])
            for charge in sorted(found, key=lambda each: not _same_usage(submission, each))[:1]:
                self._pair(submission, charge, proven=True)

    def pair_by_token(self) -> None:
        """Pair what has the same client token: each record has one of its own."""
        by_token = {charge.client_token: charge for charge in self._charges if charge.client_token is not None}
        for submission in list(self._submissions):
            found = by_token.get(submission.client_token)
            if found is not None:
                self._pair(submission, found, proven=True)

    def pair_by_pod(self) -> None:
        """Pair what is in the same slot of the same pod: AWS never takes a second record there."""
        by_slot = {
            (pod, charge.dimension, charge.hour): charge
            for charge in self._charges
            if (pod := self._sessions.pod_of(charge.session)) is not None
        }
        for submission in list(self._submissions):
            found = by_slot.get((submission.pod, submission.dimension, submission.hour))
            if found is not None:
                self._pair(submission, found, proven=True)

    def pair_the_only_ones(self) -> None:
        """Pair undecided records that may have been taken with charges that no other record can be.

        That is so when each is the only one of its slot, records that a person has decided counted, and these pairs
        leave no charge of unknown origin over: one that is left may be another pod's, and then so may all the others.
        Charges in two accounts or Regions are of two pods at least.
        """
        unknown: dict[tuple[str, datetime], list[Charge]] = defaultdict(list)
        for charge in self._charges:
            if not self._sessions.is_strange(charge.session):
                unknown[charge.dimension, charge.hour].append(charge)
        open_ended: dict[tuple[str, datetime], list[Submission]] = defaultdict(list)
        for submission in self._submissions:
            if submission.may_be_held:
                open_ended[submission.dimension, submission.hour].append(submission)
        pairs = [
            (open_ended[slot][0], found[0])
            for slot, found in unknown.items()
            if len(found) == 1 and len(open_ended[slot]) == 1 and _may_be(open_ended[slot][0], found[0])
        ]
        places = {place for session, place in self._origins if not self._sessions.is_strange(session)}
        # An undescribed call may be a charge of any pod, like one that no record is.
        hidden = any(
            self._sessions.pod_of(call.session) is None
            for call in self._left_out.undescribed
            if not self._sessions.is_strange(call.session)
        )
        copied = any(self._copies(submission) for submission, _ in pairs)
        others = hidden or self._left_out.others_registered or self._left_out.unknown
        if len(places) <= 1 and not others and not copied and len(pairs) == sum(map(len, unknown.values())):
            for submission, charge in pairs:
                self._pair(submission, charge, proven=False)
            return
        for submission, charge in pairs:
            self._notes[submission] = f"perhaps {charge.metering_record_id}, which may be another pod's"
            self._notes[charge] = f"perhaps {submission.id}; it may be another pod's"

    def conclude(self, span: Span, log: Log, failed: Iterable[FailedCall]) -> Reconciliation:
        """Judge what has no counterpart, and return what is in the span; a pair is as soon as one side is."""
        foreign = [charge for charge in self._charges if self._sessions.is_strange(charge.session)]
        for charge in foreign:
            del self._charges[charge]
        open_slots = {(charge.dimension, charge.hour) for charge in self._charges}
        likely: dict[tuple[str, datetime], list[FailedCall | Charge]] = defaultdict(list)
        signs: list[FailedCall | Charge] = [*failed, *foreign]
        for sign in signs:
            likely[sign.dimension, sign.hour].append(sign)
        unseen: dict[tuple[str, str], list[Submission]] = defaultdict(list)
        for submission in self._submissions:
            if submission.status is RecordStatus.ACCEPTED:
                unseen[submission.ledger, submission.pod].append(submission)
        for submission in self._submissions:
            verdict, note = judge_record(submission)
            if submission.in_doubt and (submission.dimension, submission.hour) not in open_slots:
                calls = likely[submission.dimension, submission.hour]
                call = next((call for call in calls if self._may_be(call, submission)), None)
                hidden = [call for call in self._left_out.undescribed if self._may_be_of(call.session, submission.pod)]
                places = self._places[submission.ledger, submission.pod] | self._named[submission.pod]
                accepted = unseen[submission.ledger, submission.pod]
                copies = self._copies(submission)
                verdict, note = _judge_absence(submission, places, log, hidden, call, accepted, copies)
            self._slots.append(Slot(verdict, submission, None, self._notes.get(submission, note)))
        kept_from = self._left_out.kept_from or min(
            (each.hour for each in self._all_submissions if each.status in _NOT_KEPT_FOREVER), default=None
        )
        for charge in self._charges:
            verdict, note = judge_charge(charge, kept_from)
            self._slots.append(Slot(verdict, None, charge, self._notes.get(charge, note)))
        judged = [slot for slot in self._slots if any(map(span.holds, slot.hours))]
        strangers = sum(span.holds(charge.hour) for charge in foreign) + self._left_out.of_other_pods
        return Reconciliation(
            sorted(judged, key=lambda slot: slot.key),
            strangers,
            self._left_out.tallies,
            self._left_out.undescribed_events,
        )

    def _pair(self, submission: Submission, charge: Charge, *, proven: bool) -> None:
        del self._submissions[submission]
        # Two records that name one charge: the first has it, the second finds nothing.
        if charge in self._charges:
            del self._charges[charge]
            if proven:
                self._places[submission.ledger, submission.pod].add(charge.account_region)
            verdict, note = _judge_pair(submission, charge)
            self._slots.append(Slot(verdict, submission, charge, note))
        else:
            note = f"AWS's {charge.metering_record_id} is another record's"
            self._slots.append(Slot(Verdict.MISSING_IN_AWS, submission, None, note))

    def _copies(self, submission: Submission) -> list[str]:
        """Return the other ledgers that have records of a record's pod."""
        return sorted(self._ledgers[submission.pod] - {submission.ledger})

    def _may_be(self, call: FailedCall | Charge, submission: Submission) -> bool:
        """Return whether a failed call, or a charge of a strange session, may be a record in the same slot."""
        if call.quantity != submission.quantity or call.client_token not in {None, submission.client_token}:
            return False
        return self._may_be_of(call.session, submission.pod)

    def _may_be_of(self, session: str | None, pod: str) -> bool:
        """Return whether a session may be of a pod.

        A strange one may: the name of a pod's session need not be the pod's. It is not if the log shows that this pod's
        sessions are named after it.
        """
        if self._sessions.is_strange(session):
            return not self._named[pod]
        return self._sessions.may_be_of(session, pod)


def _proven(submissions: Iterable[Submission], charges: Iterable[Charge]) -> set[str | None]:
    """Return the session of each charge that a receipt or a client token shows to be a record's."""
    keys = {key for submission in submissions for key in (submission.metering_record_id, submission.client_token)}
    keys.discard(None)
    return {
        charge.session for charge in charges if not keys.isdisjoint((charge.metering_record_id, charge.client_token))
    }


def _distinct(charges: Iterable[Charge]) -> list[Charge]:
    """Return each charge once: AWS logs the identical repeat of a call as a call of its own."""
    found: dict[tuple[str, str, datetime, int], Charge] = {}
    for charge in charges:
        found.setdefault((charge.metering_record_id, charge.dimension, charge.hour, charge.quantity), charge)
    return list(found.values())


def _same_usage(submission: Submission, charge: Charge) -> bool:
    return (submission.dimension, submission.hour, submission.quantity) == (
        charge.dimension,
        charge.hour,
        charge.quantity,
    )


def _may_be(submission: Submission, charge: Charge) -> bool:
    """Return whether a charge of unknown origin can be an undecided record: another token is another request's."""
    alike = charge.client_token is None and submission.quantity == charge.quantity
    return alike and not submission.resolved


def _judge_pair(submission: Submission, charge: Charge) -> tuple[Verdict, str]:
    if not _same_usage(submission, charge):
        return Verdict.DIFFERENT, _difference(submission, charge)
    note = f"AWS charged it, and here it is unbilled ({submission.reason})"
    match submission.status:
        case RecordStatus.ACCEPTED:
            if submission.metering_record_id == charge.metering_record_id:
                return Verdict.MATCHED, ""
            note = f"here it is metering record {submission.metering_record_id}"
        case RecordStatus.SEALED:
            return Verdict.WAITING, "AWS holds it; the sidecar's next attempt learns so"
        case RecordStatus.CARRIED:
            note = "AWS charged it, and here it was carried into a later hour: charged twice"
        case RecordStatus.UNBILLED:
            if submission.in_doubt:
                return Verdict.SETTLED, ""
            if not charge.quantity:
                return Verdict.MATCHED, f"a zero, so nothing is charged; here it is unbilled ({submission.reason})"
    return Verdict.DIFFERENT, note


def judge_charge(charge: Charge, kept_from: datetime | None) -> tuple[Verdict, str]:
    """Judge a charge that no record is; `kept_from` is the hour from which on every record that AWS took is kept."""
    return Verdict.MISSING_HERE, _NOBODYS if kept_from is None or charge.hour >= kept_from else _OLD


def judge_record(submission: Submission) -> tuple[Verdict, str]:
    """Judge a record that AWS's log does not show."""
    match submission.status:
        case RecordStatus.ACCEPTED:
            return Verdict.MISSING_IN_AWS, f"here AWS took it as {submission.metering_record_id}"
        case RecordStatus.SEALED:
            return Verdict.WAITING, "still being submitted"
        case RecordStatus.CARRIED:
            return Verdict.NOT_CHARGED, "carried into a later hour, and counted there"
        case RecordStatus.UNBILLED if submission.in_doubt:
            return Verdict.MISSING_IN_AWS, (
                "in doubt; the files have a charge of this dimension and hour that may be this record"
            )
        case RecordStatus.UNBILLED:
            return Verdict.NOT_CHARGED, submission.reason or ""


def _judge_absence(
    submission: Submission,
    places: Collection[str],
    log: Log,
    undescribed: Collection[UndescribedCall],
    call: FailedCall | Charge | None,
    unseen: Iterable[Submission],
    copies: Sequence[str],
) -> tuple[Verdict, str]:
    """Judge a record in doubt of which the log shows no charge.

    It was not charged if the log covers it, and shows no `call` that may be it. Each of the `undescribed` calls may be
    it, too. AWS has charged the `unseen` records of its pod, and the log does not show it. Of `copies` of its ledger
    another may have it.
    """
    if copies:
        why = f"{copies[0]} has records of its pod, too, and perhaps this one; decide it in one ledger"
        return Verdict.MISSING_IN_AWS, f"in doubt; {why}"
    words = "in doubt, and not in these files"
    if len(places) != 1:
        why = "which do not show where its pod ran" if not places else "which show its pod in two places"
        return Verdict.MISSING_IN_AWS, f"{words}, {why}"
    (place,) = places
    activity, calls = log.get(place), [call for call in undescribed if call.account_region == place]
    missing = "they have no write event there" if activity is None else gap(submission, activity, calls, unseen)
    if missing is not None:
        return Verdict.MISSING_IN_AWS, f"{words}, which do not cover its time: {missing}"
    match call:
        case FailedCall(error=error):
            why = f"the files show a call of it that failed with {error}, and AWS may have charged it all the same"
            return Verdict.MISSING_IN_AWS, f"in doubt; {why}"
        case Charge(metering_record_id=receipt):
            why = f"perhaps {receipt}, of a session that may be this pod's (--also takes the ledgers of other pods)"
            return Verdict.MISSING_IN_AWS, f"in doubt; {why}"
        case None:
            pass
    return Verdict.NOT_CHARGED, "in doubt; the files cover its whole time and show no charge"


def _difference(submission: Submission, charge: Charge) -> str:
    parts = []
    if submission.dimension != charge.dimension:
        parts.append(f"the dimension is {charge.dimension} at AWS")
    if submission.hour != charge.hour:
        parts.append(f"the hour is {timestamps.render(charge.hour)} at AWS")
    if submission.quantity != charge.quantity:
        more = charge.quantity - submission.quantity
        parts.append(f"AWS charged {render(abs(more))} {'more' if more > 0 else 'less'} than is here")
    return "; ".join(parts)
