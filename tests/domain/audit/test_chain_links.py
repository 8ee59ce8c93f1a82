"""The hash chain: what was written is proved, and every change to it is named."""

import json
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.audit.hash_chain import ChainBroken, check, link

ENTRIES: list[tuple[str, Mapping[str, object]]] = [
    ("record", {"id": "rec-1", "quantity": "1.5"}),
    ("record", {"id": "rec-2", "tags": {"Team": "é"}}),
]
LINES = list(link(ENTRIES))
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5)


def checked(lines: list[str]) -> list[tuple[str, object]]:
    """Check lines and return their kinds and entries."""
    return [(kind, dict(entry)) for kind, entry, _ in check(lines)]


def forged(line: str, **members: object) -> str:
    """Return a line with other members, still written as a chain writes it."""
    return json.dumps({**json.loads(line), **members}, sort_keys=True, separators=(",", ":"))


@given(st.lists(st.tuples(st.sampled_from(["record", "carry"]), st.dictionaries(st.text(), JSON))))
def test_written_chain_is_proved(entries: list[tuple[str, dict[str, object]]]) -> None:
    """Whatever goes into a chain comes out of it, between its first and its last line."""
    first, *inside, last = checked(list(link(entries)))
    assert [(kind, entry) for kind, entry in entries] == inside
    assert ("begin", "end") == (first[0], last[0])


@pytest.mark.parametrize(
    ("change", "line", "reason"),
    [
        (lambda lines: [lines[0], lines[1].replace("1.5", "2.5"), *lines[2:]], 2, "it was changed"),
        (lambda lines: [lines[0], forged(lines[1], entry={"id": "rec-9"}), *lines[2:]], 2, "it was changed"),
        (lambda lines: [lines[0], *lines[2:]], 2, "it does not follow"),
        (lambda lines: [lines[0], lines[2], lines[1], lines[3]], 2, "it does not follow"),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], 3, "it does not follow"),
        (lambda lines: lines[:-1], 4, "the chain was cut off"),
        (lambda _: [], 1, "the chain was cut off"),
        (lambda lines: lines[1:], 1, "it does not follow"),
        (lambda lines: [*lines, lines[-1]], 5, "something follows the end"),
        (lambda lines: [*lines, ""], 5, "something follows the end"),
        (lambda lines: [lines[0], f" {lines[1]}", *lines[2:]], 2, "it is not written as a chain writes it"),
        (lambda lines: [lines[0], lines[1].replace('"n":1', '"n":1,"n":1'), *lines[2:]], 2, "it is not written"),
        (lambda lines: [lines[0][:40], *lines[1:]], 1, "it is not JSON"),
        (lambda lines: ["[" * 100_000, *lines[1:]], 1, "it is not JSON"),
        (lambda lines: ["{}", *lines[1:]], 1, "it is no line of a chain"),
        (lambda lines: [*lines[:-1], forged(lines[-1], hash="é" * 64)], 4, "it was changed"),
    ],
)
def test_change_is_named(change: Callable[[list[str]], list[str]], line: int, reason: str) -> None:
    """A line that is changed, missing, added, moved or torn is named with its number."""
    with pytest.raises(ChainBroken, match=rf"^line {line}: {reason}"):
        checked(change(LINES))


def test_second_beginning_is_refused() -> None:
    """A chain holds one beginning, and its end counts its lines, however right the hashes are."""
    begun: Mapping[str, object] = {"format": "marketplace-sidecar-audit", "version": 1}
    with pytest.raises(ChainBroken, match="begins with its first line"):
        checked(list(link([("begin", begun)])))
    ended: Mapping[str, object] = {"lines": 7}
    short = list(link([("end", ended)]))
    with pytest.raises(ChainBroken, match="the end tells another number"):
        checked(short)


def test_other_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of another format or version is none of ours, although its hashes are right."""
    monkeypatch.setattr("sidecar.domain.audit.hash_chain.VERSION", 2)
    newer = list(link(ENTRIES))
    monkeypatch.undo()
    with pytest.raises(ChainBroken, match="version 1"):
        checked(newer)


@given(st.integers(0, len(LINES) - 1), st.integers(0, 200), st.characters(max_codepoint=126, min_codepoint=32))
def test_no_character_changes_unseen(line: int, position: int, character: str) -> None:
    """Any other character anywhere is found at its line."""
    text = LINES[line]
    position %= len(text)
    changed = f"{text[:position]}{character}{text[position + 1 :]}"
    if changed == text:
        return
    with pytest.raises(ChainBroken, match=rf"^line {line + 1}: "):
        checked([*LINES[:line], changed, *LINES[line + 1 :]])


def test_nesting_of_any_depth_is_judged() -> None:
    """However deep a line is nested, it is judged, and never ends the check by itself."""
    # The depth at which Python gives up depends on the version and on the stack at this point: all around it are tried.
    for depth in [*range(900, 1010), 100_000]:
        entry = '{"a":' * depth + "1" + "}" * depth
        line = f'{{"entry":{entry},"hash":"{"0" * 64}","kind":"record","n":1,"previous":"{"0" * 64}"}}'
        with pytest.raises(ChainBroken):
            checked([LINES[0], line])
