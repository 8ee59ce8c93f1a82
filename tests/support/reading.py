"""The documents as data: their code blocks, and the commands of a console with what they print.

A block whose first line is fenced as `language name` is the file of that name. A `console` block holds commands after
`$ `, continued by a backslash or an open quote, each followed by what it prints; `...` stands for what differs.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (
    "README.md",
    *sorted(str(path.relative_to(ROOT)) for folder in ("docs", "helm/*") for path in ROOT.glob(f"{folder}/*.md")),
)
_FENCE = re.compile(r"^```(?P<language>\w*)(?: (?P<name>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    language: str
    name: str | None
    text: str
    line: int


@dataclass(frozen=True)
class Command:
    """A command and what it prints."""

    line: int
    text: str
    output: str


def read(document: str) -> str:
    """Return a document of the repository."""
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str) -> list[Block]:
    """Return the fenced blocks in their order."""
    text = read(document)
    return [
        Block(found["language"], found["name"], found["text"], text.count("\n", 0, found.start()) + 1)
        for found in _FENCE.finditer(text)
    ]


def commands(block: Block) -> Iterator[Command]:
    """Return the commands of a console block."""
    assert block.text.startswith("$ "), f"line {block.line}: a console block begins with a command"
    for part in re.split(r"^(?=\$ )", block.text, flags=re.MULTILINE)[1:]:
        lines = part.removeprefix("$ ").splitlines()
        count = 1
        while lines[count - 1].endswith("\\") or "\n".join(lines[:count]).count("'") % 2:
            count += 1
        yield Command(block.line, "\n".join(lines[:count]), "\n".join(lines[count:]).strip())


def pattern(expected: str) -> re.Pattern[str]:
    """Return what matches an output as a document shows it."""
    lines = [
        r"(?:.*\n)*?"
        if line.strip() == "..."
        else r"\s*" + r".*?".join(map(_loosely, line.strip().split("..."))) + r"\s*\n"
        for line in expected.splitlines()
    ]
    return re.compile("".join(lines))


def _loosely(text: str) -> str:
    """Return a pattern of a text in which any run of spaces is as good as another."""
    words = re.split(r"(\s+)", text)
    return "".join(r"\s+" if word.isspace() else re.escape(word) for word in words)
