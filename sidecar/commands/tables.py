"""Rows for people and rows for programs, on standard output; refusals on standard error.

Ids and tags of an app are printed only as printable characters; JSON is printed as ASCII.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

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

    Args:
        titles: One for each column.
        rows: Iterated twice, and not held: an iterator is not enough.
    """
    widths = [width(title) for title in titles]
    for row in rows:
        widths = [max(cells, width(_shown(value))) for cells, value in zip(widths, row, strict=True)]
    if sys.stdout.isatty() and sum(widths) + len(_BETWEEN) * (len(widths) - 1) > size_of(sys.stdout).columns:
        _print_blocks(titles, rows, size_of(sys.stdout).columns)
        return
    for row in chain([titles], rows):
        line = _BETWEEN.join(pad(_shown(value), cells) for value, cells in zip(row, widths, strict=True))
        print_line(line.rstrip())


def _print_blocks(titles: Sequence[str], rows: Iterable[Sequence[object]], columns: int) -> None:
    names = max(map(width, titles[1:]), default=0)
    for values in rows:
        row = [_shown(value) for value in values]
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


def json_line(members: Members) -> str:
    """Return one JSON object on a line of its own."""
    return f"{json.dumps(members)}\n"


def print_json(members: Members) -> None:
    """Print one JSON object on a line of its own."""
    sys.stdout.write(json_line(members))


def print_json_with(before: Members, name: str, items: Iterable[Members], after: Members) -> None:
    """Print one JSON object with a list between its other members; the list is not held."""
    sys.stdout.write(f"{json.dumps(before)[:-1]}, {json.dumps(name)}: [")
    for number, item in enumerate(items):
        sys.stdout.write(f"{', ' if number else ''}{json.dumps(item)}")
    sys.stdout.write(f"], {json.dumps(after)[1:]}\n")


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
