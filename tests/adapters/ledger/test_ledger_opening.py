"""Opening a ledger: durable, one process at a time, and nothing of what is not a ledger is touched."""

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from sidecar.adapters.ledger.file import NO_OLDER_COPY, LedgerLock, LedgerUnusable, open_for_reading, open_for_writing
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.adapters.ledger.schema import APPLICATION_ID, MIGRATIONS
from sidecar.domain.metering.events import LedgerUnavailable, Receipt, UsageBatch
from sidecar.domain.metering.hours import end_of, hour_of, start_of
from tests.support.books import HOUR, NOW, RULES, Books, event

HOLDER = """
import asyncio, sys
from pathlib import Path
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.domain.metering.events import UsageBatch
from tests.support.books import NOW, RULES, event

async def hold():
    ledger = Ledger(Path(sys.argv[1]), RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    for number in range(10_000):
        await ledger.take([UsageBatch([event("1", id=f"e{number}")])], NOW)
        print(number, flush=True)

asyncio.run(hold())
"""
"""A process that takes events one by one and shows each once it is accepted."""


async def refusal(path: Path) -> LedgerUnusable:
    """Return why a ledger cannot be opened, after closing it as the product does."""
    ledger = Ledger(path, RULES)
    with pytest.raises(LedgerUnusable) as refused:
        await ledger.open("pod-1", "downward-api", NOW)
    await ledger.close()
    assert str(path) in str(refused.value)
    return refused.value


def test_durable_pragmas(tmp_path: Path) -> None:
    """Every commit waits for the disk, and a crash in the middle of one is undone by the log."""
    connection = open_for_writing(tmp_path / "ledger.db")
    found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    connection.close()
    assert ["wal", 2] == found


def test_file_says_what_it_is(books: Books) -> None:
    """The file's header names the program and the version of its schema."""
    connection = books.store.connection
    assert (APPLICATION_ID, len(MIGRATIONS)) == (
        connection.execute("PRAGMA application_id").fetchone()[0],
        connection.execute("PRAGMA user_version").fetchone()[0],
    )


