"""A hash chain: each line holds the SHA-256 of the one before, which shows every change.

One line of canonical JSON for each entry (members sorted, no blanks, ASCII), `hash` over everything else in it. The
last line holds the number of lines, which shows a chain that was cut off. The chain proves that nothing was changed
since it was written. Only the last hash, kept elsewhere, proves that it is the chain that was written.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

FORMAT = "marketplace-sidecar-audit"
VERSION = 1
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NOTHING_BEFORE = "0" * 64


class ChainBroken(Exception):
    """A line is not what was written, or not where; names the line and the reason."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")


def link(entries: Iterable[tuple[str, Mapping[str, object]]]) -> Iterator[str]:
    """Yield the lines of a chain, without line ends: a first one, one for each (kind, entry), and a last one."""
    before = _NOTHING_BEFORE
    for number, (kind, entry) in enumerate(_framed(entries)):
        members = {"n": number, "kind": kind, "entry": entry, "previous": before}
        before = _hash(_canonical(members))
        yield _canonical({**members, "hash": before})


def check(lines: Iterable[str]) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Yield the kind, entry and hash of each line once it is proved to follow from those before it.

    Raises:
        ChainBroken: A line does not; the ones yielded before it do.
    """
    before, kind, number = _NOTHING_BEFORE, "", 0
    for number, line in enumerate(lines, 1):
        if kind == "end":
            raise ChainBroken(number, "something follows the end of the chain")
        kind, entry, found = _read(line, number, before)
        if (kind == "begin") != (number == 1):
            raise ChainBroken(number, "a chain begins with its first line and nowhere else")
        if kind == "begin" and (entry.get("format"), entry.get("version")) != (FORMAT, VERSION):
            raise ChainBroken(number, f"it is no {FORMAT} of version {VERSION}")
        if kind == "end" and entry.get("lines") != number:
            raise ChainBroken(number, "the end tells another number of lines")
        before = found
        yield kind, entry, found
    if kind != "end":
        raise ChainBroken(number + 1, "the chain was cut off: its end is missing")


def _framed(entries: Iterable[tuple[str, Mapping[str, object]]]) -> Iterator[tuple[str, Mapping[str, object]]]:
    yield "begin", {"format": FORMAT, "version": VERSION}
    count = 2
    for kind, entry in entries:
        yield kind, entry
        count += 1
    yield "end", {"lines": count}


def _read(line: str, number: int, before: str) -> tuple[str, Mapping[str, Any], str]:
    try:
        members = json.loads(line)
        # What can just be read may still be nested too deeply to be written again.
        written = _canonical(members) if isinstance(members, dict) else ""
    except (ValueError, RecursionError):
        raise ChainBroken(number, "it is not JSON") from None
    match members:
        case {"n": int(n), "kind": str(kind), "entry": dict(entry), "previous": str(previous), "hash": str(found)}:
            pass
        case _:
            raise ChainBroken(number, "it is no line of a chain")
    rest = {"n": n, "kind": kind, "entry": entry, "previous": previous}
    if line != written or len(members) != len(rest) + 1:
        raise ChainBroken(number, "it is not written as a chain writes it")
    if n != number - 1 or previous != before:
        raise ChainBroken(number, "it does not follow the line before: lines are missing, added or moved")
    if _HASH.fullmatch(found) is None or found != _hash(_canonical(rest)):
        raise ChainBroken(number, "it was changed: its hash is another")
    return kind, entry, found


def _canonical(members: Mapping[str, object]) -> str:
    return json.dumps(members, sort_keys=True, separators=(",", ":"))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()
