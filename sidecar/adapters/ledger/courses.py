"""How the submissions of each dimension have gone, kept in the ledger: success, due time, duplicates, refusals."""

import sqlite3
from datetime import datetime

from sidecar.adapters.ledger.store import Store, recall
from sidecar.domain.metering.failing import Course
from sidecar.domain.metering.hours import from_micros, to_micros
from sidecar.domain.metering.rules import MeteringRules

_NOT_ENTITLED = "not-entitled "
"""Before the dimension, the key of since when AWS refuses it."""
_CONFIGURED = "dimensions"
"""The key of the dimensions that were configured at the last start, one a line."""


def read_courses(connection: sqlite3.Connection) -> dict[str, Course]:
    """Return the course of each dimension that has one, by name.

    Raises:
        ValueError, OverflowError: A row holds no instant.
    """
    duplicates: dict[str, tuple[datetime, ...]] = {}
    for row in connection.execute("SELECT dimension, at FROM duplicate_answer ORDER BY dimension, number"):
        duplicates[row["dimension"]] = (*duplicates.get(row["dimension"], ()), from_micros(row["at"]))
    refused = {
        row["key"].removeprefix(_NOT_ENTITLED): from_micros(int(row["value"]))
        for row in connection.execute("SELECT key, value FROM meta WHERE key GLOB ?", (f"{_NOT_ENTITLED}*",))
    }
    return {
        row["dimension"]: Course(
            last_success_at=_instant(row["last_success_at"]),
            due_since=_instant(row["due_since"]),
            duplicates=duplicates.get(row["dimension"], ()),
            disputed_since=_instant(row["disputed_since"]),
            not_entitled_since=refused.get(row["dimension"]),
        )
        for row in connection.execute("SELECT * FROM progress")
    }


def restart_courses(store: Store, rules: MeteringRules) -> None:
    """End what was kept of another product, or of a dimension that was removed and is added again.

    Courses are kept by the name of the dimension. An earlier failure would otherwise close the gate while nothing is
    due. One step inside a transaction of the caller's, before the product code of `rules` is remembered.
    """
    connection = store.connection
    if recall(connection, "product-code") != rules.product_code:
        connection.execute("DELETE FROM progress")
        connection.execute("DELETE FROM duplicate_answer")
        connection.execute("DELETE FROM meta WHERE key GLOB ?", (f"{_NOT_ENTITLED}*",))
    before = recall(connection, _CONFIGURED)
    if before is not None:  # Otherwise an earlier version had the ledger.
        added = rules.dimensions.keys() - before.split("\n")
        for name, course in read_courses(connection).items():
            if name in added:
                write_course(store, name, course.restarted())
    store.remember(_CONFIGURED, "\n".join(rules.dimensions))


def write_course(store: Store, dimension: str, course: Course) -> None:
    """Keep the course of a dimension in place of what was there. One step inside a transaction of the caller's."""
    store.connection.execute(
        "INSERT INTO progress VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " last_success_at = excluded.last_success_at, due_since = excluded.due_since,"
        " disputed_since = excluded.disputed_since",
        (dimension, _micros(course.last_success_at), _micros(course.due_since), _micros(course.disputed_since)),
    )
    # Beside the table, which older programs write with four columns.
    key = f"{_NOT_ENTITLED}{dimension}"
    store.connection.execute("DELETE FROM meta WHERE key = ?", (key,))
    if course.not_entitled_since is not None:
        store.connection.execute("INSERT INTO meta VALUES (?, ?)", (key, str(to_micros(course.not_entitled_since))))
    store.connection.execute("DELETE FROM duplicate_answer WHERE dimension = ?", (dimension,))
    store.connection.executemany(
        "INSERT INTO duplicate_answer VALUES (?, ?, ?)",
        [(dimension, number, to_micros(instant)) for number, instant in enumerate(course.duplicates)],
    )


def _instant(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


def _micros(instant: datetime | None) -> int | None:
    return None if instant is None else to_micros(instant)
