"""The checks of the ledger and its volume, on real folders and on tables of mounts."""

import os
from pathlib import Path

import pytest

from sidecar.checks.volume import check_ledger, check_room, check_volume, judge_limit, judge_room, read_mounts
from sidecar.domain.check_result import CheckStatus
from tests.support.books import Books
from tests.support.tools import need_root

ROOT = "overlay / overlay rw,relatime 0 0\nproc /proc proc rw 0 0\n"
MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize(
    ("kind", "options", "status", "words"),
    [
        ("ext4", "rw", CheckStatus.OK, "ext4 at"),
        ("xfs", "rw,noatime", CheckStatus.OK, "xfs at"),
        ("tmpfs", "rw", CheckStatus.WARN, "lost with the pod"),
        ("overlay", "rw", CheckStatus.WARN, "lost when the container restarts"),
        ("fuse.something", "rw", CheckStatus.WARN, "not known how durable"),
        ("nfs4", "rw", CheckStatus.FAIL, "a network share"),
        ("nfs", "rw", CheckStatus.FAIL, "a network share"),
        ("cifs", "rw", CheckStatus.FAIL, "a network share"),
        ("ext4", "ro,noatime", CheckStatus.FAIL, "mounted read-only"),
    ],
)
def test_kind_of_volume_decides(tmp_path: Path, kind: str, options: str, status: CheckStatus, words: str) -> None:
    """What survives a container and keeps its locks is right; memory and layers are doubtful, shares are wrong."""
    mounts = f"{ROOT}/dev/one {tmp_path} {kind} {options} 0 0\n"
    diagnosis = check_volume(tmp_path / "absent" / "ledger.db", mounts)
    assert (status, True) == (diagnosis.status, words in diagnosis.found)
    assert (status is not CheckStatus.OK) == bool(diagnosis.cure)


def test_deepest_mount_counts(tmp_path: Path) -> None:
    """The mount nearest to the ledger holds it, the last one where they hide each other; a like name is another one."""
    folder = tmp_path / "with blank"
    folder.mkdir()
    shown = str(folder).replace(" ", "\\040")
    mounts = (
        f"{ROOT}a {shown} nfs rw 0 0\nb {shown} ext4 rw 0 0\nc {tmp_path} nfs rw 0 0\nd {tmp_path}/with nfs rw 0 0\n"
    )
    assert check_volume(folder / "ledger.db", mounts).found == f"ext4 at {folder}"


def test_unlisted_volume_is_skipped(tmp_path: Path) -> None:
    """Where the kernel shows no mount nothing is claimed."""
    assert check_volume(tmp_path / "ledger.db", "").status is CheckStatus.SKIPPED


def test_own_mounts_are_read(tmp_path: Path) -> None:
    """The kernel's own table shows this machine's volume."""
    assert " at /" in check_volume(tmp_path / "ledger.db", read_mounts()).found


@pytest.mark.parametrize(
    ("free", "files", "status"),
    [
        (256 * MEBIBYTE, 1, CheckStatus.OK),
        (256 * MEBIBYTE, None, CheckStatus.OK),
        (256 * MEBIBYTE - 1, 1, CheckStatus.WARN),
        (16 * MEBIBYTE, 1, CheckStatus.WARN),
        (16 * MEBIBYTE - 1, 1, CheckStatus.FAIL),
        (0, None, CheckStatus.FAIL),
        (10**12, 0, CheckStatus.FAIL),
    ],
)
def test_room_is_judged(free: int, files: int | None, status: CheckStatus) -> None:
    """Little room is doubtful, none, or none for another file, is wrong."""
    assert judge_room(free, files).status is status


@pytest.mark.parametrize(
    ("free", "files", "taken", "status"),
    [
        (118, 1, 0, CheckStatus.OK),  # an empty volume of 128Mi, for which the charts set 112MiB
        (112, None, 0, CheckStatus.OK),
        (6, 1, 106, CheckStatus.OK),
        (111, 1, 0, CheckStatus.WARN),
        (16, 1, 95, CheckStatus.WARN),
        (15, 1, 95, CheckStatus.FAIL),
        (118, 0, 0, CheckStatus.FAIL),
    ],
)
def test_limit_decides_about_the_room(free: int, files: int | None, taken: int, status: CheckStatus) -> None:
    """A volume that holds all of ledger.max_size is right, however small; another is doubtful, and wrong if full."""
    assert judge_limit(free * MEBIBYTE, files, taken * MEBIBYTE, 112 * MEBIBYTE).status is status


def test_own_limit_is_measured(tmp_path: Path) -> None:
    """What the ledger takes already counts for its limit, and the limit counts instead of what is usual."""
    path = tmp_path / "ledger.db"
    path.write_bytes(b"ledger")
    volume = os.statvfs(tmp_path)
    free = volume.f_bavail * volume.f_frsize
    assert (CheckStatus.OK, "4MiB") == ((found := check_room(path, 4 * MEBIBYTE)).status, found.found[-4:])
    assert check_room(path, 2 * free).status is CheckStatus.WARN


def test_own_room_is_measured() -> None:
    """A file system that takes nothing has no room."""
    assert (CheckStatus.FAIL, "0 MiB are free") == ((found := check_room(Path("/proc/ledger.db"))).status, found.found)


def test_missing_ledger_is_fine(tmp_path: Path) -> None:
    """Before the first start there is no ledger; the folder takes files, and none stays in it."""
    diagnosis = check_ledger(tmp_path / "new" / "ledger.db", in_use=False)
    assert (CheckStatus.OK, []) == (diagnosis.status, list(tmp_path.iterdir()))


@pytest.mark.parametrize(("in_use", "words"), [(True, "in use by the running sidecar"), (False, "free")])
def test_ledger_is_left_alone(tmp_path: Path, *, in_use: bool, words: str) -> None:
    """A good ledger is right, in use or not, and stays byte by byte as it was."""
    path = tmp_path / "ledger.db"
    Books(path).close()
    before = path.read_bytes()
    diagnosis = check_ledger(path, in_use=in_use)
    assert (CheckStatus.OK, True) == (diagnosis.status, words in diagnosis.found)
    assert before == path.read_bytes()
    assert [] == list(tmp_path.glob(".doctor-*"))


def test_folder_that_takes_nothing_is_told() -> None:
    """A folder in which no file can be made is a failure with its path."""
    diagnosis = check_ledger(Path("/proc/ledger/ledger.db"), in_use=False)
    assert (CheckStatus.FAIL, True) == (diagnosis.status, "/proc takes no file" in diagnosis.found)


@pytest.mark.parametrize("content", ["text", "folder"])
def test_unusable_ledger_is_told(tmp_path: Path, content: str) -> None:
    """What is no ledger is a failure with its path and a cure."""
    path = tmp_path / "ledger.db"
    if content == "text":
        path.write_text("a letter\n" * 1000)
    else:
        path.mkdir()
    diagnosis = check_ledger(path, in_use=False)
    assert (CheckStatus.FAIL, True, True) == (diagnosis.status, str(path) in diagnosis.found, bool(diagnosis.cure))


@pytest.mark.machine
def test_foreign_ledger_is_not_opened(tmp_path: Path) -> None:
    """A ledger of another user is not opened, for that may leave files which its owner cannot write."""
    need_root()
    path = tmp_path / "ledger.db"
    Books(path).close()
    os.chown(path, 65532, 65532)
    diagnosis = check_ledger(path, in_use=False)
    assert (CheckStatus.WARN, True) == (diagnosis.status, "belongs to user 65532" in diagnosis.found)
    assert ["ledger.db"] == [each.name for each in tmp_path.iterdir()]
