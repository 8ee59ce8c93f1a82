"""A ledger in use that is removed or replaced: no other ledger is overwritten, and each cure holds in its state."""

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.ledger import file_guard
from sidecar.adapters.ledger.file import LedgerUnusable, open_for_reading, open_for_writing
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.durable_files import sync_path
from tests.durability.spoiled_ledger import NOW, RULES, flip_bits, kept, take

FOREIGN = b"something else"


def once_copied(act: Callable[[], object]) -> Callable[[Path], None]:
    """Return what stands in for the syncing of a path, and acts once the copy of a ledger is written."""

    def sync(path: Path) -> None:
        if path.name == "ledger.db-rescued":
            act()

    return sync


async def test_ledger_begun_meanwhile_stays(tmp_path: Path) -> None:
    """The folder is moved away, and another sidecar begins a ledger at the path: it stays as it is."""
    first = Ledger(tmp_path / "volume" / "ledger.db", RULES)
    await first.open("pod-1", "downward-api", NOW)
    await take(first, "a")
    first.path.parent.rename(tmp_path / "away")
    with pytest.raises(LedgerUnavailable, match="was removed"):
        await take(first, "b")
    second = Ledger(first.path, RULES)
    await second.open("pod-2", "downward-api", NOW)
    await take(second, "paid")

    with pytest.raises(LedgerUnavailable, match=r"move the file and its ledger\.db-wal away"):
        await take(first, "b")
    await first.close()
    await take(second, "paid later")
    await second.close()

    assert {"paid", "paid later"} == kept(second.path)
    assert {"a"} == kept(tmp_path / "away" / "ledger.db")


