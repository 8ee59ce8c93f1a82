"""The configuration's YAML loader accepts and refuses what PyYAML's does, and is loaded in less time."""

import subprocess
import sys

import pytest
import yaml

from sidecar.settings.groups import ApiSettings, LedgerSettings, ProbeSettings
from sidecar.settings.yaml_package import Loader

CHARACTERS = (
    *(chr(number) for number in range(256)),
    *"\u2028\ud7ff\ud800\udfff\ue000\ufeff\ufffd\ufffe\uffff\U00010000\U0010ffff",
)


def composed(text: str, loader: type[yaml.SafeLoader]) -> str:
    """Return the document, or the error."""
    try:
        return str(yaml.compose(text, Loader=loader))
    except yaml.YAMLError as error:
        return str(error)


@pytest.mark.parametrize("text", ["a{}b", "k: [{}]", "\u00e4: '{}'"])
def test_each_character_as_pyyaml_reads_it(text: str) -> None:
    """A character is part of the document, or is refused with PyYAML's own words."""
    documents = [text.format(character) for character in CHARACTERS]
    expected = [composed(document, yaml.SafeLoader) for document in documents]
    assert expected == [composed(document, Loader) for document in documents]
    assert any("special characters are not allowed" in outcome for outcome in expected)


def test_an_ascii_text_needs_no_pattern_of_unicode() -> None:
    """PyYAML's pattern is compiled when a text that is not ASCII is read."""
    program = (
        "import re; from unittest.mock import patch; from sidecar.settings import tree\n"
        "with patch.object(re, 'compile', wraps=re.compile) as compiling:\n"
        "    tree.parse('product: {code: a}', 'file'); print(compiling.call_count)\n"
        "    tree.parse('product: {code: \\u00e4}', 'file'); print(compiling.call_count)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert "0\n1\n" == done.stdout


def test_groups_are_equal_by_their_fields() -> None:
    """Two groups are equal and hash alike if they are of one kind and hold the same; `repr` names the fields."""
    assert ApiSettings() == ApiSettings()
    assert hash(ApiSettings()) == hash(ApiSettings())
    assert ApiSettings() != ApiSettings(port=1)
    assert LedgerSettings() != ProbeSettings()
    assert "ProbeSettings(host='0.0.0.0', port=8788)" == repr(ProbeSettings())
