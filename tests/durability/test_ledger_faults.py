"""What can befall the ledger's file while it is in use: each has a state that is said, and an end without loss."""

import errno
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from sidecar.adapters.ledger.file import LedgerUnusable, open_for_reading, open_for_writing
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.domain.metering.events import LedgerUnavailable
from tests.durability.spoiled_ledger import NOW, RULES, flip_bits, kept, take


async def test_removed_ledger_is_put_back(ledger: Ledger) -> None:
    """A ledger removed while in use is written anew at its place, with everything accepted, and that is logged once."""
    await take(ledger, "a", "b")
    for file in ledger.path.parent.glob("ledger.db*"):
        file.unlink()

    with capture_logs() as lines:
        await take(ledger, "c")
        await take(ledger, "c")

    assert [("ledger.put_back", "warning")] == [(line["event"], line["log_level"]) for line in lines]
    assert {"a", "b", "c"} == kept(ledger.path)
    assert ledger.fault is None


async def test_removed_log_is_put_back(ledger: Ledger) -> None:
    """Without its log the file alone would lack what was accepted last; it is written anew."""
    await take(ledger, "a", "b")
    (ledger.path.parent / "ledger.db-wal").unlink()

    await take(ledger, "c")

    assert {"a", "b", "c"} == kept(ledger.path)


async def test_removed_folder_is_waited_for(ledger: Ledger) -> None:
    """Without its folder usage is refused and the fault is reported; once it is back, nothing accepted is missing."""
    await take(ledger, "a")
    folder = ledger.path.parent
    away = folder.with_name("away")
    folder.rename(away)

    with pytest.raises(LedgerUnavailable, match="was removed"):
        await take(ledger, "b")
    assert ledger.fault is not None
    folder.mkdir()
    await take(ledger, "b")

    assert {"a", "b"} == kept(ledger.path)
    assert ledger.fault is None


