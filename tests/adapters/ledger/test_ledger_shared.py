"""A ledger on a volume that a group shares serves a sidecar that runs as another user of the group."""

import os
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.adapters.ledger.file import files_of, open_for_writing
from sidecar.adapters.ledger.file_guard import FileWatch
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.durable_files import share_as_folder
from tests.support.books import NOW, RULES
from tests.support.tools import PATIENCE

_GROUP = 65532
_START = """
import asyncio, os, sys
from pathlib import Path
from sidecar.adapters.ledger.file import LedgerUnusable
from sidecar.adapters.ledger.ledger import Ledger
from tests.support.books import NOW, RULES

user = int(sys.argv[2])
if os.getuid() == 0:
    os.setgroups([int(sys.argv[3])])
    os.setgid(user)
    os.setuid(user)

async def start():
    ledger = Ledger(Path(sys.argv[1]), RULES)
    try:
        await ledger.open(f"pod-{user}", "downward-api", NOW)
    finally:
        await ledger.close()

try:
    asyncio.run(start())
except LedgerUnusable as refused:
    sys.exit(str(refused))
"""


@pytest.fixture
def volume() -> Iterator[Path]:
    """Make a folder as the kubelet leaves that of a volume with fsGroup; pytest's own is for its user alone."""
    above = Path(tempfile.mkdtemp())
    above.chmod(0o755)
    folder = above / "volume"
    folder.mkdir()
    if os.getuid() == 0:
        os.chown(folder, 0, _GROUP)
    folder.chmod(0o2775)
    yield folder
    shutil.rmtree(above)


def start(path: Path, user: int) -> str:
    """Open and close a ledger as a user of the group, if the tests run as root; return what it says."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    command = [sys.executable, "-c", _START, str(path), str(user), str(_GROUP)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=PATIENCE, env=environ, umask=0o022
    ).stderr.strip()


def modes(path: Path) -> dict[str, int]:
    """Return what the group may do with each file of a ledger that is there."""
    return {part.name: stat.S_IMODE(part.stat().st_mode) & 0o070 for part in files_of(path) if part.exists()}


def test_other_user_of_the_group_takes_over(volume: Path) -> None:
    """A pod that runs as another user starts on the ledger of a volume that the pod's group owns, and vice versa."""
    assert ["", "", ""] == [start(volume / "ledger.db", user) for user in (65532, 1000, 65532)]


@pytest.mark.parametrize(("mode", "right"), [(0o2775, 0o020), (0o770, 0o020), (0o755, 0), (0o1777, 0), (0o730, 0)])
async def test_files_are_as_open_as_their_folder(tmp_path: Path, mode: int, right: int) -> None:
    """The group gets what it may do with the folder; where it may not replace a file, the file stays closed to it."""
    path = tmp_path / "volume" / "ledger.db"
    path.parent.mkdir()
    path.parent.chmod(mode)
    ledger = Ledger(path, RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    found = modes(path)
    await ledger.close()
    assert {"ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db-lock"} == set(found)
    found |= modes(path)
    assert "ledger.db-reserve" in found
    assert dict.fromkeys(found, right) == {name: rights & 0o020 for name, rights in found.items()}


def test_rescued_copy_is_as_open_as_its_folder(tmp_path: Path) -> None:
    """A removed ledger is put back open to the group: another user may be the next to open it."""
    path = tmp_path / "ledger.db"
    tmp_path.chmod(0o770)
    with closing(open_for_writing(path)) as connection:
        watch = FileWatch(path)
        path.unlink()
        assert watch.restore(connection)
    assert 0o060 == stat.S_IMODE(path.stat().st_mode) & 0o060


def test_older_files_are_opened_by_their_owner(volume: Path) -> None:
    """A start opens files of an older version to the group; another user is told which they are, and what to do."""
    path = volume / "ledger.db"
    assert "" == start(path, 65532)
    for part in files_of(path):
        if part.exists():
            part.chmod(0o444)
    told = start(path, 1000)
    names = " ".join(f"{path}{suffix}" for suffix in ("", "-lock", "-reserve"))
    assert f"cannot open ledger.db-lock: Permission denied. Run `chmod g+rw {names}` as the owner (user " in told
    Path(f"{path}-lock").chmod(0o664)
    assert f"Run `chmod g+rw {path}" in start(path, 1000)
    for part in files_of(path):
        if part.exists():
            part.chmod(0o644)
    assert ["", ""] == [start(path, user) for user in (65532, 1000)]


@pytest.mark.parametrize("kind", ["link", "hard link", "access list"])
def test_no_more_is_shared_than_the_folder(volume: Path, kind: str) -> None:
    """A link may lead out of the folder, another name too, and with an access list the mode shows no group's rights."""
    secret = volume.parent / "secret"
    file = volume / "file"
    for each in (secret, file):
        each.touch(mode=0o600)
        os.chown(each, -1, volume.stat().st_gid)
    match kind:
        case "link":
            file.unlink()
            file.symlink_to(secret)
        case "hard link":
            file.unlink()
            file.hardlink_to(secret)
        case _:
            entries = ((1, 7, -1), (2, 7, 1000), (4, 5, -1), (16, 7, -1), (32, 5, -1))
            access = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
            os.setxattr(volume, "system.posix_acl_access", access)

    share_as_folder(file)

    assert [0o600, 0o600] == [stat.S_IMODE(each.stat().st_mode) for each in (secret, file)]


def test_sharing_keeps_the_locks(volume: Path) -> None:
    """The mode of an open ledger changes while a transaction holds its lock, which stays."""
    path = volume / "ledger.db"
    with closing(open_for_writing(path)) as connection:
        path.chmod(0o600)
        connection.execute("BEGIN IMMEDIATE")
        share_as_folder(path)
        assert 0o060 == stat.S_IMODE(path.stat().st_mode) & 0o060
        other = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
        ran = subprocess.run(
            [sys.executable, "-c", other, str(path)], capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert "database is locked" in ran.stderr
