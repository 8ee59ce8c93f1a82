"""A place for the ledgers of simulated pods, silence, and the mark `long`."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from sidecar.adapters.ledger import compaction, recent

_FOLDER = Path(__file__).parent
_MEMORY = Path("/dev/shm")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, before the others are ordered and chosen by the mark."""
    for item in items:
        if item.path.is_relative_to(_FOLDER):
            item.add_marker(pytest.mark.long)


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
