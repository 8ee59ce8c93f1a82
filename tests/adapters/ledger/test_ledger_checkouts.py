"""Checkouts and the evidence of a license in the ledger: what one process leaves and the next one finds."""

import sqlite3
import uuid
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from sidecar.adapters.ledger import checkouts, integrity
from sidecar.adapters.ledger.file import open_for_reading
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.adapters.ledger.schema import APPLICATION_ID, MIGRATIONS
from sidecar.adapters.ledger.space import MEBIBYTE
from sidecar.domain.entitlement.checkouts import CheckoutKind, CheckoutState, CheckoutStep, Grant
from sidecar.domain.entitlement.states import LicenseEvidence
from sidecar.domain.metering.events import LedgerFull, UsageBatch
from sidecar.domain.metering.hours import to_micros
from tests.support.books import NOW, RULES, Books, event, make_schema_4
from tests.support.licenses import CHECKOUT, GOOD, SKU, START

SEAT = replace(CHECKOUT, region="eu-west-1")
BY_APP = replace(SEAT, id="session-1", kind=CheckoutKind.APP)
EVIDENCE = LicenseEvidence(
    pod="pod-1",
    sku=SKU,
    arn=GOOD.arn,
    region="us-east-1",
    begin=GOOD.begin,
    end=GOOD.end,
    proved_at=START,
    unseated_at=START,
)


async def opened(path: Path, pod: str = "pod-1") -> Ledger:
    """Return the ledger as a process of that pod opens it."""
    ledger = Ledger(path, RULES)
    await ledger.open(pod, "downward-api", NOW)
    return ledger


async def test_checkout_outlives_the_process(tmp_path: Path) -> None:
    """Each step of a checkout is on disk, and the next process finds it as it was."""
    path = tmp_path / "ledger.db"
    ledger = await opened(path)
    steps = [SEAT]
    steps.append(steps[-1].attempting("us-east-1", START))
    steps.append(steps[-1].granted(Grant("consumption", timedelta(minutes=50), GOOD.arn), START))
    steps.append(steps[-1].calling(CheckoutStep.EXTEND, START + timedelta(minutes=20)).unwanted())
    seq = 0
    for step in steps:
        kept = await ledger.checkouts.save_checkout(replace(step, seq=seq))
        seq = kept.seq
        await ledger.close()
        ledger = await opened(path)
        assert [kept] == await ledger.checkouts.load_checkouts()
    await ledger.checkouts.save_checkout(replace(steps[-1], seq=seq).returned(START))
    assert [] == await ledger.checkouts.load_checkouts()
    await ledger.close()


async def test_successor_takes_over(tmp_path: Path) -> None:
    """A pod that takes the ledger over finds what its predecessor may hold: it neither loses nor doubles it."""
    path = tmp_path / "ledger.db"
    ledger = await opened(path)
    kept = await ledger.checkouts.save_checkout(SEAT.attempting("us-east-1", START))
    await ledger.close()
    ledger = await opened(path, "pod-2")
    found = await ledger.checkouts.load_checkouts()
    await ledger.close()
    assert [kept] == found


async def test_newest_checkout_of_an_id(tmp_path: Path) -> None:
    """An id may be used again after its checkout has ended; the newest one counts, live ones are listed first."""
    ledger = await opened(tmp_path / "ledger.db")
    table = ledger.checkouts
    first = await table.save_checkout(BY_APP)
    await table.save_checkout(first.attempting("us-east-1", START).refused(START))
    other = await table.save_checkout(replace(BY_APP, id="a"))
    await table.save_checkout(other.unwanted().returned(START))
    second = await table.save_checkout(BY_APP)
    await table.save_checkout(SEAT)
    assert second == await table.find_checkout("session-1")
    assert [None, None] == [await table.find_checkout("unknown"), await table.find_checkout("seats")]
    assert ["session-1", "a"] == [each.id for each in await table.list_checkouts(10)]
    await ledger.close()


def test_listing_reads_what_it_shows(books: Books) -> None:
    """A listing takes no longer with many settled checkouts than with few, and shows the live ones first."""
    refused = replace(BY_APP, state=CheckoutState.REFUSED, settled_at=books.now)
    work = []
    for part, settled in enumerate((100, 1900)):
        with books.store.transaction():
            for number in range(settled):
                checkouts.write(books.store, replace(refused, id=f"{part}-{number}"))
            checkouts.write(books.store, replace(BY_APP, id=f"live-{part}"))
        work.append(work_of_listing(books))
    assert ["live-0", "live-1", "0-0", "0-1"] == [
        each.id for each in checkouts.read_app(books.store.connection, 20)[:4]
    ]
    assert work[1] < 2 * work[0]


