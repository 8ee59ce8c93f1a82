"""Foreign text on one line."""

import pytest

from sidecar.domain.plaintext import one_line


@pytest.mark.parametrize(
    ("text", "line"), [("", ""), (" a\r\n\tb ", "a b"), ("abcdefgh", "abcde"), ("a\n" * 9, "a a a")]
)
def test_white_space_is_one_space(text: str, line: str) -> None:
    """Line ends and tabs cannot break a log line, and a long text is cut."""
    assert line == one_line(text, 5)
