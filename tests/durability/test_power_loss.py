"""Power loss: whatever the disk had not been told to keep may be gone, torn or out of order; what was accepted is not.

The ledger's own statements run over an SQLite whose file layer records each write and sync. A crash is then played at
every point of that record: synced bytes stay, the others are dropped, kept in part, or torn at a sector's edge.
"""

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import pytest

from sidecar.adapters.ledger import conservation, digests, generations, handover, pruning, recent, submitting, taking
from sidecar.adapters.ledger.file import open_for_writing, prepare
from sidecar.adapters.ledger.store import Store
from sidecar.domain.metering.events import Aggregation, Dimension, Receipt, UsageBatch, UsageEvent
from sidecar.domain.metering.hours import hour_of_micros
from sidecar.domain.metering.records import Accept, Answer, Wait
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.policy import LatePolicy, QuantityKind
from tests.durability.recording import (
    Acknowledged,
    Connection,
    Delete,
    Recording,
    RecordingVfs,
    Step,
    Sync,
    Truncate,
    Write,
)

pytestmark = pytest.mark.unmeasured

SECTOR = 512
START = 1_795_428_000_000_000
MINUTE = 60_000_000
RULES = MeteringRules(
    product_code="0abc123example",
    dimensions={"requests": Dimension("requests"), "users": Dimension("users", Aggregation.UNIQUE)},
    quantity=QuantityKind.DECIMAL,
    late=LatePolicy.CARRY,
    settle=timedelta(),
    spread=timedelta(),
    window=timedelta(hours=6),
    report_zero=False,
    failing_after=timedelta(hours=2),
)


def work(store: Store, recording: Recording) -> None:
    """Play four hours of intake, sealing and submission, with checkpoints in between."""
    dice = random.Random(7)
    number = 0
    for step in range(32):
        now = START + step * 8 * MINUTE
        batches = []
        for _ in range(dice.randint(1, 3)):
            events = []
            for _ in range(dice.randint(1, 6)):
                number += 1
                users = dice.random() < 0.3
                value = f"user-{dice.randint(1, 9)}" if users else None
                tags = (("Team", dice.choice("AB")),) if dice.random() < 0.3 else ()
                dimension, quantity = ("users", 1_000_000) if users else ("requests", dice.randint(0, 9_000_000))
                events.append(UsageEvent(f"evt-{number}", dimension, quantity, value, None, tags))
            batches.append(UsageBatch(events))
        with store.transaction():
            fates = taking.take(store, batches, RULES, now)
        with store.transaction():
            store.recent.merge(store.connection)
        assert all(isinstance(fate, Receipt) for fate in fates)
        ids = tuple(event.id for batch in batches for event in batch.events if event.id is not None)
        recording.steps.append(Acknowledged(ids))
        if step % 8 == 7:
            submit(store, now + 8 * MINUTE)


def submit(store: Store, now: int) -> None:
    """Seal what has ended and bring one of its records to its end, the other half way."""
    this_hour = hour_of_micros(now)
    with store.transaction():
        pairs = submitting.sealable(store, RULES, before=this_hour, zero_from=this_hour, now=now)
    for hour, dimension in pairs:
        with store.transaction():
            submitting.seal_hour(store, dimension, hour, now=now, new_token=lambda: f"token-{now}-{dimension}")  # noqa: B023
    with store.transaction():
        records = submitting.waiting(store)
    for number, record in enumerate(records):
        with store.transaction():
            submitting.begin(store, record, now)
        with store.transaction():
            fate, answer = (Accept(), Answer("accepted", f"id-{now}", "req")) if number == 0 else (Wait(1), Answer("-"))
            submitting.record_outcome(store, record, fate, answer, now)
    with store.transaction():
        pruning.prune(store, now)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A run of the ledger, down to each write."""
    folder = tmp_path_factory.mktemp("recorded")
    recording = Recording()
    _registered_while_it_lives = RecordingVfs(recording)
    with (
        closing(Connection(folder / "ledger.db", "recording")) as connection,
        patch.object(recent, "MERGED_PER_STEP", 5),
    ):
        store = Store(cast("Any", connection))
        prepare(cast("Any", connection), folder / "ledger.db")
        # Checkpoints copy pages into the main file; many small ones put many of their writes at risk.
        connection.execute("PRAGMA wal_autocheckpoint = 12")
        with store.transaction():
            handover.take_identity(store, "pod-1", "downward-api", START)
            generations.apply_terms(store, RULES, START)
        work(store, recording)
    return recording


def image(steps: list[Step], keep: Callable[[list[Write | Truncate]], Iterator[Write | Truncate]]) -> dict[str, bytes]:
    """Return the files after a power loss that follows `steps`; `keep` says what of the unsynced survives."""
    disk = Disk()
    for step in steps:
        disk.take(step)
    for file, changes in disk.pending.items():
        for change in keep(changes):
            apply(disk.safe.setdefault(file, bytearray()), change)
    return {file: bytes(content) for file, content in disk.safe.items()}


@dataclass
class Disk:
    """What is safe on a disk, and what is not yet."""

    safe: dict[str, bytearray] = field(default_factory=dict)
    pending: dict[str, list[Write | Truncate]] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)

    def take(self, step: Step) -> None:
        """Let one step happen."""
        match step:
            case Write() | Truncate():
                self.pending.setdefault(step.file, []).append(step)
            case Sync():
                if step.file not in self.safe or step.file in self.removed:
                    self.sync_folder()
                for change in self.pending.pop(step.file, []):
                    apply(self.safe.setdefault(step.file, bytearray()), change)
            case Delete():
                self.pending.pop(step.file, None)
                self.removed.add(step.file)
                if step.synced:
                    self.sync_folder()
            case Acknowledged():
                pass

    def sync_folder(self) -> None:
        """Make removals safe, as SQLite does with the first sync of each new journal or log."""
        for file in self.removed:
            self.safe.pop(file, None)
        self.removed.clear()


def apply(content: bytearray, change: Write | Truncate) -> None:
    """Bring one change into a file's content."""
    if isinstance(change, Truncate):
        del content[change.size :]
        return
    content.extend(bytes(max(0, change.offset + len(change.data) - len(content))))
    content[change.offset : change.offset + len(change.data)] = change.data


