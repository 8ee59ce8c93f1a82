"""What the charts render to, word for word: a change of one line shows what it changes in pods.

Settings that have their default are left out of the kept files. A new setting would change all of them otherwise, and
`test_defaults_are_passed` compares them.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from sidecar.settings.names import is_sellers, variable
from tests.support import reference
from tests.support.variants import Variant

_GOLDEN = Path(__file__).with_name("golden")
_FILE = re.compile(r"^  config\.yaml: \|\n((?: {4}[^\n]*\n)+)", re.MULTILINE)
_VARIABLE = re.compile(r'^ +- name: (SIDECAR_\w+)\n +value: "(.*)"\n', re.MULTILINE)
_CHECKSUM = re.compile(r'(?<=marketplace-sidecar/config: ")[0-9a-f]{16}')

DEFAULTS = {
    f"{group}.{name}": default for group, members in reference.defaults().items() for name, default in members.items()
}
_VARIABLES = {variable(key): reference.shown(default) for key, default in DEFAULTS.items() if not is_sellers(key)}


def _flat(tree: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{group}.{name}": value for group, members in tree.items() for name, value in members.items()}


def _without_defaults(text: str) -> str:
    """Return the rendered text without settings that have their default, and without the checksum over them."""

    def changed(found: re.Match[str]) -> str:
        kept: dict[str, dict[str, Any]] = {}
        for key, value in _flat(yaml.safe_load(found[1])).items():
            if key not in DEFAULTS or DEFAULTS[key] != value:
                group, _, name = key.partition(".")
                kept.setdefault(group, {})[name] = value
        dumped = yaml.safe_dump(kept, default_flow_style=False)
        return "  config.yaml: |\n" + "".join(
            f"    {line}\n" for line in ["# the defaults, and:", *dumped.splitlines()]
        )

    text = _FILE.sub(changed, _CHECKSUM.sub("...", text))
    return _VARIABLE.sub(lambda at: "" if _VARIABLES.get(at[1]) == at[2] else at[0], text)


def test_output_is_as_kept(variant: Variant, texts: dict[str, str], keep: Callable[[Path, str], None]) -> None:
    """Every main variant renders exactly to its kept file."""
    keep(_GOLDEN / f"{variant.name}.yaml", _without_defaults(texts[variant.name]))


def test_defaults_are_passed(variant: Variant, texts: dict[str, str]) -> None:
    """Every setting with a value reaches the sidecar: in the file, or in variables where the image has the file."""
    given = {key for key, default in DEFAULTS.items() if default is not None}
    found = _FILE.search(texts[variant.name])
    if found is None:
        passed = {name for name, _ in _VARIABLE.findall(texts[variant.name])}
        assert {variable(key) for key in given if not is_sellers(key)} <= passed
    else:
        assert given <= _flat(yaml.safe_load(found[1])).keys()
