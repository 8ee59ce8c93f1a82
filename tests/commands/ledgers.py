"""A ledger with something of everything in it, made by the engine's own steps, and the commands run on it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sidecar import cli
from sidecar.domain.metering.hours import hour_of
from sidecar.domain.metering.outcomes import Outcome
from tests.support.books import BLUE, HOUR, NOW, RED, UNBILLED_LATE, Books, event

ACCEPTED, IN_DOUBT, CARRIED, LATE = "rec-1", "rec-2", "rec-3", "rec-4"
TEN, ELEVEN, TWELVE = (f"2026-11-23T{hour}:00:00Z" for hour in (10, 11, 12))
CONFIGURATION = """\
product: {{code: 0abc123example, public_keys: {{1: /key.pem}}}}
metering:
  dimensions: [{{name: requests, aggregation: sum}}, {{name: peak, aggregation: max}}]
ledger: {{path: "{path}"}}
"""


@contextmanager
def lived(path: Path) -> Iterator[Books]:
    """Make a ledger of two pods: hours accepted, in doubt, carried to the successor, late, and open."""
    books = Books(path)
    books.take(event("2", id="a1"), event("0.5", id="a2", tags=RED), event("3", id="p1", dimension="peak", at=NOW))
    books.pass_time(HOUR)
    books.seal(hour_of(NOW))
    books.submit_all()
    books.take(event("4", id="b1", tags=RED), event("1", id="b2", tags=BLUE))
    books.pass_time(HOUR)
    books.seal(hour_of(NOW + HOUR))
    books.submit_all(Outcome.UNKNOWN)
    books.take(event("7", id="c1"))
    books.pass_time(HOUR)
    books.seal(hour_of(NOW + 2 * HOUR))
    books.restart("pod-2", UNBILLED_LATE)
    books.pass_time(26 * HOUR)
    books.prune()
    books.take(event("8", id="d1", at=NOW + 4 * HOUR), event("1", id="e1"))
    try:
        yield books
    finally:
        books.close()


def configured(path: Path) -> Path:
    """Return a configuration whose ledger is at `path`."""
    file = path.with_name("config.yaml")
    file.write_text(CONFIGURATION.format(path=path))
    return file


def ledger(*arguments: str) -> int:
    """Run a `ledger` command; its exit code."""
    return cli.main(["ledger", *arguments])


def tamper(path: Path, *statements: str) -> None:
    """Change rows behind the engine's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0
