"""A ledger that the commands cannot use: code 4, the path, the reason and the cure; and one that they still can."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.adapters.ledger.file import DAMAGED_CURE
from sidecar.adapters.ledger.schema import MIGRATIONS
from tests.commands.ledgers import ledger, tamper
from tests.support.books import Books, event
from tests.support.tools import PATIENCE

COMMANDS = [
    ("status",),
    ("events",),
    ("records",),
    ("records", "--audit"),
    ("verify",),
    ("export",),
    ("resolve", "rec-1", "carry", "--reason", "why"),
]


def _missing(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _text(path: Path) -> None:
    path.write_text("usage: 7\n" * 200)


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def _foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE contact (name TEXT)")


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


UNUSABLE: list[tuple[Callable[[Path], None], str]] = [
    (_missing, "there is no such file. Name the configuration"),
    (_folder, "it is a folder. Name the file in it."),
    (_text, "file is not a database"),
    (_emptied, "no sidecar of this version has opened it yet. Start the sidecar on it once."),
    (_cut, DAMAGED_CURE),
    (_foreign, "the file is a database of another program. Point ledger.path at"),
    (_newer, f"it was written by a newer version (schema 99, this program knows {len(MIGRATIONS)}). Run the newer"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(("spoil", "words"), UNUSABLE)
def test_unusable_ledger_is_four(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    words: str,
    command: tuple[str, ...],
) -> None:
    """Every command ends with 4 and says path, reason and cure, on a line of its own and without a traceback."""
    path = tmp_path / "ledger.db"
    Books(path).close()
    spoil(path)
    assert 4 == ledger(*command, "--ledger", str(path))
    shown = capsys.readouterr()
    assert shown.err.startswith(f"ledger {path}: ")
    assert words in shown.err
    assert 1 == len(shown.err.splitlines())


@pytest.mark.parametrize("command", ["status", "records", "export"])
def test_unreadable_row_is_four(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    """A row that cannot be read ends a listing, and the way to find it is named."""
    path = tmp_path / "ledger.db"
    books = Books(path)
    books.take(event("1"))
    books.seal()
    books.close()
    tamper(path, "UPDATE record SET quantity = 'abc'")
    assert 4 == ledger(command, "--ledger", str(path))
    assert "a row cannot be read" in (said := capsys.readouterr().err)
    assert "`ledger verify` names the row" in said


@pytest.fixture(name="folder")
def _folder_for_all() -> Iterator[Path]:
    """Make a folder that another user may enter; pytest's own is for its user alone."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def as_nobody(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user whom a folder's mode binds; root could write everywhere."""
    script = (
        "import os, sys; from sidecar import cli; import sidecar.commands.ledger\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    return subprocess.run(
        [sys.executable, "-c", script, "ledger", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env=environ,
    )


def close_to_writers(folder: Path) -> None:
    """Make the folder readable and not writable for everyone."""
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)


def test_copy_in_readonly_folder_is_read(folder: Path) -> None:
    """A ledger copied after its sidecar has ended can be read and proved where nothing can be written."""
    path = folder / "ledger.db"
    books = Books(path)
    books.take(event("1.5", id="a"))
    books.close()
    close_to_writers(folder)
    done = as_nobody("verify", "--ledger", str(path))
    assert (0, "") == (done.returncode, done.stderr)
    assert "1.5" in done.stdout
    done = as_nobody("resolve", "rec-1", "carry", "--reason", "why", "--ledger", str(path))
    assert 4 == done.returncode
    assert "Make the file and its folder writable" in done.stderr


def test_log_in_readonly_folder_is_not_missed(folder: Path, tmp_path: Path) -> None:
    """A copy whose last writes are in its log is refused there, with the cure, and not shown without them."""
    books = Books(tmp_path / "ledger.db")
    books.take(event("1.5", id="a"))
    for name in ("ledger.db", "ledger.db-wal"):
        shutil.copy(tmp_path / name, folder / name)
    books.close()
    close_to_writers(folder)
    done = as_nobody("verify", "--ledger", str(folder / "ledger.db"))
    assert 4 == done.returncode
    assert "copy ledger.db and ledger.db-wal together into a folder of your own" in done.stderr


def test_running_ledger_in_readonly_folder_is_read(folder: Path) -> None:
    """A ledger of another user's running sidecar can be read where only that one writes."""
    books = Books(folder / "ledger.db")
    books.take(event("1.5", id="a"))
    close_to_writers(folder)
    done = as_nobody("events", "--ledger", str(folder / "ledger.db"), "--json")
    books.close()
    assert (0, "") == (done.returncode, done.stderr)
    assert '"quantity": "1.5"' in done.stdout
