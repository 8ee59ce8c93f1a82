"""A ledger for one test; whatever the test has done to it, its books must balance."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.domain.metering.rules import MeteringRules
from tests.support.books import RULES, Books

OpenBooks = Callable[[MeteringRules], Books]


@pytest.fixture
def open_books(tmp_path: Path) -> Iterator[OpenBooks]:
    """Open a ledger under rules of the test's own; proved when the test is over."""
    opened: list[Books] = []

    def open_one(rules: MeteringRules) -> Books:
        books = Books(tmp_path / f"ledger-{len(opened)}.db", rules, durable=False)
        opened.append(books)
        return books

    yield open_one
    for books in opened:
        found = books.breaches()
        books.close()
        assert [] == found


@pytest.fixture
def books(open_books: OpenBooks) -> Books:
    """Open a ledger under the usual rules."""
    return open_books(RULES)
