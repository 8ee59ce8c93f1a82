"""What a start proves of its ledger; what precedes the drain: for which products the sidecar waits for the app."""

import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sidecar.adapters.ledger.ledger import Ledger
from sidecar.app.lifecycle import prove, wait_for_app
from sidecar.domain.metering.events import Dimension
from sidecar.domain.metering.sources import Otlp, PodTime
from sidecar.domain.policy import Pricing
from sidecar.settings import LedgerSettings, MeteringSettings, Product, Settings
from tests.support.books import NOW, RULES, Books, event

REPORTED, MEASURED = Dimension("requests"), Dimension("pod_hours", source=PodTime())
COUNTED = Dimension("tokens", source=Otlp("tokens"))


@dataclass
class Pod:
    """A pod whose app runs: its cluster, and its measured time."""

    steps: list[str] = field(default_factory=list)

    async def wait_for_app(self, drain: timedelta, begin: Callable[[], Awaitable[None]]) -> None:
        """Wait as the cluster does."""
        await begin()
        self.steps.append(f"the app ended before the {drain.seconds} s of the drain")

    async def finish(self) -> None:
        """Take the last sample."""
        self.steps.append("measured time ended")


@pytest.mark.parametrize(
    ("pricing", "dimensions", "waits"),
    [
        (Pricing.HOURLY, [], False),
        (Pricing.CUSTOM, [MEASURED], False),
        (Pricing.CUSTOM, [MEASURED, REPORTED], True),
        (Pricing.CUSTOM, [COUNTED], True),
        (Pricing.CONTRACT, [], True),
        (Pricing.CONTRACT, [MEASURED], True),
    ],
)
async def test_app_that_uses_the_api_is_awaited(
    pricing: Pricing,
    dimensions: list[Dimension],
    waits: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Only an app with usage to report, or checkouts to return, is awaited, and its measured time ends before."""
    pod = Pod()
    settings = Settings(
        product=Product("0abc123example", pricing=pricing),
        metering=MeteringSettings(dimensions=tuple(dimensions)),
        ledger=LedgerSettings(Path("/ledger.db")),
    )
    await wait_for_app(settings, pod, pod)
    expected = ["measured time ended", "the app ended before the 25 s of the drain"] if waits else []
    assert expected == pod.steps


@pytest.mark.parametrize(
    ("harm", "logged"),
    [
        (lambda _: None, []),
        (
            lambda connection: connection.execute("UPDATE dimension SET accepted = '7' WHERE name = 'requests'"),
            ["ledger.conservation_broken"],
        ),
        (lambda connection: connection.set_authorizer(lambda *_: sqlite3.SQLITE_DENY), ["ledger.unavailable"]),
    ],
    ids=["sound", "breach", "unreadable"],
)
async def test_start_only_reports_a_bad_ledger(
    tmp_path: Path, harm: Callable[[sqlite3.Connection], object], logged: list[str]
) -> None:
    """A breach of the conservation law, and a ledger that cannot be read, are logged; the start goes on."""
    books = Books(tmp_path / "ledger.db")
    books.take(event("1"))
    books.close()
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    await ledger._run(lambda store: harm(store.connection))
    with capture_logs() as lines:
        await prove(ledger)
    await ledger.close()
    assert logged == [line["event"] for line in lines]
