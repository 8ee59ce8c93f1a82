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

    It could replace the file anyway. A file of another user, or of another group than the folder's, stays as it is.
    """
    with suppress(OSError):
        folder, file = path.parent.stat(), path.lstat()
        open_to_group = folder.st_mode & stat.S_IRWXG == stat.S_IRWXG and not folder.st_mode & stat.S_ISVTX
        if open_to_group and stat.S_ISREG(file.st_mode) and file.st_gid == folder.st_gid:
            path.chmod(stat.S_IMODE(file.st_mode) | stat.S_IRGRP | stat.S_IWGRP)


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
