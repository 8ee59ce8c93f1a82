"""Commands hold an instant of the ledger for a short time, because the log of a running sidecar grows meanwhile."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.adapters.ledger import conservation, integrity
from sidecar.adapters.ledger.file import LedgerUnusable
from sidecar.adapters.ledger.snapshot import LONGEST_SECONDS, copy_of, in_steps, reading, unusable
from sidecar.adapters.ledger.windows import one_instant
from tests.support.books import HOUR, RED, Books, event

_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 40000)"


def filled(books: Books) -> Books:
    """Put something of each kind into a ledger."""
    for number in range(3):
        books.take(event("2", id=f"{number}", tags=RED), event(dimension="users", value="ann"))
        books.pass_time(HOUR)
        books.seal_ended()
        books.submit_all()
    books.prune()
    books.take(event("5", id="whole"))
    return books


def holds_back(path: Path) -> bool:
    """Return whether some reader keeps the log from beginning anew."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
        other.execute("UPDATE dimension SET accepted = accepted")
        busy, _, _ = other.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    return bool(busy)


def temporary_files() -> list[str]:
    """Return SQLite's temporary files that this process has open; it removes their names when it opens them."""
    targets = [str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    return [target for target in targets if "etilqs_" in target]


def test_slow_output_holds_no_instant(books: Books) -> None:
    """However long a command computes and prints, the log continues; it still sees one instant, and proves it."""
    filled(books)
    with reading(books.path) as connection:
        connection.execute("SELECT * FROM record").fetchall()
        assert holds_back(books.path)
    with copy_of(books.path, events=True) as connection:
        assert not holds_back(books.path)
        books.take(event("7", id="later"))
        assert 5_000_000 + 6_000_000 == conservation.proved_terms(connection)["requests"].accepted
        assert ["whole"] == [row["id"] for row in connection.execute("SELECT id FROM event")]
        assert [] == [*integrity.row_faults(connection), *conservation.breaches(connection)]
        assert [] == list(conservation.event_breaches(connection))


def test_long_look_is_ended(books: Books) -> None:
    """A look that takes longer than 5 seconds next to a writer ends with the reason and the cure, and no traceback."""
    filled(books)
    ticks = iter(range(0, 10**9, int(LONGEST_SECONDS)))
    with (
        pytest.raises(LedgerUnusable, match=r"could not be read within 5 s"),
        copy_of(books.path, events=True, now=lambda: float(next(ticks))) as connection,
    ):
        connection.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")


def test_long_computation_on_the_copy_is_not_ended(books: Books) -> None:
    """Next to a writer each read of the ledger has 5 seconds; the work of a command on its copy is not timed."""
    filled(books)
    clock = [0.0]
    count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) SELECT max(i) FROM n"
    with copy_of(books.path, events=True, now=lambda: clock[0]) as connection:
        for _ in range(5):
            clock[0] += LONGEST_SECONDS - 1
            assert 50_000 == connection.execute(count).fetchone()[0]


def test_long_look_past_the_copy_is_ended(books: Books) -> None:
    """A statement that reads the ledger for longer than 5 seconds after the copy is ended like any other."""
    filled(books)
    # A second for each look at the clock: few during the copy, many in the statement.
    ticks = iter(range(10**9))
    with (
        pytest.raises(LedgerUnusable, match=r"could not be read within 5 s"),
        copy_of(books.path, events=True, now=lambda: float(next(ticks))) as connection,
    ):
        connection.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")


def test_idle_ledger_has_no_limit(tmp_path: Path) -> None:
    """A ledger that no process writes may be read for as long as it takes."""
    books = filled(Books(tmp_path / "ledger.db", durable=False))
    books.close()
    ticks = iter(range(0, 10**9, 60))
    with copy_of(books.path, now=lambda: float(next(ticks))) as connection:
        count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) SELECT max(i) FROM n"
        assert 50_000 == connection.execute(count).fetchone()[0]


def test_large_file_is_checked_by_table(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the check of the whole file takes too long, each table is checked by itself."""
    filled(books)
    calls = iter([True])

    def short_at_first(connection: sqlite3.Connection, path: Path) -> None:
        assert books.path == path
        stop = next(calls, False)
        connection.set_progress_handler((lambda: True) if stop else None, 1)

    monkeypatch.setattr(integrity, "limit", short_at_first)
    assert [] == list(integrity.file_faults(books.path))


def test_missing_temporary_folder_has_a_cure() -> None:
    """A command that finds no folder for what does not fit into memory says how to give it one."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = "SQLITE_IOERR_GETTEMPPATH"
    assert "Set TMPDIR to a writable folder with as much room as the ledger takes." == unusable(Path("l"), error).cure


def test_steps_hold_no_instant(books: Books) -> None:
    """Read in steps, the ledger's log continues between two steps; a transaction of the command is one instant."""
    filled(books)
    with in_steps(books.path) as connection:
        assert not holds_back(books.path)
        books.take(event("1"))
        with one_instant(connection):
            connection.execute("SELECT * FROM record").fetchall()
            assert holds_back(books.path)
            books.take(event("7"))
            assert 12_000_000 == conservation.proved_terms(connection)["requests"].accepted
        assert 19_000_000 == conservation.proved_terms(connection)["requests"].accepted
        assert not holds_back(books.path)


def test_long_step_is_ended(books: Books) -> None:
    """Next to a writer the statements of one transaction have 5 seconds together; the next transaction has as many."""
    filled(books)
    clock = [0.0]
    count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) SELECT max(i) FROM n"

    def read(*transactions: int) -> None:
        with in_steps(books.path, now=lambda: clock[0]) as connection:
            for statements in transactions:
                with one_instant(connection):
                    for _ in range(statements):
                        clock[0] += LONGEST_SECONDS - 1
                        assert 50_000 == connection.execute(count).fetchone()[0]

    read(1, 1, 1)
    with pytest.raises(LedgerUnusable, match=r"could not be read within 5 s"):
        read(1, 2)


@pytest.mark.parametrize("read_only", [False, True])
def test_steps_need_no_temporary_file(tmp_path: Path, *, read_only: bool) -> None:
    """Read in steps, what is sorted stays in memory: in the image no folder for temporary files is writable."""
    filled(Books(tmp_path / "ledger.db", durable=False)).close()
    with in_steps(tmp_path / "ledger.db", read_only=read_only) as connection:
        sorted_rows = connection.execute(f"{_NUMBERS} SELECT hex(randomblob(1000)) AS part FROM n ORDER BY part")
        assert sorted_rows.fetchone() is not None
        assert [] == temporary_files()


def test_sort_within_memory_needs_no_temporary_file(books: Books) -> None:
    """A sort of up to 16 MiB stays in memory: in the image no folder for temporary files is writable."""
    filled(books)
    with copy_of(books.path, events=True) as connection:
        # 8 MiB, four times as much as SQLite's default takes.
        sorted_rows = connection.execute(f"{_NUMBERS} SELECT hex(randomblob(100)) AS part FROM n ORDER BY part")
        assert sorted_rows.fetchone() is not None
        assert [] == temporary_files()
    with closing(sqlite3.connect(books.path)) as connection:
        sorted_rows = connection.execute(f"{_NUMBERS} SELECT hex(randomblob(100)) AS part FROM n ORDER BY part")
        assert sorted_rows.fetchone() is not None
        assert 1 == len(temporary_files())
