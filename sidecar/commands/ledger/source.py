"""Which ledger a command reads, and the options that choose rows of it.

The configuration is that of the sidecar. With `--ledger` alone no configuration is read, so a copied file can be read
anywhere.
"""

import argparse
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sidecar.adapters.ledger.copies import lacks_log
from sidecar.adapters.ledger.file import log_of
from sidecar.adapters.ledger.snapshot import copy_of, in_steps, reading
from sidecar.commands.arguments import add_config, whole
from sidecar.domain import timestamps
from sidecar.settings import MarketplaceSettings, Settings, load

_MOST = 1_000_000
_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Source:
    """A ledger, and the configuration if one was read."""

    path: Path
    settings: Settings | None
    read_only: bool = False
    """Change nothing in the ledger's folder."""

    def open(self) -> AbstractContextManager[sqlite3.Connection]:
        """Open the ledger at one instant.

        Raises:
            LedgerUnusable: See sidecar.adapters.ledger.snapshot.reading.
        """
        return self._noted(reading(self.path, read_only=self.read_only))

    def in_steps(self) -> AbstractContextManager[sqlite3.Connection]:
        """Open the ledger for a command that reads it step by step, each step at one instant.

        Raises:
            LedgerUnusable: See sidecar.adapters.ledger.snapshot.in_steps.
        """
        return self._noted(in_steps(self.path, read_only=self.read_only))

    def copy(self, *, events: bool) -> AbstractContextManager[sqlite3.Connection]:
        """Copy the ledger as it is at one instant, for a command that computes or prints at length.

        Raises:
            LedgerUnusable: See sidecar.adapters.ledger.snapshot.copy_of.
        """
        return self._noted(copy_of(self.path, events=events, read_only=self.read_only))

    @contextmanager
    def _noted(self, opened: AbstractContextManager[sqlite3.Connection]) -> Iterator[sqlite3.Connection]:
        with opened as connection:
            if self.read_only and lacks_log(self.path):
                name = log_of(self.path).name
                sys.stderr.write(
                    f"note: {name} is not in the same folder. After a clean end of the sidecar nothing is missing. If "
                    f"this file was copied while a sidecar was running, copy {name} too: it holds the last writes.\n"
                )
            yield connection

    @property
    def marketplace(self) -> MarketplaceSettings | None:
        """The configured connection to AWS."""
        return None if self.settings is None else self.settings.marketplace


def add_source(parser: argparse.ArgumentParser) -> None:
    """Declare the options that choose the ledger."""
    add_config(parser)
    parser.add_argument(
        "--ledger",
        metavar="PATH",
        type=Path,
        help="read this ledger file (copy its -wal file too); without --config no configuration is read",
    )


def find_source(args: argparse.Namespace) -> Source:
    """Return the ledger that the options name; raises SettingsError with every problem of the configuration."""
    read_only: bool = getattr(args, "read_only", False)
    if args.ledger is not None and args.config is None:
        return Source(args.ledger, None, read_only)
    settings = load(args.config, os.environ)
    return Source(settings.ledger.path if args.ledger is None else args.ledger, settings, read_only)


def add_read_only(parser: argparse.ArgumentParser) -> None:
    """Declare the option of the commands that only read."""
    parser.add_argument(
        "--read-only",
        action="store_true",
        help="take no lock and write nothing to the ledger's folder, for copies, read-only mounts and older versions",
    )


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Declare the options that choose rows."""
    parser.add_argument("--dimension", metavar="NAME", type=utf8, help="only this dimension")
    parser.add_argument(
        "--hour", metavar="HOUR", type=hour, help="only the UTC hour that starts then: 2026-11-23T10:00:00Z"
    )
    parser.add_argument(
        "--limit",
        metavar="N",
        type=whole(1, _MOST),
        default=_LIMIT,
        help=f"show at most N rows, oldest first (default: {_LIMIT})",
    )


def utf8(text: str) -> str:
    """Return an argument that the ledger can hold; raises argparse.ArgumentTypeError if its bytes are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise argparse.ArgumentTypeError("not UTF-8") from error
    return text


def hour(text: str) -> datetime:
    """Return the start of a UTC hour; raises argparse.ArgumentTypeError if it is not the start of an hour."""
    start = timestamps.parse(text)
    if start is None or not text.endswith(":00:00Z"):
        raise argparse.ArgumentTypeError(f"{text!r} is not the start of a UTC hour like 2026-11-23T10:00:00Z")
    return start
