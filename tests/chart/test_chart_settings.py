"""Each setting is stated once, in the groups of the sidecar; documents and charts agree with that."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.support import reference
from tests.support.rendering import CHARTS

_CHART = CHARTS / "marketplace-sidecar"
PLACES = [
    (CHARTS.parent / "docs/configuration.md", reference.document),
    (_CHART / "values.schema.json", reference.schema),
    (_CHART / "values.yaml", reference.values),
    (_CHART / "templates/_seller.tpl", reference.seller_defaults),
    (_CHART / "templates/_declared.tpl", reference.declared),
]


@pytest.mark.parametrize(("path", "write"), PLACES, ids=lambda value: getattr(value, "name", None))
def test_settings_are_as_declared(path: Path, write: Callable[[str], str], keep: Callable[[Path, str], None]) -> None:
    """Sentence, range and default of each key are those that its group declares."""
    expected = write(path.read_text(encoding="utf-8"))
    keep(path, expected)
    assert expected == path.read_text(encoding="utf-8")


def test_defaults_are_as_declared() -> None:
    """The chart's defaults are the sidecar's, but for the few that it has to give itself."""
    config = yaml.safe_load((_CHART / "values.yaml").read_text(encoding="utf-8"))["config"]
    assert reference.defaults() == config
