"""Variables that override settings: `SIDECAR_` and the path of a key, joined by `__`, in upper case.

The keys that decide whether and how usage is paid for belong to the seller and come from the file alone: a variable for
one of them, in any spelling, is a problem. The parser of the key reads the value; it is never YAML. Variables that
Kubernetes sets for a Service with a name that begins with `sidecar` are ignored first.
"""

import re
from collections.abc import Mapping

from sidecar.settings.entry import Entry, Kind, quote
from sidecar.settings.names import begins_as_ours, key_named, sellers_share, variable
from sidecar.settings.problems import Problem

CONFIG = "SIDECAR_CONFIG"
"""The variable with the path of the file; it is not a setting."""
_SERVICE_LINK = re.compile(
    r"SIDECAR_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_[A-Z]+)?)"
)
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")


def overrides(environ: Mapping[str, str]) -> tuple[dict[str, Entry], list[Problem]]:
    """Return the entries by dotted path, or by name for an unknown setting, and a problem for each seller's key."""
    entries: dict[str, Entry] = {}
    problems: list[Problem] = []
    for name in sorted(environ):
        value = environ[name]
        if name == CONFIG or _is_service_link(name, value):
            continue
        share, key = sellers_share(name), key_named(name)
        if share is not None:
            problems.append(_refuse(name, value, share))
        elif key is not None and name == variable(key):
            entries[key] = Entry(Kind.VARIABLE, name, value)
        elif key is not None or begins_as_ours(name):
            entries[name] = Entry(Kind.VARIABLE, name, value)
    return entries, problems


def _refuse(name: str, value: str, share: str) -> Problem:
    whole = "the product" if share == "product" else share
    return Problem(
        name,
        quote(value),
        f"would change {whole}, which the seller fixed: keys that decide whether and how usage is paid for come from "
        "the configuration file alone",
        "unset it",
        name,
    )


def _is_service_link(name: str, value: str) -> bool:
    key = key_named(name)
    if key is not None and name == variable(key):
        return False
    if _SERVICE_LINK.fullmatch(name):
        return True
    return name.startswith("SIDECAR_") and name.endswith("_PORT") and _SERVICE_URL.match(value) is not None
