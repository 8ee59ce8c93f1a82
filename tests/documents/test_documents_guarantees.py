"""Each guarantee names the tests that hold it, and these tests exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def named_tests() -> list[tuple[str, str]]:
    """Return the tests that the documents name."""
    texts = [path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]]
    return sorted({(file, name) for text in texts for file, name in NAMED.findall(text)})


@pytest.mark.parametrize(("file", "name"), named_tests())
def test_named_test_exists(file: str, name: str) -> None:
    """Each test that a document names exists."""
    text = (ROOT / "tests" / file).read_text(encoding="utf-8")

    assert re.search(rf"^(async def|def|class|) ?{name}\b", text, re.MULTILINE)


def test_every_guarantee_names_tests() -> None:
    """All fourteen guarantees are listed, each with at least two tests."""
    text = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
    sections = re.findall(r"^### (\d+)\. .*?$(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL)

    assert [str(number) for number in range(1, 15)] == [number for number, _ in sections]
    assert [] == [number for number, section in sections if len(NAMED.findall(section)) < 2]