def work_of_listing(books: Books) -> int:
    """Return how much SQLite does, in tens of its instructions, for a listing of 20."""
    ticks: list[None] = []
    books.store.connection.set_progress_handler(lambda: ticks.append(None), 10)
    assert 20 == len(checkouts.read_app(books.store.connection, 20))
    books.store.connection.set_progress_handler(None, 10)
    return len(ticks)


async def test_repeated_refusals_take_no_room(tmp_path: Path) -> None:
    """A checkout that is refused again and again is one row, a draw-down too."""
    ledger = await opened(tmp_path / "ledger.db")
    for _ in range(3):
        asked = await ledger.checkouts.save_checkout(BY_APP)
        await ledger.checkouts.save_checkout(asked.attempting("us-east-1", START).refused(START))
        drawn = await ledger.checkouts.save_checkout(replace(BY_APP, id="order-1", drawdown=True))
        await ledger.checkouts.save_checkout(drawn.attempting("us-east-1", START).refused(START))
    with closing(open_for_reading(ledger.path)) as connection:
        rows = [each.id for each in checkouts.read_all(connection, 10)]
    assert ["order-1", "session-1"] == rows
    await ledger.close()


async def test_full_ledger_takes_no_checkout(tmp_path: Path) -> None:
    """A full ledger refuses new checkouts of the app, and still stores what becomes of the others."""
    ledger = Ledger(tmp_path / "ledger.db", RULES, max_size=4 * MEBIBYTE)
    await ledger.open("pod-1", "downward-api", NOW)
    seat = await ledger.checkouts.save_checkout(BY_APP)
    with suppress(LedgerFull):
        for number in count():
            await ledger.take([UsageBatch([event("1", id=f"{number:0200}")])], NOW)
    while (await ledger.room(NOW)).takes(0):
        await ledger.checkouts.save_checkout(replace(BY_APP, id=str(uuid.uuid4()) * 100))
    with pytest.raises(LedgerFull):
        await ledger.checkouts.save_checkout(replace(BY_APP, id="session-2"))
    held = await ledger.checkouts.save_checkout(seat.attempting("us-east-1", START))
    assert held == await ledger.checkouts.find_checkout("session-1")
    assert "seats" == (await ledger.checkouts.save_checkout(SEAT)).id
    await ledger.close()


async def test_one_live_checkout_of_an_id(tmp_path: Path) -> None:
    """The ledger itself refuses a second live checkout of one id: two rows would be two seats."""
    ledger = await opened(tmp_path / "ledger.db")
    await ledger.checkouts.save_checkout(SEAT)
    with pytest.raises(Exception, match="UNIQUE"):
        await ledger.checkouts.save_checkout(SEAT)
    await ledger.close()


async def test_evidence_of_license(tmp_path: Path) -> None:
    """The evidence is found as it was kept; what cannot be read proves nothing."""
    path = tmp_path / "ledger.db"
    ledger = await opened(path)
    assert None is await ledger.checkouts.load_license()
    for evidence in (EVIDENCE, replace(EVIDENCE, seated=True, unseated_at=None, missing_at=START, closed_at=START)):
        await ledger.checkouts.save_license(evidence)
        assert evidence == await ledger.checkouts.load_license()
    await ledger.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE meta SET value = '{}' WHERE key = 'license'")
        connection.commit()
    ledger = await opened(path)
    assert None is await ledger.checkouts.load_license()
    await ledger.close()


