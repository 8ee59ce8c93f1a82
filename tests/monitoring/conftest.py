"""Time for a first run, which builds promtool and Prometheus, and real processes to scrape."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import Emulator, Sites, launch_emulator

_FOLDER = Path(__file__).parent
_LONGEST = 1200
"""Seconds for one test; the first of them waits for the programs where they are not in the cache."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of this folder the time that a first run takes."""
    for item in items:
        if item.path.is_relative_to(_FOLDER):
            item.add_marker(pytest.mark.timeout(_LONGEST))


@pytest.fixture(scope="session")
def shared_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One emulator for all tests of this folder: making its keys takes long."""
    emulator = launch_emulator(tmp_path_factory.mktemp("emulator") / "emulator.log")
    yield emulator
    emulator.kill()


@pytest.fixture
def emulator(shared_emulator: Emulator) -> Emulator:
    """An emulator as at its beginning."""
    shared_emulator.begin()
    return shared_emulator


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Sites]:
    """Makes sites; what runs on them ends with the test."""
    sites = Sites(tmp_path)
    yield sites
    for site in sites.made:
        site.close()
