"""The objects of a large document: the same as of a small one, wherever the window ends."""

import io
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.commands.ledger.cloudtrail import elements as module
from sidecar.commands.ledger.cloudtrail.elements import elements

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), max_size=6)


def read(text: str) -> list[Any]:
    """Return the objects of a text."""
    return list(elements(io.StringIO(text)))


@pytest.fixture(autouse=True)
def _small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let windows end in the middle of everything."""
    monkeypatch.setattr(module, "WINDOW", 24)


@given(objects=OBJECTS, indent=st.sampled_from([None, 1]), after=st.sampled_from([{}, {"NextToken": "t"}]))
def test_windows_do_not_matter(objects: list[Any], indent: int | None, after: dict[str, str]) -> None:
    """An array, a list under Records, and a run of objects all give their objects."""
    assert objects == read(json.dumps(objects, indent=indent, ensure_ascii=False))
    assert objects == read(json.dumps({"Records": objects, **after}, indent=indent, ensure_ascii=False))
    if objects:
        assert objects == read("\n".join(json.dumps(each) for each in objects))


@given(objects=OBJECTS.filter(bool), data=st.data())
def test_torn_text_is_refused(objects: list[Any], data: st.DataObject) -> None:
    """A document that ends too early is refused, wherever it ends."""
    whole = json.dumps({"Records": objects})
    end = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ValueError, match=r"."):
        read(whole[:end])


@pytest.mark.parametrize(
    "text", ['{"Records": [{} {}]}', '{"Records": [{}]} x', "[{}],", "[{},]", "{} ,{}", '[{"a": 1']
)
def test_odd_text_is_refused(text: str) -> None:
    """What is not JSON is refused, also behind the last object."""
    with pytest.raises(ValueError, match=r"."):
        read(text)


@pytest.mark.parametrize("second", ["Records", "Events"])
def test_second_list_is_refused(second: str) -> None:
    """Events do not hide in a list behind the one that is read, which another reader might take instead."""
    with pytest.raises(ValueError, match="second list"):
        read(f'{{"Records": [{{}}], "{second}": [{{}}]}}')


def test_fractions_are_exact() -> None:
    """A number with a fraction keeps its digits."""
    assert [{"a": Decimal("0.1000000000000000000001")}] == read('[{"a": 0.1000000000000000000001}]')


def test_endless_object_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object larger than any event of CloudTrail's is refused before it fills the memory."""
    monkeypatch.setattr(module, "LARGEST", 100)
    with pytest.raises(ValueError, match="more than 100 characters"):
        read(json.dumps([{"a": "x" * 500}]))
