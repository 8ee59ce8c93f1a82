"""Diagnoses on standard output: a table for a terminal, lines for a log, a document for a program.

Text from outside is printed only as printable characters.
"""

import json
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from sidecar.commands.tables import print_line
from sidecar.domain.check_result import CheckResult, CheckStatus, failed
from sidecar.terminal.colors import Color, Paint, wanted
from sidecar.terminal.text import pad, printable, wrap

_COLORS = {
    CheckStatus.OK: Color.GOOD,
    CheckStatus.WARN: Color.DOUBTFUL,
    CheckStatus.FAIL: Color.BAD,
    CheckStatus.SKIPPED: Color.QUIET,
}
_NARROWEST = 30


def print_document(diagnoses: Sequence[CheckResult]) -> None:
    """Print one JSON document."""
    document = {"ok": not failed(diagnoses), "checks": [asdict(diagnosis) for diagnosis in diagnoses]}
    sys.stdout.write(f"{json.dumps(document)}\n")


def print_lines(diagnoses: Sequence[CheckResult]) -> None:
    """Print one line for each check, and their number."""
    for diagnosis in diagnoses:
        cure = f" | cure: {diagnosis.cure}" if diagnosis.cure else ""
        line = f"{diagnosis.status} {diagnosis.name}: {diagnosis.found} | why: {diagnosis.why}{cure}"
        print_line(printable(line))
    print_line(_summary(diagnoses))


def print_table(diagnoses: Sequence[CheckResult]) -> None:
    """Print the results in columns; below a problem, why it matters and the cure."""
    names = max(len(diagnosis.name) for diagnosis in diagnoses)
    states = max(len(result) for result in CheckStatus)
    indent = " " * (states + names + 4)
    columns = max(shutil.get_terminal_size().columns - len(indent), _NARROWEST)
    paint = Paint(wanted())
    for diagnosis in diagnoses:
        texts = [diagnosis.found]
        if diagnosis.cure:
            texts += [f"why: {diagnosis.why}", f"cure: {diagnosis.cure}"]
        lines = [line for text in texts for line in wrap(printable(text), columns)]
        print_line(
            f"{paint(pad(diagnosis.status, states), _COLORS[diagnosis.status])}  {diagnosis.name:<{names}}  {lines[0]}"
        )
        for line in lines[1:]:
            print_line(f"{indent}{line}")
    print_line(_summary(diagnoses))


def _summary(diagnoses: Sequence[CheckResult]) -> str:
    counts = Counter(diagnosis.status for diagnosis in diagnoses)
    shown = ", ".join(f"{counts[result]} {result}" for result in CheckStatus if counts[result])
    return f"{len(diagnoses)} checks: {shown}"
