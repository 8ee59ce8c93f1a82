"""Rows for people and rows for programs, on standard output; refusals on standard error.

Ids and tags of an app are printed only as printable characters; JSON is printed as ASCII.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence

from sidecar.domain.metering import quantity
from sidecar.domain.status import Terms
from sidecar.exit_codes import ExitCode
from sidecar.terminal.size import size_of
from sidecar.terminal.text import pad, printable, width, wrap

Members = Mapping[str, object]

_BETWEEN = "  "
"""Between two columns."""
_NOTHING = "-"
_NARROWEST = 40
"""Fewest columns for a value, even if the terminal has less."""


def print_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in columns under their titles; None is a dash.

    On a terminal that is too narrow for a whole row, each row is a block: its first value, and below it one line for
    each other value that is not empty. Output to a file or a pipe is always in columns.
    """
    rendered = [list(titles), *([_shown(value) for value in row] for row in rows)]
    widths = [max(width(row[column]) for row in rendered) for column in range(len(titles))]
    if sys.stdout.isatty() and sum(widths) + len(_BETWEEN) * (len(widths) - 1) > size_of(sys.stdout).columns:
        _print_blocks(rendered[0], rendered[1:], size_of(sys.stdout).columns)
        return
    for row in rendered:
        line = _BETWEEN.join(pad(cell, cells) for cell, cells in zip(row, widths, strict=True))
        print_line(line.rstrip())


def _print_blocks(titles: Sequence[str], rows: Iterable[Sequence[str]], columns: int) -> None:
    names = max(map(width, titles[1:]), default=0)
    for row in rows:
        print_line(f"{titles[0]} {row[0]}")
        for title, value in zip(titles[1:], row[1:], strict=True):
            if value == _NOTHING:
                continue
            indent = len(_BETWEEN) * 2 + names
            lines = list(wrap(value, max(columns - indent, _NARROWEST)))
            print_line(f"{_BETWEEN}{pad(title, names)}{_BETWEEN}{lines[0]}")
            for line in lines[1:]:
                print_line(f"{' ' * indent}{line}")


def print_line(line: str) -> None:
    """Print a line; characters that the encoding lacks are escaped."""
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


def refuse(sentence: str, code: ExitCode = ExitCode.BAD_COMMAND) -> ExitCode:
    """Print on standard error why the command ends, and return its exit code."""
    sys.stderr.write(f"{sentence}\n")
    return code


def note_more(cure: str) -> None:
    """Print on standard error that the list is incomplete, and how to see the rest."""
    sys.stderr.write(f"There are more rows: {cure}.\n")


def _shown(value: object) -> str:
    return _NOTHING if value is None or value == "" else printable(str(value))
