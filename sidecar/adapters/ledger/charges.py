"""AWS's charges next to the records of ledgers, in a temporary file: a log may have more of them than fit into memory.

Leaves out of the comparison what needs none: records that AWS holds as they are, under the receipt that the ledger has;
charges of pods whose ledger was not given; records that no charge can be, and charges that no record can be. What is
left is for `sidecar.domain.audit.matching`. SQLite deletes the file when the table is closed, or the process ends.
"""

import json
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sidecar.adapters.ledger.auditing import SUBMISSION_COLUMNS, read_submission, submission_rows
from sidecar.adapters.ledger.pruning import records_from
from sidecar.domain.audit.matching import judge_charge, judge_record
from sidecar.domain.audit.sessions import Sessions
from sidecar.domain.audit.slots import (
    Charge,
    FailedCall,
    LeftOut,
    Slot,
    Span,
    Submission,
    Tally,
    UndescribedCall,
    Verdict,
    may_be_held,
)
from sidecar.domain.metering.hours import Hour, hour_of, start_of
from sidecar.domain.metering.quantity import parse_signed, render
from sidecar.domain.metering.records import RecordStatus

_TOGETHER = 500
"""Charges that are written together."""
_NUMBERS = frozenset({"seq", "hour", "resolved", "sealed_at", "attempted_at"})
_COLUMNS = ", ".join(f"{column} {'INTEGER' if column in _NUMBERS else 'TEXT'}" for column in SUBMISSION_COLUMNS)
"""With their types: SQLite does not search an index for a value of another type."""
_TABLES = f"""
    PRAGMA cache_size = -8192;
    CREATE TABLE charge (
        position INTEGER PRIMARY KEY, metering_record_id TEXT, name TEXT, hour INTEGER, quantity TEXT,
        client_token TEXT, session TEXT, event_id TEXT, account_region TEXT,
        UNIQUE (metering_record_id, name, hour, quantity)
    );
    CREATE TABLE failed (
        error TEXT, name TEXT, hour INTEGER, quantity TEXT, client_token TEXT, session TEXT, once TEXT UNIQUE
    );
    CREATE TABLE undescribed (
        metering_record_id TEXT, session TEXT, event_id TEXT, account_region TEXT, hour INTEGER, once TEXT UNIQUE
    );
    CREATE TABLE submission (number INTEGER PRIMARY KEY, ledger TEXT, {_COLUMNS});
    CREATE INDEX submission_receipt ON submission (metering_record_id);
    CREATE TABLE pair (charge INTEGER PRIMARY KEY, submission INTEGER);
    CREATE TABLE matched (
        number INTEGER PRIMARY KEY, ledger TEXT, {_COLUMNS},
        charge_token TEXT, session TEXT, event_id TEXT, account_region TEXT
    );
    CREATE TABLE stranger (session TEXT PRIMARY KEY);
    CREATE TABLE named (session TEXT PRIMARY KEY, uid TEXT);
    BEGIN;
"""
_SINGLE = (
    "CREATE INDEX charge_token ON charge (client_token)",
    "CREATE INDEX charge_slot ON charge (name, hour)",
    "CREATE INDEX submission_token ON submission (client_token)",
    """
    CREATE TABLE single_submission AS SELECT * FROM submission WHERE NOT is_open(status, reason, resolved)
        AND NOT EXISTS (SELECT 1 FROM charge WHERE charge.metering_record_id = submission.metering_record_id)
        AND NOT EXISTS (SELECT 1 FROM charge WHERE charge.client_token = submission.client_token)
        AND NOT EXISTS (SELECT 1 FROM charge CROSS JOIN named USING (session)
            WHERE charge.name = submission.name AND charge.hour = submission.hour AND named.uid = submission.uid)
        AND NOT (status = 'accepted' AND (ledger, uid) IN (
            SELECT ledger, uid FROM submission
            WHERE is_open(status, reason, resolved) AND status <> 'sealed' AND NOT resolved))
        ORDER BY hour, name, CAST(seq AS TEXT), number
    """,
    """
    CREATE TABLE single_charge AS SELECT * FROM charge
        WHERE NOT EXISTS (SELECT 1 FROM submission WHERE submission.metering_record_id = charge.metering_record_id)
        AND NOT EXISTS (SELECT 1 FROM submission WHERE submission.client_token = charge.client_token)
        AND NOT EXISTS (SELECT 1 FROM submission WHERE submission.name = charge.name AND submission.hour = charge.hour
            AND (is_open(status, reason, resolved)
                OR uid = (SELECT uid FROM named WHERE named.session = charge.session)))
        ORDER BY hour, name, metering_record_id, position
    """,
    "DELETE FROM submission WHERE number IN (SELECT number FROM single_submission)",
    "DELETE FROM charge WHERE position IN (SELECT position FROM single_charge)",
)
"""What cannot be paired by receipt, client token or pod; only open records are paired by their slot alone.

An accepted record of a pod with a record in doubt is left: that its charge is missing proves the log incomplete.
Each table is in the order of its slots: it is read several times, and each sort takes memory.
"""
_COPIES = """
    DELETE FROM submission WHERE EXISTS (
        SELECT 1 FROM submission AS other WHERE other.metering_record_id = submission.metering_record_id
            AND other.number < submission.number AND other.ledger <> submission.ledger AND other.uid = submission.uid
            AND other.name = submission.name AND other.hour = submission.hour AND other.quantity = submission.quantity
            AND other.status = 'accepted' AND submission.status = 'accepted'
    )
"""
"""One record of AWS that a ledger and its copy both have as it is: it counts once."""
_IDENTIFIED = (
    """
    INSERT INTO charge (metering_record_id, name, hour, quantity, session, event_id, account_region)
        SELECT metering_record_id, name, at, quantity, session, event_id, account_region FROM (
            SELECT undescribed.*, name, submission.hour AS at, quantity, min(number)
            FROM undescribed JOIN submission USING (metering_record_id)
            WHERE metering_record_id NOT IN (SELECT metering_record_id FROM charge) GROUP BY metering_record_id
        )
    """,
    "DELETE FROM undescribed WHERE metering_record_id IN (SELECT metering_record_id FROM charge)",
)
"""What an undescribed call with a record's receipt reports is what the record has: AWS gave the receipt for it."""
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
_PROVEN = """
    SELECT session FROM stranger JOIN charge USING (session) JOIN submission USING (metering_record_id)
    UNION SELECT session FROM stranger JOIN charge USING (session) JOIN submission USING (client_token)
"""
_STRANGERS = """
    FROM charge WHERE session IN (SELECT session FROM stranger) AND NOT EXISTS (
        SELECT 1 FROM submission WHERE is_open(status, reason, resolved) AND submission.name = charge.name
            AND submission.hour = charge.hour AND submission.quantity = charge.quantity
    )
"""
"""A charge that is like an open record may be that record, whatever its session is named."""
_IN_SPAN = "hour >= ifnull(?, hour) AND hour < ifnull(?, hour + 1)"


