"""An SQLite whose file layer writes down what it does, behind the parts of `sqlite3` that the ledger uses."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes handed to the operating system, not yet safe."""

    file: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """A file cut to a size, not yet safe."""

    file: str
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """Everything written to the file so far is safe."""

    file: str


@dataclass(frozen=True, slots=True)
class Delete:
    """A file removed. It may come back until the folder is synced."""

    file: str
    synced: bool


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The ledger's caller was told that these event ids are stored."""

    ids: tuple[str, ...]


Step = Write | Truncate | Sync | Delete | Acknowledged


@dataclass
class Recording:
    """What happened, in order."""

    steps: list[Step] = field(default_factory=list)


class RecordingVfs(apsw.VFS):
    """The operating system's file layer, with a recording."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        super().__init__("recording", "")

    def xOpen(self, name: Any, flags: Any) -> "RecordingFile":  # noqa: N802 - apsw's name
        return RecordingFile(self.recording, name, flags)

    def xDelete(self, name: str, sync: bool) -> None:  # noqa: FBT001, N802 - apsw's signature
        super().xDelete(name, sync)
        self.recording.steps.append(Delete(Path(name).name, sync))


class RecordingFile(apsw.VFSFile):
    """One file of it."""

    def __init__(self, recording: Recording, name: Any, flags: Any) -> None:
        self._recording = recording
        self._name = Path(name.filename() if isinstance(name, apsw.URIFilename) else name or "temporary").name
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - apsw's name
        super().xWrite(data, offset)
        self._recording.steps.append(Write(self._name, offset, bytes(data)))

    def xTruncate(self, size: int) -> None:  # noqa: N802 - apsw's name
        super().xTruncate(size)
        self._recording.steps.append(Truncate(self._name, size))

    def xSync(self, flags: int) -> None:  # noqa: N802 - apsw's name
        super().xSync(flags)
        self._recording.steps.append(Sync(self._name))


class Row(tuple[Any, ...]):  # noqa: SLOT001 - carries the names of its columns
    """A result row that knows its columns."""

    columns: tuple[str, ...]

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self.columns.index(key) if isinstance(key, str) else key)


class Cursor:
    """The result of a statement, read immediately."""

    def __init__(self, rows: list[Row], rowcount: int, lastrowid: int) -> None:
        self._rows = iter(rows)
        self.rowcount = rowcount
        self.lastrowid = lastrowid

    def __iter__(self) -> Iterator[Row]:
        return self._rows

    def fetchone(self) -> Row | None:
        return next(self._rows, None)

    def fetchall(self) -> list[Row]:
        return list(self._rows)

    def close(self) -> None:
        self._rows = iter(())


class Connection:
    """What the ledger's steps use of `sqlite3.Connection`."""

    row_factory: object = None

    def __init__(self, path: Path, vfs: str) -> None:
        self._connection = apsw.Connection(str(path), vfs=vfs)

    @property
    def total_changes(self) -> int:
        return self._connection.total_changes()

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Cursor:
        before = self._connection.total_changes()
        cursor = self._connection.cursor()
        rows: list[Row] = []
        columns: tuple[str, ...] = ()
        for found in cursor.execute(statement, tuple(values)):
            columns = columns or tuple(column[0] for column in cursor.get_description())
            row = Row(found)
            row.columns = columns
            rows.append(row)
        changed = self._connection.total_changes() - before
        return Cursor(rows, changed, self._connection.last_insert_rowid())

    def cursor(self) -> "Connection":
        """Return what executes statements; its rows are tuples in any case."""
        return self

    def create_function(self, name: str, number: int, function: Callable[..., Any], *, deterministic: bool) -> None:
        self._connection.create_scalar_function(name, function, number, deterministic=deterministic)

    def executemany(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        self._connection.cursor().executemany(statement, [tuple(row) for row in rows])

    def executescript(self, script: str) -> None:
        self._connection.cursor().execute(script)

    def close(self) -> None:
        self._connection.close()