def nothing(_changes: list[Write | Truncate]) -> Iterator[Write | Truncate]:
    """Lose all that was not synced."""
    yield from ()


def torn(dice: random.Random) -> Callable[[list[Write | Truncate]], Iterator[Write | Truncate]]:
    """Keep some of what was not synced, in any choice, each write perhaps only up to a sector's edge."""

    def keep(changes: list[Write | Truncate]) -> Iterator[Write | Truncate]:
        for change in changes:
            if dice.random() < 0.5:
                continue
            if isinstance(change, Write) and dice.random() < 0.5:
                edge = dice.randrange(0, len(change.data) + 1, SECTOR)
                yield Write(change.file, change.offset, change.data[:edge])
            else:
                yield change

    return keep


def errors_of(folder: Path, files: dict[str, bytes], acknowledged: set[str]) -> list[object]:
    """Open what is left as the next process does, and return every accepted event that is lost and every imbalance."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for file, content in files.items():
        (folder / file).write_bytes(content)
    with closing(open_for_writing(folder / "ledger.db")) as connection:
        kept = {row["id"] for row in connection.execute("SELECT id FROM event")}
        digested = {row["id"] for row in connection.execute("SELECT id FROM event_digest")}
        return [
            *(name for name in acknowledged - kept if digests.digest_id(name) not in digested),
            *digests.faults(connection),
            *conservation.event_breaches(connection),
            *conservation.breaches(connection),
        ]


def cuts(recording: Recording) -> list[int]:
    """Return every point of the run after which the power may fail."""
    return list(range(len(recording.steps) + 1))


def test_recording_is_worth_the_name(recording: Recording) -> None:
    """The run has checkpoints and syncs to cut at, or the tests below would prove nothing."""
    synced = [step.file for step in recording.steps if isinstance(step, Sync)]

    assert synced.count("ledger.db-wal") > 100
    assert synced.count("ledger.db") > 10


def test_power_loss_drops_unsynced_writes(recording: Recording, tmp_path: Path) -> None:
    """At every cut point, with every unsynced write lost, each acknowledged event is there and the books balance."""
    acknowledged: set[str] = set()
    for cut in cuts(recording):
        if cut and isinstance(step := recording.steps[cut - 1], Acknowledged):
            acknowledged |= set(step.ids)
        assert [] == errors_of(tmp_path / "left", image(recording.steps[:cut], nothing), acknowledged)


@pytest.mark.parametrize("seed", range(2))
def test_power_loss_tears_unsynced_writes(recording: Recording, tmp_path: Path, seed: int) -> None:
    """At every cut point, with unsynced writes kept, lost or torn at random, each acknowledged event is there."""
    dice = random.Random(seed)
    acknowledged: set[str] = set()
    for cut in cuts(recording):
        if cut and isinstance(step := recording.steps[cut - 1], Acknowledged):
            acknowledged |= set(step.ids)
        assert [] == errors_of(tmp_path / "left", image(recording.steps[:cut], torn(dice)), acknowledged)


def test_missing_sync_is_noticed(recording: Recording, tmp_path: Path) -> None:
    """With the syncs of the log left out the same check fails: it can distinguish durable from lucky."""
    unsafe = [step for step in recording.steps if not (isinstance(step, Sync) and step.file.endswith("-wal"))]
    everything = {event for step in unsafe if isinstance(step, Acknowledged) for event in step.ids}

    assert [] != errors_of(tmp_path / "unsafe", image(unsafe, nothing), everything)
