"""What the charts render to, word for word: a change of one line shows what it changes in pods.

The sidecar's configuration is kept whole in one file. The file of a variant has only the lines that differ from it.
"""

import re
from collections.abc import Callable
from difflib import ndiff
from pathlib import Path

from tests.support.variants import VARIANTS, Variant

_GOLDEN = Path(__file__).with_name("golden")
_CONFIGURATION = _GOLDEN / "configuration.yaml"
_CHECKSUM = re.compile(r'(?<=marketplace-sidecar/config: )"[0-9a-f]{16}"')
_DATA = re.compile(r"(?<=\n)data:\n  config\.yaml: \|\n(?:  .*\n)*")


def _data(text: str) -> str:
    """Return the data of the sidecar's config map."""
    found = _DATA.findall(text)
    return found[0] if found else ""


def _abridge(text: str, base: str) -> str:
    """Return the output with the data of the sidecar's config map as its difference to `base`, without its checksum."""

    def difference(found: re.Match[str]) -> str:
        lines = ndiff(base.splitlines(), found[0].splitlines())
        changed = [f"# {line}\n" for line in lines if line[0] in "+-"]
        return f"data: # of {_CONFIGURATION.name}{', changed:' if changed else ''}\n{''.join(changed)}"

    return _CHECKSUM.sub('"its checksum"', _DATA.sub(difference, text))


def test_configuration_is_as_kept(texts: dict[str, str], keep: Callable[[Path, str], None]) -> None:
    """The first variant's configuration is exactly the kept one, and no variant but the image's own lacks one."""
    keep(_CONFIGURATION, _data(texts[VARIANTS[0].name]))

    assert ["product-image-identity"] == [name for name, text in texts.items() if not _data(text)]


def test_output_is_as_kept(variant: Variant, texts: dict[str, str], keep: Callable[[Path, str], None]) -> None:
    """Every main variant renders exactly to its kept file."""
    keep(_GOLDEN / f"{variant.name}.yaml", _abridge(texts[variant.name], _data(texts[VARIANTS[0].name])))

    assert (_GOLDEN / f"{variant.name}.yaml").exists()
