"""A License Manager in memory, and pods that use it."""

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.license_manager import World
from tests.support.licensed_pods import Pod

if TYPE_CHECKING:
    from tests.conftest import ManualClock


@pytest.fixture
def world(clock: "ManualClock") -> World:
    """License Manager without a license, on the clock of the pods."""
    return World(clock.now)


@pytest.fixture
async def make_pod(clock: "ManualClock", world: World) -> AsyncIterator[Callable[..., Pod]]:
    """Return a maker of pods, which are killed when the test is over."""
    pods: list[Pod] = []

    def make(*arguments: Any, **options: Any) -> Pod:
        pods.append(Pod(clock, world, *arguments, **options))
        return pods[-1]

    yield make
    for pod in pods:
        await pod.kill()
