"""CloudTrail's files, as S3 delivers them: one event after the other, whatever the number and size of the files.

Takes JSON plain or compressed by gzip: `{"Records": [...]}` as CloudTrail writes it, `{"Events": [...]}` as `aws
cloudtrail lookup-events` prints it, an array of events, or one event a line. Holds one event at a time. Refuses a file
that it cannot read to its end: half a log proves nothing.
"""

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, cast

from sidecar.commands.ledger.cloudtrail.elements import elements
from sidecar.domain.plaintext import reason_of

_SUFFIXES = (".json", ".json.gz", ".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")
_CUT_OFF = re.compile(r"(.+\.(?:json|jsonl|ndjson)(?:\.gz)?)\..+")
"""The name of a file that is being copied: `aws s3 sync` adds eight characters until it is complete."""
_NOT_EVENTS = frozenset({"CloudTrail-Digest", "CloudTrail-Insight"})
"""Other folders than that of the events in CloudTrail's bucket."""
_GZIP = b"\x1f\x8b"
_AGAIN = "Copy it from the bucket again."


class TrailUnreadable(Exception):
    """A file or an event of the log cannot be read; names it, the reason and the cure."""

    def __init__(self, path: Path, reason: str, cure: str) -> None:
        super().__init__(f"{path}: {reason}. {cure}")


def find_files(places: Iterable[Path]) -> list[Path]:
    """Return the files that are named, and those of events in the folders that are, each once.

    Raises:
        TrailUnreadable: One is not there, or a folder holds no file of events, or one that was not copied to its end.
    """
    found: dict[Path, None] = {}
    for place in places:
        if place.is_file():
            found[place] = None
        elif place.is_dir():
            below = [path for path in place.rglob("*") if path.is_file() and _is_of_events(path, place)]
            inside = sorted(path for path in below if path.name.endswith(_SUFFIXES))
            _refuse_cut_off(below)
            if not inside:
                raise TrailUnreadable(
                    place,
                    f"the folder holds no file ending in {', '.join(_SUFFIXES)}",
                    "Name the folder into which you copied CloudTrail's bucket, or the files.",
                )
            found |= dict.fromkeys(inside)
        else:
            raise TrailUnreadable(place, "there is no such file or folder", "Name a file or folder of CloudTrail's.")
    return list(found)


def read_events(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the events of one file in their order; numbers are exact.

    Raises:
        TrailUnreadable: The file cannot be read to its end.
    """
    try:
        with path.open("rb") as raw:
            compressed = raw.read(len(_GZIP)) == _GZIP
            raw.seek(0)
            if not compressed:
                yield from _parse(raw, path)
                return
            yield from _parse(cast("IO[bytes]", gzip.GzipFile(fileobj=raw)), path)
    except (OSError, EOFError, zlib.error) as error:
        raise TrailUnreadable(path, reason_of(error), _AGAIN) from error


def _is_of_events(path: Path, below: Path) -> bool:
    return _NOT_EVENTS.isdisjoint(path.relative_to(below).parts)


def _refuse_cut_off(paths: Iterable[Path]) -> None:
    """Raise if a file is only there under the name that it has while it is copied."""
    for path in paths:
        cut_off = None if path.name.endswith(_SUFFIXES) else _CUT_OFF.fullmatch(path.name)
        if cut_off is not None and not path.with_name(cut_off[1]).is_file():
            raise TrailUnreadable(path, f"it is not the whole {cut_off[1]}, which is missing", _AGAIN)


def _parse(file: IO[bytes], path: Path) -> Iterator[Mapping[str, Any]]:
    with io.TextIOWrapper(file, encoding="utf-8-sig") as text:
        try:
            for item in elements(text):
                yield _event(item, path)
        except (ValueError, RecursionError) as error:
            reason = f"it is not whole JSON ({' '.join(str(error).split())[:200]})"
            raise TrailUnreadable(path, reason, _AGAIN) from error


def _event(item: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    match item:
        case {"CloudTrailEvent": str(text)}:
            event = json.loads(text, parse_float=Decimal)
        case _:
            event = item
    if not isinstance(event, dict):
        raise TrailUnreadable(path, "it holds something else than events", "Name files of CloudTrail's only.")
    return event
