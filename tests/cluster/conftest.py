"""One node for all tests of this folder, a namespace for each, and everything there is to see of a failure.

Where the node cannot be had, the tests are skipped with the reason; under make and in CI they fail.
"""

import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from tests.cluster import packages
from tests.cluster.emulator import Emulator
from tests.cluster.images import SIDECAR, SIDECAR_TAG
from tests.cluster.node import Node
from tests.cluster.product import Product
from tests.cluster.stage import Stage, namespace_for
from tests.support import image, programs
from tests.support.tools import go_without, need_root

_FOLDER = Path(__file__).parent
_LONGEST = 1800
"""Seconds for one test; the first of them waits for programs and images to be built."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if item.path.is_relative_to(_FOLDER):
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.machine)
            item.add_marker(pytest.mark.timeout(_LONGEST))


@pytest.fixture(scope="session")
def bin_folder() -> Path:
    """The folder of the programs, built if they are not there."""
    need_root()
    problem = packages.install(programs.report)
    if problem is not None:
        go_without(problem)
    return programs.provide(programs.report, *programs.NODE)


@pytest.fixture(scope="session")
def archive(bin_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sidecar's image, out of reach of other runs: they replace the cached one when the sources change."""
    copy = tmp_path_factory.mktemp("image") / "sidecar.tar"
    shutil.copyfile(image.archive(), copy)
    return copy


@pytest.fixture(scope="session")
def node(bin_folder: Path, archive: Path) -> Iterator[Node]:
    """A node that knows the sidecar's image."""
    node = Node.start(bin_folder)
    try:
        node.load(archive)
        yield node
    finally:
        node.stop()


@pytest.fixture(scope="session")
def aws(node: Node) -> Iterator[Stage]:
    """The namespace of AWS's side."""
    stage = Stage(node, "aws")
    stage.open()
    yield stage
    stage.close()


@pytest.fixture(scope="session")
def shared_emulator(aws: Stage) -> Emulator:
    """One emulator for all tests: making its keys takes long."""
    return Emulator.launch(aws, "emulator", f"{SIDECAR}:{SIDECAR_TAG}")


@pytest.fixture
def emulator(shared_emulator: Emulator) -> Emulator:
    """An emulator without customers and stands at `NOON`."""
    shared_emulator.begin()
    return shared_emulator


@pytest.fixture
def stage(node: Node, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A namespace of the test's own."""
    stage = Stage(node, namespace_for(request.node.name))
    stage.open()
    yield stage
    stage.close()


@pytest.fixture
def product(stage: Stage, emulator: Emulator, bin_folder: Path) -> Product:
    """A product that is not installed yet."""
    return Product(stage, emulator, bin_folder / "helm")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show descriptions, events and logs of the pods with a failure."""
    report = yield
    if report.failed:
        used = getattr(item, "funcargs", {})
        for stage in (used.get("stage"), used.get("aws")):
            if isinstance(stage, Stage):
                try:
                    report.sections.extend(stage.describe())
                except (HTTPError, ApiException) as error:
                    report.sections.append((f"namespace {stage.namespace}", f"cannot be read any more: {error}"))
    return report
