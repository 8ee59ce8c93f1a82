"""The report's file, which is the only state of a certification.

A request is in it, on disk, before it is first sent, and is sent again exactly as the file has it; a process that dies
at any point leaves behind what the next one needs. Each version of the file replaces the one before as a whole.
Refuses to overwrite a file that is not a report, and to resume the report of another certification.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from sidecar.commands.certify.report import Report, Target
from sidecar.durable_files import lock, replace_file, share_as_folder

_LARGEST = 1024 * 1024


class Unusable(Exception):
    """The file cannot be used as the report; the message has the reason and the cure. Nothing was sent."""


class NotKept(Exception):
    """The report could not be updated; the message has the reason and the cure."""


class ReportFile:
    """The report on disk. `save` returns once the present state is there."""

    def __init__(self, path: Path, report: Report) -> None:
        self.path = path
        self.report = report

    def save(self) -> None:
        """Put the file in place of the one before, whole and durably.

        Raises:
            NotKept: It cannot be written; the one before is unchanged.
        """
        try:
            with replace_file(self.path) as file:
                file.write(f"{json.dumps(self.report.document(), indent=2)}\n")
            share_as_folder(self.path)  # a pod on the same volume may resume it as another user
        except OSError as error:
            raise NotKept(
                f"The report {self.path} cannot be written: {error.strerror or error}. Nothing more is sent; the "
                "report holds what was sent. Make room, and run the same command again."
            ) from error


@contextmanager
def open_report(path: Path, fresh: Report) -> Iterator[ReportFile]:
    """Yield the existing report at `path`, or `fresh`, which is on disk then. One process at a time.

    Raises:
        Unusable: The file is not a report, belongs to another certification, is in use, or cannot be written.
    """
    path = path.absolute()
    with _alone(path):
        found = _read(path)
        if found is not None:
            _compare(path, found.subject, fresh.subject)
        file = ReportFile(path, found or fresh)
        try:
            file.save()
        except NotKept as error:
            raise Unusable(
                f"{path} cannot be written, so nothing is sent: {error.__cause__}. "
                "Make room, or name a file on another volume (--report)."
            ) from error
        yield file


def _read(path: Path) -> Report | None:
    other = "It is unchanged: name another file (--report)."
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise Unusable(f"{path} is not a plain file. {other}")
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror or error}. {other}") from error
    try:
        return Report.parse(json.loads(data))
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Unusable(f"{path} is not a report of this version. {other}") from None


def _compare(path: Path, found: Target, wanted: Target) -> None:
    for each in fields(Target):
        theirs, ours = getattr(found, each.name), getattr(wanted, each.name)
        if theirs != ours:
            raise Unusable(
                f"{path} is the report of another certification: its {each.name} is {theirs!r}, here it is {ours!r}. "
                "Resume it where it was started, or name another file (--report)."
            )


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep a second certification out of the report's folder, by a lock that ends with the process."""
    try:
        folder = lock(os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except BlockingIOError as error:
        raise Unusable(f"Another certification is using {path.parent}. Wait until it has ended.") from error
    except OSError as error:
        raise Unusable(f"{path.parent}: {error.strerror}. Name a file in an existing folder (--report).") from error
    try:
        yield
    finally:
        os.close(folder)
