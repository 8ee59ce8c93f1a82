"""The check of the resources' files."""

from pathlib import Path

import pytest

from sidecar.checks.sources import check_sources
from sidecar.domain.check_result import CheckStatus
from sidecar.domain.metering.events import Dimension
from sidecar.domain.metering.sources import PodTime, Resource, ResourceBound, ResourceKind

CPU = Dimension("vcpu", source=Resource(ResourceKind.CPU, ResourceBound.LIMIT, "app"))
MEMORY = Dimension("gib", source=Resource(ResourceKind.MEMORY, ResourceBound.REQUEST, "app"))
HOURS = Dimension("hours", source=PodTime())


@pytest.mark.parametrize(
    ("dimensions", "files", "status", "found"),
    [
        ([Dimension("requests"), HOURS], {}, CheckStatus.SKIPPED, "no dimension is measured by a resource"),
        ([CPU, HOURS], {"app.limits.cpu": "1500"}, CheckStatus.OK, "app.limits.cpu is 1500"),
        (
            [CPU, MEMORY],
            {"app.limits.cpu": "1500", "app.requests.memory": "1"},
            CheckStatus.OK,
            "app.limits.cpu is 1500, app.requests.memory is 1",
        ),
        ([CPU], {}, CheckStatus.FAIL, "dimension vcpu: {}/app.limits.cpu cannot be read: No such file or directory"),
        (
            [CPU, MEMORY],
            {"app.limits.cpu": "1500", "app.requests.memory": "1Gi"},
            CheckStatus.FAIL,
            "dimension gib: {}/app.requests.memory does not hold a positive whole number",
        ),
    ],
)
def test_files_are_judged(
    tmp_path: Path, dimensions: list[Dimension], files: dict[str, str], status: CheckStatus, found: str
) -> None:
    """Each file that is needed is read as the running sidecar reads it."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    result = check_sources(dimensions, tmp_path)
    assert (status, found.format(tmp_path)) == (result.status, result.found)
    assert (status is CheckStatus.FAIL) == bool(result.cure)
