"""The environment's share of the configuration: `SIDECAR_` and the path of a key, joined by `__`, in upper case.

The product is the seller's: no variable may change it. What Kubernetes itself injects for a Service whose name begins
with `sidecar` is left alone.
"""

import re
from collections.abc import Mapping

from sidecar.settings.problems import Problem
from sidecar.settings.tree import Entry, TreeError, parse, quote

CONFIG = "SIDECAR_CONFIG"
"""Names the file; not a setting."""
_PREFIX = "SIDECAR_"
_PRODUCT = re.compile(r"SIDECAR_PRODUCT(_.*)?", re.DOTALL)
_SERVICE_LINK = re.compile(
    r"SIDECAR_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_[A-Z]+)?)"
)
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")


def variable(key: str) -> str:
    """Return the name of the variable that overrides the setting at a dotted path."""
    return _PREFIX + key.replace(".", "__").upper()


def overrides(environ: Mapping[str, str]) -> tuple[dict[str, Entry], list[Problem]]:
    """Return the entries by dotted path, whether or not such settings exist, and what cannot be one at all."""
    entries: dict[str, Entry] = {}
    problems: list[Problem] = []
    for name in sorted(environ):
        value = environ[name]
        if not name.startswith(_PREFIX) or name == CONFIG or _is_service_link(name, value):
            continue
        if _PRODUCT.fullmatch(name):
            problems.append(
                Problem(name, quote(value), "would change the product, which the seller fixed", "unset it", name)
            )
            continue
        try:
            entry, duplicates = parse(value, name, lines=False)
        except TreeError as error:
            problems.append(Problem(name, quote(value), str(error), "put the value in quotes of its own", name))
            continue
        problems += duplicates
        entries[_key(name)] = entry
    return entries, problems


def _key(name: str) -> str:
    """Return the dotted path that a variable names; one that is not in upper case stays itself, which is no path."""
    path = name.removeprefix(_PREFIX)
    return path.replace("__", ".").lower() if path == path.upper() else name


def _is_service_link(name: str, value: str) -> bool:
    if "__" in name:
        return False
    if _SERVICE_LINK.fullmatch(name):
        return True
    return name.endswith("_PORT") and _SERVICE_URL.match(value) is not None
