"""Sizes as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain import sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64KiB", 65_536),
        ("900MiB", 943_718_400),
        ("2GiB", 2**31),
        ("1024KiB", 2**20),
        ("0MiB", None),
        ("1.5GiB", None),
        ("900", None),
        ("900M", None),
        ("900MB", None),
        ("900mib", None),
        ("-1MiB", None),
        (" 1MiB", None),
        ("1 MiB", None),
        ("٣MiB", None),
    ],
)
def test_size_is_read(text: str, size: int | None) -> None:
    """A whole number with KiB, MiB or GiB is a size, and nothing else is."""
    assert size == sizes.parse(text)


@given(st.integers(1, 10**8))
def test_rendered_size_is_read_again(kibibytes: int) -> None:
    """What is rendered names the same size."""
    assert kibibytes * 1024 == sizes.parse(sizes.render(kibibytes * 1024))
