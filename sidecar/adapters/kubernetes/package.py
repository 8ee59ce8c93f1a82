"""Loads the HTTP client of the kubernetes package, and nothing above it.

The package's own `__init__` loads all of its parts and their libraries (17 MiB, 0.2 s), and an API class loads the
models of the whole API (21 MiB and 1.3 s more). The sidecar sends four kinds of requests with documents of its own. The
client below the API classes is enough for that: less than 1 MiB beside the AWS SDK, and 0.1 s.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any, NamedTuple

_INITS = ("kubernetes", "kubernetes.utils")
"""The packages whose `__init__` loads more than the client needs, parents first."""


class KubernetesPackage(NamedTuple):
    """The parts that are used. The package has no types of its own for them."""

    client: Any
    """The class `RESTClientObject`."""
    configuration: Any
    """The class `Configuration`."""
    failure: type[Exception]
    """The class `ApiException`."""


def load_package() -> KubernetesPackage:
    """Return the parts that are used; raises ImportError if the package is missing, or has another layout."""
    with _without_inits():
        from kubernetes.client.configuration import Configuration  # noqa: PLC0415 - inside the context alone
        from kubernetes.client.exceptions import ApiException  # noqa: PLC0415 - as above
        from kubernetes.client.rest import RESTClientObject  # noqa: PLC0415 - as above
    return KubernetesPackage(RESTClientObject, Configuration, ApiException)


@contextmanager
def _without_inits() -> Iterator[None]:
    """Import submodules of the packages without running their `__init__`; leave no package behind that lacks it."""
    bare: dict[str, ModuleType] = {}
    try:
        for name in _INITS:
            if name not in sys.modules:
                bare[name] = sys.modules[name] = _bare_package(name)
        yield
    finally:
        for name in bare:
            del sys.modules[name]


def _bare_package(name: str) -> ModuleType:
    """Return a package that finds its submodules and has run no code."""
    spec = find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return module_from_spec(spec)
