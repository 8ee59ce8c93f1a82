"""How plain the English is: listed words in 1,000 words of documents, messages, docstrings and comments.

`python -m tests.documents.wording` prints the share of each group, the worst files and every line with a listed word.
`python -m tests.documents.wording sidecar/logs.py` prints the lines of these files alone.
"""

import ast
import io
import json
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from tests.support.reading import DOCUMENTS, ROOT

LISTED = (
    "nobody",
    "somebody",
    "whoever",
    "whom",
    "whose",
    "for ever",
    "at once",
    "so that",
    "tell",
    "tells",
    "told",
    "say",
    "says",
    "said",
    "lend",
    "lends",
    "stand",
    "stands",
    "what of",
    "beside",
    "hear",
    "hears",
    "heard",
    "goes on",
    "gone on",
    "as long as",
    "let",
    "lets",
)
"""Words that a reader from another country stops at, or that make a person of a component."""

_LISTED = re.compile(r"\b(" + "|".join(LISTED).replace(" ", r"\s+") + r")\b", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`[^`\n]*`|(?<=\])\([^)\s]*\)")
_SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|WITH|DROP|ALTER|PRAGMA|FROM|WHERE|ORDER|JOIN|VALUES)\b")
_TEXTS = {"title", "description", "text", "summary"}


class Group(Enum):
    """What is measured together."""

    DOCUMENTS = "documents, alerts and dashboard"
    MESSAGES = "messages and help"
    COMMENTS = "docstrings and comments"
    TESTS = "docstrings and comments of tests"


@dataclass(frozen=True)
class Passage:
    """A piece of text and where it begins."""

    group: Group
    file: str
    line: int
    text: str

    @property
    def found(self) -> list[tuple[int, str]]:
        """The listed words, each with its line."""
        return [
            (self.line + self.text.count("\n", 0, found.start()), " ".join(found[0].lower().split()))
            for found in _LISTED.finditer(self.text)
        ]

    @property
    def words(self) -> int:
        """The number of words."""
        return len(_WORD.findall(self.text))


@dataclass(frozen=True)
class Share:
    """Listed words among all words."""

    listed: int
    words: int

    @property
    def in_a_thousand(self) -> float:
        """Listed words in 1,000 words."""
        return 1000 * self.listed / self.words if self.words else 0.0


def passages() -> Iterator[Passage]:
    """Yield every text of the repository that is measured."""
    for name in [*DOCUMENTS, "CHANGELOG.md"]:
        yield Passage(Group.DOCUMENTS, name, 1, markdown((ROOT / name).read_text(encoding="utf-8")))
    for path in sorted(ROOT.glob("helm/*/files/*.json")):
        for text in _described(json.loads(path.read_text(encoding="utf-8"))):
            yield Passage(Group.DOCUMENTS, _name(path), 1, text)
    for path in sorted(ROOT.glob("helm/*/files/*.yaml")):
        yield Passage(Group.DOCUMENTS, _name(path), 1, _INLINE.sub("", path.read_text(encoding="utf-8")))
    for path in sorted((ROOT / "sidecar").rglob("*.py")):
        yield from python(_name(path), path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for passage in python(_name(path), path.read_text(encoding="utf-8")):
            if passage.group is Group.COMMENTS:
                yield replace(passage, group=Group.TESTS)
    for path in [ROOT / "Makefile", ROOT / "Dockerfile", *sorted(ROOT.glob("helm/*/values.yaml"))]:
        yield from _hashed(_name(path), path.read_text(encoding="utf-8"))


def markdown(text: str) -> str:
    """Return a document without code and the targets of its links, each line where it was."""
    return _INLINE.sub("", _FENCED.sub(lambda block: "\n" * block[0].count("\n"), text))


def python(name: str, source: str) -> Iterator[Passage]:
    """Yield a module's texts: strings of two words or more, docstrings, comments."""
    tree = ast.parse(source)
    described = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) in described:
                yield Passage(Group.COMMENTS, name, node.lineno, _INLINE.sub("", text))
            case ast.Constant(value=str(text)) if id(node) not in inside:
                yield from _message(name, node.lineno, text)
            case ast.JoinedStr(values=parts):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
                yield from _message(name, node.lineno, text)
            case _:
                pass
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Passage(Group.COMMENTS, name, token.start[0], _INLINE.sub("", token.string))


def shares(found: Iterable[Passage], group: Group) -> dict[str, Share]:
    """Return each file's share in a group."""
    listed: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for passage in found:
        if passage.group is group:
            listed[passage.file] += len(passage.found)
            words[passage.file] += passage.words
    return {file: Share(listed[file], words[file]) for file in words}


def total(files: dict[str, Share]) -> Share:
    """Return the share of all files of a group together."""
    return Share(sum(share.listed for share in files.values()), sum(share.words for share in files.values()))


def report(found: Iterable[Passage], group: Group, most: int = 10) -> str:
    """Return a group's share and the files that hold most of its listed words."""
    files = shares(found, group)
    every = total(files)
    lines = [f"{group.value}: {every.in_a_thousand:.2f} in 1,000 words ({every.listed} of {every.words})"]
    worst = sorted(files.items(), key=lambda item: -item[1].listed)[:most]
    lines += [f"  {share.listed:4} ({share.in_a_thousand:5.1f}) {file}" for file, share in worst if share.listed]
    return "\n".join(lines)


def _message(name: str, line: int, text: str) -> Iterator[Passage]:
    if len(_WORD.findall(text)) > 1 and not _SQL.match(text):
        yield Passage(Group.MESSAGES, name, line, _INLINE.sub("", text))


def _hashed(name: str, text: str) -> Iterator[Passage]:
    for line, content in enumerate(text.splitlines(), 1):
        before, mark, comment = content.partition("#")
        if mark and (not before or before.endswith((" ", "\t"))):
            yield Passage(Group.COMMENTS, name, line, _INLINE.sub("", comment))


def _described(tree: Any) -> Iterator[str]:
    """Yield the texts that a dashboard shows."""
    match tree:
        case dict():
            for key, value in tree.items():
                if key in _TEXTS and isinstance(value, str):
                    yield value
                else:
                    yield from _described(value)
        case list():
            for value in tree:
                yield from _described(value)
        case _:
            pass


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _main(files: list[str]) -> None:
    found = [passage for passage in passages() if not files or passage.file in files]
    for passage in found:
        for line, word in passage.found:
            sys.stdout.write(f"{passage.file}:{line}: {word} ({passage.group.value})\n")
    sys.stdout.write("\n".join(report(found, group) for group in Group) + "\n")


if __name__ == "__main__":
    _main(sys.argv[1:])
