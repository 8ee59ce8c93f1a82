"""The running emulator: its state, clock, faults and keys, and the state file behind them.

Refuses to know HTTP. Invariant: what `settle` returned for is on disk, when there is a state file.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sidecar.emulator.call_log import CallLog
from sidecar.emulator.clock import Clock
from sidecar.emulator.faults import Faults
from sidecar.emulator.protocol.quotas import Quotas
from sidecar.emulator.signing import KeyRing
from sidecar.emulator.state.entries import Entry, Reset
from sidecar.emulator.state.journal import Journal
from sidecar.emulator.state.seed import NO_SEED, Seed
from sidecar.emulator.state.store import State

Identity = Literal["any", "irsa-only"]
LicenseRegion = Literal["any", "home"]


@dataclass(frozen=True, slots=True)
class Options:
    """How to run the emulator."""

    host: str = "127.0.0.1"
    port: int = 8789
    """0 takes a free one."""
    state_file: Path | None = None
    """None keeps the state in memory only."""
    seed: Seed = NO_SEED
    identity: Identity = "any"
    """`irsa-only` takes RegisterUsage and MeterUsage only with credentials of the token service."""
    quotas: bool = False
    """Throttle at AWS's published rates."""
    license_region: LicenseRegion = "any"
    """`home` finds a license in its home Region alone; CheckoutLicense elsewhere is redirected."""
    any_operation: bool = False
    """Take operations that do not belong to the seed's price, too."""
    from_first_call: bool = False
    """Refuse usage of hours before the pod's first call."""


class Service:
    """Everything that an operation or the control API works on."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._journal = None if options.state_file is None else Journal(options.state_file)
        self._unsaved: list[Entry] = []
        self._saving = asyncio.Lock()
        seed = replace(options.seed, pricing=None) if options.any_operation else options.seed
        self.state = State(seed, None if self._journal is None else self._unsaved.append)
        self.clock = Clock()
        self.faults = Faults()
        self.quotas = Quotas(enforced=options.quotas)
        self.keys = KeyRing(self.state)
        self.calls = CallLog()

    async def open(self) -> None:
        """Take the state file's content in; raises StateFileError if the file cannot be used."""
        if self._journal is None:
            return
        for entry in await asyncio.to_thread(self._journal.load):
            self.state.apply(entry)
        if self.state.clock_setting is not None:
            self.clock.resume(self.state.clock_setting)
        await asyncio.to_thread(self._journal.rewrite, list(self.state.entries()))

    async def flush(self) -> None:
        """Wait until everything kept so far is on disk.

        Raises:
            OSError: It could not be written; the next call tries again.
        """
        if self._journal is None:
            return
        async with self._saving:
            if not self._unsaved:
                return
            with self._taken() as entries:
                await asyncio.to_thread(self._journal.write, entries)

    @contextmanager
    def _taken(self) -> Iterator[list[Entry]]:
        entries = self._unsaved.copy()
        self._unsaved.clear()
        try:
            yield entries
        except OSError:
            self._unsaved[:0] = entries
            raise

    def reset(self) -> None:
        """Go back to the seed: no records, no faults, system time, no rotated keys.

        The key pairs of the seed's versions, and handed-out credentials, stay good.
        """
        self.state.keep(Reset())
        self.clock.reset()
        self.faults.clear()
        self.quotas.reset()
        self.calls.clear()

    async def close(self) -> None:
        """Close the state file."""
        if self._journal is not None:
            await asyncio.to_thread(self._journal.close)
