"""The table of metrics in the operator's document, as data."""

import re
from typing import NamedTuple

from tests.support.reading import read

_ROW = re.compile(r"^\| `(marketplace_\w+)` \| (\w+) \| (?:`(\w+)`)? ?\| (.*) \|$", re.MULTILINE)


class Metric(NamedTuple):
    """One row."""

    name: str
    kind: str
    label: str
    """The label that distinguishes its series; empty where there is one series."""
    meaning: str


def table() -> list[Metric]:
    """Return the rows in their order."""
    section = read("docs/operator.md").partition("\n## Metrics\n")[2].partition("\n## ")[0]
    return [Metric(*row) for row in _ROW.findall(section)]
