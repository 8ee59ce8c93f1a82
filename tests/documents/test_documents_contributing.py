"""The maintainer's page names files that exist, every folder of the code, and only targets of the Makefile."""

import re

import pytest

from tests.support.reading import ROOT, read

PAGE = "docs/contributing.md"
_PATH = re.compile(r"`((?:sidecar|tests|docs|helm)(?:/[\w./-]+)?|pyproject\.toml)`")
_TARGET = re.compile(r"`make (\w+)`")


def named() -> list[str]:
    """Return the paths that the page names."""
    return sorted(set(_PATH.findall(read(PAGE))))


@pytest.mark.parametrize("path", named())
def test_named_path_exists(path: str) -> None:
    """Each file or folder that the page names exists."""
    assert (ROOT / path).exists()


def test_map_is_complete() -> None:
    """The map has each package of the code, and is linked from the README."""
    packages = {f"sidecar/{path.parent.name}" for path in (ROOT / "sidecar").glob("*/__init__.py")}

    assert set() == packages - set(named())
    assert f"({PAGE})" in read("README.md")


def test_named_targets_exist() -> None:
    """Each target that the page names is one of the Makefile."""
    targets = set(re.findall(r"^(\w+):", read("Makefile"), re.MULTILINE))

    assert set() == set(_TARGET.findall(read(PAGE))) - targets
