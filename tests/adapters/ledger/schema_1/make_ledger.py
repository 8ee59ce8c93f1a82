"""Makes `ledger.sql`: a ledger of schema 1 with every kind of row, by the code of the version that wrote such ledgers.

    git worktree add /tmp/schema-1 4443677
    cd /tmp/schema-1 && PYTHONPATH=. python .../tests/adapters/ledger/schema_1/make_ledger.py ledger.sql

Under any later version it makes another ledger, so it is kept for the record and is no part of a test.
"""

import sqlite3
import sys
import tempfile
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from sidecar.adapters.ledger.evidence import write_evidence
from sidecar.adapters.ledger.resolving import resolve_in
from sidecar.domain.audit.decisions import Action, Resolution
from sidecar.domain.entitlement.states import Evidence
from sidecar.domain.metering.hours import to_micros
from sidecar.domain.metering.outcomes import Outcome
from tests.support.books import BLUE, HOUR, RED, WHOLE, Books, event
from tests.support.books import UNBILLED_LATE as UNBILLED


def fill(books: Books) -> None:
    """Live through a day with three pods; the last one is left in the middle of an hour."""
    books.rules = WHOLE
    answers = [Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.REJECTED, Outcome.CONFLICT]
    for outcome in answers:
        books.take(event("5.6", tags=RED), event("2", tags=BLUE), event("7", dimension="peak"))
        books.mark_reportable()
        books.pass_time(HOUR)
        books.seal_ended()
        books.submit_all(outcome)
    books.rules = UNBILLED
    books.take(event("3", at=books.now - 2 * HOUR))  # unbilled late
    books.take(event("4", tags=RED))
    books.pass_time(7 * HOUR)
    books.seal_ended()
    books.expire()  # unbilled expired
    books.rules = WHOLE
    books.take(event("6", at=books.now - 12 * HOUR))  # carried late
    books.take(event("2", dimension="level", tags=BLUE))
    books.pass_time(7 * HOUR)
    books.seal_ended()
    books.expire()  # carried expired
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all(Outcome.UNKNOWN)
    books.restart("pod-2")  # in doubt of another pod
    refused = [
        each for each in books.records(status="unbilled") if "duplicate" in (each.reason or "") and each.quantity
    ]
    for record, action in zip(refused, (Action.CARRY, Action.WRITE_OFF), strict=True):
        decision = Resolution(action, "seen with the buyer")
        resolve_in(books.path, record.id, decision, who="anna", now=to_micros(books.now), keep=True)
    books.take(event("1"))
    books.restart("pod-3")  # adopted
    books.take(event("8.7", id="id-1"), event("1", id="id-2", tags=RED), event("1.2"))
    books.take(event("1", id="id-3"), event("2"), key="batch-1")
    books.take(event(dimension="users", value="ann"), event(dimension="users", value="bob", tags=RED))
    books.take(event("10", dimension="peak"), event("4", dimension="level"))
    books.mark_reportable()
    books.pass_time(HOUR)
    books.seal_ended()  # sealed; those of `requests` and `users` are tried without an answer, of `peak` not at all
    for waiting in books.waiting():
        if waiting.dimension in {"requests", "users"}:
            books.submit(waiting, Outcome.UNKNOWN)
    books.take(event("2.5", id="id-4"), event("3", tags=BLUE), event("12", dimension="peak"))
    books.take(event("6", dimension="level"))
    books.take(event(dimension="users", value="ann"), event(dimension="users", value="eve"))
    books.mark_reportable()
    with books.store.transaction():
        now = books.now - timedelta(days=1)
        write_evidence(books.store, Evidence("pod-3", "0registered", 1, now, "nonce", "a.b.c"))


def main() -> None:
    """Write the ledger as SQL to the file named on the command line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        books = Books(path)
        fill(books)
        assert [] == books.breaches()
        books.close()
        with closing(sqlite3.connect(path)) as connection:
            names = ("user_version", "application_id")
            pragmas = [f"PRAGMA {name} = {connection.execute(f'PRAGMA {name}').fetchone()[0]};" for name in names]
            Path(sys.argv[1]).write_text("\n".join([*connection.iterdump(), *pragmas, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
