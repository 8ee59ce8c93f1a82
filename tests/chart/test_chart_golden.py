"""What the charts render to, word for word, so that a change of one line shows what it changes in pods."""

from collections.abc import Callable
from pathlib import Path

from tests.support.variants import Variant

_GOLDEN = Path(__file__).with_name("golden")


def test_output_is_as_kept(variant: Variant, texts: dict[str, str], keep: Callable[[Path, str], None]) -> None:
    """Every main variant renders exactly to its kept file."""
    keep(_GOLDEN / f"{variant.name}.yaml", texts[variant.name])