async def test_second_process_refused(tmp_path: Path) -> None:
    """A second process is refused while the first lives; SIGKILL frees the ledger, with everything accepted in it."""
    path = tmp_path / "ledger.db"
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLDER, str(path), stdout=subprocess.PIPE)
    assert holder.stdout is not None
    told = [int(await holder.stdout.readline()) for _ in range(20)]
    refused = await refusal(path)
    holder.kill()
    rest, _ = await holder.communicate()
    # A line may have been cut short by the kill.
    told += [int(line) for line in rest.split(b"\n")[:-1]]
    assert "another sidecar is using it" in refused.reason
    ledger = Ledger(path, RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    fates = await ledger.take([UsageBatch([event("1", id=f"e{number}") for number in told])], NOW)
    await ledger.close()
    assert [Receipt(0, len(told))] == fates


async def test_second_ledger_in_process_refused(tmp_path: Path) -> None:
    """The lock holds inside one process too, and is free as soon as the ledger is closed."""
    path = tmp_path / "ledger.db"
    first = Ledger(path, RULES)
    await first.open("pod-1", "downward-api", NOW)
    refused = await refusal(path)
    await first.close()
    assert "another sidecar" in refused.reason
    LedgerLock(path).release()


async def test_newer_schema_untouched(tmp_path: Path) -> None:
    """A ledger of a newer version is refused with both versions named, and not a byte of it changes."""
    path = tmp_path / "ledger.db"
    Books(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    before = path.read_bytes()
    refused = await refusal(path)
    assert f"schema {len(MIGRATIONS) + 1}, this program knows {len(MIGRATIONS)}" in refused.reason
    assert before == path.read_bytes()
    with pytest.raises(LedgerUnusable, match="newer version"):
        open_for_reading(path)


async def test_foreign_database_untouched(tmp_path: Path) -> None:
    """A database of another program is refused, and not a byte of it changes."""
    path = tmp_path / "ledger.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE invoices (amount)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    refused = await refusal(path)
    assert "another program" in refused.reason
    assert before == path.read_bytes()
    with pytest.raises(LedgerUnusable, match="another program"):
        open_for_reading(path)


async def test_no_database_untouched(tmp_path: Path) -> None:
    """A file that is no database is refused with its path and a cure, and stays as it is."""
    path = tmp_path / "ledger.db"
    path.write_bytes(b"Dear diary, " * 1000)
    refused = await refusal(path)
    assert "not a database" in refused.reason
    assert "keep the file" in refused.cure
    assert NO_OLDER_COPY in refused.cure
    assert b"Dear diary, " * 1000 == path.read_bytes()


async def test_folder_not_writable(tmp_path: Path) -> None:
    """A place where no file can be made is refused with its path and the reason."""
    (tmp_path / "file").write_text("")
    refused = await refusal(tmp_path / "file" / "ledger.db")
    assert "cannot create" in refused.reason
    assert "writable" in refused.cure


async def test_path_is_folder(tmp_path: Path) -> None:
    """A path that names a folder is refused."""
    (tmp_path / "ledger.db").mkdir()
    assert "unable to open" in (await refusal(tmp_path / "ledger.db")).reason


async def test_damaged_ledger_refused(tmp_path: Path) -> None:
    """A ledger whose tables are gone is refused, and the lock is given back."""
    path = tmp_path / "ledger.db"
    Books(path).close()
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE pod")
    connection.commit()
    connection.close()
    assert "no such table" in (await refusal(path)).reason
    LedgerLock(path).release()


async def test_folder_created(tmp_path: Path) -> None:
    """Missing folders on the way to the ledger are made."""
    path = tmp_path / "a" / "b?c#d%20" / "ledger.db"
    ledger = Ledger(path, RULES)
    await ledger.open(None, "", NOW)
    size = ledger.size()
    await ledger.close()
    assert path.exists()
    assert size is not None
    assert size > 0
    assert "ledger" == ledger.pod_source


def test_interrupted_creation_goes_on(tmp_path: Path) -> None:
    """A file that was created but got no tables yet becomes a ledger."""
    path = tmp_path / "ledger.db"
    path.touch()
    open_for_writing(path).close()
    with closing(open_for_reading(path)) as connection:
        assert 0 == connection.execute("SELECT count(*) FROM record").fetchone()[0]


def test_reader_changes_nothing(books: Books) -> None:
    """A reader cannot write, and a missing ledger is not created by reading."""
    reader = open_for_reading(books.path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM event")
    reader.close()
    missing = books.path.with_name("missing.db")
    with pytest.raises(LedgerUnusable, match="no such file"):
        open_for_reading(missing)
    assert not missing.exists()


async def test_cancelled_caller_loses_nothing(tmp_path: Path) -> None:
    """A caller that goes away during the commit may send the same batch again: it counts once either way."""
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    batch = UsageBatch([event("1", id="a")])
    task = asyncio.create_task(ledger.take([batch], NOW))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ledger.take([batch], NOW)
    terms = await ledger.terms()
    await ledger.close()
    assert 1_000_000 == terms["requests"].accepted


async def test_facade_runs_every_step(tmp_path: Path) -> None:
    """The whole way of one event through the ledger as the services use it."""
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    await ledger.take([UsageBatch([event("5")])], NOW)
    later = NOW + timedelta(hours=1)
    ((hour, name),) = await ledger.sealable(before=hour_of(later), zero_from=hour_of(NOW), now=later)
    sealed = await ledger.seal(hour, name, lambda: later, timedelta())
    (record,) = await ledger.waiting()
    frozen = await ledger.begin(record, later)
    buckets = await ledger.open_buckets()
    terms = await ledger.terms()
    await ledger.close()
    assert sealed is not None
    assert frozen is not None
    assert (5_000_000, 1, []) == (record.quantity, frozen.unanswered, list(buckets))
    assert terms["requests"].balanced


async def test_broken_reads_say_so(tmp_path: Path) -> None:
    """A ledger that can no longer be read is unavailable, in the same words as one that cannot be written."""
    path = tmp_path / "ledger.db"
    ledger = Ledger(path, RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    other = sqlite3.connect(path)
    other.execute("DROP TABLE bucket")
    other.commit()
    other.close()
    with pytest.raises(LedgerUnavailable, match="cannot be read"):
        await ledger.open_buckets()
    with pytest.raises(LedgerUnavailable, match="cannot be written"):
        await ledger.take([UsageBatch([event("1")])], NOW)
    await ledger.close()


@pytest.mark.parametrize(
    ("damage", "row"),
    [
        ("UPDATE dimension SET accepted = 'x' WHERE name = 'requests'", "dimension id 1: accepted 'x'"),
        ("UPDATE dimension SET remainder = '' WHERE name = 'requests'", "dimension id 1: remainder ''"),
        ("UPDATE bucket SET own = '1e3' WHERE sealed = 0", "own '1e3'"),
        ("UPDATE record SET quantity = '1,5' WHERE status = 'sealed'", "quantity '1,5'"),
        ("UPDATE record SET timestamp = 9223372036854775807 WHERE status = 'sealed'", "timestamp 9223372036854775807"),
    ],
)
@pytest.mark.parametrize("pod", ["pod-1", "pod-2"])
async def test_unreadable_row_is_unusable(tmp_path: Path, damage: str, row: str, pod: str) -> None:
    """A row that cannot be read ends the start with its name and a cure, for its own pod and for a successor."""
    books = Books(tmp_path / "ledger.db")
    books.take(event("5"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.take(event("2"))
    assert books.store.connection.execute(damage).rowcount
    books.close()
    ledger = Ledger(books.path, RULES)
    with pytest.raises(LedgerUnusable) as caught:
        await ledger.open(pod, "downward-api", books.now)
    await ledger.close()
    assert row in caught.value.reason
    assert "ledger verify --all" in caught.value.cure


async def test_row_unreadable_while_running(tmp_path: Path) -> None:
    """A row that becomes unreadable under a running sidecar is a fault of the ledger that names it, not a crash."""
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    await ledger.take([UsageBatch([event("5")])], NOW)
    with closing(sqlite3.connect(ledger.path)) as other:
        other.execute("UPDATE bucket SET own = 'x'")
        other.commit()
    for _ in range(2):
        with pytest.raises(LedgerUnavailable, match="own 'x' is not a quantity"):
            await ledger.terms()
    assert "own 'x'" in (ledger.fault or "")
    await ledger.close()


async def test_seal_asks_clock(tmp_path: Path) -> None:
    """Whether an hour has ended is decided by the clock at its seal, not by what it showed when the turn began."""
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    await ledger.take([UsageBatch([event("5")])], NOW)
    hour = hour_of(NOW)
    settle = timedelta(minutes=2)
    assert await ledger.seal(hour, "requests", lambda: start_of(hour) - timedelta(seconds=1), None) is None
    assert await ledger.seal(hour, "requests", lambda: end_of(hour) + timedelta(minutes=1), settle) is None
    assert [] == await ledger.waiting()
    assert await ledger.seal(hour, "requests", lambda: end_of(hour) + settle, settle) is not None
    await ledger.close()
