"""The names of settings, and which of them a variable may override.

One function, `normalize`, maps every spelling of a name to one form. The reader looks up a variable by that form, and
the lock on the seller's keys uses the same form: no spelling passes the lock and still reaches a key.
"""

import dataclasses
import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from sidecar.settings.groups import Product, Settings

PREFIX: Final = "SIDECAR_"
SELLERS_GROUPS: Final = frozenset({"product", "entitlement", "metering", "license"})
"""Groups that come from the file alone, with everything in them."""
SELLERS_KEYS: Final = frozenset({"marketplace.mode", "marketplace.endpoint_url"})
"""Keys of other groups that come from the file alone."""

_OTHERS = re.compile(r"[^a-z0-9]+")
_WORDS = re.compile(r"[a-z0-9]+")


def _all_keys() -> dict[str, str]:
    settings = Settings(Product(""))
    keys = {}
    for group in dataclasses.fields(settings):
        for member in dataclasses.fields(getattr(settings, group.name)):
            key = f"{group.name}.{member.name}"
            keys[normalize(variable(key))] = key
    return keys


def normalize(name: str) -> str:
    """Return the form in which two names are compared: ASCII letters in lower case and digits, nothing between them.

    A compatibility form counts as the character itself: the Kelvin sign counts as `k`.
    """
    return _OTHERS.sub("", _folded(name))


def variable(key: str) -> str:
    """Return the name of the variable that overrides the setting at a dotted path, where one may."""
    return PREFIX + key.replace(".", "__").upper()


def key_named(name: str) -> str | None:
    """Return the dotted path of the setting that a variable names in any spelling; None when it names no setting."""
    return _KEYS.get(normalize(name))


def is_sellers(key: str) -> bool:
    """Return whether the setting at a dotted path comes from the file alone."""
    return key in SELLERS_KEYS or key.partition(".")[0] in SELLERS_GROUPS


def sellers_share(name: str) -> str | None:
    """Return which of the seller's groups or keys a variable would change, in any spelling; None for all others.

    A name below one of them counts too, whether or not such a setting exists.
    """
    words: list[str] = _WORDS.findall(_folded(name))
    if words[:1] == [_SIDECAR] and SELLERS_GROUPS.intersection(words[1:2]):
        return words[1]
    form = normalize(name)
    for key in sorted(SELLERS_KEYS):
        if form.startswith(normalize(variable(key))):
            return key
    named = key_named(name)
    return named.partition(".")[0] if named is not None and is_sellers(named) else None


def begins_as_ours(name: str) -> bool:
    """Return whether a variable begins with the documented prefix."""
    return name.startswith(PREFIX)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


_SIDECAR: Final = normalize(PREFIX)
_KEYS: Final[Mapping[str, str]] = _all_keys()
"""The settings by the form of their variables."""
