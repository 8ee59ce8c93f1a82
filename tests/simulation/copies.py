"""A second pod on a copy of a ledger: it bills again what both have open, which nothing in one ledger can prevent.

What must hold: the process sees that it has taken a ledger over, and the copy's own books are exact.
"""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from random import Random

from sidecar.adapters.ledger.file import open_for_reading
from sidecar.domain.entitlement.states import State
from sidecar.domain.metering.rules import MeteringRules
from tests.simulation.clocks import PodClock
from tests.simulation.counting import CountingApp
from tests.simulation.disk import Volume
from tests.simulation.exporting import ExportingApp
from tests.simulation.marketplace import PodClient, Service
from tests.simulation.process import PodGate, Process
from tests.simulation.witness import Witness

_UNFINISHED = (
    "SELECT (SELECT count(*) FROM bucket WHERE sealed = 0 AND own <> '0' AND carried = '0' AND moved = '0')"
    " + (SELECT count(*) FROM record WHERE status = 'sealed' AND quantity <> '0')"
)


class Copy:
    """One copy and the pod that runs on it."""

    def __init__(
        self,
        original: Path,
        path: Path,
        witness: Witness,
        service: Service,
        clock: PodClock,
        rules: MeteringRules,
        random: Random,
        counting: CountingApp | ExportingApp | None,
    ) -> None:
        """Copy the ledger at `original` to `path`; `witness` is the original's."""
        with closing(open_for_reading(original)) as source, closing(sqlite3.connect(path)) as target:
            source.backup(target)
            self._unfinished = source.execute(_UNFINISHED).fetchone()[0]
        self._path = path
        self._witness = witness.fork()
        pod = path.stem
        self._process = Process(
            path=path,
            pod=pod,
            rules=rules,
            clock=clock,
            client=PodClient(service, pod, self._witness),
            witness=self._witness,
            gate=PodGate(State.ENTITLED, clock.now()),
            draw=random.random,
            longest_sleep=timedelta(hours=1),
            volume=Volume(),
            counting=counting,
        )

    async def start(self) -> None:
        """Start the second pod, which must see what it has taken over."""
        await self._process.start()
        if self._unfinished and not self._process.has_taken_over:
            self._witness.fail("a pod started on a copy, and does not report what it has taken over")

    async def end(self) -> None:
        """End the second pod in order, and prove its books."""
        if not self._process.ended.is_set():
            await self._process.drain()
        await self._process.bury()
        with closing(open_for_reading(self._path)) as connection:
            self._witness.audit(connection)

    def let_go(self) -> None:
        """Close the file without a loop to do it in."""
        self._process.let_go()
