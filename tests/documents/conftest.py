"""Terminals for the documents, and the emulator and sidecar that most of them begin with."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.documents.terminal import Terminal
from tests.support.reading import blocks, commands, read

SELLER = "docs/seller.md"
_BEGINNING_ENDS = "## 3."


def type_all(terminal: Terminal, document: str, *, after: int = 0, before: int | None = None) -> int:
    """Write the files and type the commands of a document between two of its lines; return the number of commands.

    Raises:
        AssertionError: A command fails, or prints something else than the document shows.
    """
    typed = 0
    for block in blocks(document):
        if block.line < after or (before is not None and block.line >= before):
            continue
        if block.name is not None:
            terminal.write(block)
        elif block.language == "console":
            for command in commands(block):
                terminal.type(command)
                typed += 1
    return typed


def begin(terminal: Terminal) -> None:
    """Start the emulator and the sidecar as the seller's document does."""
    for block in blocks(SELLER):
        if block.name is not None:
            terminal.write(block)
    type_all(terminal, SELLER, before=read(SELLER)[: read(SELLER).index(f"\n{_BEGINNING_ENDS}")].count("\n") + 2)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """An empty terminal."""
    with closing(Terminal(tmp_path)) as terminal:
        yield terminal


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A terminal next to a running sidecar, for all tests of a module."""
    with closing(Terminal(tmp_path_factory.mktemp("documents"))) as terminal:
        begin(terminal)
        yield terminal
