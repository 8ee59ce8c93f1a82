"""Emulators, and sites on which sidecars run; every fault of a test shows their logs."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.support.processes import Ask, Emulator, Site, Sites, ask, launch_emulator


@pytest.fixture(scope="session")
def shared_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One emulator for all tests of this process: making its keys takes long."""
    emulator = launch_emulator(tmp_path_factory.mktemp("emulator") / "emulator.log")
    yield emulator
    emulator.signal()
    assert 0 == emulator.await_end()


@pytest.fixture
def emulator(shared_emulator: Emulator) -> Emulator:
    """An emulator without customers and stands at `NOON`."""
    shared_emulator.begin()
    return shared_emulator


@pytest.fixture
def own_emulator(tmp_path: Path) -> Iterator[Emulator]:
    """An emulator that the test may kill; its clock is the system's."""
    emulator = launch_emulator(tmp_path / "emulator.log")
    yield emulator
    emulator.kill()


@pytest.fixture(scope="session")
def shared_irsa_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One emulator for all tests of roles for service accounts."""
    emulator = launch_emulator(tmp_path_factory.mktemp("irsa") / "emulator.log", "--identity", "irsa-only")
    yield emulator
    emulator.kill()


@pytest.fixture
def irsa_emulator(shared_irsa_emulator: Emulator) -> Emulator:
    """An emulator that takes nothing but IAM roles for service accounts, as AWS does."""
    shared_irsa_emulator.begin()
    return shared_irsa_emulator


@pytest.fixture(name="ask")
def _ask() -> Ask:
    """Sends one request to a port or a unix socket."""
    return ask


@pytest.fixture
def sites(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Sites]:
    """Makes sites; what runs on them is killed with the test, unless the test is marked `ending`."""
    sites = Sites(tmp_path, measured=request.node.get_closest_marker("ending") is not None)
    yield sites
    for site in sites.made:
        site.close()


@pytest.fixture
def site(sites: Sites, emulator: Emulator) -> Site:
    """A site next to the shared emulator."""
    return sites.make(emulator)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of the processes with a failure."""
    report = yield
    sites = getattr(item, "funcargs", {}).get("sites")
    if report.failed and isinstance(sites, Sites):
        for running in (running for site in sites.made for running in site.running):
            report.sections.append((f"log of {running.log_file.name}", running.log))
    return report
