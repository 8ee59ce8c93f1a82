"""Nothing that a file or a variable may hold makes the loader fail otherwise than by listing problems."""

from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.settings import Settings, SettingsError, explain, load

WORDS = st.sampled_from(
    [
        *("product", "code", "public_keys", "public_key_version", "trusted_codes", "entitlement", "check", "metering"),
        *("dimensions", "name", "aggregation", "window", "settle", "ledger", "path", "api", "host", "port", "socket"),
        *("probes", "marketplace", "endpoint_url", "mode", "emulator", "kubernetes", "enabled", "log", "level", "<<"),
        *("http://a:b@c", "::1", "10.0.0.1", "30m", "1", "yes", "null", "0abc123example", "x" * 300),
    ]
)
SCALARS = WORDS | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.integers(0, 3), inner, max_size=5),
    max_leaves=12,
)
YAML_MARKS = st.text(st.sampled_from("[]{}&*!|>%@`'\"#:-?, \n\tab01~<=\\U"), max_size=40)


def loaded(content: bytes, environ: dict[str, str]) -> Settings | bytes:
    """Load the content as a file; return the settings, or the explanation of the problems."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "config.yaml")
        path.write_bytes(content)
        try:
            return load(str(path), environ)
        except SettingsError as error:
            return explain(error.problems).encode()


@given(st.binary(max_size=200) | YAML_MARKS.map(str.encode))
@example(b'"\\UFFFFFFFF"')
@example(b'product: {code: "\\uD800"}')
@example(b"? ? a")
@example(b"!<tag:yaml.org,2002:int> [a]: {<<: *x}")
@example(b"%YAML 9.9\n---\na")
def test_any_bytes_are_judged(content: bytes) -> None:
    """Arbitrary bytes are refused with problems."""
    assert loaded(content, {})


@given(TREES)
def test_any_tree_is_judged(tree: object) -> None:
    """Well-formed YAML of any shape is read or refused with problems."""
    assert loaded(yaml.safe_dump(tree).encode("utf-8", "surrogatepass"), {})


@given(
    st.dictionaries(
        (st.lists(WORDS | st.text(max_size=4), max_size=3).map("__".join) | st.text(max_size=9)).map(
            lambda name: f"SIDECAR_{name.upper()}"
        ),
        st.text(max_size=20) | YAML_MARKS,
        max_size=4,
    )
)
def test_any_environment_is_judged(environ: dict[str, str]) -> None:
    """Variables of any name and value are taken or refused with problems."""
    assert loaded(b"product: {code: a, public_keys: {1: /a.pem}}", environ | {"SIDECAR_CONFIG": "/unused"})
