"""AWS's charges next to the records of ledgers, in a temporary file: a log may have more of them than fit into memory.

Leaves out of the comparison what needs none: records that AWS holds as they are, under the receipt that the ledger has,
and charges of pods whose ledger was not given. What is left is for `sidecar.domain.audit.matching`. SQLite deletes the
file when the table is closed, or the process ends.
"""

import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path

from sidecar.adapters.ledger.auditing import SUBMISSION_COLUMNS, read_submission, submission_rows
from sidecar.domain.audit.sessions import names_some_pod, pod_named
from sidecar.domain.audit.slots import Charge, LeftOut, Slot, Span, Submission, Verdict
from sidecar.domain.metering.hours import Hour, hour_of, start_of
from sidecar.domain.metering.quantity import parse_signed, render

_TABLES = f"""
    PRAGMA cache_size = -8192;
    CREATE TABLE charge (
        position INTEGER PRIMARY KEY, metering_record_id TEXT, name TEXT, hour INTEGER, quantity TEXT,
        client_token TEXT, session TEXT, event_id TEXT, account_region TEXT,
        UNIQUE (metering_record_id, name, hour, quantity)
    );
    CREATE TABLE submission (number INTEGER PRIMARY KEY, ledger TEXT, {", ".join(SUBMISSION_COLUMNS)});
    CREATE INDEX submission_receipt ON submission (metering_record_id);
    CREATE TABLE pair (charge INTEGER PRIMARY KEY, submission INTEGER);
    CREATE TABLE matched (
        number INTEGER PRIMARY KEY, ledger TEXT, {", ".join(SUBMISSION_COLUMNS)},
        charge_token TEXT, session TEXT, event_id TEXT, account_region TEXT
    );
    CREATE TABLE stranger (session TEXT PRIMARY KEY);
    BEGIN;
"""
_PAIRS = """
    INSERT INTO pair SELECT position, number FROM charge CROSS JOIN submission USING (metering_record_id)
    WHERE status = 'accepted' AND submission.name = charge.name AND submission.hour = charge.hour
        AND submission.quantity = charge.quantity
        AND (SELECT count(*) FROM charge AS other WHERE other.metering_record_id = charge.metering_record_id) = 1
        AND (SELECT count(*) FROM submission AS other WHERE other.metering_record_id = charge.metering_record_id) = 1
"""
"""What has one receipt, and agrees. A receipt that stands for two charges or two records is for the comparison."""
_PAIRED = "FROM pair JOIN charge ON position = pair.charge JOIN submission ON number = pair.submission"
_MATCHED = f"INSERT INTO matched SELECT submission.*, charge.client_token, session, event_id, account_region {_PAIRED}"
_STRANGERS = """
    FROM charge WHERE session IN (SELECT session FROM stranger)
        AND metering_record_id NOT IN (SELECT metering_record_id FROM submission WHERE metering_record_id IS NOT NULL)
        AND ifnull(client_token NOT IN (SELECT client_token FROM submission), 1)
"""
_IN_SPAN = "hour >= ifnull(?, hour) AND hour < ifnull(?, hour + 1)"


