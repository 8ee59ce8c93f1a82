"""Helm, and what every variant renders to."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.rendering import CHARTS, Helm, provide_helm, read
from tests.support.variants import VARIANTS, Variant

_FOLDER = Path(__file__).parent
_LONGEST = 1200
"""Seconds for one test; the first of them waits for helm and the schemas where they are not in the cache."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of this folder the time that a first run takes."""
    for item in items:
        if item.path.is_relative_to(_FOLDER):
            item.add_marker(pytest.mark.timeout(_LONGEST))


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """A real helm."""
    return Helm(provide_helm(), tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def texts(helm: Helm) -> dict[str, str]:
    """What helm prints for each variant, by name."""
    return {one.name: helm.template(one.chart, one.values, kubernetes=one.kubernetes) for one in VARIANTS}


@pytest.fixture(params=VARIANTS, ids=str)
def variant(request: pytest.FixtureRequest) -> Variant:
    """Each of the main ways to use the charts."""
    found: Variant = request.param
    return found


@pytest.fixture
def objects(variant: Variant, texts: dict[str, str]) -> list[dict[str, Any]]:
    """The objects of a variant."""
    return [one for one in read(texts[variant.name]) if one]


@pytest.fixture
def keep() -> Callable[[Path, str], None]:
    """Compare a text with the file that is kept of it; UPDATE_CHARTS=1 writes the file."""

    def compare(path: Path, text: str) -> None:
        if os.environ.get("UPDATE_CHARTS") == "1":
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        kept = path.read_text(encoding="utf-8") if path.exists() else ""
        assert kept == text, f"{path.relative_to(CHARTS.parent)} is not current: UPDATE_CHARTS=1 pytest tests/chart"

    return compare
