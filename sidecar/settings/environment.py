"""The environment's share of the configuration: `SIDECAR_` and the path of a key, joined by `__`, in upper case.

What decides whether and how usage is paid for is the seller's and comes from the file alone: a variable for it is a
problem, however its name is spelled. A value is text, which the type of its key reads; it is never YAML. What
Kubernetes itself injects for a Service whose name begins with `sidecar` is ignored first.
"""

import re
from collections.abc import Mapping

from sidecar.settings.entry import Entry, Kind, quote
from sidecar.settings.names import begins_as_ours, key_named, sellers_share, variable
from sidecar.settings.problems import Problem

CONFIG = "SIDECAR_CONFIG"
"""Names the file; not a setting."""
_SERVICE_LINK = re.compile(
    r"SIDECAR_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_[A-Z]+)?)"
)
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")


def overrides(environ: Mapping[str, str]) -> tuple[dict[str, Entry], list[Problem]]:
    """Return the entries by dotted path, or by name where there is no such setting, and what no variable may change."""
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
        f"would change {whole}, which the seller fixed: what decides whether and how usage is paid for comes from the "
        "configuration file alone",
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
