"""The pictures show what the code draws, and the README shows the pictures."""

import xml.etree.ElementTree as ET

import pytest

from tests.documents.pictures import FOLDER, PICTURES
from tests.support.reading import read


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_current(name: str) -> None:
    """A picture in the documents is the one that `make pictures` draws, and is well-formed."""
    drawn = PICTURES[name]()

    assert drawn == (FOLDER / name).read_text(encoding="utf-8"), "run: make pictures"
    assert "{http://www.w3.org/2000/svg}svg" == ET.fromstring(drawn).tag
    assert f"(docs/pictures/{name})" in read("README.md")
