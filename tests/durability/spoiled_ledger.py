"""A ledger on a disk that a test spoils: its rules, usage for it, and what its file has kept."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sidecar.adapters.ledger import conservation
from sidecar.adapters.ledger.file import open_for_reading
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.domain.metering.events import Dimension, UsageBatch, UsageEvent
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.policy import LatePolicy, QuantityKind

NOW = datetime(2026, 11, 23, 10, 20, tzinfo=UTC)
RULES = MeteringRules(
    product_code="0abc123example",
    dimensions={"requests": Dimension("requests")},
    quantity=QuantityKind.DECIMAL,
    late=LatePolicy.CARRY,
    settle=timedelta(),
    spread=timedelta(),
    window=timedelta(hours=6),
    report_zero=True,
    failing_after=timedelta(hours=2),
)


async def take(ledger: Ledger, *ids: str) -> None:
    """Store events of one unit each."""
    events = [UsageEvent(name, "requests", 1_000_000, None, None, ()) for name in ids]
    await ledger.take([UsageBatch(events)], NOW)


def flip_bits(path: Path, start: int = 0) -> bytes:
    """Spoil the file of a ledger in use from a byte on; return what it held."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        whole = path.read_bytes()
        # Another writer makes the ledger's own connection read its pages anew.
        other.execute("INSERT INTO meta VALUES ('noted', 'by another')")
        other.commit()
        with path.open("r+b") as file:
            file.seek(start)
            file.write(bytes(byte ^ 0xFF for byte in whole[start:]))
    return whole


def kept(path: Path) -> set[str]:
    """Return the ids in a ledger's file, whose books must balance."""
    with closing(open_for_reading(path)) as connection:
        assert [] == list(conservation.breaches(connection))
        return {row["id"] for row in connection.execute("SELECT id FROM event")}