def test_settled_checkouts_age_out(books: Books) -> None:
    """What holds nothing is dropped after 26 hours; never a draw-down that counts, or about which a person decided."""
    settled = replace(SEAT, state=CheckoutState.RETURNED, settled_at=books.now)
    drawn = replace(BY_APP, drawdown=True, settled_at=books.now)
    kept = [
        replace(SEAT, id="live"),
        replace(drawn, id="held", state=CheckoutState.HELD, settled_at=None),
        replace(drawn, id="in-doubt", state=CheckoutState.IN_DOUBT),
        replace(drawn, id="decided", state=CheckoutState.IN_DOUBT),
    ]
    spent = [settled, *(replace(drawn, id=f"refused-{n}", state=CheckoutState.REFUSED) for n in range(3))]
    with books.store.transaction():
        *_, decided = [checkouts.write(books.store, checkout) for checkout in (*spent, *kept)]
        checkouts.resolve(books.store, decided.seq, drawn=False, who="ann", reason="seen", now=books.now)
    books.pass_time(checkouts.KEPT_FOR)
    books.prune()
    assert 8 == len(checkouts.read_all(books.store.connection, 10))
    books.pass_time(timedelta(hours=1))
    with books.store.transaction():
        assert checkouts.prune(books.store, to_micros(books.now), 2)
    assert 5 == len(checkouts.read_all(books.store.connection, 10))
    books.prune()
    assert ["decided", "in-doubt", "held", "live"] == [
        each.id for each in checkouts.read_all(books.store.connection, 10)
    ]


def test_undone_write_holds_up_no_walk(books: Books) -> None:
    """A full ledger refuses what the app asks for between two steps of the walk, which goes on where it was."""
    made = replace(BY_APP, drawdown=True, state=CheckoutState.HELD)
    with books.store.transaction():
        for number in range(6):
            checkouts.write(books.store, replace(made, id=f"made-{number}"))
        refused = replace(made, id="refused", state=CheckoutState.REFUSED, settled_at=books.now)
        checkouts.write(books.store, refused)
    books.pass_time(timedelta(days=2))
    steps = 0
    more = True
    while more and steps < 9:
        with books.store.transaction():
            more = checkouts.prune(books.store, to_micros(books.now), 2)
        with pytest.raises(LedgerFull), books.store.transaction():
            raise LedgerFull("no room", 60, 0)
        steps += 1
    assert (5, 6) == (steps, books.count("checkout"))


def test_many_refused_drawdowns_of_one_id(books: Books) -> None:
    """An older version kept each refusal of an id: a request drops some of them, and the rest goes with time."""
    refused = replace(BY_APP, drawdown=True, state=CheckoutState.REFUSED, settled_at=books.now)
    with books.store.transaction():
        for number in range(250):
            checkouts.write(books.store, replace(refused, id=f"order-{number}"))
        books.store.connection.execute("UPDATE checkout SET id = 'order-1'")
        checkouts.write(books.store, replace(refused, state=CheckoutState.INTENDED, settled_at=None, id="order-1"))
    assert 151 == books.count("checkout")
    books.pass_time(timedelta(days=2))
    books.prune()
    assert 1 == books.count("checkout")
    assert [] == list(integrity.integrity_errors(books.store.connection))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("state = 'lent'", "the kind seat or the state lent is unknown"),
        ("kind = 'chair'", "the kind chair or the state intended is unknown"),
        ("expires_at = -1", "expires_at -1 is not an instant"),
        ("pod = 99", "there is no pod 99"),
    ],
)
def test_foreign_row_is_named(books: Books, change: str, words: str) -> None:
    """`ledger verify` names a row that this program does not write."""
    with books.store.transaction():
        checkouts.write(books.store, SEAT)
        books.store.connection.execute(f"UPDATE checkout SET {change}")
    assert [f"checkout seq 1: {words}"] == list(integrity.integrity_errors(books.store.connection))


def test_ledger_of_schema_2_opens(tmp_path: Path) -> None:
    """A ledger from before checkouts opens with its rows as they are, and takes checkouts."""
    path = tmp_path / "ledger.db"
    books = Books(path)
    books.take(event("2", id="id-1"))
    accepted = books.shown()
    connection = books.store.connection
    make_schema_4(connection)
    connection.executescript("DROP TABLE series; DROP TABLE source; DROP TABLE checkout; PRAGMA user_version = 2;")
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    books.restart()
    connection = books.store.connection
    assert (len(MIGRATIONS), APPLICATION_ID) == tuple(
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id")
    )
    assert connection.execute("PRAGMA page_count").fetchone()[0] <= pages + 6
    assert accepted == books.shown()
    with books.store.transaction():
        kept = checkouts.write(books.store, SEAT)
    assert [kept] == checkouts.read_live(connection)
    assert [] == [*integrity.integrity_errors(connection), *books.breaches()]
    assert to_micros(START) == connection.execute("SELECT intended_at FROM checkout").fetchone()[0]
    books.close()
