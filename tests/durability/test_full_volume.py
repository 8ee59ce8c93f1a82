"""A full volume costs no usage that was accepted: on a real small file system, filled by the ledger and by others.

Mounting a file system takes the rights of root, so `make test-cluster` runs these tests.
"""

import errno
import os
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sidecar.adapters.ledger import conservation
from sidecar.adapters.ledger.file import open_for_reading
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.domain.entitlement.states import Evidence
from sidecar.domain.metering.events import Dimension, LedgerFull, LedgerUnavailable, Tags, UsageBatch, UsageEvent
from sidecar.domain.metering.hours import hour_of, next_hour
from sidecar.domain.metering.records import Accept, Answer, Carry, CarryCause
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.policy import LatePolicy, QuantityKind

pytestmark = pytest.mark.machine
NOW = datetime(2026, 11, 23, 10, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
MEBIBYTE = 2**20
RULES = MeteringRules(
    product_code="0abc123example",
    dimensions={name: Dimension(name) for name in ("requests", "bytes")},
    quantity=QuantityKind.DECIMAL,
    late=LatePolicy.CARRY,
    settle=timedelta(),
    spread=timedelta(),
    window=timedelta(hours=6),
    report_zero=False,
    failing_after=timedelta(hours=2),
)


@pytest.fixture(name="volume")
def _volume(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 8 MiB."""
    volume = tmp_path / "volume"
    volume.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", volume], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.fail(f"this test mounts a tmpfs of 8 MiB, which was refused: {mounted.stderr.strip()}. Run it as root.")
    yield volume
    # Lazily, so a test that failed with its ledger open leaves nothing behind.
    subprocess.run(["umount", "--lazy", volume], check=True)


@pytest.fixture(name="ledger")
async def _ledger(volume: Path) -> AsyncIterator[Ledger]:
    """Open a ledger on it, without a limit of its own."""
    ledger = Ledger(volume / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    yield ledger
    await ledger.close()


def batch(count: int = 50, tags: Tags = (), dimension: str = "requests") -> UsageBatch:
    """Return events of one unit each, with random ids."""
    return UsageBatch([UsageEvent(str(uuid.uuid4()), dimension, 1_000_000, None, None, tags) for _ in range(count)])


async def take_all_that_fits(ledger: Ledger, now: datetime = NOW) -> int:
    """Report usage until it is refused; how many events were taken."""
    taken = 0
    while True:
        try:
            await ledger.take([batch(tags=(("Team", str(taken % 7)),))], now)
            await ledger.take([batch(1, dimension="bytes")], now)
        except LedgerFull as full:
            assert full.retry_after > 0  # noqa: PT017 - the loop ends by it
            return taken
        taken += 51


def fill(volume: Path) -> Path:
    """Take every byte that is left on the volume by a file that is not the ledger's."""
    other = volume / "other.log"
    with other.open("ab", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                assert errno.ENOSPC == error.errno  # noqa: PT017 - this is the end that is wanted
    found = os.statvfs(volume)
    assert 0 == found.f_bavail
    return other


async def bring_home(ledger: Ledger, now: datetime) -> int:
    """Seal what has ended and settle every record: one carried, the others taken by AWS; how many records."""
    for hour, dimension in await ledger.sealable(before=hour_of(now), zero_from=hour_of(now), now=now):
        await ledger.seal(hour, dimension, lambda: now, timedelta())
    records = await ledger.waiting()
    for number, record in enumerate(records):
        assert await ledger.begin(record, now) is not None
        fate = Carry(CarryCause.EXPIRED) if number == 0 else Accept()
        await ledger.record_outcome(record, fate, Answer("words", f"id-{record.seq}", "request"), now)
    return len(records)


def sound(path: Path) -> None:
    """Prove the books from the rows."""
    with closing(open_for_reading(path)) as connection:
        assert [] == list(conservation.breaches(connection))
        assert [] == list(conservation.event_breaches(connection))


async def test_usage_is_refused_before_the_volume_is_full(ledger: Ledger, volume: Path) -> None:
    """A ledger without a limit refuses usage while the volume still has room for all that comes after acceptance."""
    with capture_logs() as lines:
        assert await take_all_that_fits(ledger) > 1000
    assert ["ledger.filling", "ledger.full"] == [line["event"] for line in lines]
    assert ledger.fault is None
    await ledger.room(NOW)
    (finding,) = ledger.room_watch.findings()
    assert ("ledger-full", NOW) == (finding.code, finding.since)
    fill(volume)
    assert 2 == await bring_home(ledger, NOW + HOUR)
    sound(ledger.path)


async def test_accepted_usage_survives_the_files_of_others(ledger: Ledger, volume: Path) -> None:
    """Where other files take every byte that is left, usage is refused, and what was accepted is sealed and settled."""
    for _ in range(10):
        await ledger.take([batch(20)], NOW)
    fill(volume)
    with pytest.raises(LedgerUnavailable):  # noqa: PT012 - what is in the file may take a few more
        for _ in range(1000):
            await ledger.take([batch(20)], NOW)
    for hours in range(1, 12):
        await bring_home(ledger, NOW + hours * HOUR)
    terms = (await ledger.terms())["requests"]
    assert terms.balanced
    assert terms.accepted >= 200 * 1_000_000
    sound(ledger.path)


async def test_many_tag_sets_are_sealed_on_a_full_volume(ledger: Ledger, volume: Path) -> None:
    """The reserve grows with the open buckets, so the one transaction that seals them all has its room."""
    for start in range(0, 4000, 100):
        events = [
            UsageEvent(None, "requests", 1_000_000, None, None, (("Tenant", f"tenant-{number}"),))
            for number in range(start, start + 100)
        ]
        try:
            await ledger.take([UsageBatch(events)], NOW)
        except LedgerFull:
            break
        await ledger.prune(NOW)
    fill(volume)
    later = NOW + HOUR
    ((hour, dimension),) = await ledger.sealable(before=hour_of(later), zero_from=hour_of(later), now=later)
    assert await ledger.seal(hour, dimension, lambda: later, timedelta()) is not None
    sound(ledger.path)


async def test_restart_on_a_full_volume(volume: Path) -> None:
    """A process that ends and one that starts on a full volume go on: the room of the log is held in between."""
    first = Ledger(volume / "ledger.db", RULES)
    await first.open("pod-1", "downward-api", NOW)
    await take_all_that_fits(first)
    fill(volume)
    await first.close()
    fill(volume)
    second = Ledger(volume / "ledger.db", RULES)
    await second.open("pod-1", "downward-api", NOW + HOUR)
    assert 2 == await bring_home(second, NOW + HOUR)
    await second.close()
    sound(volume / "ledger.db")


async def test_intake_resumes_after_pruning(ledger: Ledger) -> None:
    """Once outdated ids are dropped usage is taken again, without a restart and without a smaller file."""
    first = await take_all_that_fits(ledger)
    now = NOW + HOUR
    await bring_home(ledger, now)
    while await ledger.prune(now):
        pass
    # Digests take less than whole events did.
    assert await take_all_that_fits(ledger, now) > first / 4
    now += 30 * HOUR
    await bring_home(ledger, now)
    while await ledger.prune(now):
        pass
    assert await take_all_that_fits(ledger, now) > first / 2
    sound(ledger.path)


async def test_limit_below_the_volume(volume: Path) -> None:
    """With `max_size` the pages in use, the log and its index stay below it, also while a reader lets the log grow."""
    ledger = Ledger(volume / "ledger.db", RULES, max_size=4 * MEBIBYTE)
    await ledger.open("pod-1", "downward-api", NOW)
    with closing(open_for_reading(ledger.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM event").fetchone()
        beside_reader = await take_all_that_fits(ledger)
        room = await ledger.room(NOW)
        assert room.used + room.reserve <= 4 * MEBIBYTE == room.limit
    assert await take_all_that_fits(ledger) > 0
    room = await ledger.room(NOW)
    assert room.used <= 4 * MEBIBYTE
    assert beside_reader > 0
    await bring_home(ledger, NOW + HOUR)
    await ledger.close()
    sound(volume / "ledger.db")


async def test_evidence_is_kept_on_a_full_volume(ledger: Ledger, volume: Path) -> None:
    """What the registrar proves, and the hours that are to be reported, find room on a full volume."""
    await take_all_that_fits(ledger)
    fill(volume)
    hour = hour_of(NOW)
    for _ in range(200):
        await ledger.mark_reportable(hour)
        hour = next_hour(hour)
    evidence = Evidence("pod-1", "code", 1, NOW, "nonce", "signature")
    await ledger.save_evidence(evidence)
    assert evidence == await ledger.load_evidence()


async def test_opening_needs_no_room(volume: Path) -> None:
    """A ledger opens on a volume with a few pages left, as fast as on an empty one, and changes no row."""
    ledger = Ledger(volume / "ledger.db", replace(RULES, late=LatePolicy.UNBILLED))
    await ledger.open("pod-1", "downward-api", NOW)
    await ledger.take([batch(2000)], NOW)
    await ledger.close()
    (volume / "ledger.db-reserve").unlink(missing_ok=True)
    other = fill(volume)
    os.truncate(other, other.stat().st_size - 200 * 1024)
    again = Ledger(volume / "ledger.db", RULES)
    await again.open("pod-1", "downward-api", NOW)
    assert 2000 * 1_000_000 == (await again.terms())["requests"].accepted
    await again.close()
