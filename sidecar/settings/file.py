"""The configuration file: its path, and its text as a tree.

Exactly one file is read. A missing file is a problem, even if every key has a default.
"""

from collections.abc import Mapping
from pathlib import Path

from sidecar.domain.plaintext import reason_of
from sidecar.settings.entry import Entry, Kind
from sidecar.settings.environment import CONFIG
from sidecar.settings.problems import Problem
from sidecar.settings.tree import TreeError, parse

DEFAULT_PATH = "/etc/marketplace-sidecar/config.yaml"
_LARGEST = 128 * 1024


def locate(path: str | None, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the path of the file and its source: the option, the variable or the default."""
    if path is not None:
        return path, "--config"
    if environ.get(CONFIG):
        return environ[CONFIG], CONFIG
    return DEFAULT_PATH, f"the default path, as neither --config nor {CONFIG} names a file"


def read(path: str, named_by: str) -> tuple[Entry | None, list[Problem]]:
    """Return the tree of the file, None if the file is unusable, and the problems of the file as a whole."""
    try:
        with Path(path).open("rb") as file:
            text = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        cure = "give a readable file with --config or SIDECAR_CONFIG"
        return None, [Problem("configuration file", repr(path), f"cannot be read: {reason_of(error)}", cure, named_by)]
    if len(text) > _LARGEST:
        return None, [_unusable(path, named_by, f"is longer than {_LARGEST} bytes")]
    try:
        tree, problems = parse(text, path)
    except TreeError as error:
        return None, [_unusable(path, named_by, str(error))]
    if tree.kind is Kind.NOTHING:
        return None, [_unusable(path, named_by, "is empty")]
    if tree.kind is not Kind.MAP:
        return None, [_unusable(path, named_by, "is not a mapping")]
    return tree, problems


def _unusable(path: str, named_by: str, reason: str) -> Problem:
    cure = "give a YAML file of `group: {key: value}`, at least with product.code"
    return Problem("configuration file", repr(path), reason, cure, named_by)
