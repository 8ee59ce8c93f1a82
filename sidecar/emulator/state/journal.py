"""The state file: every entry on disk before the answer that rests on it is sent.

One line of JSON for each batch of entries, appended and synced; rewritten whole, through a second file and a rename,
at each start. Refuses a file that another emulator has open and a file that is something else. Invariant: a line that
a crash tore was never answered for, so it is dropped. The file holds private keys and is readable by its owner only.
"""

import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path

from sidecar.durable_files import lock, sync_path
from sidecar.emulator.state.entries import Entry
from sidecar.emulator.state.stored_form import read_entry, write_entry

_HEADER = '{"format": "marketplace-emulator-state", "version": 1}'


class StateFileError(Exception):
    """The state file cannot be used; the message names it and the reason."""


class Journal:
    """The open state file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_path = path.with_name(f"{path.name}.lock")
        self._lock_descriptor = -1
        self._descriptor = -1
        self._size = 0
        self._writing = threading.Lock()

    def load(self) -> list[Entry]:
        """Lock the file and read it; a missing one is empty.

        Raises:
            StateFileError: It is in use, unreadable or something else.
        """
        try:
            self._lock_descriptor = lock(os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            content = self._path.read_bytes() if self._path.exists() else b""
        except BlockingIOError as error:
            self.close()
            raise StateFileError(f"{self._path}: is in use by another emulator") from error
        except OSError as error:
            self.close()
            raise StateFileError(f"{self._path}: {error.strerror}") from error
        try:
            return self._parse(content)
        except StateFileError:
            self.close()
            raise

    def rewrite(self, entries: Iterable[Entry]) -> None:
        """Replace the content by these entries, atomically, and stay open for appending.

        Raises:
            StateFileError: The file cannot be written.
        """
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            self._descriptor = descriptor
            self._size = 0
            lines = [_HEADER, *(json.dumps([write_entry(entry)]) for entry in entries)]
            self._append("".join(f"{line}\n" for line in lines).encode())
            fresh.replace(self._path)
            sync_path(self._path.parent)
        except OSError as error:
            raise StateFileError(f"{self._path}: {error.strerror}") from error

    def write(self, entries: Iterable[Entry]) -> None:
        """Append the entries as one line and wait until they are on disk. Blocks; safe to call from any thread.

        Raises:
            OSError: Nothing was added; writing the same entries again is safe.
        """
        line = json.dumps([write_entry(entry) for entry in entries])
        with self._writing:
            self._append(f"{line}\n".encode())

    def close(self) -> None:
        """Close the file and give up the lock."""
        with self._writing:
            for descriptor in (self._descriptor, self._lock_descriptor):
                if descriptor >= 0:
                    os.close(descriptor)
            self._descriptor = self._lock_descriptor = -1

    def _append(self, content: bytes) -> None:
        # The size moves only after the sync: a failed write is overwritten by the next one.
        position = self._size
        remaining = memoryview(content)
        while remaining:
            written = os.pwrite(self._descriptor, remaining, position)
            position += written
            remaining = remaining[written:]
        os.fdatasync(self._descriptor)
        self._size = position

    def _parse(self, content: bytes) -> list[Entry]:
        if not content:
            return []
        # What follows the last line end is a torn line, or nothing.
        header, *lines = content.split(b"\n")[:-1] or [content]
        if header != _HEADER.encode():
            raise StateFileError(f"{self._path}: is not a state file of this emulator")
        entries: list[Entry] = []
        for number, line in enumerate(lines, start=2):
            try:
                entries.extend(read_entry(stored) for stored in json.loads(line))
            except (UnicodeDecodeError, json.JSONDecodeError) as error:
                if number > len(lines):
                    break
                raise StateFileError(f"{self._path}: line {number}: {error}") from error
            except (ValueError, TypeError, RecursionError) as error:
                raise StateFileError(f"{self._path}: line {number}: {error}") from error
        return entries
