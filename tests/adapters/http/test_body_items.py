"""Bodies that are decoded item by item say the same as bodies that are decoded whole."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.adapters.http.decoding import decode_document
from sidecar.adapters.http.items import (
    LARGEST_ITEM,
    decode_array,
    decode_items,
    decode_lines,
    decode_one,
)
from sidecar.adapters.http.problems import HttpProblem, ProblemKind
from sidecar.domain.metering.events import InvalidUsage

ALMOST_JSON = st.binary() | st.text(alphabet='{}[]",:0123456789.eE+-tfnu\\ud8\n \x00é').map(str.encode)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
SPACES = st.text(alphabet=" \t\r\n", max_size=6)
LARGE = 800_000
"""Characters: several windows."""


def outcome(read: Callable[[bytes], object], body: bytes) -> tuple[str, object]:
    """Return what becomes of a body: its items, or the words of its refusal."""
    try:
        found = read(body)
        return "taken", list(found) if isinstance(found, Iterable) and not isinstance(found, dict | list) else found
    except HttpProblem as problem:
        return problem.kind.word, problem.detail


def whole(body: bytes) -> list[object]:
    """Return the items of a body that is decoded at a time."""
    document = decode_document(body)
    if isinstance(document, dict) and "events" in document:
        document = document["events"]
    return document if isinstance(document, list) else [document]


@pytest.mark.parametrize("decode", [decode_document, decode_one, decode_items, decode_lines])
@given(data=ALMOST_JSON)
def test_any_bytes_decoded_or_refused(decode: Callable[[bytes], Any], data: bytes) -> None:
    """Any bytes are JSON or `malformed`, and nothing else."""
    word, _ = outcome(decode, data)
    assert word in ("taken", "malformed")


@given(data=ALMOST_JSON.filter(lambda data: b"events" not in data))
def test_same_words_for_any_bytes(data: bytes) -> None:
    """Item by item the same values are found as in a whole document, or the same fault at the same place."""
    expected, found = outcome(whole, data), outcome(decode_items, data)
    assert expected[0] == found[0]
    if expected[0] == "taken" or "UTF-8" not in str(expected[1]):
        assert expected == found


@settings(max_examples=10, deadline=None)
@given(values=st.lists(st.tuples(SPACES, JSON, SPACES, st.booleans()), min_size=1, max_size=8), wrapped=st.booleans())
def test_windows_cut_nothing(values: list[tuple[str, Any, str, bool]], *, wrapped: bool) -> None:
    """However items lie across the windows, each comes out as it is in the whole document, in order."""
    texts = [f"{before}{json.dumps(value, ensure_ascii=escaped)}{after}" for before, value, after, escaped in values]
    listed = ",".join(texts * (LARGE // len(",".join(texts)) + 1))
    body = (f'{{"events": [{listed}]}}' if wrapped else f"[{listed}]").encode("utf-8", errors="replace")
    assert whole(body) == list(decode_items(body))


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b'{"dimension": "' + b"x" * LARGEST_ITEM + b'"}', "too-large"),
        (b"[" + b"1" * 8_000_000 + b"]", "too-large"),
        (b"[[" + b"1," * 4_000_000 + b"1]]", "too-large"),
        (b'["' + b"\\ud83d\\ude00" * 600_000 + b'"]', "too-large"),
        (b'["' + b"x" * 8_000_000, "too-large"),
        (b'[{"quantity": ' + b"1" * 8_000_000 + b"}]", "too-large"),
        (b"{" + b",".join(b'"%d": 1' % number for number in range(200_000)) + b"}", "too-large"),
        (b'{"events": [], ' + b",".join(b'"%d": 1' % number for number in range(200_000)) + b"}", "too-large"),
        (b"[" * 8_000_000, "malformed"),
        (b"[" + b"1," * 500_000 + b"]", "malformed"),
        (b"[" + b"1," * 500_000 + b"1] 2", "malformed"),
        (b"[" + b"1," * 500_000 + b"\xff]", "malformed"),
        (b"[" + b"1," * 500_000 + b"tru", "malformed"),
        (b"[1" + b" " * 8_000_000 + b"2]", "malformed"),
        (b'{"a": 1, "a": 2}', "malformed"),
        (b'{"events": [], "events": []}', "malformed"),
        (b"\xef\xbb\xbf[]", "malformed"),
        (b" " * 8_000_000, "malformed"),
        (b" " * 4_000_000 + b"[1]" + b"\n" * 4_000_000, "taken"),
    ],
    ids=lambda value: repr(value[:30]) if isinstance(value, bytes) else value,
)
def test_edges_of_large_bodies(body: bytes, word: str) -> None:
    """An item beyond its size is too large; a body that ends, continues or breaks where it must not is malformed."""
    assert word == outcome(decode_items, body)[0]


@pytest.mark.unmeasured
def test_place_named_in_late_window() -> None:
    """The line and column of a fault count from the body's begin, not from the window's."""
    body = b"[" + "é1,\n".encode().replace("é".encode(), b'"\xc3\xa9",') * 300_000 + b" ?]"
    with pytest.raises(HttpProblem, match="Expecting value at line 300001 column 2"):
        list(decode_items(body))


def test_items_come_before_the_end_is_read() -> None:
    """The first item is there before the rest of the body is looked at."""
    assert "1" == next(decode_items(b"[1, " + b"?" * 1_000_000))


def test_members_beside_events_named() -> None:
    """Members next to `events` are refused whether they come before or after it."""
    for body in (b'{"id": 1, "events": [1]}', b'{"events": [1], "id": 1}', b'{"events": 1}'):
        with pytest.raises(InvalidUsage) as refused:
            list(decode_items(body))
        assert [fault.field for fault in refused.value.faults] == ["events" if body == b'{"events": 1}' else "id"]


def test_array_asked_for() -> None:
    """Where an array is needed, another document is a fault, and a broken one malformed."""
    assert ["1", "2"] == list(decode_array(b"[1, 2]", "an array"))
    with pytest.raises(InvalidUsage) as refused:
        list(decode_array(b"{}", "an array"))
    assert ["an array"] == [fault.reason for fault in refused.value.faults]
    with pytest.raises(HttpProblem) as broken:
        list(decode_array(b"{} {}", "an array"))
    assert broken.value.kind is ProblemKind.MALFORMED


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"x\n" * 4_000_000, "malformed"),
        (b"1\n" + b"x\n" * 4_000_000, "malformed"),
        (b"x\n" + b"1\n" * 4_000_000, "malformed"),
        (b"1\n" * 4_000_000, "too-large"),
        (b"1" * (LARGEST_ITEM + 1), "too-large"),
        (b"\n" * 8_000_000, "malformed"),
        (b"\n" * 8_000_000 + b"1", "taken"),
        (b"\xff\n", "malformed"),
    ],
    ids=lambda value: repr(value[:10]) if isinstance(value, bytes) else value,
)
def test_edges_of_lines(body: bytes, word: str) -> None:
    """Lines are bounded in number and length, bad ones too; blank ones count for nothing."""
    assert word == outcome(decode_lines, body)[0]
