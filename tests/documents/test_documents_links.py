"""What a document links to is there: the file, and the section in it."""

import re

import pytest

from tests.support.reading import DOCUMENTS, ROOT, read

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def prose(document: str) -> str:
    """Return a document without its code blocks."""
    return FENCED.sub("", read(document))


def links() -> list[tuple[str, str]]:
    """Return what each document links to in this repository."""
    found = {(document, link) for document in [*DOCUMENTS, "CHANGELOG.md"] for link in LINK.findall(prose(document))}
    return sorted((document, link) for document, link in found if "://" not in link)


def anchors(document: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in HEADING.findall(prose(document))}


@pytest.mark.parametrize(("document", "link"), links())
def test_link_leads_somewhere(document: str, link: str) -> None:
    """A relative link names a file or folder of the repository, and an anchor a heading of it."""
    place, _, anchor = link.partition("#")
    target = ((ROOT / document).parent / place).resolve() if place else ROOT / document

    assert target.is_relative_to(ROOT)
    assert target.exists()
    assert not anchor or anchor in anchors(str(target.relative_to(ROOT)))
