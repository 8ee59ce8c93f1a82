"""The ranges in the configuration's document are those that the sidecar enforces."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.settings import SettingsError, load
from tests.support.reading import read

_ROW = re.compile(r"^\| `(\w+\.\w+)` \| (\S+) \| (.+?) \| (.+) \|$", re.MULTILINE)
_WORDS = re.compile(r"`([\w-]+)`")
_BOUNDS = re.compile(r"`?(\d+[smhd]?)`? to `?(\d+[smhd]?)`?")
DURATION = re.compile(r"(\d+)([smhd])")


def rows() -> dict[str, tuple[str, str]]:
    """Return default and range by key."""
    found = _ROW.findall(read("docs/configuration.md"))
    return {key: (default.strip("`"), allowed) for key, default, allowed, _ in found}


ROWS = rows()
CHOICES = {
    key: words
    for key, (_, allowed) in ROWS.items()
    if re.fullmatch(r"`[\w-]+`(, `[\w-]+`)+", allowed)
    for words in [_WORDS.findall(allowed)]
}
BOUNDS = {key: found.groups() for key, (_, allowed) in ROWS.items() if (found := _BOUNDS.fullmatch(allowed))}


def refused(folder: Path, key: str, value: Any) -> bool:
    """Return whether a value is out of the key's own range; a conflict with another key does not count."""
    path = folder / "config.yaml"
    group, _, name = key.partition(".")
    tree: dict[str, dict[str, Any]] = {"product": {"code": "0abc123example", "public_keys": {1: "/1.pem"}}}
    tree.setdefault(group, {})[name] = value
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    try:
        load(str(path), {})
    except SettingsError as error:
        reasons = [problem.reason for problem in error.problems if problem.key == key]
        return any(
            not reason.startswith(("asks AWS about", "closes before", "is missing", "is not the check"))
            for reason in reasons
        )
    return False


def test_ranges_are_found() -> None:
    """The tables are read: choices and bounds are found."""
    assert min(len(CHOICES), len(BOUNDS)) >= 10


@pytest.mark.parametrize("key", CHOICES)
def test_words_are_taken(key: str, tmp_path: Path) -> None:
    """Each word of a range is taken, and another one is not."""
    for word in CHOICES[key]:
        assert not refused(tmp_path, key, yaml.safe_load(word))
    assert refused(tmp_path, key, "neither")


@pytest.mark.parametrize("key", BOUNDS)
def test_bounds_are_exact(key: str, tmp_path: Path) -> None:
    """The ends of a range are taken, and what lies one beyond them is not."""
    for text, step in zip(BOUNDS[key], (-1, 1), strict=True):
        parts = DURATION.fullmatch(text)
        number, unit = (int(parts[1]), parts[2]) if parts else (int(text), "")
        inside, outside = (f"{number}{unit}", f"{number + step}{unit}") if unit else (number, number + step)
        assert not refused(tmp_path, key, inside)
        assert refused(tmp_path, key, outside)
