"""What the charts render to, word for word: a change of one line shows what it changes in pods.

Of the sidecar's configuration the kept files have only what differs from the defaults of the chart, which other tests
compare with the declared settings. So a new setting changes none of them.
"""

import re
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.support import reference
from tests.support.variants import VARIANTS, Variant

_GOLDEN = Path(__file__).with_name("golden")
_CHECKSUM = re.compile(r'(?<=marketplace-sidecar/config: )"[0-9a-f]{16}"')
_FILE = re.compile(r"(?<=\n  config\.yaml: \|\n)(?:    .*\n)*")
_VARIABLE = re.compile(r' *- name: SIDECAR_([A-Z]+)__([A-Z_]+)\n *value: "(.*)"\n')


def _changed(config: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """Return the settings that are not at the chart's default."""
    defaults = reference.defaults()
    changed = {
        group: {name: value for name, value in settings.items() if value != defaults.get(group, {}).get(name)}
        for group, settings in config.items()
    }
    return {group: settings for group, settings in changed.items() if settings}


def _abridge(text: str) -> str:
    """Return the output without the checksum of the sidecar's configuration and without its defaults."""

    def changed_lines(found: re.Match[str]) -> str:
        lines = yaml.safe_dump(_changed(yaml.safe_load(found[0])), default_flow_style=False).splitlines()
        return "".join(f"    {line}\n" for line in ["# Only what is not a default.", *lines])

    def changed_variable(found: re.Match[str]) -> str:
        group, name, value = found[1].lower(), found[2].lower(), yaml.safe_load(found[3])
        return found[0] if _changed({group: {name: value}}) else ""

    return _CHECKSUM.sub('"its checksum"', _VARIABLE.sub(changed_variable, _FILE.sub(changed_lines, text)))


def test_configuration_is_complete(texts: dict[str, str]) -> None:
    """Each config map has every setting that has a default, and no variant but the image's own lacks a config map."""
    rendered = {name: yaml.safe_load(found[0]) for name, text in texts.items() if (found := _FILE.search(text))}
    wanted = {
        (group, name)
        for group, settings in reference.defaults().items()
        for name in settings
        if settings[name] is not None
    }

    assert ["product-image-identity"] == [name for name in texts if name not in rendered]
    for name, config in rendered.items():
        assert set() == wanted - {(group, key) for group, settings in config.items() for key in settings}, name


def test_output_is_as_kept(variant: Variant, texts: dict[str, str], keep: Callable[[Path, str], None]) -> None:
    """Every main variant renders exactly to its kept file."""
    keep(_GOLDEN / f"{variant.name}.yaml", _abridge(texts[variant.name]))

    assert (_GOLDEN / f"{variant.name}.yaml").exists()


def test_every_file_is_kept_for_variant() -> None:
    """No file is left of a variant that is gone."""
    assert {f"{variant.name}.yaml" for variant in VARIANTS} == {path.name for path in _GOLDEN.iterdir()}
