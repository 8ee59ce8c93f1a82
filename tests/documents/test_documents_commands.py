"""The commands in the documents work, and print what they show."""

import pytest

from tests.documents.conftest import SELLER, begin, type_all
from tests.documents.terminal import Terminal
from tests.support.reading import DOCUMENTS, blocks, read

pytestmark = [pytest.mark.process, pytest.mark.machine]

DEVELOPER = "docs/developer.md"


TYPED = [each for each in DOCUMENTS if any(block.language == "console" for block in blocks(each))]


@pytest.mark.parametrize("document", [each for each in TYPED if each != DEVELOPER])
def test_document_plays(document: str, terminal: Terminal) -> None:
    """Typed from top to bottom, each command ends well and prints what the document shows."""
    if document != SELLER:
        begin(terminal)
    assert 0 < type_all(terminal, document)


def sections() -> dict[str, tuple[int, int]]:
    """Return the sections of the developer's document that hold commands: title to its lines."""
    lines = read(DEVELOPER).splitlines()
    starts = [number for number, line in enumerate(lines, 1) if line.startswith("## ")]
    spans = dict(zip(starts, [*starts[1:], len(lines) + 1], strict=True))
    typed = [block.line for block in blocks(DEVELOPER) if block.language == "console"]
    return {
        lines[start - 1].removeprefix("## "): (start, end)
        for start, end in spans.items()
        if any(start < line < end for line in typed)
    }


@pytest.mark.parametrize("section", sections())
def test_snippet_runs(section: str, begun: Terminal) -> None:
    """Each program of the developer's document compiles, gets its entitlement and has its event accepted."""
    after, before = sections()[section]
    assert 0 < type_all(begun, DEVELOPER, after=after, before=before)
