"""Diagnoses on standard output: a table for a terminal, lines for a log, a document for a program.

What was found goes to a terminal only as printable characters.
"""

import json
import os
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from sidecar.domain.diagnosis import Diagnosis, Result, failed
from sidecar.operator.ledger.tables import print_line

_COLOURS = {Result.OK: "32", Result.WARN: "33", Result.FAIL: "31;1", Result.SKIPPED: "2"}
_NARROWEST = 30


def print_document(diagnoses: Sequence[Diagnosis]) -> None:
    """Print one JSON document."""
    document = {"ok": not failed(diagnoses), "checks": [asdict(diagnosis) for diagnosis in diagnoses]}
    sys.stdout.write(f"{json.dumps(document)}\n")


def print_lines(diagnoses: Sequence[Diagnosis]) -> None:
    """Print one line for each check, and their number."""
    for diagnosis in diagnoses:
        cure = f" | cure: {diagnosis.cure}" if diagnosis.cure else ""
        line = f"{diagnosis.status} {diagnosis.name}: {diagnosis.found} | why: {diagnosis.why}{cure}"
        print_line(_printable(line))
    print_line(_summary(diagnoses))


def print_table(diagnoses: Sequence[Diagnosis]) -> None:
    """Print what was found in columns; why it matters and the cure below what is not right."""
    names = max(len(diagnosis.name) for diagnosis in diagnoses)
    states = max(len(result) for result in Result)
    indent = " " * (states + names + 4)
    width = max(shutil.get_terminal_size().columns - len(indent), _NARROWEST)
    for diagnosis in diagnoses:
        texts = [diagnosis.found]
        if diagnosis.cure:
            texts += [f"why: {diagnosis.why}", f"cure: {diagnosis.cure}"]
        lines = [line for text in texts for line in textwrap.wrap(_printable(text), width)]
        print_line(f"{_coloured(diagnosis.status, states)}  {diagnosis.name:<{names}}  {lines[0]}")
        for line in lines[1:]:
            print_line(f"{indent}{line}")
    print_line(_summary(diagnoses))


def _summary(diagnoses: Sequence[Diagnosis]) -> str:
    counts = Counter(diagnosis.status for diagnosis in diagnoses)
    shown = ", ".join(f"{counts[result]} {result}" for result in Result if counts[result])
    return f"{len(diagnoses)} checks: {shown}"


def _coloured(status: Result, width: int) -> str:
    padded = f"{status:<{width}}"
    return padded if "NO_COLOR" in os.environ else f"\033[{_COLOURS[status]}m{padded}\033[0m"


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
