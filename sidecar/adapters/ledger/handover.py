"""Which pod the ledger meters for, and what a ledger takes over from a pod that is gone.

AWS counts each pod by itself. What another pod may have submitted is never submitted again under this one's name.
"""

import sqlite3
import uuid
from collections import defaultdict
from dataclasses import replace
from datetime import datetime

from sidecar.adapters.ledger.courses import read_courses, write_course
from sidecar.adapters.ledger.last_hour import carry_after_end
from sidecar.adapters.ledger.probe_slots import retire_probe
from sidecar.adapters.ledger.store import Move, Store, read_bucket
from sidecar.adapters.ledger.submitting import close, read_record, record_outcome
from sidecar.adapters.ledger.unsent import Left, keep_unbilled
from sidecar.domain import timestamps
from sidecar.domain.metering.buckets import Bucket
from sidecar.domain.metering.events import Aggregation
from sidecar.domain.metering.failing import Course
from sidecar.domain.metering.hours import Hour, from_micros, hour_of_micros, start_of, to_micros
from sidecar.domain.metering.probes import is_probe
from sidecar.domain.metering.quantity import render
from sidecar.domain.metering.records import Answer, CarryCause, UnbilledReason, orphan, window_closes_at
from sidecar.domain.metering.rules import MeteringRules, window_closed
from sidecar.domain.policy import LatePolicy


def take_identity(store: Store, uid: str | None, source: str, now: int) -> tuple[str, str]:
    """Make `uid` the pod of this ledger, or the one it has kept itself where there is none from outside.

    Returns:
        The pod's uid and where it comes from.
    """
    if uid is None:
        store.connection.execute(
            "INSERT INTO meta VALUES ('own-pod', ?) ON CONFLICT DO NOTHING", (f"ledger-{uuid.uuid4()}",)
        )
        uid, source = str(store.one("SELECT value FROM meta WHERE key = 'own-pod'")["value"]), "ledger"
    store.connection.execute(
        "INSERT INTO pod (uid, source, first_seen_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (uid, source, now)
    )
    store.pod = int(store.one("SELECT id FROM pod WHERE uid = ?", uid)["id"])
    store.remember("pod", uid)
    return uid, source


def take_over(store: Store, rules: MeteringRules, now: int) -> int:
    """Take over what other pods left unfinished; how many buckets and records that were.

    Usage inside the submission window has only another identity: it is carried under every policy for late usage. Older
    usage follows that policy, as it would have in its own pod. Other products' usage has been set apart before.
    """
    this_hour = hour_of_micros(now)
    buckets = store.rows("SELECT * FROM bucket WHERE sealed = 0 AND pod <> ?", store.pod)
    expired: dict[Hour, list[Left]] = defaultdict(list)
    for row in buckets:
        dimension, hour, tag_set = int(row["dimension"]), Hour(row["hour"]), int(row["tag_set"])
        heir = store.heir(dimension)
        target = store.first_open(heir, this_hour)
        left = Left(row["pod"], dimension, hour, tag_set, read_bucket(row).quantity)
        if rules.late is LatePolicy.UNBILLED and window_closed(hour, rules, now):
            expired[hour].append(left)
            continue
        if (target, heir) == (hour, dimension):
            _continue_hour(store, row)
            left = replace(left, quantity=read_bucket(_reread(store, row)).quantity)
        cause = CarryCause.EXPIRED if window_closed(hour, rules, now) else CarryCause.ADOPTED
        close(store, Move(cause, None, left.pod, hour, target, heir, tag_set, left.quantity, dimension), now)
    for hour, lefts in expired.items():
        keep_unbilled(store, lefts, UnbilledReason.EXPIRED.because(_closed_words(start_of(hour), rules)), now)
    records = store.rows("SELECT * FROM named_record WHERE status = 'sealed' AND pod <> ?", store.pod)
    for row in records:
        if is_probe(row["client_token"]):
            retire_probe(store, row, "its pod is gone", now)
            continue
        record = read_record(row)
        closed = to_micros(window_closes_at(record, rules.window)) < now
        words = _closed_words(record.timestamp, rules) if closed else None
        if row["attempted_at"] is not None:
            _note_due(store, record.dimension, from_micros(min(row["attempted_at"], now)), from_micros(now))
        fate = orphan(record.unanswered, row["uid"], late=rules.late, closed=words)
        record_outcome(store, record, fate, Answer(row["answer"] or "pod gone"), now)
    usage = sum(not is_probe(row["client_token"]) for row in records)
    return len(buckets) + usage + carry_after_end(store, rules, now)


def _note_due(store: Store, dimension: str, at: datetime, now: datetime) -> None:
    """Keep that a record of a dimension was due at `at`: its pod knew that, but wrote it down only with an answer."""
    course = read_courses(store.connection).get(dimension, Course())
    # A success that lies in the future comes from a clock that has since gone back: see `Course.due`.
    if course.last_success_at is None or not at <= course.last_success_at <= now:
        write_course(store, dimension, course.due(at, now))


def _closed_words(dated: datetime, rules: MeteringRules) -> str:
    return f"the submission window closed at {timestamps.render(dated + rules.window)}"


def _continue_hour(store: Store, row: sqlite3.Row) -> None:
    """Go on with a gauge's open hour under the same terms: its own aggregate becomes this pod's.

    As a second entry it would be added to this pod's own: the same 10 seats in both pods would make 20, and a lower
    last value could not replace it. A sum adds up anyway.
    """
    aggregation = store.one("SELECT aggregation FROM dimension WHERE id = ?", row["dimension"])["aggregation"]
    left = read_bucket(row)
    own = max(min(left.own, left.quantity), 0)
    if aggregation == Aggregation.SUM or not left.events:
        return
    key = (row["dimension"], Hour(row["hour"]), row["tag_set"])
    here = store.bucket(*key) or Bucket()
    last_at = max((at for at in (here.last_at, left.last_at) if at is not None), default=None)
    store.put_bucket(*key, replace(here, own=here.own + own, last_at=last_at, sealed=False))
    store.connection.execute(
        "UPDATE bucket SET own = ? WHERE pod = ? AND dimension = ? AND hour = ? AND tag_set = ?",
        (render(left.own - own), row["pod"], *key),
    )


def _reread(store: Store, row: sqlite3.Row) -> sqlite3.Row:
    return store.one(
        "SELECT * FROM bucket WHERE pod = ? AND dimension = ? AND hour = ? AND tag_set = ?",
        row["pod"],
        row["dimension"],
        row["hour"],
        row["tag_set"],
    )
