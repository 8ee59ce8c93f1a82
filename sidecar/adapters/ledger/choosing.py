"""Which records a decision is about: some by name, or all unbilled ones of a dimension, of hours, of a reason.

Reads only. Knows no list of reasons: the word with which a record's reason begins is what counts.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sidecar.adapters.ledger.reading import record_id
from sidecar.domain.metering.hours import hour_of

_UNDECIDED = "status = 'unbilled' AND resolved = 0"
_KIND = "CASE instr(reason, ':') WHEN 0 THEN reason ELSE substr(reason, 1, instr(reason, ':') - 1) END"


@dataclass(frozen=True, slots=True)
class Choice:
    """The records that a decision is about."""

    identifiers: tuple[str, ...] | None = None
    """By name; None means every unbilled record that nobody has decided about and that fits the members below."""
    dimension: str | None = None
    since: datetime | None = None
    """The start of the first hour."""
    until: datetime | None = None
    """The start of the hour after the last one."""
    kind: str | None = None
    """The word with which the reason begins, such as `in-doubt`."""


def choose(connection: sqlite3.Connection, choice: Choice) -> Sequence[str]:
    """Return the names of the chosen records, in the order in which they were sealed, or in that of the choice."""
    if choice.identifiers is not None:
        return tuple(dict.fromkeys(choice.identifiers))
    since, until = (None if instant is None else hour_of(instant) for instant in (choice.since, choice.until))
    rows = connection.execute(
        "SELECT seq FROM record JOIN dimension ON dimension.id = record.dimension"
        f" WHERE {_UNDECIDED} AND (:name IS NULL OR name = :name) AND (:since IS NULL OR hour >= :since)"
        f" AND (:until IS NULL OR hour < :until) AND (:kind IS NULL OR {_KIND} = :kind) ORDER BY seq",
        {"name": choice.dimension, "since": since, "until": until, "kind": choice.kind},
    )
    return tuple(record_id(row["seq"]) for row in rows)


def kinds(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many unbilled records wait for a decision, by the word with which their reason begins."""
    rows = connection.execute(
        f"SELECT {_KIND} AS kind, count(*) AS number FROM record WHERE {_UNDECIDED} GROUP BY kind ORDER BY kind"
    )
    return {row["kind"]: row["number"] for row in rows}