async def test_file_put_there_after_a_failed_restore_stays(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room the ledger cannot be put back; a file that comes meanwhile stays until it is moved away."""

    def fail(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    await take(ledger, "a")
    ledger.path.unlink()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(LedgerUnavailable, match="No space left"):
            await take(ledger, "b")
    ledger.path.write_bytes(FOREIGN)

    with pytest.raises(LedgerUnavailable, match="another file lies at"):
        await take(ledger, "b")
    assert FOREIGN == ledger.path.read_bytes()
    ledger.path.unlink()
    await take(ledger, "b")

    assert {"a", "b"} == kept(ledger.path)


async def test_file_put_there_during_the_restore_stays(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that comes while the copy is written is not overwritten."""
    await take(ledger, "a")
    ledger.path.unlink()
    monkeypatch.setattr(file_guard, "sync_path", once_copied(lambda: ledger.path.write_bytes(FOREIGN)))

    with pytest.raises(LedgerUnavailable, match="another file lies at"):
        await take(ledger, "b")

    assert FOREIGN == ledger.path.read_bytes()


async def test_ledger_is_back_during_the_restore(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that comes back while the copy is written is used again, and no copy is left."""
    moved = ledger.path.with_name("moved")

    await take(ledger, "a")
    file = ledger.path.rename(moved).stat().st_ino
    monkeypatch.setattr(file_guard, "sync_path", once_copied(lambda: moved.rename(ledger.path)))

    await take(ledger, "b")

    assert file == ledger.path.stat().st_ino
    assert not ledger.path.with_name("ledger.db-rescued").exists()
    assert {"a", "b"} == kept(ledger.path)


def refuse(code: int) -> Callable[..., None]:
    """Return what fails with an error of the disk."""

    def fail(*_arguments: Any, **_options: Any) -> None:
        raise OSError(code, os.strerror(code))

    return fail


async def leave_copy(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Store "a" in a ledger, take its file away, and let the disk keep the complete copy from its place."""
    await take(ledger, "a")
    with closing(sqlite3.connect(ledger.path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    moved = ledger.path.rename(ledger.path.with_name("moved"))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", refuse(errno.EIO))
        with pytest.raises(LedgerUnavailable, match="Input/output error"):
            await take(ledger, "b")
    assert {"a"} == kept(ledger.path.with_name("ledger.db-rescued"))
    return moved


async def kept_by_a_start(path: Path) -> set[str]:
    """Return what a sidecar finds that starts on the path."""
    again = Ledger(path, RULES)
    await again.open("pod-1", "downward-api", NOW)
    await again.close()
    return kept(path)


@pytest.mark.parametrize("failing", ["replace", "fsync"])
async def test_no_copy_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """Once the ledger is back by itself its copy is removed: a later start would take it for the ledger."""
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    await take(ledger, "a")
    moved = ledger.path.rename(tmp_path / "moved")
    with monkeypatch.context() as patched:
        patched.setattr(Path if failing == "replace" else os, failing, refuse(errno.EIO))
        with pytest.raises(LedgerUnavailable, match="Input/output error"):
            await take(ledger, "b")
    moved.rename(ledger.path)
    await take(ledger, "b")
    await ledger.close()
    ledger.path.rename(moved)

    assert set() == await kept_by_a_start(ledger.path)


async def test_only_copy_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another file lies at the path, the copy may be all that is left of the usage: it outlasts the process."""
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    (await leave_copy(ledger, monkeypatch)).unlink()
    ledger.path.touch()
    with pytest.raises(LedgerUnavailable, match="another file lies at"):
        await take(ledger, "b")
    await ledger.close()
    ledger.path.unlink()

    assert {"a"} == await kept_by_a_start(ledger.path)


async def test_complete_copy_is_not_written_anew(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second try needs no room for another copy: the first one is put in place."""
    (await leave_copy(ledger, monkeypatch)).unlink()
    copy = ledger.path.with_name("ledger.db-rescued").stat().st_ino

    await take(ledger, "b")

    assert copy == ledger.path.stat().st_ino
    assert {"a", "b"} == kept(ledger.path)


async def test_old_copy_is_never_put_in_place(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger is back and goes on, and its copy cannot be removed: the next copy is a new one."""
    await take(ledger, "a")
    moved = ledger.path.rename(ledger.path.with_name("moved"))
    with monkeypatch.context() as patched:
        patched.setattr(file_guard, "sync_path", once_copied(lambda: ledger.path.write_bytes(FOREIGN)))
        with pytest.raises(LedgerUnavailable, match="another file lies at"):
            await take(ledger, "b")
    moved.replace(ledger.path)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse(errno.EACCES))
        await take(ledger, "b")
    ledger.path.unlink()

    await take(ledger, "c")

    assert {"a", "b", "c"} == kept(ledger.path)


async def test_copy_next_to_a_ledger_is_not_billed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger is back when the next process starts: the copy is kept under a name that no start takes."""
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    moved = await leave_copy(ledger, monkeypatch)
    await ledger.close()
    moved.rename(ledger.path)
    assert {"a"} == await kept_by_a_start(ledger.path)
    assert {"a"} == kept(tmp_path / "ledger.db-unused-1")
    ledger.path.rename(moved)

    assert set() == await kept_by_a_start(ledger.path)


async def test_unreadable_copy_ends_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that cannot be read now may be the only one: no empty ledger begins in its place."""
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    (await leave_copy(ledger, monkeypatch)).unlink()
    await ledger.close()
    with closing(sqlite3.connect(tmp_path / "ledger.db-rescued")) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, timeout=0))
        with pytest.raises(LedgerUnusable, match=r"ledger\.db-rescued cannot be read"):
            await Ledger(ledger.path, RULES).open("pod-1", "downward-api", NOW)

    assert {"a"} == await kept_by_a_start(ledger.path)


async def test_start_on_a_folder_that_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy is put in place of a missing ledger, and the start goes on."""
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    (await leave_copy(ledger, monkeypatch)).unlink()
    await ledger.close()

    def sync(path: Path) -> None:
        if path == tmp_path:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        sync_path(path)

    monkeypatch.setattr(file_guard, "sync_path", sync)

    assert {"a"} == await kept_by_a_start(ledger.path)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EACCES])
async def test_folder_that_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Some file systems sync no folder: the ledger is used again all the same, after an error and when put back."""

    def connect(path: Path) -> sqlite3.Connection:
        connection = open_for_writing(path)
        connection.execute("PRAGMA busy_timeout = 0")
        return connection

    def sync(path: Path) -> None:
        if path == tmp_path:
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(file_guard, "sync_path", sync)
    ledger = Ledger(tmp_path / "ledger.db", RULES, connect=connect)
    await ledger.open("pod-1", "downward-api", NOW)
    with closing(sqlite3.connect(ledger.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable, match="locked"):
            await take(ledger, "a")
    await take(ledger, "a")
    ledger.path.unlink()
    await take(ledger, "b")
    await ledger.close()

    assert {"a", "b"} == kept(ledger.path)


async def test_folder_is_synced_before_the_old_file_is_let_go(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until a ledger that was put back outlasts a loss of power, the removed file can be read, and written again."""

    def sync(path: Path) -> None:
        if path == ledger.path.parent:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    await take(ledger, "a")
    ledger.path.unlink()
    with monkeypatch.context() as patched:
        patched.setattr(file_guard, "sync_path", sync)
        for _ in range(2):
            with pytest.raises(LedgerUnavailable, match="cannot be synced"):
                await take(ledger, "b")
            ledger.path.unlink()

    await take(ledger, "b")

    assert {"a", "b"} == kept(ledger.path)


@pytest.mark.parametrize("is_open", [True, False])
async def test_other_device_asks_for_the_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_open: bool
) -> None:
    """A volume that is mounted anew may have another device number: the same inode there is named as what it may be."""
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    await (take(ledger, "a") if is_open else damage(ledger))
    found = os.stat

    def stat(path: Path) -> os.stat_result:
        real = found(path)
        return os.stat_result((*real[:2], real.st_dev + 1, *real[3:]))

    with monkeypatch.context() as patched:
        patched.setattr("sidecar.adapters.ledger.file_guard.os.stat", stat)
        with pytest.raises(LedgerUnavailable, match="restart the sidecar if it is the same volume, mounted anew"):
            await take(ledger, "b")
    await ledger.close()


async def test_log_of_another_ledger_stays(ledger: Ledger) -> None:
    """The other ledger was moved away without its log, which has accepted usage: it is not removed."""
    await take(ledger, "a")
    log = ledger.path.with_name("ledger.db-wal")
    ledger.path.unlink()
    log.rename(log.with_name("own"))
    log.write_bytes(FOREIGN)

    with pytest.raises(LedgerUnavailable, match=r"another file lies at .*ledger\.db-wal: move the file away"):
        await take(ledger, "b")
    assert FOREIGN == log.read_bytes()
    log.unlink()
    await take(ledger, "b")

    assert {"a", "b"} == kept(ledger.path)


async def test_empty_log_of_a_reader_is_no_other(ledger: Ledger) -> None:
    """A command that reads a ledger without its log leaves an empty one, which keeps nothing from being restored."""
    await take(ledger, "a")
    for name in ("ledger.db-wal", "ledger.db-shm"):
        ledger.path.with_name(name).unlink()
    open_for_reading(ledger.path).close()
    assert 0 == ledger.path.with_name("ledger.db-wal").stat().st_size

    await take(ledger, "b")

    assert {"a", "b"} == kept(ledger.path)


async def damage(ledger: Ledger) -> bytes:
    """Spoil a ledger that has taken "a" until its connection is closed; return what its file held before."""
    await take(ledger, "a")
    whole = flip_bits(ledger.path)
    for _ in range(2):
        with pytest.raises(LedgerUnavailable, match="not a database"):
            await take(ledger, "b")
    return whole


async def test_closed_ledger_comes_back(tmp_path: Path) -> None:
    """A ledger whose connection is closed is missing for a moment: back and whole, it is used without a restart."""
    ledger = Ledger(tmp_path / "volume" / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    whole = await damage(ledger)
    ledger.path.parent.rename(tmp_path / "away")
    with pytest.raises(LedgerUnavailable, match=r"was removed: move the ledger .*back, or restart"):
        await take(ledger, "b")
    ledger.path.parent.mkdir()
    with pytest.raises(LedgerUnavailable, match=r"was removed: move the ledger .*back, or restart"):
        await take(ledger, "b")
    assert [] == list(ledger.path.parent.iterdir())

    ledger.path.parent.rmdir()
    (tmp_path / "away").rename(ledger.path.parent)
    with ledger.path.open("r+b") as file:
        file.write(whole)
    await take(ledger, "b")
    await ledger.close()

    assert {"a", "b"} == kept(ledger.path)


async def test_closed_ledger_names_a_cure_that_helps(tmp_path: Path) -> None:
    """A repaired file is moved over a ledger whose connection is closed: the cure is the restart, and it helps."""
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    whole = await damage(ledger)
    repaired = ledger.path.with_name("repaired.db")
    repaired.write_bytes(whole)
    repaired.replace(ledger.path)

    with pytest.raises(LedgerUnavailable, match=r"another file lies at .*, or restart the sidecar on the repaired"):
        await take(ledger, "b")
    await ledger.close()
    again = Ledger(ledger.path, RULES)
    await again.open("pod-1", "downward-api", NOW)
    await take(again, "b")
    await again.close()

    assert {"a", "b"} == kept(ledger.path)


async def test_closed_ledger_takes_no_log_of_another(tmp_path: Path) -> None:
    """A ledger whose connection is closed is not opened with the log of another ledger, which would damage it."""
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    whole = await damage(ledger)
    log = tmp_path / "ledger.db-wal"
    log.write_bytes(FOREIGN)
    ledger.path.write_bytes(whole)

    with pytest.raises(LedgerUnavailable, match=r"another file lies at .*ledger\.db-wal: move it away"):
        await take(ledger, "b")
    assert FOREIGN == log.read_bytes()
    log.unlink()
    await take(ledger, "b")
    await ledger.close()

    assert {"a", "b"} == kept(ledger.path)


async def test_file_put_there_while_opening_is_not_used(tmp_path: Path) -> None:
    """Another ledger that takes the place while the ledger is opened anew is not written to."""
    opened = 0

    def connect(path: Path) -> sqlite3.Connection:
        nonlocal opened
        opened += 1
        if opened == 2:
            raise LedgerUnusable(path, "disk I/O error", "Check the volume that holds it.")
        if opened == 3:
            path.rename(path.with_name("moved"))
        return open_for_writing(path)

    ledger = Ledger(tmp_path / "ledger.db", RULES, connect=connect)
    await ledger.open("pod-1", "downward-api", NOW)
    await take(ledger, "a")
    ledger.path.unlink()
    with pytest.raises(LedgerUnavailable, match="I/O error"):
        await take(ledger, "b")

    for _ in range(2):
        with pytest.raises(LedgerUnavailable, match="another file lies at"):
            await take(ledger, "b")
    assert set() == kept(ledger.path)
    ledger.path.with_name("moved").replace(ledger.path)
    await take(ledger, "b")
    await ledger.close()

    assert {"a", "b"} == kept(ledger.path)
