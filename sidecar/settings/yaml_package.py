"""Loads PyYAML for the configuration, without the pattern that takes half of the time of its import.

PyYAML compiles a pattern of all characters that YAML forbids, from the whole of Unicode. A short one is enough for a
text in ASCII, so the long one is compiled when another text is read. Each `healthcheck` and `wait` starts sooner.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LAST_CHARACTER = "\U0010ffff"
_FORBIDDEN_IN_ASCII = re.compile(r"[^\t\n\r -~]")


class _Deferred:
    """A pattern that is compiled when it is used."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def __getattr__(self, name: str) -> Any:
        return getattr(re.compile(self._pattern), name)


@contextmanager
def _deferring() -> Iterator[None]:
    """Defer patterns that reach to the end of Unicode."""
    compile_now: Any = re.compile

    def compile_most(pattern: Any, flags: Any = 0) -> Any:
        wide = isinstance(pattern, str) and _LAST_CHARACTER in pattern and not flags
        return _Deferred(pattern) if wide else compile_now(pattern, flags)

    replaceable: Any = re
    replaceable.compile = compile_most
    try:
        yield
    finally:
        replaceable.compile = compile_now


with _deferring():
    import yaml as yaml  # noqa: PLC0414 - re-exported: `tree` must not load it before


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader; it accepts and refuses the same texts."""

    def check_printable(self, data: Any) -> None:
        """Raise yaml.reader.ReaderError at a character that YAML forbids."""
        if not data.isascii() or _FORBIDDEN_IN_ASCII.search(data):
            super().check_printable(data)
