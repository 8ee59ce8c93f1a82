"""Text on a terminal: nothing in it is acted upon, and it takes the cells that it is given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.terminal.text import fit, pad, printable, width, wrap

shown = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" ")).map(printable)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("grün 用量", "grün 用量"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\rb\nc", "a\\rb\\nc"),
        ("right\u202eleft", "right\\u202eleft"),
        ("\x9b31m", "\\x9b31m"),
    ],
)
def test_nothing_drives_terminal(text: str, expected: str) -> None:
    """What a terminal would act upon is written as an escape; letters of any script stay."""
    assert expected == printable(text)


@pytest.mark.parametrize(("text", "cells"), [("abc", 3), ("用量", 4), ("e\u0301", 1), ("", 0)])
def test_width_counts_cells(text: str, cells: int) -> None:
    """A wide character takes two cells, one that joins the one before takes none."""
    assert cells == width(text)


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("short", 5, "short"),
        ("longer", 5, "lo..."),
        ("用量用量", 6, "用..."),
        ("longer", 3, "lon"),
        ("用量", 1, ""),
        ("x", 0, ""),
    ],
)
def test_cut_shows_that_it_is_cut(text: str, columns: int, expected: str) -> None:
    """What is left out is shown by dots where there is room for them."""
    assert expected == fit(text, columns)


def test_padding_counts_cells() -> None:
    """A column stays straight below wide characters."""
    assert "用量 " == pad("用量", 5)


@given(shown, st.integers(min_value=0, max_value=30))
def test_cut_never_exceeds(text: str, columns: int) -> None:
    """A cut text takes at most the cells that there are."""
    assert width(fit(text, columns)) <= columns


@given(shown, st.integers(min_value=2, max_value=30))
def test_wrapped_text_is_whole(text: str, columns: int) -> None:
    """Wrapping keeps every character that is no space, in lines that fit."""
    lines = list(wrap(text, columns))
    assert lines
    assert all(width(line) <= columns for line in lines)
    assert "".join(text.split()) == "".join("".join(lines).split())
