"""The faults of measured dimensions: each kind of source registers, logs and ends them in the same way."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from sidecar.domain.ports import Clock
from sidecar.services.faults import FaultLog, FaultRegister

_REPORTS: Final[Mapping[str, FaultLog]] = {
    "source-unreadable": FaultLog(begins="source.unreadable", ends="source.recovered"),
    "source-silent": FaultLog(begins="source.silent", ends="source.recovered"),
    "source-inconsistent": FaultLog(begins="source.inconsistent", ends="source.recovered"),
    "source-refused": FaultLog(begins="source.refused", ends="source.recovered"),
}
"""How each fault is logged, by its code."""


class SourceFaults:
    """The faults of the sources of one kind; a dimension can have each of them once."""

    def __init__(self, faults: FaultRegister, clock: Clock) -> None:
        self._faults = faults
        self._clock = clock

    def observe(self, code: str, dimension: str, detail: str, cure: str) -> None:
        """Note that a source has a fault."""
        report = replace(_REPORTS[code], about={"dimension": dimension})
        detail = f"dimension {dimension}: {detail}"
        self._faults.observe(code, detail, cure, self._clock.now(), about=f"{code} of {dimension}", report=report)

    def clear(self, code: str, dimension: str) -> None:
        """Note that a source does not have this fault."""
        self._faults.clear(f"{code} of {dimension}", self._clock.now())
