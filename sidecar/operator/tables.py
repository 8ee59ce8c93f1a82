"""Rows for people and rows for programs, on standard output.

What an app put into an id or a tag reaches a terminal only as printable characters; JSON goes out as ASCII.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence

from sidecar.domain import quantity
from sidecar.domain.status import Terms
from sidecar.terminal.text import pad, printable, width

Members = Mapping[str, object]


def print_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in columns under their titles; None is a dash."""
    rendered = [list(titles), *([_shown(value) for value in row] for row in rows)]
    widths = [max(width(row[column]) for row in rendered) for column in range(len(titles))]
    for row in rendered:
        line = "  ".join(pad(cell, cells) for cell, cells in zip(row, widths, strict=True))
        print_line(line.rstrip())


def print_line(line: str) -> None:
    """Print a line as far as the terminal's encoding goes."""
    encoding = sys.stdout.encoding or "ascii"
    sys.stdout.write(f"{line.encode(encoding, 'backslashreplace').decode(encoding)}\n")


def print_json(members: Members) -> None:
    """Print one JSON object on a line of its own."""
    sys.stdout.write(f"{json.dumps(members)}\n")


def print_terms(terms: Mapping[str, Terms]) -> None:
    """Print the terms of the conservation law by dimension."""
    print_table(
        ["dimension", "accepted", "open", "sealed", "submitted", "unbilled", "remainder", "balanced"],
        [
            [
                name,
                *map(quantity.render, (found.accepted, found.open, found.sealed)),
                *map(quantity.render, (found.submitted, found.unbilled, found.remainder)),
                "yes" if found.balanced else "no",
            ]
            for name, found in terms.items()
        ],
    )


def tell_more(cure: str) -> None:
    """Say on standard error that the list was cut, and how to see the rest."""
    sys.stderr.write(f"There are more; {cure}.\n")


def _shown(value: object) -> str:
    return "-" if value is None or value == "" else printable(str(value))
