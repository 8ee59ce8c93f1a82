"""`ledger ... --read-only`: copies, read-only mounts and older ledgers are read, and nothing is touched."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.adapters.ledger import copies
from sidecar.adapters.ledger.file import LedgerLock
from sidecar.adapters.ledger.queries import overview
from sidecar.adapters.ledger.schema import APPLICATION_ID, MIGRATIONS
from sidecar.adapters.ledger.snapshot import reading
from sidecar.exit_codes import ExitCode
from tests.commands.ledgers import ledger, lived

COMMANDS = [
    ("status",),
    ("events",),
    ("records",),
    ("records", "--audit"),
    ("verify",),
    ("export",),
    ("export", "--chain", "--events"),
]
FIRST_SCHEMA = f"""
    {MIGRATIONS[0]}
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = 1;
    INSERT INTO meta VALUES ('pod', 'pod-1');
    INSERT INTO pod VALUES (1, 'pod-1', 'downward-api', 1795428000000000);
    INSERT INTO dimension (id, name, accepted, submitted) VALUES (1, 'requests', '7', '5');
    INSERT INTO bucket VALUES (1, 1, 1795428000, 0, '5', '0', '0', 1, NULL, 1, 1);
    INSERT INTO bucket VALUES (1, 1, 1795431600, 0, '2', '0', '0', 1, NULL, 0, NULL);
    INSERT INTO event VALUES (1, 'a', 1, 0, 5000000, NULL, NULL, 1795428000000000, 1795428000, 1, 1795428000000000);
    INSERT INTO event VALUES (2, 'b', 1, 0, 2000000, NULL, NULL, 1795431600000000, 1795431600, 1, 1795431600000000);
    INSERT INTO record (seq, pod, dimension, hour, kind, status, quantity, whole, gathered, remainder_before,
        remainder_after, excess, client_token, timestamp, metering_record_id, sealed_at, settled_at)
        VALUES (1, 1, 1, 1795428000, 'slot', 'accepted', '5', 0, '5', '0', '0', '0', 'token-1', 1795428000000000,
        'mr-1', 1795431720000000, 1795431780000000);
"""
"""A ledger of the first schema: 5 taken by AWS, 2 open."""


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return content and time of every file in a folder."""
    return {each.name: (each.read_bytes(), each.stat().st_mtime_ns) for each in folder.iterdir()}