class ChargeTable:
    """The charges and records of one comparison."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.executescript(_TABLES)

    def close(self) -> None:
        """Delete the file."""
        self._connection.close()

    def add(self, charge: Charge) -> None:
        """Keep a charge, once: AWS logs the identical repeat of a call as a call of its own."""
        self._connection.execute(
            "INSERT INTO charge VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                charge.metering_record_id,
                charge.dimension,
                hour_of(charge.hour),
                render(charge.quantity),
                charge.client_token,
                charge.session,
                charge.event_id,
                charge.account_region,
            ),
        )

    def add_records(self, connection: sqlite3.Connection, path: Path, product_code: str | None) -> None:
        """Keep the records of the ledger at `path` that were made to be submitted; None is every product."""
        marks = ", ".join("?" * len(SUBMISSION_COLUMNS))
        self._connection.executemany(
            f"INSERT INTO submission VALUES (NULL, ?, {marks})",
            ((str(path), *row) for row in submission_rows(connection, product_code)),
        )

    def leave_out(self, pods: Collection[str], span: Span, *, keep: bool = False) -> LeftOut:
        """Remove what needs no comparison, and return what it shows about the rest.

        Args:
            pods: The uids of the pods of the ledgers.
            span: The hours that are judged.
            keep: Keep the matched slots for `matched`.
        """
        rows = self._connection.execute
        rows(_PAIRS)
        hours = tuple(None if edge is None else hour_of(edge) for edge in (span.since, span.until))
        matched: dict[str, tuple[int, int]] = {}
        for name, quantity, count in rows(
            f"SELECT name, quantity, count(*) FROM (SELECT charge.name, charge.hour, charge.quantity {_PAIRED})"
            f" WHERE {_IN_SPAN} GROUP BY name, quantity",
            hours,
        ):
            slots, total = matched.get(name, (0, 0))
            matched[name] = slots + count, total + parse_signed(quantity) * count
        (first,) = rows("SELECT min(hour) FROM submission").fetchone()
        origins = [tuple(row) for row in rows(f"SELECT DISTINCT session, account_region {_PAIRED}")]
        places = [tuple(row) for row in rows(f"SELECT DISTINCT ledger, account_region {_PAIRED}")]
        if keep:
            rows(_MATCHED)
        rows("DELETE FROM charge WHERE position IN (SELECT charge FROM pair)")
        rows("DELETE FROM submission WHERE number IN (SELECT submission FROM pair)")
        return LeftOut(
            matched=matched,
            origins=frozenset(origins),
            places=frozenset(places),
            first_hour=None if first is None else start_of(Hour(first)),
            of_other_pods=self._drop_strangers(pods, hours),
        )

    def _drop_strangers(self, pods: Collection[str], hours: tuple[int | None, ...]) -> int:
        sessions = [
            session for (session,) in self._connection.execute("SELECT DISTINCT session FROM charge") if session
        ]
        strangers = [(each,) for each in sessions if names_some_pod(each) and pod_named(each, pods) is None]
        self._connection.executemany("INSERT INTO stranger VALUES (?)", strangers)
        (count,) = self._connection.execute(f"SELECT count(*) {_STRANGERS} AND {_IN_SPAN}", hours).fetchone()
        self._connection.execute(f"DELETE {_STRANGERS}")
        return int(count)

    def submissions(self) -> Iterator[Submission]:
        """Yield the records that are left, ledger by ledger, in order of their seal."""
        for row in self._connection.execute("SELECT * FROM submission ORDER BY number"):
            yield read_submission(row, row["ledger"])

    def charges(self) -> Iterator[Charge]:
        """Yield the charges that are left, in the order of the log."""
        for row in self._connection.execute("SELECT * FROM charge ORDER BY position"):
            yield _read_charge(row, row["client_token"])

    def matched(self, span: Span) -> Iterator[Slot]:
        """Yield the matched slots of the span, by hour, dimension and name, if `leave_out` kept them."""
        hours = tuple(None if edge is None else hour_of(edge) for edge in (span.since, span.until))
        for row in self._connection.execute(
            f"SELECT * FROM matched WHERE {_IN_SPAN} ORDER BY hour, name, CAST(seq AS TEXT), number", hours
        ):
            yield Slot(Verdict.MATCHED, read_submission(row, row["ledger"]), _read_charge(row, row["charge_token"]))


def _read_charge(row: sqlite3.Row, client_token: str | None) -> Charge:
    return Charge(
        metering_record_id=row["metering_record_id"],
        dimension=row["name"],
        hour=start_of(Hour(row["hour"])),
        quantity=parse_signed(row["quantity"]),
        client_token=client_token,
        session=row["session"],
        event_id=row["event_id"],
        account_region=row["account_region"],
    )
