"""The ledger and the volume under it: usable, writable for good, of a kind that keeps what it is given, with room.

Tries a durable write in the ledger's folder and removes it again; the ledger itself is only read.
"""

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sidecar.adapters.ledger.file import LedgerUnusable, files_of
from sidecar.adapters.ledger.queries import overview
from sidecar.adapters.ledger.snapshot import reading
from sidecar.domain import sizes
from sidecar.domain.check_result import Check, CheckResult, CheckStatus

LEDGER = Check("ledger", "Every event is on disk here before it is acknowledged; what is lost here is never billed.")
VOLUME = Check("ledger volume", "Usage that is not submitted is lost with the volume.")
ROOM = Check("ledger room", "Without room usage is refused.")

_MOUNTS = Path("/proc/self/mounts")
_WRITABLE = "Make the folder writable for the sidecar's user (fsGroup of the pod), on a volume that is not read-only."
_PATTERN = b"marketplace-sidecar doctor\n"
_MEBIBYTE = 1024 * 1024
_SCARCE = 256 * _MEBIBYTE
_FULL = 16 * _MEBIBYTE
_ESCAPE = re.compile(r"\\([0-7]{3})")
_SHARES = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs"}
    | {"fuse.sshfs", "fuse.mount-s3", "lustre", "beegfs", "gpfs"}
)
_SHARE = "a network share: it has no shared memory, and may lose locks or acknowledged writes"
_RISKS = (
    (
        {"tmpfs", "ramfs"},
        "in memory: lost with the pod or the node",
        "Use an emptyDir without medium Memory, or a volume claim, unless the loss is acceptable.",
    ),
    (
        {"overlay", "aufs", "fuse.fuse-overlayfs"},
        "the container's own layer: lost when the container restarts",
        "Mount a volume (an emptyDir at least) at the folder of ledger.path.",
    ),
)


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of the kernel's table of mounts."""

    point: Path
    kind: str
    options: frozenset[str]


def check_ledger(path: Path, *, in_use: bool) -> CheckResult:
    """Read the ledger if there is one, and try a durable write in its folder.

    `in_use`: the running sidecar has it.
    """
    folder = _standing(path.parent)
    try:
        _write_durably(folder)
    except OSError as error:
        return LEDGER.fail(f"{folder} takes no file: {error.strerror or error}", _WRITABLE)
    try:
        owner = path.stat().st_uid
    except FileNotFoundError:
        return LEDGER.ok(f"{path} is not there yet; {folder} takes files durably")
    except OSError as error:
        return LEDGER.fail(f"{path} cannot be seen: {error.strerror or error}", _WRITABLE)
    if path.is_file() and owner != os.geteuid():
        # Reading may make files in its folder that the sidecar's user could not write.
        return LEDGER.warn(
            f"{path} belongs to user {owner}, and this is user {os.geteuid()}", "Run as the sidecar's user."
        )
    try:
        with reading(path, older=True) as connection:
            pods = overview(connection).pods
    except LedgerUnusable as unusable:
        return LEDGER.fail(f"{path}: {unusable.reason}", unusable.cure)
    user = "in use by the running sidecar" if in_use else "free"
    return LEDGER.ok(f"{path} is readable, {user}, pods so far: {pods}; its folder takes files durably")


def check_volume(path: Path, mounts: str) -> CheckResult:
    """Judge the kind of volume that holds the ledger.

    `mounts` is the kernel's table of mounts, as in /proc/self/mounts.
    """
    mount = find_mount(_standing(path.parent).resolve(), mounts)
    if mount is None:
        return VOLUME.skipped("the kernel's table of mounts does not show it")
    found = f"{mount.kind} at {mount.point}"
    if "ro" in mount.options:
        return VOLUME.fail(f"{found}, mounted read-only", _WRITABLE)
    if mount.kind in _SHARES:
        return VOLUME.fail(f"{found}, {_SHARE}", "Put the ledger on an emptyDir or a block volume, one for each pod.")
    for kinds, words, cure in _RISKS:
        if mount.kind in kinds:
            return VOLUME.warn(f"{found}, {words}", cure)
    if mount.kind.startswith("fuse"):
        return VOLUME.warn(f"{found}, of which it is not known how durable it is", "Prefer a local or block volume.")
    return VOLUME.ok(found)


def check_room(path: Path, max_size: int | None = None) -> CheckResult:
    """Judge how much the volume still takes: all of `ledger.max_size` if there is one, else much."""
    found = os.statvfs(_standing(path.parent))
    free = found.f_bavail * found.f_frsize
    files = found.f_favail if found.f_files else None
    return judge_room(free, files) if max_size is None else judge_limit(free, files, _taken(path), max_size)


def judge_limit(free: int, files: int | None, taken: int, max_size: int) -> CheckResult:
    """Judge whether a limit fits into the free bytes and those that the ledger has already, however small it is."""
    if max_size <= free + taken and files != 0:
        return ROOM.ok(f"{free // _MEBIBYTE} MiB are free for a ledger of at most {sizes.render(max_size)}")
    room = judge_room(free, files)
    if room.status is CheckStatus.FAIL:
        return room
    return ROOM.warn(
        f"ledger.max_size is {sizes.render(max_size)}, and the volume holds {(free + taken) // _MEBIBYTE} MiB",
        "Enlarge the volume, or set a smaller ledger.max_size: a volume that is full before it may end the pod.",
    )


def _taken(path: Path) -> int:
    return sum(part.stat().st_size for part in files_of(path) if part.is_file())


def judge_room(free: int, files: int | None) -> CheckResult:
    """Judge free bytes, and how many files may still be made; None where the file system does not count them."""
    cure = (
        "Make room or enlarge the volume. A ledger takes up to 64 bytes for each event with an id for 27 hours, about"
        " 600 MiB at 100 events a second; the operator's document has a table."
    )
    shown = f"{free // _MEBIBYTE} MiB are free"
    if files == 0:
        return ROOM.fail(f"{shown}, but no more files can be made (inodes)", cure)
    if free < _FULL:
        return ROOM.fail(shown, cure)
    return ROOM.warn(shown, cure) if free < _SCARCE else ROOM.ok(shown)


def read_mounts() -> str:
    """Return the kernel's table of mounts, as this process sees it."""
    return _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")


def find_mount(folder: Path, mounts: str) -> Mount | None:
    """Return the mount that holds a folder: the deepest one, and the last of those that hide each other."""
    found: Mount | None = None
    for line in mounts.splitlines():
        _, point, kind, options, *_ = line.split()
        mount = Mount(Path(_unescaped(point)), kind, frozenset(options.split(",")))
        deeper = found is None or len(mount.point.parts) >= len(found.point.parts)
        if folder.is_relative_to(mount.point) and deeper:
            found = mount
    return found


def _unescaped(point: str) -> str:
    """Return a mount point with its blanks, which the kernel writes as octal numbers."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), point)


def _standing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there: the sidecar makes the rest."""
    folder = folder.absolute()
    return next(each for each in (folder, *folder.parents) if each.is_dir())


def _write_durably(folder: Path) -> None:
    descriptor, name = tempfile.mkstemp(prefix=".doctor-", dir=folder)
    try:
        os.write(descriptor, _PATTERN)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
        Path(name).unlink()
