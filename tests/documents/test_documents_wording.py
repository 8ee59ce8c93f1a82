"""Documents, messages and comments use plain words."""

import pytest

from tests.documents.wording import LISTED, Group, Passage, markdown, passages, python, report, shares, total

LIMITS = {Group.DOCUMENTS: 1.0, Group.MESSAGES: 1.0, Group.COMMENTS: 1.5, Group.TESTS: 10.0}
"""Listed words in 1,000 words at most. A limit is only ever lowered."""


@pytest.fixture(scope="module")
def found() -> list[Passage]:
    """Every text of the repository that is measured."""
    return list(passages())


@pytest.mark.parametrize("group", Group, ids=lambda group: group.name.lower())
def test_words_are_plain(group: Group, found: list[Passage]) -> None:
    """A group holds no more listed words in 1,000 words than its limit; the report names the worst files."""
    assert LIMITS[group] >= total(shares(found, group)).in_a_thousand, report(found, group)


@pytest.mark.parametrize("group", Group, ids=lambda group: group.name.lower())
def test_texts_are_found(group: Group, found: list[Passage]) -> None:
    """Each group is read at all: it has more than 10,000 words in several files."""
    files = shares(found, group)

    assert total(files).words > 10_000
    assert len(files) > 10


@pytest.mark.parametrize("word", LISTED)
def test_each_listed_word_is_found(word: str) -> None:
    """A listed word counts in any case and across a line's end, and not inside a longer word."""
    text = f"It {word.upper()} it, {word.replace(' ', chr(10))} and x{word}x."

    assert [word, word] == [listed for _, listed in Passage(Group.COMMENTS, "a.py", 1, text).found]


def test_module_is_taken_apart() -> None:
    """Docstrings and comments are one group and messages another; single words, SQL and code do not count."""
    documented = '"""Tell\nit."""\nNAME = 1  # so that\n"""Said."""\n'
    source = documented + 'warn(f"nobody {NAME} `let`", "let")\nrun("SELECT let FROM a")\n'

    texts = [(passage.group, line, word) for passage in python("a.py", source) for line, word in passage.found]
    assert [
        (Group.COMMENTS, 1, "tell"),
        (Group.COMMENTS, 3, "so that"),
        (Group.COMMENTS, 4, "said"),
        (Group.MESSAGES, 5, "nobody"),
    ] == sorted(texts, key=lambda item: item[1])


def test_code_of_a_document_does_not_count() -> None:
    """Blocks, code in a line and the targets of links are left out, and lines keep their numbers."""
    text = "One `tell`.\n```\nsay\n```\n[let](so#that) it\n"

    found = Passage(Group.DOCUMENTS, "a.md", 1, markdown(text)).found
    assert [(5, "let")] == found