def write_first_schema(path: Path) -> None:
    """Make a ledger as the first version wrote it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"PRAGMA journal_mode = WAL; {FIRST_SCHEMA}")


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A ledger after a clean end, in a folder that no user may write."""
    path = tmp_path / "volume" / "ledger.db"
    path.parent.mkdir()
    with lived(path):
        pass
    return path


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_is_touched(closed: Path, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Each command says with it what it says without it, and leaves the folder as it was, locked or not."""
    before = state(closed.parent)
    lock = LedgerLock(closed)
    locked = state(closed.parent)
    assert ExitCode.CLEAN == ledger(command[0], "--ledger", str(closed), "--read-only", *command[1:])
    assert locked == state(closed.parent)
    lock.release()
    read = capsys.readouterr()
    closed.with_name(f"{closed.name}-lock").unlink()
    assert before == state(closed.parent)
    assert ExitCode.CLEAN == ledger(command[0], "--ledger", str(closed), *command[1:])
    assert _without_instant(read.out) == _without_instant(capsys.readouterr().out)
    assert "ledger.db-wal is not in the same folder" in read.err


def _without_instant(output: str) -> list[str]:
    """Leave out what depends on the instant and on the files next to it: the export's time, its hashes, the size."""
    return [line for line in output.splitlines() if not line.startswith("ledger ") and '"previous"' not in line]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_copy_with_its_log(tmp_path: Path, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """A copy of a ledger in use is read with the `-wal` file next to it, last writes included, and stays as it is."""
    live, copied = tmp_path / "live" / "ledger.db", tmp_path / "copied"
    live.parent.mkdir()
    with lived(live):
        copied.mkdir()
        shutil.copy(live, copied)
        shutil.copy(live.with_name("ledger.db-wal"), copied)
    before = state(copied)
    assert before["ledger.db-wal"][0]
    path = copied / "ledger.db"
    assert ExitCode.CLEAN == ledger(command[0], "--ledger", str(path), "--read-only", *command[1:])
    assert before == state(copied)
    assert "-wal beside it" not in capsys.readouterr().err
    assert ExitCode.CLEAN == ledger("status", "--json", "--ledger", str(path), "--read-only")
    copy_said = json.loads(capsys.readouterr().out)
    assert ExitCode.CLEAN == ledger("status", "--json", "--ledger", str(live))
    live_said = json.loads(capsys.readouterr().out)
    assert live_said["conservation"] == copy_said["conservation"]
    assert live_said["deduplication"] == copy_said["deduplication"]


@pytest.mark.parametrize("with_log", [False, True])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_first_schema_is_read(
    tmp_path: Path,
    command: tuple[str, ...],
    with_log: bool,  # noqa: FBT001 - a table's column
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A ledger that the first version wrote is read and proved, and stays of the first schema."""
    volume = tmp_path / "volume"
    volume.mkdir()
    path = volume / "ledger.db"
    if with_log:
        live = tmp_path / "ledger.db"
        with closing(sqlite3.connect(live)) as connection:
            connection.executescript(f"PRAGMA journal_mode = WAL; {FIRST_SCHEMA}")
            shutil.copy(live, volume)
            shutil.copy(live.with_name("ledger.db-wal"), volume)
    else:
        write_first_schema(path)
    before = state(volume)
    assert ExitCode.CLEAN == ledger(command[0], "--ledger", str(path), "--read-only", *command[1:])
    assert before == state(volume)
    capsys.readouterr()
    assert ExitCode.CLEAN == ledger("status", "--json", "--ledger", str(path), "--read-only")
    terms = json.loads(capsys.readouterr().out)["conservation"]["dimensions"]["requests"]
    assert ("7", "2", "5") == (terms["accepted"], terms["open"], terms["submitted"])


def test_older_ledger_points_to_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the option an older ledger is refused with the way to read it; what needs no new table reads it."""
    path = tmp_path / "ledger.db"
    write_first_schema(path)
    assert ExitCode.LEDGER_UNUSABLE == ledger("status", "--ledger", str(path))
    assert "read it with --read-only" in capsys.readouterr().err
    with reading(path, older=True) as connection:
        assert 1 == overview(connection).pods


def test_newer_ledger_is_refused(closed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A ledger of a newer version is named as such, and stays as it is."""
    with closing(sqlite3.connect(closed)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = state(closed.parent)
    assert ExitCode.LEDGER_UNUSABLE == ledger("status", "--ledger", str(closed), "--read-only")
    assert "newer version" in capsys.readouterr().err
    assert before == state(closed.parent)


@pytest.mark.parametrize("content", [b"", b"not a database at all, but long enough to look at" * 20])
def test_no_ledger_is_refused(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is empty or no ledger ends with code 4 and its path; nothing is made next to it."""
    path = tmp_path / "ledger.db"
    path.write_bytes(content)
    assert ExitCode.LEDGER_UNUSABLE == ledger("verify", "--ledger", str(path), "--read-only")
    assert str(path) in capsys.readouterr().err
    assert [path] == list(tmp_path.iterdir())


def test_busy_ledger_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While another process keeps writing no whole copy comes about: the message says to leave out the option."""
    path = tmp_path / "volume" / "ledger.db"
    path.parent.mkdir()
    counted = iter(range(100))
    with lived(path):
        monkeypatch.setattr(copies, "_states", lambda _: next(counted))
        assert ExitCode.LEDGER_UNUSABLE == ledger("status", "--ledger", str(path), "--read-only")
    assert "Leave out --read-only" in capsys.readouterr().err


def test_no_room_for_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the `-wal` file needs a private copy and there is no folder for one, the message names TMPDIR."""
    path = tmp_path / "volume" / "ledger.db"
    path.parent.mkdir()
    with lived(path):
        before = state(path.parent)
        monkeypatch.setattr("tempfile.tempdir", str(path.parent))
        assert ExitCode.LEDGER_UNUSABLE == ledger("status", "--ledger", str(path), "--read-only")
        assert before == state(path.parent)
    assert "TMPDIR" in capsys.readouterr().err
