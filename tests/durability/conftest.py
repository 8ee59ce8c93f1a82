"""A ledger in use."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.adapters.ledger.ledger import Ledger
from tests.durability.spoiled_ledger import NOW, RULES


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    """A ledger in use."""
    ledger = Ledger(tmp_path / "ledger.db", RULES)
    await ledger.open("pod-1", "downward-api", NOW)
    yield ledger
    await ledger.close()
