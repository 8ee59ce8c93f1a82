"""The files of the downward API: every content is a figure or a sentence, never another error."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sidecar.adapters.resource_files import ResourceFiles
from sidecar.domain.metering.sources import Resource, ResourceBound, ResourceKind, ResourceUnreadable

CPU = Resource(ResourceKind.CPU, ResourceBound.LIMIT, "app")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80) | st.integers().map(lambda number: str(number).encode()))
@example(b"1500")
@example(b"1500\n")
@example(b"\xff1500")
@example(b"9" * 4000)
@example(b"1500\n1500")
def test_content_is_a_figure_or_a_sentence(tmp_path: Path, content: bytes) -> None:
    """A whole file of digits is its number; everything else is refused with the file's name."""
    path = tmp_path / CPU.file_name
    path.write_bytes(content)
    digits = content.removesuffix(b"\n")
    valid = digits.isdigit() and not digits.startswith(b"0") and len(digits) <= 18 and int(digits) <= CPU.most
    try:
        found: int | str = ResourceFiles(tmp_path)(CPU)
    except ResourceUnreadable as unreadable:
        found = str(unreadable)
    if valid:
        assert int(digits) == found
    else:
        assert str(found).startswith(f"{path} ")


def test_folder_is_no_file(tmp_path: Path) -> None:
    """A folder in the file's place is named."""
    (tmp_path / CPU.file_name).mkdir()
    with pytest.raises(ResourceUnreadable, match=r"app\.limits\.cpu cannot be read: Is a directory"):
        ResourceFiles(tmp_path)(CPU)


def test_file_is_read_anew(tmp_path: Path) -> None:
    """A resized container has another figure, without a restart of the sidecar."""
    read = ResourceFiles(tmp_path)
    found = []
    for text in ("500", "1500"):
        (tmp_path / CPU.file_name).write_text(text)
        found.append(read(CPU))
    assert [500, 1500] == found
