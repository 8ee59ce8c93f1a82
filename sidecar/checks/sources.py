"""The files of the resources that the sidecar measures, as the running sidecar reads them."""

from collections.abc import Sequence
from pathlib import Path

from sidecar.adapters.resource_files import FOLDER, ResourceFiles
from sidecar.domain.check_result import Check, CheckResult
from sidecar.domain.metering.events import Dimension
from sidecar.domain.metering.sources import Resource, ResourceUnreadable

SOURCES = Check("sources", "Time that is measured by a resource is not billed while its file cannot be read.")
_CURE = (
    "Mount the downward API's file there, with the container's limit or request, as the chart does (docs/sources.md). "
    "Outside the pod the files are missing: run doctor in the pod."
)


def check_sources(dimensions: Sequence[Dimension], folder: Path = FOLDER) -> CheckResult:
    """Read the file of each resource."""
    read = ResourceFiles(folder)
    found, faults = [], []
    for dimension in dimensions:
        if isinstance(dimension.source, Resource):
            try:
                found.append(f"{dimension.source.file_name} is {read(dimension.source)}")
            except ResourceUnreadable as unreadable:
                faults.append(f"dimension {dimension.name}: {unreadable}")
    if faults:
        return SOURCES.fail("; ".join(faults), _CURE)
    if not found:
        return SOURCES.skipped("no dimension is measured by a resource")
    return SOURCES.ok(", ".join(found))
