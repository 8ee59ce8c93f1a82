"""Files that are complete or absent after a crash, files for a group, and locks that end with their process."""

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO


@contextmanager
def replace_file(path: Path) -> Iterator[TextIO]:
    """Yield a text file that durably replaces `path` after the block; if the block fails, `path` is unchanged.

    Raises:
        OSError: The file cannot be written.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    sync_path(path.parent)


def sync_path(path: Path) -> None:
    """Write a file, or the entries of a folder, to the disk; raises OSError if it cannot be opened or written."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def share_as_folder(path: Path) -> None:
    """Permit the group of a file's folder to read and write the file, if it may read and write the folder.

    It could replace the file anyway. A file of another user, of another group than the folder's, or with another name
    elsewhere stays as it is, and so does one whose folder has an access list: there the mode shows no group's rights.
    """
    if not hasattr(os, "O_PATH"):  # not Linux
        return
    with suppress(OSError):
        # The descriptor holds on to the file: its name may be given to another one meanwhile.
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            folder, file = path.parent.stat(), os.fstat(descriptor)
            is_open = folder.st_mode & stat.S_IRWXG == stat.S_IRWXG and not folder.st_mode & stat.S_ISVTX
            is_plain = stat.S_ISREG(file.st_mode) and file.st_nlink == 1 and file.st_gid == folder.st_gid
            if is_open and is_plain and not _has_access_list(path.parent):
                Path(f"/proc/self/fd/{descriptor}").chmod(stat.S_IMODE(file.st_mode) | stat.S_IRGRP | stat.S_IWGRP)
        finally:
            os.close(descriptor)


def _has_access_list(folder: Path) -> bool:
    try:
        return bool(os.getxattr(folder, "system.posix_acl_access"))
    except OSError:
        return False


def lock(descriptor: int) -> int:
    """Lock an open file or folder until it is closed, and return its descriptor; a failure closes it.

    Raises:
        BlockingIOError: Another process holds the lock.
        OSError: The file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
