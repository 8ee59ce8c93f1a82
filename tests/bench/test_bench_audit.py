"""`ledger verify` and `ledger reconcile` on many records: memory, and time next to the least that reads the same."""

import gzip
import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.domain.metering.hours import hour_of, start_of
from sidecar.exit_codes import ExitCode
from tests.bench.measuring import at_most, compare, judge, seconds
from tests.commands.trails import CODE, metered
from tests.support.books import NOW, Books

pytestmark = pytest.mark.timeout(60 * 60)

RECORDS = int(os.environ.get("BENCH_RECORDS", "200000"))
MOST_MIB = 64
_WITH_PEAK = """
import pathlib, re, sys
from sidecar import cli
code = cli.main(sys.argv[1:])
sys.stderr.write(re.search("VmHWM:.*", pathlib.Path("/proc/self/status").read_text())[0])
sys.exit(code)
"""
POD = "11111111-2222-3333-4444-555555555555"


def _fill(books: Books) -> None:
    """Add accepted records, each with its bucket and what was dropped of it."""
    store = books.store
    with store.transaction():
        dimension = store.dimension("requests")
        slots = [(store.pod, dimension, hour_of(NOW) - 3600 * number) for number in range(1, RECORDS + 1)]
        store.connection.executemany(
            "INSERT INTO record (pod, dimension, hour, kind, status, quantity, whole, gathered, remainder_before,"
            " remainder_after, excess, client_token, timestamp, metering_record_id, sealed_at, settled_at)"
            " VALUES (?1, ?2, ?3, 'slot', 'accepted', '1.5', 0, '1.5', '0', '0', '0', ?3, 1, 'mr-' || ?3, 1, 1)",
            slots,
        )
        store.connection.execute(
            "INSERT INTO bucket SELECT pod, dimension, hour, 0, quantity, '0', '0', 1, 1, 1, seq FROM record"
        )
        store.connection.execute("INSERT INTO dropped_events SELECT pod, dimension, hour, 0, 1, quantity FROM record")
        for term in ("accepted", "submitted"):
            store.add_to(dimension, term, RECORDS * 1_500_000)


def _write_trail(path: Path, prefix: str) -> None:
    with gzip.open(path, "wt", compresslevel=1) as file:
        for number in range(1, RECORDS + 1):
            hour = hour_of(NOW) - 3600 * number
            receipt = f"{prefix}-{hour}"
            charged = metered(None, start_of(hour_of(NOW)).isoformat(), receipt, usageQuantityAsDecimal="1.5")
            charged["requestParameters"]["timestamp"] = hour
            file.write(json.dumps(charged) + "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with many accepted records, the log in which AWS has them all, and one with as many that are unknown."""
    folder = tmp_path_factory.mktemp("audit")
    books = Books(folder / "ledger.db", pod=POD, durable=False)
    _fill(books)
    books.close()
    _write_trail(folder / "trail.jsonl.gz", "mr")
    _write_trail(folder / "unknown.jsonl.gz", "other")
    return folder


def _ledger(*arguments: str) -> float:
    """Run a command in a process of its own and return the most memory that it had, in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", _WITH_PEAK, "ledger", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode in {ExitCode.CLEAN, ExitCode.FAILED}, done.stderr
    return int(done.stderr.split()[-2]) / 1024


def test_verify(folder: Path) -> None:
    """A proof next to one look at every row by SQLite's own check."""
    ledger = folder / "ledger.db"
    judge(f"ledger verify, {RECORDS:,} records", "MiB", _ledger("verify", "--ledger", str(ledger)), at_most(MOST_MIB))
    with closing(Books(ledger, pod=POD, durable=False)) as books:
        check = [seconds(lambda: books.store.rows("PRAGMA integrity_check"))]
    ours = [seconds(lambda: _ledger("verify", "--ledger", str(ledger)))]
    compare("ledger verify over SQLite's integrity check", "s", at_most(20), (ours, check))


def test_reconcile_differences(folder: Path) -> None:
    """A comparison in which no record and no charge has a counterpart."""
    ledger, trail = folder / "ledger.db", folder / "unknown.jsonl.gz"
    command = ("reconcile", "--dry-run", "--ledger", str(ledger), "--product-code", CODE, "--cloudtrail", str(trail))
    for options in ((), ("--json",)):
        name = " ".join(("ledger reconcile", *options))
        judge(f"{name}, {2 * RECORDS:,} differences", "MiB", _ledger(*command, *options), at_most(MOST_MIB))


def test_reconcile(folder: Path) -> None:
    """A comparison next to the mere decoding of the log."""
    ledger, trail = folder / "ledger.db", folder / "trail.jsonl.gz"
    command = ("reconcile", "--dry-run", "--ledger", str(ledger), "--product-code", CODE, "--cloudtrail", str(trail))
    for options in ((), ("--all",), ("--all", "--json")):
        name = " ".join(("ledger reconcile", *options))
        judge(f"{name}, {RECORDS:,} records", "MiB", _ledger(*command, *options), at_most(MOST_MIB))

    def decode() -> None:
        with gzip.open(trail, "rt") as file:
            for line in file:
                json.loads(line)

    compare(
        "ledger reconcile over decoding its log",
        "s",
        at_most(15),
        ([seconds(lambda: _ledger(*command))], [seconds(decode)]),
    )
