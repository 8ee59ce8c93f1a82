"""A place for the ledgers of simulated pods, and silence."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from sidecar.adapters.ledger import compaction, recent

_MEMORY = Path("/dev/shm")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, in memory where there is such a place."""
    if not _MEMORY.is_dir():
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(prefix="simulation-", dir=_MEMORY))
    try:
        yield made
    finally:
        shutil.rmtree(made)


@pytest.fixture(autouse=True)
def small_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Merge digests after a few events, in steps of a few: an hour of a simulated pod has some dozens of events."""
    for name, value in {"MERGED_FROM": 12, "MERGED_PER_STEP": 4, "IDS_PER_STEP": 2}.items():
        monkeypatch.setattr(recent, name, value)
    monkeypatch.setattr(compaction, "MERGED_FIRST_FROM", 5)


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """The log of a simulated sidecar has no reader."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    yield
    structlog.reset_defaults()