class ChargeTable:
    """The charges and records of one comparison."""

    def __init__(self) -> None:
        self._kept_from: datetime | None = None
        self._horizons: list[int] = []
        self._added: list[tuple[object, ...]] = []
        self._connection = sqlite3.connect("", isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.create_function("is_open", 3, may_be_held, deterministic=True)
        self._connection.executescript(_TABLES)

    def close(self) -> None:
        """Delete the file."""
        self._connection.close()

    def add(self, charge: Charge) -> None:
        """Keep a charge, once: AWS logs the identical repeat of a call as a call of its own."""
        self._added.append(
            (
                charge.metering_record_id,
                charge.dimension,
                hour_of(charge.hour),
                render(charge.quantity),
                charge.client_token,
                charge.session,
                charge.event_id,
                charge.account_region,
            )
        )
        if len(self._added) >= _TOGETHER:
            self._write_added()

    def _write_added(self) -> None:
        self._connection.executemany(
            "INSERT INTO charge VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", self._added
        )
        self._added.clear()

    def add_failed(self, call: FailedCall) -> None:
        """Keep a failed call, once: during an outage a record is sent again and again."""
        slot = (call.dimension, hour_of(call.hour), render(call.quantity))
        self._connection.execute(
            "INSERT INTO failed VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (call.error, *slot, call.client_token, call.session, json.dumps((*slot, call.client_token, call.session))),
        )

    def add_undescribed(self, call: UndescribedCall) -> None:
        """Keep a call that the log does not describe, once."""
        row = (call.metering_record_id, call.session, call.event_id, call.account_region, hour_of(call.hour))
        self._connection.execute(
            "INSERT INTO undescribed VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", (*row, json.dumps(row))
        )

    def identify(self) -> LeftOut:
        """Take the undescribed calls for charges whose receipt a record has, and return the others."""
        self._write_added()
        for statement in _IDENTIFIED:
            self._connection.execute(statement)
        (events,) = self._connection.execute("SELECT count(*) FROM undescribed").fetchone()
        calls = [
            UndescribedCall(
                row["metering_record_id"],
                row["session"],
                row["event_id"],
                row["account_region"],
                start_of(Hour(row["hour"])),
            )
            for row in self._connection.execute(
                "SELECT * FROM undescribed GROUP BY account_region, hour, session, metering_record_id"
            )
        ]
        return LeftOut(undescribed=calls, undescribed_events=events)

    def add_records(self, connection: sqlite3.Connection, path: Path, product_code: str | None) -> None:
        """Keep the records of the ledger at `path` that were made to be submitted; None is every product."""
        horizon = records_from(connection)
        self._horizons += [] if horizon is None else [horizon]
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
        undescribed = self.identify()
        proven = self._name_sessions(pods)
        rows = self._connection.execute
        ledgers = frozenset(map(tuple, rows("SELECT DISTINCT uid, ledger FROM submission")))
        if len({ledger for _, ledger in ledgers}) > 1:
            rows(_COPIES)
        rows(_PAIRS)
        (first,) = rows("SELECT min(hour) FROM submission WHERE status IN ('accepted', 'carried')").fetchone()
        first = max(self._horizons, default=first)
        self._kept_from = None if first is None else start_of(Hour(first))
        counts = _Counts()
        for name, quantity, count in rows(
            f"SELECT name, quantity, count(*) FROM (SELECT charge.name, charge.hour, charge.quantity {_PAIRED})"
            f" WHERE {_IN_SPAN} GROUP BY name, quantity",
            _edges(span),
        ):
            total = parse_signed(quantity) * count
            counts.add(Verdict.MATCHED, name, count, submitted=total, charged=total)
        origins = {tuple(row) for row in rows(f"SELECT DISTINCT session, account_region {_PAIRED}")}
        places = {tuple(row) for row in rows(f"SELECT DISTINCT ledger, uid, account_region {_PAIRED}")}
        if keep:
            rows(_MATCHED)
        rows("DELETE FROM charge WHERE position IN (SELECT charge FROM pair)")
        rows("DELETE FROM submission WHERE number IN (SELECT submission FROM pair)")
        of_other_pods = self._drop_strangers(span)
        unknown = self._part_singles(span, counts)
        return replace(
            undescribed,
            tallies=counts.tallies(),
            origins=origins.union(map(tuple, rows("SELECT DISTINCT session, account_region FROM single_charge"))),
            unknown=unknown,
            sessions=proven,
            places=frozenset(places),
            ledgers=ledgers,
            kept_from=self._kept_from,
            of_other_pods=of_other_pods,
        )

    def _name_sessions(self, pods: Collection[str]) -> list[str]:
        """Note which sessions are of a pod and which are strange; return what only receipts and tokens prove."""
        rows = self._connection.execute
        names = [name for (name,) in rows("SELECT DISTINCT session FROM charge WHERE session IS NOT NULL")]
        sessions = Sessions(pods, ())
        strange = [(name,) for name in names if sessions.is_strange(name)]
        self._connection.executemany("INSERT INTO stranger VALUES (?)", strange)
        proven = [name for (name,) in rows(_PROVEN)] if strange else []
        self._connection.executemany("DELETE FROM stranger WHERE session = ?", [(name,) for name in proven])
        known = [(name, pod) for name in names if (pod := sessions.pod_of(name)) is not None]
        self._connection.executemany("INSERT INTO named VALUES (?, ?)", known)
        return proven

    def _drop_strangers(self, span: Span) -> int:
        """Remove the charges of other pods that are like no open record, and return their number."""
        self._connection.execute("CREATE INDEX submission_slot ON submission (name, hour)")
        (count,) = self._connection.execute(f"SELECT count(*) {_STRANGERS} AND {_IN_SPAN}", _edges(span)).fetchone()
        self._connection.execute(f"DELETE {_STRANGERS}")
        return int(count)

    def _part_singles(self, span: Span, counts: "_Counts") -> int:
        """Part what has no counterpart from the rest, and count it; return the number of charges, of all hours."""
        for statement in _SINGLE:
            self._connection.execute(statement)
        grouped = f"SELECT *, count(*) AS slots FROM {{}} WHERE {_IN_SPAN} GROUP BY name, quantity"
        # Of a group any record stands for all: a record that is not open is judged by its status alone.
        for row in self._connection.execute(f"{grouped.format('single_submission')}, status", _edges(span)):
            submission = read_submission(row, row["ledger"])
            taken = submission.quantity * row["slots"] if submission.status is RecordStatus.ACCEPTED else 0
            counts.add(judge_record(submission)[0], row["name"], row["slots"], submitted=taken)
        for row in self._connection.execute(grouped.format("single_charge"), _edges(span)):
            charge = _read_charge(row, row["client_token"])
            verdict, _ = judge_charge(charge, self._kept_from)
            counts.add(verdict, row["name"], row["slots"], charged=charge.quantity * row["slots"])
        return int(self._connection.execute("SELECT count(*) FROM single_charge").fetchone()[0])

    def submissions(self) -> Iterator[Submission]:
        """Yield the records that are left, ledger by ledger, in order of their seal."""
        for row in self._connection.execute("SELECT * FROM submission ORDER BY number"):
            yield read_submission(row, row["ledger"])

    def charges(self) -> Iterator[Charge]:
        """Yield the charges that are left, in the order of the log."""
        self._write_added()
        for row in self._connection.execute("SELECT * FROM charge ORDER BY position"):
            yield _read_charge(row, row["client_token"])

    def failed_calls(self) -> Iterator[FailedCall]:
        """Yield the failed calls that may have been one of the records that are left."""
        for row in self._connection.execute(
            "SELECT failed.* FROM failed WHERE EXISTS (SELECT 1 FROM submission WHERE is_open(status, reason, resolved)"
            " AND submission.name = failed.name AND submission.hour = failed.hour"
            " AND submission.quantity = failed.quantity)"
        ):
            yield FailedCall(
                error=row["error"],
                dimension=row["name"],
                hour=start_of(Hour(row["hour"])),
                quantity=parse_signed(row["quantity"]),
                client_token=row["client_token"],
                session=row["session"],
            )

    def matched(self, span: Span) -> Iterator[Slot]:
        """Yield the matched slots of the span, by hour, dimension and name, if `leave_out` kept them."""
        for row in self._connection.execute(
            f"SELECT * FROM matched WHERE {_IN_SPAN} ORDER BY hour, name, CAST(seq AS TEXT), number", _edges(span)
        ):
            yield Slot(Verdict.MATCHED, read_submission(row, row["ledger"]), _read_charge(row, row["charge_token"]))

    def single_records(self, span: Span) -> Iterator[Slot]:
        """Yield the slots of the records that no charge can be, as `matched` does."""
        rows = f"SELECT * FROM single_submission WHERE {_IN_SPAN} ORDER BY rowid"
        for row in self._connection.execute(rows, _edges(span)):
            submission = read_submission(row, row["ledger"])
            verdict, note = judge_record(submission)
            yield Slot(verdict, submission, None, note)

    def single_charges(self, span: Span) -> Iterator[Slot]:
        """Yield the slots of the charges that no record can be, by hour, dimension and identifier."""
        rows = f"SELECT * FROM single_charge WHERE {_IN_SPAN} ORDER BY rowid"
        for row in self._connection.execute(rows, _edges(span)):
            charge = _read_charge(row, row["client_token"])
            verdict, note = judge_charge(charge, self._kept_from)
            yield Slot(verdict, None, charge, note)


class _Counts:
    """Slots and quantities by verdict and dimension."""

    def __init__(self) -> None:
        self._found: dict[tuple[Verdict, str], Tally] = {}

    def add(self, verdict: Verdict, name: str, slots: int, *, submitted: int = 0, charged: int = 0) -> None:
        """Count slots."""
        before = self._found.get((verdict, name), Tally(verdict, name, 0))
        self._found[verdict, name] = Tally(
            verdict, name, before.slots + slots, before.submitted + submitted, before.charged + charged
        )

    def tallies(self) -> list[Tally]:
        """Return what was counted."""
        return list(self._found.values())


def _edges(span: Span) -> tuple[int | None, ...]:
    return tuple(None if edge is None else hour_of(edge) for edge in (span.since, span.until))


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
