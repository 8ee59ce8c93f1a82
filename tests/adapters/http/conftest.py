"""A running API over in-memory services; whatever blocks the event loop fails the test."""

from collections.abc import AsyncIterator, Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from tests.support.http_fakes import Api


@pytest.fixture(autouse=True)
def blocking_calls() -> Iterator[BlockBuster]:
    """Raise on a blocking call that the product makes on the event loop."""
    with blockbuster_ctx("sidecar") as found:
        yield found


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """Start an API for one test."""
    running = Api()
    await running.start()
    yield running
    await running.stop()