@pytest.mark.parametrize("fails", ["replace", "fsync"])
async def test_failed_restore_is_tried_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    """A volume that fails in the middle of the restore costs no accepted usage: the next try completes it."""
    await take(ledger, "a", "b")
    ledger.path.unlink()
    owner: Any = Path if fails == "replace" else os
    whole = getattr(owner, fails)

    def fail(*arguments: Any) -> Any:
        if fails == "replace" or stat.S_ISDIR(os.fstat(arguments[0]).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        return whole(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(owner, fails, fail)
        for _ in range(2):
            with pytest.raises(LedgerUnavailable, match="Input/output error"):
                await take(ledger, "c")
    await take(ledger, "c")

    assert {"a", "b", "c"} == kept(ledger.path)
    assert ledger.fault is None


async def test_killed_restore_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends after the copy is written and before it is the ledger: the next start puts it in place."""

    class Killed(BaseException):
        """Nothing of the process runs on."""

    def kill(*_arguments: Any) -> None:
        raise Killed

    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    await take(ledger, "a", "b")
    ledger.path.unlink()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", kill)
        with pytest.raises(Killed):
            await take(ledger, "c")
    assert not ledger.path.exists()
    await ledger.close()

    again = Ledger(ledger.path, RULES)
    await again.open("pod-1", "downward-api", NOW)
    await again.close()
    assert {"a", "b"} == kept(ledger.path)


@pytest.mark.parametrize("left", [b"", b"SQLite format 3\0 and no more"])
async def test_incomplete_copy_is_no_ledger(tmp_path: Path, left: bytes) -> None:
    """A copy that was cut off does not stop the start, and is not taken for the ledger."""
    rescued = tmp_path / "ledger.db-rescued"
    rescued.write_bytes(left)
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    await take(ledger, "a")
    await ledger.close()
    assert {"a"} == kept(ledger.path)
    assert left == rescued.read_bytes()


async def test_restored_ledger_survives_a_failed_opening(tmp_path: Path) -> None:
    """A restored file that cannot be opened at first is taken for the ledger at the next try, not for a stranger."""
    refuse = False

    def connect(path: Path) -> sqlite3.Connection:
        if refuse:
            raise LedgerUnusable(path, "database is locked", "Try again.")
        return open_for_writing(path)

    ledger = Ledger(tmp_path / "ledger.db", RULES, connect=connect)
    await ledger.open("pod-1", "downward-api", NOW)
    await take(ledger, "a")
    ledger.path.unlink()
    refuse = True
    for _ in range(2):
        with pytest.raises(LedgerUnavailable, match="locked"):
            await take(ledger, "b")
    refuse = False
    await take(ledger, "b")
    await ledger.close()

    assert {"a", "b"} == kept(ledger.path)


async def test_replaced_ledger_is_not_written(ledger: Ledger) -> None:
    """Another file in the ledger's place is neither written nor taken over; with the ledger back, work continues."""
    await take(ledger, "a")
    moved = ledger.path.rename(ledger.path.with_name("moved"))
    ledger.path.write_bytes(b"something else")

    with pytest.raises(LedgerUnavailable, match="another file lies at"):
        await take(ledger, "b")
    assert b"something else" == ledger.path.read_bytes()
    moved.replace(ledger.path)
    await take(ledger, "b")

    assert {"a", "b"} == kept(ledger.path)


def copy_of(ledger: Ledger) -> Path:
    """Return a backup of a ledger in use."""
    copy = ledger.path.with_name("backup")
    with closing(open_for_reading(ledger.path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


async def test_replaced_ledger_is_written_again(ledger: Ledger) -> None:
    """A backup is put over the ledger in use: the cure, to move it away, brings all back that was accepted."""
    await take(ledger, "a")
    backup = copy_of(ledger)
    await take(ledger, "b")
    backup.replace(ledger.path)
    with pytest.raises(LedgerUnavailable, match=r"move the file away, and nothing else; .* Do not restart it"):
        await take(ledger, "c")

    ledger.path.rename(backup)
    await take(ledger, "c")

    assert {"a", "b", "c"} == kept(ledger.path)


async def test_cut_ledger_is_not_put_back(ledger: Ledger) -> None:
    """What is left of a cut ledger is not written anew once the file is removed, as it would be damaged."""
    await take(ledger, "a")
    with closing(sqlite3.connect(ledger.path)) as other:
        other.execute("PRAGMA wal_checkpoint")
    with ledger.path.open("r+b") as file:
        file.truncate(4096)
    with pytest.raises(LedgerUnavailable, match="was cut"):
        await take(ledger, "b")
    ledger.path.unlink()

    with pytest.raises(LedgerUnavailable, match=r"start on an empty path\. Never start on an older copy"):
        await take(ledger, "b")
    assert not ledger.path.exists()

    ledger.path.write_bytes(b"something else")
    with pytest.raises(LedgerUnavailable, match="was cut"):
        await take(ledger, "b")
    assert b"something else" == ledger.path.read_bytes()


@pytest.mark.parametrize("size", [0, 4096, 20_000])
async def test_cut_ledger_is_refused(ledger: Ledger, size: int) -> None:
    """A ledger that has lost its end takes nothing and shows it; restored, it continues with all that was accepted."""
    await take(ledger, "a")
    with closing(sqlite3.connect(ledger.path)) as other:
        other.execute("PRAGMA wal_checkpoint")
    whole = ledger.path.read_bytes()
    await take(ledger, "b")
    with ledger.path.open("r+b") as file:
        file.truncate(size)

    with pytest.raises(LedgerUnavailable, match="was cut"):
        await take(ledger, "c")
    with ledger.path.open("r+b") as file:
        file.write(whole)
    await take(ledger, "c")

    assert {"a", "b", "c"} == kept(ledger.path)


async def test_flipped_bits_are_refused(ledger: Ledger) -> None:
    """Pages that are damaged under a running sidecar stop the intake as soon as they are read; mended, it continues."""
    await take(ledger, "a")
    whole = flip_bits(ledger.path, 4096)

    with pytest.raises(LedgerUnavailable, match="malformed"):
        await take(ledger, "b")
    assert ledger.fault is not None
    ledger.path.write_bytes(whole)
    await take(ledger, "b")

    assert {"a", "b"} == kept(ledger.path)
    assert ledger.fault is None


async def test_damaged_ledger_is_refused_in_words(tmp_path: Path) -> None:
    """A ledger whose first page was overwritten cannot be opened; the message names the file and what to do."""
    path = tmp_path / "ledger.db"
    ledger = Ledger(path, RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    await take(ledger, "a")
    await ledger.close()
    content = bytearray(path.read_bytes())
    content[:100] = bytes(range(100))
    path.write_bytes(content)

    again = Ledger(path, RULES)
    with pytest.raises(LedgerUnusable, match=r"ledger\.db: file is not a database\. Stop .*Never start on an old"):
        await again.open("pod-1", "downward-api", NOW)
    await again.close()

    assert path.read_bytes() == bytes(content)


class FaultyConnection(sqlite3.Connection):
    """A connection on a disk that fails at one statement."""

    countdown = -1
    error = sqlite3.OperationalError()

    def execute(self, *arguments: Any, **options: Any) -> sqlite3.Cursor:
        self.count()
        return super().execute(*arguments, **options)

    def executemany(self, *arguments: Any, **options: Any) -> sqlite3.Cursor:
        self.count()
        return super().executemany(*arguments, **options)

    def count(self) -> None:
        """Fail at the statement whose turn it is, and at those after it."""
        type(self).countdown -= 1
        if type(self).countdown < 0:
            raise self.error


@pytest.mark.parametrize(
    "error", ["database or disk is full", "attempt to write a readonly database", "disk I/O error"]
)
async def test_failing_disk_loses_nothing(tmp_path: Path, error: str) -> None:
    """Whichever statement the disk fails at, the batch is refused whole, and taken once the disk is well again."""
    FaultyConnection.error = sqlite3.OperationalError(error)

    def connect(path: Path) -> sqlite3.Connection:
        with closing(open_for_writing(path)):
            pass
        connection = sqlite3.connect(path, isolation_level=None, factory=FaultyConnection, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        return connection

    FaultyConnection.countdown = 10_000
    ledger = Ledger(tmp_path / "ledger.db", RULES, connect=connect)
    await ledger.open("pod-1", "downward-api", NOW)
    refused = 0
    for statement in range(40):
        FaultyConnection.countdown = statement
        try:
            await take(ledger, f"evt-{statement}")
        except LedgerUnavailable as fault:
            refused += 1
            assert error in str(fault)  # noqa: PT017 - the last statements come after the commit
            FaultyConnection.countdown = 10_000
            await take(ledger, f"evt-{statement}")
    FaultyConnection.countdown = 10_000
    terms = (await ledger.terms())["requests"]
    await ledger.close()

    assert refused > 5
    assert kept(ledger.path) == {f"evt-{statement}" for statement in range(40)}
    assert 40_000_000 == terms.accepted


async def test_fresh_connection_fails(tmp_path: Path) -> None:
    """A disk that fails again and again while the ledger is opened anew leaves it usable once it has recovered."""
    failing: list[str] = []

    class Connection(sqlite3.Connection):
        def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
            if failing and failing[0] in statement:
                failing.pop(0)
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(statement, parameters)

    def connect(path: Path) -> sqlite3.Connection:
        open_for_writing(path).close()
        connection = sqlite3.connect(path, isolation_level=None, factory=Connection)
        connection.row_factory = sqlite3.Row
        return connection

    ledger = Ledger(tmp_path / "ledger.db", RULES, connect=connect)
    await ledger.open("pod-1", "downward-api", NOW)
    await take(ledger, "a")
    failing += ["COMMIT", "temp_store", "journal_size_limit", "temp_store"]
    for _ in range(4):
        with pytest.raises(LedgerUnavailable):
            await take(ledger, "b")
    await take(ledger, "b")
    await ledger.close()
    assert {"a", "b"} == kept(ledger.path)
