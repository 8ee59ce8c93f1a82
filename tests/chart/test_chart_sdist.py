"""The source distribution has whole charts: in the repository two of them hold the library by a link."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.rendering import CHARTS, PRODUCT, SIDECAR, Helm, Values


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source distribution, and return the folder of its charts."""
    folder = tmp_path_factory.mktemp("sdist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(folder)]
    built = subprocess.run(command, cwd=CHARTS.parent, capture_output=True, text=True, check=False)
    assert 0 == built.returncode, built.stderr
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    (charts,) = folder.glob("*/helm")
    return charts


@pytest.mark.parametrize(("chart", "values"), [("example", SIDECAR), ("marketplace-product", PRODUCT)])
def test_chart_renders_as_in_the_repository(helm: Helm, unpacked: Path, chart: str, values: Values) -> None:
    """Each chart of the source distribution renders, and the same as here."""
    assert helm.template(chart, values) == helm.template(unpacked / chart, values)


def test_library_is_there(unpacked: Path) -> None:
    """The library chart is there with each of its files, and with no other."""
    here, there = (
        {path.relative_to(folder) for path in (folder / "marketplace-sidecar").rglob("*") if path.is_file()}
        for folder in (CHARTS, unpacked)
    )
    assert here == there
